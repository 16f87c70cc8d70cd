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
from joinery.errors import NodeError, RunCancelled, Transient
from joinery.runs.dead_paths import is_taken
from joinery.runs.deps import Deps
from joinery.runs.end import close_completed, close_failed
from joinery.runs.model import NodeRecord, RunRecord, common_depth, path_of
from joinery.runs.task import run_nodes
from joinery.workflow.graph import END, START, Link

THREADS = 40
"""As many branches at once as an inline Map of Step Functions runs."""

TASK_DEADLINE_S = 24 * 3600.0
"""No invocation bounds a task here; a node's own timeout does."""

Place = tuple[str, str]
"""A node id and a path."""

Sleep = Callable[[float], None]


def run_inline(deps: Deps, plan: Plan, run: RunRecord, *, sleep: Sleep = time.sleep) -> None:
    """Runs a created run to its end; the store then says how it ended.

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
    except RunCancelled as error:
        close_failed(deps, run, error, status="cancelled")
    except NodeError as error:
        close_failed(deps, run, error)


@dataclass(slots=True)
class _Walk:
    """One walk through a plan.

    An edge is taken or dead once its source has ended. A node whose edges are all
    decided runs if one was taken and is skipped otherwise. A loop is entered in
    round 1; `repeat` begins another round at the entries, anything else decides
    the edges that leave the loop, by what its last round did.
    """

    deps: Deps
    plan: Plan
    run: RunRecord
    sleep: Sleep
    undecided: dict[Place, int] = field(default_factory=dict)
    taken: set[Place] = field(default_factory=set)
    ready: deque[Place] = field(default_factory=deque)
    last: dict[Place, NodeRecord | None] = field(default_factory=dict)

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
                    self._ended(place, self._run(place))
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
                        self._ended(place, future.result())
                    except NodeError as error:
                        failure = failure or error
                        self._stop_children(failure)
        finally:
            if pool:
                pool.shutdown()
        if failure is not None:
            raise failure

    def _stop_children(self, failure: NodeError) -> None:
        """Closes the failed run at once where child runs go on, which that cancels."""
        records = self.deps.store.nodes(self.run.run_id) if self.deps.children else []
        if any(record.status == "waiting" for record in records):
            close_failed(self.deps, self.run, failure)

    # -- running -----------------------------------------------------------------------

    def _run(self, place: Place) -> NodeRecord:
        """Runs a node to its end, over all attempts, and returns its record."""
        node_id, path = place
        node = self.plan.by_id[node_id]
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
        """Waits before the next attempt, a second at a time, so that a cancel is seen."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            if self.deps.store.control(self.run.run_id).cancel:
                return
            self.sleep(min(1.0, rest))

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
            self.ready.append(place)
        else:
            # Mostly the invocation that took the other port has recorded the skip; two
            # that decide at once may each have waited for the other.
            self._run(place)
            self._ended(place, None)

    def _ended(self, place: Place, record: NodeRecord | None) -> None:
        """Decides the edges out of a node that has ended; None when it was skipped."""
        node_id, path = place
        node = self.plan.by_id[node_id]
        self.last[place] = record
        loop = self.plan.loop_of.get(node_id)
        if loop and record is not None and record.port == "repeat":
            self._begin_round(loop.entries, path)
            return
        ended = self._ends_loop(node)
        for links in self.plan.outgoing[node_id].values():
            for link in links:
                if not self._leaves_loop(node, link):
                    self._decide(link, self._target_path(node, path, link), _taken(link, record))
        for depth in reversed(range(ended, len(node.scope))):
            self._leave(node, node.scope[depth], path)

    def _begin_round(self, entries: tuple[str, ...], path: str) -> None:
        *outer, current = path.split(".")
        following = path_of((*outer, int(current) + 1))
        for entry in entries:
            self.undecided[(entry, following)] = 0
            self.taken.add((entry, following))
            self.ready.append((entry, following))

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
