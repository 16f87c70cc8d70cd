"""Log lines are JSON and hold no secrets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from joinery.jsonlog import JsonFormatter

KEY = "hunter2-hunter2"


def line(message: str, *args: Any, exc_info: Any = None, **fields: Any) -> Any:
    formatter = JsonFormatter({"JOINERY_MODEL_API_KEY": KEY, "SHORT_KEY": "abc", "HOME": "/root"})
    record = logging.LogRecord("joinery.x", logging.INFO, "f.py", 1, message, args, exc_info)
    record.fields = fields
    return json.loads(formatter.format(record))


def test_a_line_is_one_object() -> None:
    shown = line("run %s\nended", "r1", run_id="r1")
    assert shown["message"] == "run r1\nended"
    assert shown["run_id"] == "r1"
    assert (shown["level"], shown["logger"]) == ("INFO", "joinery.x")


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "Bearer jn_abcdefgh",
        "bearer eyJhbGciOi",
        "sk-proj-1234567",
        "jn_0123456789",
        "Basic dXNlcjpwYXNz",
    ],
)
def test_secrets_are_cut_out(secret: str) -> None:
    try:
        raise ValueError(f"refused {secret}!")
    except ValueError as error:
        shown = line("call with %s", secret, exc_info=(ValueError, error, error.__traceback__))
    text = json.dumps(shown)
    assert secret not in text
    assert "[redacted]" in shown["message"]
    assert "refused" in shown["stack"]
    assert shown["error"] == "ValueError"


def test_what_only_looks_like_a_value_of_the_environment_stays() -> None:
    assert line("abc in /root")["message"] == "abc in /root"
