"""What the calls of an attempt are held to, made when a model is first asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from joinery.nodes.guard import Guard, LateGuard

if TYPE_CHECKING:
    from joinery.runs.invocation import Invocation
    from joinery.runs.model import NodeRecord


def late_guard(
    inv: Invocation, record: NodeRecord, *, cancelled: Callable[[], bool], deadline: float
) -> LateGuard:
    """Returns the guard of an attempt; nothing is read before a model is asked.

    Args:
        inv: The invocation.
        record: The node's record as it was claimed.
        cancelled: Whether nobody needs the node any more.
        deadline: `time.monotonic()` at which the attempt ends.
    """

    def make() -> Guard:
        from joinery.runs.guarding import RunGuard
        from joinery.runs.terms import terms_of

        terms = terms_of(inv.plan, inv.run, inv.deps.store.extra(inv.run_id))
        return RunGuard(inv, record, terms, cancelled=cancelled, deadline=deadline)

    return LateGuard(make)
