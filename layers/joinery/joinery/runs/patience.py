"""How the inline engine waits for a person: it looks again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from joinery.errors import PermanentInternal
from joinery.runs.deps import Deps
from joinery.runs.model import Address, NodeRecord, RunRecord

LOOK_S: Final = 0.1
"""Time between two looks whether the answer is there."""

Idle = Callable[[RunRecord, NodeRecord], None]
"""Called over and over while a node waits for a person."""


def await_person(deps: Deps, run: RunRecord, record: NodeRecord, idle: Idle) -> None:
    """Returns when there is something to do for a node that waits for a person."""
    store, own = deps.store, Address(record.key)
    until = float((record.wait or {})["expires_at"])
    while deps.clock() < until:
        read = store.load(run.run_id, [own])
        over = read.control.cancel or read.control.pause or store.get_run(run.run_id).closed
        if over or read.records[own].status != "waiting":
            return
        idle(run, record)


def nobody(_run: RunRecord, record: NodeRecord) -> None:
    """For where no person can be waited for."""
    raise PermanentInternal(f"node '{record.node_id}' cannot wait for a person here")
