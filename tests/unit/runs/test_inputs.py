"""Inputs of a run: types, defaults, sizes, and every mistake at once."""

from __future__ import annotations

from typing import Any

import pytest

from joinery import limits
from joinery.errors import InvalidInput, TooLarge
from joinery.runs.ids import new_run_id, run_id_for_key
from joinery.runs.inputs import check_inputs

DECLARED: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "required": True, "default": None},
    "count": {"type": "integer", "required": False, "default": 3},
    "extra": {"type": "object", "required": False, "default": None},
}


def test_defaults_are_filled_in_and_optional_ones_left_out() -> None:
    assert check_inputs(DECLARED, {"text": "ü"}) == {"text": "ü", "count": 3}


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as wrong:
        check_inputs(DECLARED, {"count": True, "typo": 1})
    errors = {(e["input"], e["code"]) for e in wrong.value.details["errors"]}
    assert errors == {("typo", "unknown"), ("text", "missing"), ("count", "type")}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", "", 1),
        ("integer", 1, 1.5),
        ("integer", -1, True),
        ("number", 1.5, "1.5"),
        ("boolean", False, 0),
        ("object", {}, []),
        ("array", [], {}),
        ("string", "x", None),
    ],
)
def test_types(kind: str, good: Any, bad: Any) -> None:
    declared = {"x": {"type": kind, "required": True}}
    assert check_inputs(declared, {"x": good}) == {"x": good}
    with pytest.raises(InvalidInput):
        check_inputs(declared, {"x": bad})


@pytest.mark.parametrize("letter", ["x", "ü", "文", "🙂"])
def test_the_limit_counts_bytes_of_utf_8(letter: str) -> None:
    size = len(letter.encode())
    fits = letter * (limits.INPUT_BYTES // size)
    assert check_inputs(DECLARED, {"text": fits})["text"] == fits
    too_long = fits + "x" * (limits.INPUT_BYTES - len(fits.encode()) + 1)
    with pytest.raises(TooLarge) as refused:
        check_inputs(DECLARED, {"text": too_long})
    assert refused.value.details == {
        "input": "text",
        "limit": 1_048_576,
        "actual": 1_048_577,
    }
    assert "1,048,576" in refused.value.message


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidInput):
        check_inputs(DECLARED, {"text": "\ud800"})


def test_run_ids_sort_by_time_and_keys_give_the_same_id() -> None:
    early, late = new_run_id(1.0), new_run_id(2.0)
    assert early < late
    assert len(early) == len("run_") + 26
    assert run_id_for_key("me", "wf", "k") == run_id_for_key("me", "wf", "k")
    assert run_id_for_key("me", "wf", "k") != run_id_for_key("you", "wf", "k")
