"""Joins that do not wait for all: what is known of their edges, and when that decides them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from joinery.runs.model import NodeKey

REACHED = "reached"
MISSED = "missed"
EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class JoinState:
    """What is stored of a join at one path, beside its node record.

    Attributes:
        key: The join's address.
        taken: Places, in the file's order of its edges, of those that were taken,
            the first one first.
        dead: Places of those that never will be.
        failed: `(node_id, path)` of the nodes whose failure was left to the join.
        outcome: Empty until it is decided; `reached`: k edges were taken; `missed`: k
            cannot be reached; `empty`: no edge was taken, and nothing has failed.
        winners: Places of the edges that count, in the file's order; set with `reached`.
        version: Grows with every change; 0 when nothing is stored.
    """

    key: NodeKey
    taken: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    outcome: str = ""
    winners: tuple[int, ...] = ()
    version: int = 0

    @property
    def over(self) -> bool:
        """Whether nobody needs the nodes before the join any more."""
        return self.outcome in (REACHED, MISSED)


def advance(
    state: JoinState,
    needed: int,
    edges: int,
    *,
    taken: Sequence[int] = (),
    dead: Sequence[int] = (),
    failed: Sequence[tuple[str, str]] = (),
) -> JoinState:
    """Returns a join's state with some edges decided; one that is over stays as it is.

    It is `missed` only once it is certain that it will not be `empty`, so that how it
    ends does not depend on the order in which its parents ended.

    Args:
        state: The state before.
        needed: How many edges must be taken.
        edges: How many there are.
        taken: Edges that were taken.
        dead: Edges that never will be.
        failed: Nodes whose failure is left to the join.
    """
    if state.outcome:
        return state
    known = {*state.taken, *state.dead}
    new = replace(
        state,
        taken=(*state.taken, *(place for place in taken if place not in known)),
        dead=(*state.dead, *(place for place in dead if place not in known)),
        failed=(*state.failed, *(node for node in failed if node not in state.failed)),
    )
    if len(new.taken) >= needed:
        return replace(new, outcome=REACHED, winners=tuple(sorted(new.taken[:needed])))
    if edges - len(new.dead) < needed and (new.taken or new.failed):
        return replace(new, outcome=MISSED)
    if len(new.dead) == edges:
        return replace(new, outcome=EMPTY)
    return new
