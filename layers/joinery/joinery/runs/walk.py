"""Several nodes in one invocation: a group of level 2, or a whole plan run inline.

Each node keeps its own claim, result and events, as if it had a Task for itself. So a
walk that is begun again finds what has ended and goes on at the node that was running.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import takewhile

from joinery import limits
from joinery.compiler.plan import Plan, PlanNode
from joinery.compiler.times import need_of
from joinery.errors import DeadlineNear, Transient, TransientClaimed
from joinery.runs.deps import Deps
from joinery.runs.end import close_completed
from joinery.runs.invocation import Waker
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord, path_of
from joinery.runs.task import run_node
from joinery.workflow.graph import END

log = logging.getLogger(__name__)

MARGIN_S = 10.0
"""Kept beside a node's own time, for what begins and ends it."""

CLAIMED_WAIT_S = 5.0
"""A third of a claim's lease: another invocation may give it up or die."""

LONGEST_WAIT_S = 30.0
"""As long as the Retry of a Task waits at most, unless a node's `backoff` is longer."""

Sleep = Callable[[float], None]


class Pace:
    """What is left of an invocation, for all nodes that it runs.

    Args:
        deadline: `time.monotonic()` at which it ends.
        patience_s: Longest wait before a new attempt that is made inside.
        sleep: Waits.
    """

    def __init__(
        self, deadline: float, *, patience_s: float = math.inf, sleep: Sleep = time.sleep
    ) -> None:
        self.deadline, self.patience_s, self.sleep = deadline, patience_s, sleep
        self._begun = False
        self._lock = threading.Lock()

    def admit(self, node: PlanNode) -> None:
        """Lets a node begin, if the invocation can hold it; the first one always.

        Raises:
            DeadlineNear: It is to begin in an invocation of its own.
        """
        with self._lock:
            if self._begun and not self._holds(node, 0.0):
                log.info("node %s begins in a new invocation: time is short", node.id)
                raise DeadlineNear(f"node '{node.id}' may not end in what is left of this one")
            self._begun = True

    def waits_for(self, node: PlanNode, error: Transient, tries: int, begun: int) -> float | None:
        """Returns how long to wait before a new attempt here; None when it is not for here.

        Args:
            node: The node.
            error: Why its attempt has ended, or could not begin.
            tries: How often this invocation has tried.
            begun: Attempts that were begun, by all invocations.
        """
        if tries > node.attempts + 2:
            return None
        longest = max(LONGEST_WAIT_S, node.backoff_s)
        wait = min(longest, node.backoff_s * 2.0 ** (max(begun, 1) - 1))
        if isinstance(error, TransientClaimed):
            if self.patience_s < math.inf:
                return None  # whoever has it may go on for minutes, at no cost of ours
            wait = CLAIMED_WAIT_S
        # What failed together should not come back together.
        wait *= random.uniform(0.5, 1.0)
        return wait if wait <= self.patience_s and self._holds(node, wait) else None

    def _holds(self, node: PlanNode, wait: float) -> bool:
        return time.monotonic() + wait + need_of(node) + MARGIN_S <= self.deadline


def walk_group(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    head: str,
    path: str,
    *,
    deadline: float,
    waker: Waker | None = None,
) -> NodeRecord:
    """Runs the nodes of a Task one after another and returns the last one's record.

    Args:
        deps: Ports.
        plan: The plan.
        run: The run.
        head: The first node.
        path: Rounds and item indexes around the Task.
        deadline: `time.monotonic()` at which this invocation ends.
        waker: What wakes the Task, where it waits for that.

    Raises:
        NodeError: What ended a node, or the walk.
    """
    group = plan.group(head)
    pace = None
    if plan.opt >= 2 and len(group) > 1:
        pace = Pace(deadline, patience_s=limits.RETRY_INSIDE_S)
    return _GroupWalk(deps, plan, run, deadline, pace, waker=waker).part(group, path)


class _GroupWalk:
    def __init__(
        self,
        deps: Deps,
        plan: Plan,
        run: RunRecord,
        deadline: float,
        pace: Pace | None,
        *,
        waker: Waker | None,
    ) -> None:
        self.deps, self.plan, self.run = deps, plan, run
        self.deadline, self.pace, self.waker = deadline, pace, waker
        self.loaded: dict[Address, NodeRecord] = {}

    def part(self, nodes: Sequence[str], path: str) -> NodeRecord:
        """Walks nodes at a path; those of a loop further inside stand side by side."""
        depth = len(path.split(".")) if path else 0
        record: NodeRecord | None = None
        position = 0
        while position < len(nodes):
            scope = self.plan.by_id[nodes[position]].scope
            if len(scope) <= depth:
                record = self._one(nodes[position], path)
                position += 1
                continue
            body = self._body(nodes[position:], scope[depth])
            record = self._rounds(body, path)
            position += len(body)
        assert record is not None
        return record

    def _body(self, nodes: Sequence[str], loop: str) -> list[str]:
        """Returns the nodes at the beginning that are in a loop."""
        return list(takewhile(lambda name: loop in self.plan.by_id[name].scope, nodes))

    def _rounds(self, body: Sequence[str], path: str) -> NodeRecord:
        """Walks a loop, whose node is the last of its body, until it repeats no more."""
        inside = path_of((*(path.split(".") if path else ()), 1))
        while True:
            record = self.part(body, inside)
            if record.port != "repeat":
                return record
            inside = record.next_path

    def _one(self, name: str, path: str) -> NodeRecord:
        node = self.plan.by_id[name]
        if name == END:
            # Nothing else is at work any more: the end may take all that the run may post.
            self.deps.publisher.begin(self.run.run_id, 1)
            close_completed(self.deps, self.plan, self.run)
            return NodeRecord(NodeKey(node.ord, path), END, "completed")
        if self.pace is None:
            record = run_node(
                self.deps, self.plan, self.run, node, path,
                deadline=self.deadline, loaded=self.loaded, waker=self.waker,
            )  # fmt: skip
        else:
            record = run_member(
                self.deps, self.plan, self.run, node, path, pace=self.pace, loaded=self.loaded
            )
        self.loaded[Address(record.key)] = record
        return record


def run_member(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    node: PlanNode,
    path: str,
    *,
    pace: Pace,
    loaded: dict[Address, NodeRecord],
) -> NodeRecord:
    """Runs a node of a walk, over several attempts if it comes to that.

    Raises:
        NodeError: What ended the node; a transient error that is not to be waited for here.
    """
    tries, own = 1, Address(NodeKey(node.ord, path))
    while True:
        try:
            return run_node(
                deps, plan, run, node, path, deadline=pace.deadline, loaded=loaded, pace=pace
            )
        except Transient as error:
            wait = pace.waits_for(node, error, tries, _begun(deps, run, own))
            if wait is None:
                raise
        pause(deps, run.run_id, wait, pace.sleep)
        tries += 1


def _begun(deps: Deps, run: RunRecord, own: Address) -> int:
    """Returns the attempts of a node that are stored: earlier invocations have made some."""
    record = deps.store.load(run.run_id, [own]).records.get(own)
    return record.tries if record else 0


def pause(
    deps: Deps,
    run_id: str,
    seconds: float,
    sleep: Sleep,
    *,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Waits before the next attempt, a second at a time, so that a cancel is seen."""
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        control = deps.store.control(run_id)
        if control.cancel or control.pause or enough():
            return
        sleep(min(1.0, rest))
