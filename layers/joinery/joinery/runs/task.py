"""One node invocation: what the Task behind every state of a machine does.

Claim, run, record: the result, the node's status, the skips that it decides and
their events are one transaction, so a repeated invocation finds either nothing
or all of it, and calls no model again.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joinery.compiler.plan import Plan, PlanNode
from joinery.errors import (
    NodeError,
    PermanentInternal,
    RunCancelled,
    RunSuspended,
    TransientClaimed,
)
from joinery.events.streams import TextStreams
from joinery.nodes.base import Meter, NodeContext, NodeResult
from joinery.nodes.registry import executor
from joinery.runs.dead_paths import after_skip, is_taken
from joinery.runs.deps import LEASE_S, Deps
from joinery.runs.end import close_completed
from joinery.runs.invocation import Invocation
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
from joinery.runs.ports import AlreadyTerminal, ClaimHeld, TextPiece
from joinery.runs.scope import build_scope
from joinery.runs.watch import Watch
from joinery.workflow.graph import END, START

if TYPE_CHECKING:
    from joinery.runs.walk import Pace

log = logging.getLogger(__name__)


def run_task(
    deps: Deps, plan: Plan, run: RunRecord, head: str, path: str, *, deadline: float
) -> dict[str, Any]:
    """Runs a node, with the nodes folded into its Task, and returns what the machine needs.

    Args:
        deps: Ports.
        plan: The plan that the run is pinned to.
        run: The run.
        head: The first node of the Task; `start` for the whole plan.
        path: Its loop rounds and item indexes.
        deadline: `time.monotonic()` at which this invocation ends.

    Returns:
        `{port, path}`: the port taken, and for a loop that repeats the next round's path.
        When the last of the nodes is an iterate node, also `items`: the path of each.

    Raises:
        NodeError: By its class name, what Retry and Catch of the state match on.
    """
    if head == START:
        from joinery.runs.interpreter import run_in_one

        run_in_one(deps, plan, run, deadline=deadline)
        return {"port": "", "path": ""}
    if head == END:
        close_completed(deps, plan, run)
        return {"port": "", "path": ""}
    record = run_nodes(deps, plan, run, head, path, deadline=deadline)
    answer: dict[str, Any] = {"port": record.port, "path": record.next_path}
    if record.node_id in plan.iterate_of:
        answer["items"] = item_paths(record)
    return answer


def run_nodes(
    deps: Deps, plan: Plan, run: RunRecord, head: str, path: str, *, deadline: float
) -> NodeRecord:
    """Runs a node, with the nodes folded into its Task, and returns the last one's record.

    Raises:
        NodeError: See `run_task`.
    """
    from joinery.runs.walk import walk_group

    return walk_group(deps, plan, run, head, path, deadline=deadline)


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

    Raises:
        NodeError: See `run_task`.
    """
    return _Runner(deps, plan, run, node, path, deadline, loaded, pace=pace).execute()


class _Runner(Invocation):
    """Runs the node of an invocation."""

    __slots__ = ()

    def execute(self) -> NodeRecord:
        wanted = addresses_for(self.plan, self.node, self.path)
        own = Address(self.key)
        read = self.deps.store.load(
            self.run_id,
            [own, *(address for address in wanted.values() if not self.knows(address))],
        )
        self.loaded.update(read.records)
        self.control, self.head = read.control, read.control.head
        record = self.loaded.get(own)
        if record is not None and record.terminal:
            return again(self, record)
        if read.control.cancel:
            raise RunCancelled("the run was cancelled")
        if read.control.pause:
            raise RunSuspended("the run is paused")
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
        """Whether an edge into the node was taken; its parents have all ended."""
        if begins_round(self.plan, self.node, self.path):
            return True
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
        dead = after_skip(self.plan, self.node, self.path, self.find)
        skipped = self.skipped(dead, now)
        event = self.skip_event([record, *skipped])
        try:
            stored = self.deps.store.finish(self.run_id, record, [event], skipped, fenced=False)
        except AlreadyTerminal as ended:
            return ended.record
        self.publish(stored)
        return record

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
        self.append("node.started", {"attempt": record.attempt, "type": self.node.type})
        watch = Watch(self.deps, self.run_id, record, self.control)
        streams = self._streams(record, watch)
        watch.start(streams)
        meter = Meter()
        result: NodeResult | NodeError
        try:
            context = self._context(record, streams, watch, meter)
            result = executor(self.node.type)(context)
        except NodeError as error:
            result = error
        except Exception as error:
            log.exception("node %s of run %s", self.node.id, self.run_id)
            result = PermanentInternal(f"{type(error).__name__} in node '{self.node.id}'")
        watch.stop()
        self.head = max(self.head, watch.head)
        summary: dict[str, Any] = {}
        try:
            summary = streams.close()
        except NodeError as error:
            result = error if isinstance(result, NodeResult) else result
        record = record.with_(usage=_spend(record.usage, meter))
        return record_outcome(self, record, result, summary, watch)

    def _streams(self, record: NodeRecord, watch: Watch) -> TextStreams:
        from joinery.events.make import make_delta

        def post(stream: str, offset: int, text: str) -> None:
            delta = make_delta(
                self.run_id,
                at=self.deps.clock(),
                head=max(watch.head, self.head),
                node_id=self.node.id,
                path=self.path,
                attempt=record.attempt,
                stream=stream,
                offset=offset,
                text=text,
            )
            self.deps.publisher.publish(self.run_id, [delta])

        def store(stream: str, offset: int, text: str) -> None:
            piece = TextPiece(self.key, record.attempt, stream, offset, text)
            self.deps.store.put_text(self.run_id, piece)

        # A template's text is there at once: no thread is worth its start.
        background = self.deps.background and self.node.type in {"agent", "llm"}
        return TextStreams(
            post,
            store,
            background=background,
            delta_s=self.deps.delta_s,
            durable_s=self.deps.durable_s,
        )

    def _context(
        self,
        record: NodeRecord,
        streams: TextStreams,
        watch: Watch,
        meter: Meter,
    ) -> NodeContext:
        left = record.started_at + self.node.timeout_s - self.deps.clock()
        records = seen_records(self.plan, self.node, self.path, self.loaded)
        return NodeContext(
            plan=self.plan,
            node=self.node,
            path=self.path,
            attempt=record.attempt,
            meter=meter,
            scope=build_scope(self.deps.store, self.run, self.node, self.path, records),
            streams=streams,
            models=self.deps.models,
            deadline=min(self.deadline, time.monotonic() + left),
            cancelled=watch.cancelled,
            emit=self.append,
        )


def _spend(before: Mapping[str, Any], meter: Meter) -> dict[str, Any]:
    """Returns a node's usage with an attempt's added; empty where no model is called."""
    if not before and not meter.model_calls:
        return {}
    return {
        "input_tokens": int(before.get("input_tokens", 0)) + meter.usage.input_tokens,
        "output_tokens": int(before.get("output_tokens", 0)) + meter.usage.output_tokens,
        "model_calls": int(before.get("model_calls", 0)) + meter.model_calls,
        "estimated": bool(before.get("estimated", False)) or meter.usage.estimated,
    }
