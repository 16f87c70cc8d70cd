"""Copies of node records."""

from __future__ import annotations

from dataclasses import fields

import pytest

from joinery.runs.model import NodeKey, NodeRecord


def test_a_copy_has_every_field_but_those_that_are_changed() -> None:
    odd = {field.name: f"value of {field.name}" for field in fields(NodeRecord)}
    record = NodeRecord(**odd)  # type: ignore[arg-type]
    copy = record.with_(seq=7, status="completed")
    assert {field.name: getattr(copy, field.name) for field in fields(copy)} == {
        **odd,
        "seq": 7,
        "status": "completed",
    }
    assert record.seq == odd["seq"]


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError):
        NodeRecord(NodeKey(1, ""), "a").with_(stauts="completed")
