"""One node invocation: what the Task behind every state of a machine does.

Claim, run, record: the result, the node's status, the skips that it decides and
their events are one transaction, so a repeated invocation finds either nothing
or all of it, and calls no model again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from joinery.compiler.plan import WAITING_TYPES, Plan, PlanNode
from joinery.errors import (
    NodeError,
    PermanentInternal,
    TransientClaimed,
    TransientStore,
)
from joinery.events.make import Event
from joinery.events.streams import TextStreams
from joinery.nodes.base import Before, Meter, NodeContext, NodeResult
from joinery.nodes.registry import executor
from joinery.runs.child_end import abandon
from joinery.runs.dead_paths import after_skip, is_taken
from joinery.runs.deps import LEASE_S, Deps
from joinery.runs.end import close_completed
from joinery.runs.inbox import NodeInbox
from joinery.runs.invocation import Invocation, Waker
from joinery.runs.item_failure import raise_item_failure
from joinery.runs.joins import EMPTY
from joinery.runs.journal import Journal, calls_before, open_journal, started
from joinery.runs.late_guard import late_guard
from joinery.runs.lists import seen_records
from joinery.runs.model import (
    Address,
    NodeRecord,
    RunRecord,
    addresses_for,
    begins_round,
    item_paths,
)
from joinery.runs.outcome import again, crashed, fail, record_outcome
from joinery.runs.ports import AlreadyTerminal, ClaimHeld, JoinChanged
from joinery.runs.quorum import (
    blamed,
    keys_of,
    not_reached,
    open_join,
    over_by,
    raise_decided,
    refresh,
    stand_down,
    tries,
    visible,
    votes,
)
from joinery.runs.races import races_of
from joinery.runs.scope import build_scope
from joinery.runs.text_out import open_streams
from joinery.runs.tool_runs import ToolRuns
from joinery.runs.usage import used
from joinery.runs.waiting import attach, begin
from joinery.runs.watch import Watch
from joinery.workflow.graph import END, START

if TYPE_CHECKING:
    from joinery.runs.walk import Pace
    from joinery.tracing import Trace

log = logging.getLogger(__name__)


def run_task(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    head: str,
    path: str,
    *,
    deadline: float,
    quorum: Sequence[str] = (),
    token: str = "",
    failed: bool = False,
) -> dict[str, Any]:
    """Runs a node, with the nodes folded into its Task, and returns what the machine needs.

    Args:
        deps: Ports.
        plan: The plan that the run is pinned to.
        run: The run.
        head: The first node of the Task; `start` for the whole plan.
        path: Its loop rounds and item indexes.
        deadline: `time.monotonic()` at which this invocation ends.
        quorum: The joins whose decision the machine catches around the Task.
        token: What wakes the Task, where it waits for that and not for this invocation.
        failed: An execution of an item of this iterate node has failed: raise why.

    Returns:
        `{port, path}`: the port taken, and for a loop that repeats the next round's path.
        When the last of the nodes is an iterate node, also `items`: the path of each.

    Raises:
        NodeError: By its class name, what Retry and Catch of the state match on.
    """
    if failed:
        raise_item_failure(deps, plan, run, (head, path), quorum)
    # Nothing else is at work when a run ends, or where one invocation runs all of it.
    alone = head in (START, END)
    deps.publisher.begin(run.run_id, 1 if alone else plan.width)
    if head == START:
        from joinery.runs.interpreter import run_in_one

        run_in_one(deps, plan, run, deadline=deadline)
        return {"port": "", "path": ""}
    if head == END:
        close_completed(deps, plan, run)
        return {"port": "", "path": ""}
    waker = Waker(token, deps.clock(), tuple(quorum)) if token else None
    record = run_nodes(deps, plan, run, head, path, deadline=deadline, waker=waker)
    raise_decided(deps, plan, run, path, quorum)
    answer: dict[str, Any] = {"port": record.port, "path": record.next_path}
    if record.node_id in plan.iterate_of:
        answer["items"] = item_paths(record)
    if token and record.terminal and deps.children:
        deps.children.answer(token, answer)
    return answer


def run_nodes(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    head: str,
    path: str,
    *,
    deadline: float,
    waker: Waker | None = None,
) -> NodeRecord:
    """Runs a node, with the nodes folded into its Task, and returns the last one's record.

    Raises:
        NodeError: See `run_task`.
    """
    from joinery.runs.walk import walk_group

    return walk_group(deps, plan, run, head, path, deadline=deadline, waker=waker)


def run_node(
    deps: Deps,
    plan: Plan,
    run: RunRecord,
    node: PlanNode,
    path: str,
    *,
    deadline: float,
    loaded: dict[Address, NodeRecord],
    pace: Pace | None = None,
    waker: Waker | None = None,
) -> NodeRecord:
    """Runs one node and returns its record.

    Args:
        deps: Ports.
        plan: The plan.
        run: The run.
        node: The node.
        path: Its loop rounds and item indexes.
        deadline: `time.monotonic()` at which this invocation ends.
        loaded: Records that nodes before it in this invocation have read.
        pace: Whether the invocation can still hold it; None when it is alone there.
        waker: What wakes the Task, where it waits for that.

    Raises:
        NodeError: See `run_task`.
    """
    return _Runner(deps, plan, run, node, path, deadline, loaded, pace=pace, waker=waker).execute()


class _Runner(Invocation):
    """Runs the node of an invocation."""

    __slots__ = ()

    def execute(self) -> NodeRecord:
        wanted = addresses_for(self.plan, self.node, self.path)
        own = Address(self.key)
        read = self.deps.store.load(
            self.run_id,
            [own, *(address for address in wanted.values() if not self.knows(address))],
            joins=keys_of(self),
        )
        self.loaded.update(read.records)
        self.joins.update(read.joins)
        self.control, self.head = read.control, read.control.head
        record = self.loaded.get(own)
        if record is not None and record.terminal:
            if record.child:
                abandon(self.deps, record)
            return again(self, record)
        read.control.check()
        lost = over_by(self)
        if lost:
            ended = stand_down(self, lost)
            if record is not None and record.child:
                abandon(self.deps, record)
            return ended
        if record is not None and record.status == "waiting":
            return attach(self, record)
        if not self._alive():
            return self._skip()
        if self.pace is not None:
            self.pace.admit(self.node)
        try:
            record = self._claim()
        except AlreadyTerminal as ended:
            return again(self, ended.record)
        return self._attempt(record)

    # -- before ------------------------------------------------------------------------

    def _alive(self) -> bool:
        """Whether enough edges into the node were taken; its parents have all ended."""
        if begins_round(self.plan, self.node, self.path):
            return True
        if self.node.join:
            return open_join(self) != EMPTY
        wanted = addresses_for(self.plan, self.node, self.path)
        alive = False
        for link in self.node.incoming:
            if link.source == START:
                alive = True
                continue
            parent = self.loaded.get(wanted[link.source])
            if parent is None or not parent.terminal:
                raise PermanentInternal(
                    f"node '{self.node.id}' was started before '{link.source}' ended"
                )
            alive = alive or is_taken(link, parent)
        return alive

    def _skip(self) -> NodeRecord:
        now = self.deps.clock()
        record = NodeRecord(self.key, self.node.id, "skipped", ended_at=now)
        try:
            self.publish(self._store_skip(record, now))
        except AlreadyTerminal as ended:
            return ended.record
        return record

    def _store_skip(self, record: NodeRecord, now: float) -> list[Event]:
        for _ in tries():
            dead = after_skip(self.plan, self.node, self.path, self.find, self._blamed)
            skipped = self.skipped(dead, now)
            event = self.skip_event([record, *skipped])
            joins = votes(self, None, dead)
            try:
                return self.deps.store.finish(
                    self.run_id, record, [event], skipped, fenced=False, joins=joins
                )
            except JoinChanged:
                refresh(self)
        raise TransientStore(f"too many ends at once beside node '{self.node.id}'")

    def _blamed(self, join: PlanNode, path: str) -> bool:
        return blamed(self, None, join, path)

    def _claim(self) -> NodeRecord:
        now = self.deps.clock()
        try:
            return self.deps.store.claim(
                self.run_id,
                self.key,
                self.node.id,
                holder=uuid.uuid4().hex,
                now=now,
                until=now + LEASE_S,
            )
        except ClaimHeld as held:
            wait = max(0.0, held.until - now)
            raise TransientClaimed(
                f"node '{self.node.id}' is being run by another invocation",
                retry_after_s=round(wait, 1),
            ) from None

    # -- the attempt -------------------------------------------------------------------

    def _attempt(self, record: NodeRecord) -> NodeRecord:
        now = self.deps.clock()
        left = record.started_at + self.node.timeout_s - now
        if record.tries > self.node.attempts or left <= 0:
            return fail(self, record, crashed(self, record, left), {})
        missed = not_reached(self) or self._without_prices()
        if missed is not None:
            return fail(self, record, missed, {})
        meter = Meter()
        journal = open_journal(self.deps.store, self.run_id, self.node, record, meter)
        self.begin(record, started(self.node, record, journal))
        if self.node.type in WAITING_TYPES:
            return begin(self, record)
        races = races_of(self.plan)
        around = [races.key(join, self.path) for join in races.around.get(self.node.id, ())]
        watch = Watch(self.deps, self.run_id, record, self.control, around)
        streams = open_streams(self, record, watch, journal)
        watch.start(streams)
        result: NodeResult | NodeError
        trace = self.deps.tracer.attempt(self.run, self.node, self.path, record.attempt)
        try:
            context = self._context(record, streams, watch, meter, trace=trace, journal=journal)
            result = executor(self.node.type)(context)
        except NodeError as error:
            result = error
        except Exception as error:
            log.exception("node %s of run %s", self.node.id, self.run_id)
            result = PermanentInternal(f"{type(error).__name__} in node '{self.node.id}'")
        trace.end(result if isinstance(result, NodeError) else None)
        watch.stop()
        self.head = max(self.head, watch.head)
        summary: dict[str, Any] = {}
        try:
            summary = streams.close()
        except NodeError as error:
            result = error if isinstance(result, NodeResult) else result
        record = record.with_(usage=used(record.usage, meter, self.deps.prices()),
                              metered=record.attempt)  # fmt: skip
        return record_outcome(self, record, result, summary, watch)

    def _without_prices(self) -> NodeError | None:
        """Returns why nobody could say what the node cost; it is told before it costs something."""
        try:
            self.deps.prices()
        except NodeError as error:
            return error
        return None

    def _context(
        self,
        record: NodeRecord,
        streams: TextStreams,
        watch: Watch,
        meter: Meter,
        *,
        trace: Trace,
        journal: Journal | None,
    ) -> NodeContext:
        left = record.started_at + self.node.timeout_s - self.deps.clock()
        deadline = min(self.deadline, time.monotonic() + left)
        records = seen_records(self.plan, self.node, self.path, self.loaded)
        return NodeContext(
            plan=self.plan,
            node=self.node,
            path=self.path,
            attempt=record.attempt,
            meter=meter,
            scope=build_scope(
                self.deps.store, self.run, self.node, self.path, visible(self, records)
            ),
            streams=streams,
            models=self.deps.models,
            deadline=deadline,
            cancelled=watch.cancelled,
            emit=self.append,
            code=self.deps.code,
            tool_services=self.deps.tool_services,
            workflows=ToolRuns(self, record.attempt),
            calls_before=calls_before(record, journal),
            guard=late_guard(self, record, cancelled=watch.cancelled, deadline=deadline),
            calls=self.deps.calls,
            before=Before(record.error, self.said),
            trace=trace,
            inbox=NodeInbox(self),
            run_id=self.run_id,
            owner=self.run.owner,
            session_id=self.run.session_id,
            journal=journal,
            paused=watch.paused,
        )
