"""The reference interpreter: walks a plan in this process, by the rules of docs/semantics.md.

It decides by itself which node runs when, from the edges alone. The compiled
state machines must come to the same: same nodes, same results, same skips.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from joinery.compiler.plan import Plan, PlanNode
from joinery.errors import NodeError, RunCancelled, RunSuspended, Transient
from joinery.runs.dead_paths import is_taken
from joinery.runs.deps import Deps
from joinery.runs.end import close_completed, close_failed
from joinery.runs.items import Items
from joinery.runs.model import NodeRecord, RunRecord, common_depth, next_round, path_of
from joinery.runs.task import run_nodes
from joinery.runs.walk import Pace, pause, run_member
from joinery.workflow.bodies import ITEM
from joinery.workflow.graph import END, START, Link

THREADS = 40
"""As many branches at once as an inline Map of Step Functions runs."""

TASK_DEADLINE_S = 24 * 3600.0
"""No invocation bounds a task here; a node's own timeout does."""

Place = tuple[str, str]
"""A node id and a path."""

Sleep = Callable[[float], None]


def run_inline(deps: Deps, plan: Plan, run: RunRecord, *, sleep: Sleep = time.sleep) -> None:
    """Runs a created run to its end, or to a pause; the store then says how it ended.

    A run that was resumed is walked again, and what has ended is not run again.

    Args:
        deps: Ports.
        plan: Its plan; folding is ignored, every node is a step of its own.
        run: The run, created and not started.
        sleep: Waits between attempts, in seconds.
    """
    deps.store.mark_started(run.run_id, "", deps.clock())
    run = deps.store.get_run(run.run_id)
    try:
        _Walk(deps, plan, run, sleep).walk()
        close_completed(deps, plan, run)
    except RunSuspended:
        return  # it is paused; the next walk finds what has ended
    except RunCancelled as error:
        close_failed(deps, run, error, status="cancelled")
    except NodeError as error:
        close_failed(deps, run, error)


def run_in_one(deps: Deps, plan: Plan, run: RunRecord, *, deadline: float) -> None:
    """Runs a whole plan in one invocation of a function, on from what is stored.

    Args:
        deps: Ports.
        plan: The plan.
        run: The run; it was started, and may have been walked in part before.
        deadline: `time.monotonic()` at which the invocation ends.

    Raises:
        NodeError: What ended a node, and with it the run; or what another invocation cures.
    """
    _Walk(deps, plan, run, time.sleep, pace=Pace(deadline)).walk()
    close_completed(deps, plan, run)


