"""Log lines as JSON objects, one a line, as CloudWatch Logs Insights reads them.

Plain `logging` with a formatter: a logging package would add its import to every
cold start. Lines never hold a secret: what looks like one is cut out.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

_SECRET_NAMES = ("_KEY", "_SECRET", "_TOKEN", "_PASSWORD")
_SECRET_TEXT = re.compile(r"(?i)\b(bearer\s+|basic\s+|sk-|jn_)[A-Za-z0-9+/=._~-]{6,}")
_SHORTEST_SECRET = 6


def configure(environ: Mapping[str, str] | None = None) -> None:
    """Makes the root logger write JSON; call it once, when a function's module is loaded.

    Args:
        environ: Where secrets are looked up by the names of their variables.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stdout))
    formatter = JsonFormatter(os.environ if environ is None else environ)
    for handler in root.handlers:
        handler.setFormatter(formatter)
    logging.getLogger("joinery").setLevel(logging.INFO)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; `extra={"fields": {…}}` adds to it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self._secrets = [
            value
            for name, value in environ.items()
            if name.endswith(_SECRET_NAMES) and len(value) >= _SHORTEST_SECRET
        ]

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, Any] = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if request_id := getattr(record, "aws_request_id", ""):
            line["request_id"] = request_id
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["stack"] = "".join(traceback.format_exception(*record.exc_info))
        return self.redact(json.dumps(line, default=str))

    def redact(self, text: str) -> str:
        """Returns the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return _SECRET_TEXT.sub(r"\1[redacted]", text)
