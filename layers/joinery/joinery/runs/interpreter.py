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

from joinery.compiler.plan import Plan, PlanNode, join_of
from joinery.errors import NodeError, RunCancelled, RunSuspended, Transient
from joinery.runs.dead_paths import is_taken
from joinery.runs.deps import Deps
from joinery.runs.end import close_completed, close_failed
from joinery.runs.items import Items
from joinery.runs.joins import JoinState, advance
from joinery.runs.model import (
    NodeKey,
    NodeRecord,
    RunRecord,
    common_depth,
    next_round,
    path_of,
)
from joinery.runs.patience import LOOK_S, Idle, await_person, nobody
from joinery.runs.races import races_of
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


def run_inline(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    *,
    sleep: Sleep = time.sleep,
    idle: Idle | None = None,
) -> None:
    """Runs a created run to its end, or to a pause; the store then says how it ended.

    A run that was resumed is walked again, and what has ended is not run again.

    Args:
        deps: Ports.
        plan: Its plan; folding is ignored, every node is a step of its own.
        run: The run, created and not started.
        sleep: Waits between attempts, in seconds.
        idle: Lets time pass while a node waits for a person; a tenth of a second by default.
    """
    deps.store.mark_started(run.run_id, "", deps.clock())
    run = deps.store.get_run(run.run_id)
    try:
        _Walk(deps, plan, run, sleep, idle or (lambda _run, _record: sleep(LOOK_S))).walk()
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
    _Walk(deps, plan, run, time.sleep, nobody, pace=Pace(deadline)).walk()
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
    idle: Idle
    undecided: dict[Place, int] = field(default_factory=dict)
    taken: set[Place] = field(default_factory=set)
    ready: deque[Place] = field(default_factory=deque)
    quorums: dict[NodeKey, JoinState] = field(default_factory=dict)
    last: dict[Place, NodeRecord | None] = field(default_factory=dict)
    items: Items = field(default_factory=Items)
    pace: Pace | None = None

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
                begun = self._begun()
                if len(begun) == 1 and not running:
                    self._came_to_end(begun[0], self._run(begun[0]))
                    continue
                for place in begun:
                    pool = pool or ThreadPoolExecutor(THREADS, "joinery-node")
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
                        self._stop_children(failure)
        finally:
            if pool:
                pool.shutdown()
        if failure is not None:
            raise failure

    def _stop_children(self, failure: NodeError) -> None:
        """Closes the failed run at once where nodes wait, which ends what they wait for."""
        if isinstance(failure, RunSuspended):
            return
        records = self.deps.store.nodes(self.run.run_id)
        if any(record.status == "waiting" for record in records):
            close_failed(self.deps, self.run, failure)

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
                record = run_nodes(
                    self.deps, _bare(self.plan), self.run, node_id, path, deadline=deadline
                )
                if record.wait is None or record.status != "waiting":
                    return record
                await_person(self.deps, self.run, record, self.idle)
            except Transient:
                self._pause(node.backoff_s * 2 ** (attempt - 1), place)
                attempt += 1

    def _pause(self, seconds: float, place: Place) -> None:
        lost = lambda: self._is_lost(place)  # noqa: E731 - it is one word
        pause(self.deps, self.run.run_id, seconds, self.sleep, enough=lost)

    # -- deciding edges ----------------------------------------------------------------

    def _entered(self, target: str, outer: tuple[str, ...]) -> str:
        """The path at which a node is reached from outside its loops: their first round."""
        scope = self.plan.by_id[target].scope
        return path_of((*outer, *["1"] * (len(scope) - len(outer))))

    def _decide(self, link: Link, path: str, taken: bool) -> None:
        """Notes that an edge into `link.target` at `path` is decided."""
        place = (link.target, path)
        node = self.plan.by_id[link.target]
        if node.join:
            self._vote(node, path, link, taken)
            return
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
        self._rest(place)

    def _begun(self) -> list[Place]:
        """Returns what is to be run now; what a decided join has no need of comes to rest."""
        begun: list[Place] = []
        while self.ready:
            place = self.ready.popleft()
            if self._is_lost(place):
                self._rest(place)
            else:
                begun.append(place)
        return begun

    def _rest(self, place: Place) -> None:
        """Goes on behind the items that a node was the last of."""
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

    # -- joins that do not wait for all --------------------------------------------------

    def _vote(self, join: PlanNode, path: str, link: Link, taken: bool) -> None:
        """Notes an edge into a join; it runs, once, as soon as that decides it."""
        key = races_of(self.plan).key(join, path)
        before = self._state(join, key)
        place = [join.incoming.index(link)]
        self._change(join, before, taken=place if taken else [], dead=[] if taken else place)

    def _blame(self, node: PlanNode, path: str) -> None:
        """Notes a failure that is left to a join."""
        join = join_of(self.plan, node)
        if join is not None:
            state = self._state(join, races_of(self.plan).key(join, path))
            self._change(join, state, failed=[(node.id, path)])

    def _state(self, join: PlanNode, key: NodeKey) -> JoinState:
        return self.quorums.get(key) or JoinState(key)

    def _change(self, join: PlanNode, before: JoinState, **changes: Any) -> None:
        after = advance(before, join.join, len(join.incoming), **changes)
        self.quorums[before.key] = after
        if after.outcome and not before.outcome:
            self._make_ready((join.id, after.key.path))

    def _is_lost(self, place: Place) -> bool:
        """Whether a node is in the region of a join that is decided."""
        node_id, path = place
        races = races_of(self.plan)
        return any(
            self._state(join, races.key(join, path)).over for join in races.around.get(node_id, ())
        )

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
        if self._is_lost(place):
            return  # whatever it leads to is the join's, which has stopped it
        if record is not None and record.contained:
            self._blame(node, path)
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
