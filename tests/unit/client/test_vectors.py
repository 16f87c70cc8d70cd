"""The examples that every client shares; `tests/js/vectors.test.js` runs the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joinery.client import Transcript
from tools.vectors import played

VECTORS = Path(__file__).parents[2] / "vectors"
TEXT = json.loads((VECTORS / "text.json").read_text("utf-8"))
CORE = json.loads((VECTORS / "core.json").read_text("utf-8"))


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def delta(step: dict[str, Any]) -> dict[str, Any]:
    data = {"attempt": 1, "stream": "text", **step}
    return {"event": "text.delta", "node_id": "a", "path": step.get("path", ""), "data": data}


def joined(text: str) -> str:
    """Returns text as JSON tells it: two halves of a pair that meet are one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@named(TEXT["texts"])
def test_text(case: dict[str, Any]) -> None:
    transcript = Transcript()
    for step in case["steps"]:
        path = step.get("path", "")
        message = delta(step) if "offset" in step else {
            "event": "node.started", "node_id": "a", "path": path,
            "data": {"attempt": step["started"], "kept": step.get("kept", {})},
        }  # fmt: skip
        assert transcript.apply(message) == step["news"]
        shown = transcript.text("a", path, step.get("stream", "text"))
        assert joined(shown) == step["shown"], step


@named(TEXT["ends"])
def test_end(case: dict[str, Any]) -> None:
    transcript = Transcript()
    for offset, text in case["heard"]:
        step = {"offset": offset, "text": text, "attempt": case["heard_attempt"]}
        transcript.apply(delta(step))
    data = {"attempt": case["attempt"], "streams": {"text": case["summary"]}}
    end = {"event": "node.completed", "node_id": "a", "path": "", "data": data}
    assert transcript.lacks(end) == case["lacking"]


@named(CORE["cases"])
def test_core(case: dict[str, Any]) -> None:
    for step, expected in zip(played(case), case["steps"], strict=True):
        assert step == expected