@dataclass(slots=True)
class _Walk:
    """One walk through a plan.

    An edge is taken or dead once its source has ended. A node whose edges are all
    decided runs if one was taken and is skipped otherwise. A loop is entered in
    round 1; `repeat` begins another round at the entries, anything else decides
    the edges that leave the loop, by what its last round did. An iterate node begins as
    many items as may run at once; when all have come to rest, it decides its edges.
    """

    deps: Deps
    plan: Plan
    run: RunRecord
    sleep: Sleep
    undecided: dict[Place, int] = field(default_factory=dict)
    taken: set[Place] = field(default_factory=set)
    ready: deque[Place] = field(default_factory=deque)
    last: dict[Place, NodeRecord | None] = field(default_factory=dict)
    pace: Pace | None = None
    items: Items = field(default_factory=Items)

    def walk(self) -> None:
        for link in self.plan.outgoing[START][""]:
            self._decide(link, self._entered(link.target, ()), True)
        running: dict[Future[NodeRecord], Place] = {}
        pool: ThreadPoolExecutor | None = None
        failure: NodeError | None = None
        try:
            while self.ready or running:
                if failure is not None:
                    self.ready.clear()
                if len(self.ready) == 1 and not running:
                    place = self.ready.popleft()
                    self._came_to_end(place, self._run(place))
                    continue
                while self.ready:
                    pool = pool or ThreadPoolExecutor(THREADS, "joinery-node")
                    place = self.ready.popleft()
                    running[pool.submit(self._run, place)] = place
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    place = running.pop(future)
                    try:
                        self._came_to_end(place, future.result())
                    except NodeError as error:
                        failure = failure or error
        finally:
            if pool:
                pool.shutdown()
        if failure is not None:
            raise failure

    # -- running -----------------------------------------------------------------------

    def _run(self, place: Place) -> NodeRecord:
        """Runs a node to its end, over all attempts, and returns its record."""
        node_id, path = place
        node = self.plan.by_id[node_id]
        if self.pace is not None:
            return run_member(self.deps, self.plan, self.run, node, path, pace=self.pace, loaded={})
        attempt = 1
        while True:
            try:
                deadline = time.monotonic() + TASK_DEADLINE_S
                return run_nodes(
                    self.deps, _bare(self.plan), self.run, node_id, path, deadline=deadline
                )
            except Transient:
                self._pause(node.backoff_s * 2 ** (attempt - 1))
                attempt += 1

    def _pause(self, seconds: float) -> None:
        pause(self.deps, self.run.run_id, seconds, self.sleep)

    # -- deciding edges ----------------------------------------------------------------

    def _entered(self, target: str, outer: tuple[str, ...]) -> str:
        """The path at which a node is reached from outside its loops: their first round."""
        scope = self.plan.by_id[target].scope
        return path_of((*outer, *["1"] * (len(scope) - len(outer))))

    def _decide(self, link: Link, path: str, taken: bool) -> None:
        """Notes that an edge into `link.target` at `path` is decided."""
        place = (link.target, path)
        node = self.plan.by_id[link.target]
        left = self.undecided.get(place, len(node.incoming)) - 1
        self.undecided[place] = left
        if taken:
            self.taken.add(place)
        if left > 0 or link.target == END:
            return
        if place in self.taken:
            self._make_ready(place)
        else:
            # Mostly the invocation that took the other port has recorded the skip; two
            # that decide at once may each have waited for the other.
            self._run(place)
            self._ended(place, None)

    def _make_ready(self, place: Place) -> None:
        self.items.begin(self.plan.by_id[place[0]], place[1])
        self.ready.append(place)

    def _came_to_end(self, place: Place, record: NodeRecord) -> None:
        """Goes on behind a node that ran, and behind the items that it was the last of."""
        self._ended(place, record)
        node = self.plan.by_id[place[0]]
        for owner in self.items.rest(node, place[1]):
            following = self.items.following(owner)
            if following is not None:
                self._begin_item(owner, following)
            elif self.items.over(owner):
                self._decide_onward(owner, self.last[owner])

    def _begin_item(self, owner: Place, index: int) -> None:
        each, path = owner
        outer = (*path.split("."), str(index)) if path else (str(index),)
        for link in self.plan.outgoing[each][ITEM]:
            self._decide(link, self._entered(link.target, outer), True)

    def _ended(self, place: Place, record: NodeRecord | None) -> None:
        """Decides the edges out of a node that has ended; None when it was skipped."""
        self.last[place] = record
        if record is not None and record.items:
            width = self.plan.iterate_of[place[0]].concurrency
            for index in self.items.open(place, record.items, width):
                self._begin_item(place, index)
            return
        self._decide_onward(place, record)

    def _decide_onward(self, place: Place, record: NodeRecord | None) -> None:
        node_id, path = place
        node = self.plan.by_id[node_id]
        loop = self.plan.loop_of.get(node_id)
        if loop and record is not None and record.port == "repeat":
            self._begin_round(loop.entries, path)
            return
        ended = self._ends_loop(node)
        for port, links in self.plan.outgoing[node_id].items():
            if port == ITEM and node_id in self.plan.iterate_of:
                continue
            for link in links:
                if not self._leaves_loop(node, link):
                    self._decide(link, self._target_path(node, path, link), _taken(link, record))
        for depth in reversed(range(ended, len(node.scope))):
            self._leave(node, node.scope[depth], path)

    def _begin_round(self, entries: tuple[str, ...], path: str) -> None:
        following = tuple(next_round(path).split("."))
        for entry in entries:
            place = (entry, self._entered(entry, following))
            self.undecided[place] = 0
            self.taken.add(place)
            self._make_ready(place)

    def _ends_loop(self, node: PlanNode) -> int:
        """How many of the loops around a node go on after it has ended."""
        depth = len(node.scope)
        if node.id in self.plan.loop_of:
            return depth - 1
        return depth

    def _leaves_loop(self, node: PlanNode, link: Link) -> bool:
        target = self.plan.by_id[link.target]
        return common_depth(node.scope, target.scope) < len(node.scope)

    def _target_path(self, node: PlanNode, path: str, link: Link) -> str:
        depth = common_depth(node.scope, self.plan.by_id[link.target].scope)
        outer = tuple(path.split(".")[:depth]) if depth else ()
        return self._entered(link.target, outer)

    def _leave(self, node: PlanNode, loop_id: str, path: str) -> None:
        """Decides the edges that leave a loop which has ended, by its last round."""
        loop = self.plan.loop_of[loop_id]
        depth = node.scope.index(loop_id)
        inside = set(loop.body)
        outer = tuple(path.split(".")[: depth + 1])
        for name in loop.body:
            source = self.plan.by_id[name]
            for links in self.plan.outgoing[name].values():
                for link in links:
                    if link.target in inside:
                        continue
                    if common_depth(source.scope, self.plan.by_id[link.target].scope) != depth:
                        continue
                    at = self._last_place(source, outer)
                    record = self.last.get(at) if at else None
                    self._decide(
                        link, self._entered(link.target, outer[:depth]), _taken(link, record)
                    )

    def _last_place(self, source: PlanNode, outer: tuple[str, ...]) -> Place | None:
        """The last round in which a node of a loop ran or was skipped."""
        if len(source.scope) == len(outer):
            return (source.id, path_of(outer))
        best: tuple[int, ...] | None = None
        for node_id, path in self.last:
            parts = tuple(int(part) for part in path.split(".")) if path else ()
            if node_id == source.id and parts[: len(outer)] == tuple(int(p) for p in outer):
                best = parts if best is None or parts > best else best
        return (source.id, path_of(best)) if best else None


def _taken(link: Link, record: NodeRecord | None) -> bool:
    return record is not None and is_taken(link, record)


def _bare(plan: Plan) -> Plan:
    """Returns the plan without folded nodes."""
    cached: Plan | None = plan.__dict__.get("_bare")
    if cached is None:
        cached = plan if not plan.groups else Plan(**{**_fields(plan), "groups": {}})
        plan.__dict__["_bare"] = cached
    return cached


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
