"""Budgets and unlocking over a socket."""

from __future__ import annotations

from typing import Any

import pytest

from joinery.runs.suspend import suspend

from .conftest import Socket


def locked(socket: Socket, name: str = "breaker.tripped") -> str:
    run_id = socket.run()
    data = {"incarnation": 1, "reason": "loop", "message": "nothing new", "value": 0, "limit": 0.1}
    assert suspend(socket.services.deps, socket.store.get_run(run_id), name, data)
    return run_id


def answer(frames: list[Any]) -> tuple[str, Any]:
    [frame] = frames
    return frame["event"], frame["data"].get("code") or frame["data"].get("status")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"because": "  "},
        {"because": 5},
        {"because": "x" * 2_001},
        {"checks": "content"},
        {"checks": ["content", "cost"]},
        {"checks": ["content", "cost", "luck"]},
        {"checks": [["content"]]},
    ],
)
def test_without_a_reason_a_run_stays_locked(socket: Socket, fields: dict[str, Any]) -> None:
    run_id = locked(socket)
    assert answer(socket.send("unlock", run_id=run_id, **fields)) == ("error", "invalid_request")
    assert socket.store.get_run(run_id).status == "suspended"


def test_only_what_is_locked_and_ones_own_is_unlocked(socket: Socket) -> None:
    reason = {"because": "I want to"}
    assert answer(socket.send("unlock", run_id=socket.run(), **reason)) == ("error", "conflict")
    theirs = socket.run(owner="you")
    assert answer(socket.send("unlock", run_id=theirs, **reason)) == ("error", "not_found")
    assert answer(socket.send("unlock", **reason)) == ("error", "invalid_request")


@pytest.mark.parametrize("budget", [{}, 5, {"tokens": 0}, {"usd": True}])
def test_what_is_no_budget_is_refused(socket: Socket, budget: Any) -> None:
    run_id = locked(socket, "budget.exceeded")
    frames = socket.send("resume", run_id=run_id, budget=budget)
    assert answer(frames) == ("error", "invalid_request")
