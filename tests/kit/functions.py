"""The Lambda functions as modules, though each is called `app`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def load_function(name: str) -> ModuleType:
    """Returns a fresh module of `functions/<name>/app.py`."""
    spec = importlib.util.spec_from_file_location(f"app_{name}", ROOT / f"functions/{name}/app.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sample(name: str) -> dict[str, Any]:
    """Returns `events/<name>.json`."""
    event: dict[str, Any] = json.loads((ROOT / f"events/{name}.json").read_text("utf-8"))
    return event


class Context:
    """What the runtime passes besides the event."""

    aws_request_id = "invocation-1"

    def __init__(self, remaining_ms: int = 60_000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms
