"""The state of a run as its events tell it; knows nothing of drawing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from joinery.client import EventCursor, Transcript
from joinery.events.make import Event
from joinery_cli.live.tools import AGENT_EVENTS, Rounds
from joinery_cli.live.words import trouble
from joinery_cli.output import clean

FINAL: Final = {
    "run.completed": "completed",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
    "run.timed_out": "timed_out",
}
SPEAKING: Final = frozenset({"agent", "llm"})
"""Node types whose text comes from a model."""

_ENDS: Final = frozenset({"input.received", "node.completed", "node.failed", "node.started"})
"""What says that a node does not wait for its answer any more."""

_USAGE: Final = ("input_tokens", "output_tokens", "model_calls")


@dataclass(slots=True)
class Visit:
    """One node at one path. Times are epoch seconds, 0 when not reached.

    `status` is a node's status, or `retrying` between two attempts; `child` names the
    child run of a `workflow` node; `said` is what is told of the last event beside its status.
    """

    node_id: str
    path: str = ""
    status: str = "pending"
    attempt: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    error: str = ""
    note: str = ""
    child: str = ""
    name: str = ""
    rounds: Rounds = field(default_factory=Rounds)
    said: str = ""

    @property
    def title(self) -> str:
        """What a person calls the node: its name, or its id where it has none."""
        return self.name or self.node_id

    def seconds(self, now: float) -> float:
        """Returns how long it has taken so far."""
        if not self.started_at:
            return 0.0
        return max(0.0, (self.ended_at or now) - self.started_at)


@dataclass(slots=True)
class NodeView:
    """A node of the graph; `visit` is its newest round."""

    node_id: str
    type: str
    loops: tuple[str, ...]
    parents: tuple[str, ...]
    visit: Visit
    name: str = ""

    @property
    def title(self) -> str:
        """What a person calls it: its name, or its id where it has none."""
        return self.name or self.node_id


@dataclass(slots=True)
class RunState:
    """A run, by what has been heard of it.

    Attributes:
        run_id: Its id.
        name: Name of its workflow.
        status: Its status.
        nodes: The nodes of the graph in topological order.
        visits: Every node at every path that was heard of.
        rounds: `(round, max_rounds)` of each loop.
        transcript: The text.
        usage: Tokens and model calls of the nodes that have ended.
        error: Why it failed.
        asked: What is asked, by the node and the path of the question; the answered are gone.
        started_at: Epoch seconds of `run.started`.
        ended_at: Epoch seconds of the end.
        first_text_at: `time.monotonic()` at which a model's first text was here.
    """

    run_id: str = ""
    name: str = ""
    status: str = "queued"
    nodes: dict[str, NodeView] = field(default_factory=dict)
    visits: dict[tuple[str, str], Visit] = field(default_factory=dict)
    rounds: dict[str, tuple[int, int]] = field(default_factory=dict)
    transcript: Transcript = field(default_factory=Transcript)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_USAGE, 0))
    error: Mapping[str, Any] = field(default_factory=dict)
    asked: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    started_at: float = 0.0
    ended_at: float = 0.0
    first_text_at: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _cursor: EventCursor = field(default_factory=EventCursor)
    _spent: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return bool(self.ended_at)

    @property
    def head(self) -> int:
        """Highest seq heard of."""
        return self._cursor.head

    def apply(self, message: Event) -> list[Event]:
        """Takes a message in whatever order they come; returns the events it made known."""
        if message["event"] in ("text.delta", "client.gap"):
            self._text(message)
            return []
        if "seq" not in message:
            return []
        events = self._cursor.offer(message)
        for event in events:
            self._event(event)
        return events

    @property
    def waits(self) -> bool:
        """Whether somebody is asked something, and nothing else is under way."""
        if self.ended or self.status in ("paused", "suspended") or not self.asked:
            return False
        return all((visit.node_id, visit.path) in self.asked for visit in self.running())

    def running(self) -> list[Visit]:
        """Returns the visits that are under way, in the order of the graph."""
        order = {node_id: place for place, node_id in enumerate(self.nodes)}
        found = [v for v in self.visits.values() if v.status in ("running", "retrying", "waiting")]
        return sorted(found, key=lambda v: (order.get(v.node_id, 0), v.path))

    def finished(self) -> list[Visit]:
        """Returns the visits of speaking nodes that have ended, oldest first."""
        found = [
            v
            for v in self.visits.values()
            if v.ended_at and v.status != "skipped" and self.speaks(v.node_id)
        ]
        return sorted(found, key=lambda v: v.ended_at)

    def title(self, node_id: str) -> str:
        """Returns what a person calls a node."""
        node = self.nodes.get(node_id)
        return node.title if node else node_id

    def speaks(self, node_id: str) -> bool:
        """Whether a node's text comes from a model."""
        node = self.nodes.get(node_id)
        return node is not None and node.type in SPEAKING

    # -- text --------------------------------------------------------------------------

    def _text(self, message: Event) -> None:
        news = self.transcript.apply(message)
        # A delta may overtake run.started, so an unknown node may well speak.
        speaks = self.speaks(message["node_id"]) or not self.nodes
        if news and speaks and not self.first_text_at:
            self.first_text_at = self.clock()

    # -- events ------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        name, data, at = event["event"], event.get("data") or {}, epoch(event["timestamp"])
        self.transcript.apply(event)
        if name == "run.started":
            self._started(event, data, at)
        elif name in FINAL:
            self._over(FINAL[name], data, at)
        elif name == "run.paused":
            self.status = "paused"
        elif name in ("budget.exceeded", "breaker.tripped"):
            self.status, self.error = "suspended", {"message": data["message"]}
        elif name == "run.resumed":
            self._resumed(data)
        elif name in ("nodes.reused", "nodes.skipped", "nodes.cancelled"):
            self._several(name, data, at)
        elif name == "loop.round":
            self._round(event, data)
        elif name == "input.requested":
            self._asks(self._visit(event["node_id"], event["path"]), data)
        elif "node_id" in event:
            if name in _ENDS:
                self.asked.pop((event["node_id"], event["path"]), None)
            self._node(name, self._visit(event["node_id"], event["path"]), data, at)

    def _asks(self, visit: Visit, data: Mapping[str, Any]) -> None:
        visit.status, visit.note = "waiting", "waits for an answer"
        self.asked[visit.node_id, visit.path] = data

    def _started(self, event: Event, data: Mapping[str, Any], at: float) -> None:
        self.run_id, self.status, self.started_at = event["run_id"], "running", at
        self.name = str(data.get("workflow", {}).get("name", ""))
        parents: dict[str, list[str]] = {}
        for source, _, target in data.get("edges", ()):
            parents.setdefault(target, []).append(source)
        for row in data.get("nodes", ()):
            node_id = row["node_id"]
            name = " ".join(clean(str(row.get("name", ""))).split())
            self.nodes[node_id] = NodeView(
                node_id,
                row["type"],
                tuple(row.get("loops", ())),
                tuple(dict.fromkeys(p for p in parents.get(node_id, ()) if p != "start")),
                Visit(node_id, name=name),
                name,
            )
        for loop, _, max_rounds in data.get("loops", ()):
            self.rounds[loop] = (1, max_rounds)

    def _resumed(self, data: Mapping[str, Any]) -> None:
        """What had failed is to come again; the run is not over after all."""
        self.status, self.ended_at, self.error = "running", 0.0, {}
        if data.get("after") != "paused":
            self.asked.clear()
        for row in data["nodes"]:
            visit = self._visit(row["node_id"], row["path"])
            visit.status, visit.error, visit.started_at, visit.ended_at = "pending", "", 0.0, 0.0

    def _visit(self, node_id: str, path: str) -> Visit:
        visit = self.visits.get((node_id, path))
        if visit is None:
            visit = self.visits[node_id, path] = Visit(node_id, path)
        node = self.nodes.get(node_id)
        if node:
            visit.name = node.name
        if node and path_key(path) >= path_key(node.visit.path):
            node.visit = visit
        return visit

    def _round(self, event: Event, data: Mapping[str, Any]) -> None:
        """A new round begins: every node of the loop is to come again."""
        loop, path = event["node_id"], data["path"]
        self.rounds[loop] = (int(data["round"]), int(data["max_rounds"]))
        depth = path.count(".") + 1
        for node in self.nodes.values():
            if loop in node.loops:
                inner = ["0" if self._iterates(below) else "1" for below in node.loops[depth:]]
                node.visit = Visit(node.node_id, ".".join([path, *inner]))
                for below in node.loops[depth:]:
                    self.rounds[below] = (1, self.rounds.get(below, (1, 1))[1])

    def _iterates(self, node_id: str) -> bool:
        """Whether a node's path parts are indexes of items, which begin with 0."""
        node = self.nodes.get(node_id)
        return node is not None and node.type == "iterate"

    def _several(self, name: str, data: Mapping[str, Any], at: float) -> None:
        """Takes an event that tells of several nodes."""
        for row in data["nodes"]:
            visit = self._visit(row["node_id"], row["path"])
            if name == "nodes.cancelled":
                self.asked.pop((visit.node_id, visit.path), None)
                self._cancelled(visit, data["join"], at)
            else:
                visit.status = row.get("status", "skipped")

    @staticmethod
    def _cancelled(visit: Visit, join: str, at: float) -> None:
        """A join needs a node no more."""
        visit.status, visit.error, visit.note = "cancelled", "", f"{join} was decided without it"
        if visit.started_at:
            visit.ended_at = at

    def _node(self, name: str, visit: Visit, data: Mapping[str, Any], at: float) -> None:
        match name:
            case "node.started":
                visit.status, visit.attempt = "running", int(data.get("attempt", 1))
                visit.started_at = visit.started_at or at
                visit.error = ""
            case "node.completed":
                visit.status, visit.ended_at = "completed", at
                visit.attempt = int(data.get("attempt", visit.attempt))
                visit.note = str(data.get("reason") or data.get("port") or visit.child)
                if "items" in data:
                    visit.note = "1 item" if data["items"] == 1 else f"{data['items']} items"
            case "node.failed":
                visit.status, visit.ended_at = "failed", at
                visit.started_at = visit.started_at or at
                visit.error = str(data.get("error", {}).get("message", ""))
                policy = data.get("on_error", "fail")
                how = "without it" if policy == "contained" else f"({policy})"
                visit.note = "" if policy == "fail" else f"the run goes on {how}"
            case "node.retrying":
                visit.status = "retrying"
                visit.error = str(data.get("error", {}).get("message", ""))
            case "child.started":
                visit.status, visit.child = "waiting", data["child_run_id"]
                visit.note = visit.child
            case "usage.recorded":
                self._spent[visit.node_id, visit.path] = data
                for key in _USAGE:
                    self.usage[key] = sum(int(spent.get(key, 0)) for spent in self._spent.values())
            case name if name in AGENT_EVENTS:
                visit.said = visit.rounds.hear(name, data)
            case "input.cut":
                kept, total = data.get("kept_chars", 0), data.get("total_chars", 0)
                visit.said = visit.note = f"input cut to {kept:,} of {total:,} characters"
            case _:
                visit.note = trouble(name, data) or visit.note

    def _over(self, status: str, data: Mapping[str, Any], at: float) -> None:
        self.status, self.ended_at = status, at
        self.asked.clear()
        self.error = data.get("error") or {}
        for key in _USAGE:
            self.usage[key] = int((data.get("usage") or {}).get(key, self.usage[key]))
        for visit in self.visits.values():
            if visit.status in ("running", "retrying", "waiting"):
                visit.status = "cancelled" if status == "cancelled" else "failed"
                visit.ended_at = at


def epoch(text: str) -> float:
    """Returns the epoch seconds of an RFC 3339 timestamp."""
    return datetime.fromisoformat(text).timestamp()


def path_key(path: str) -> tuple[int, ...]:
    """Returns loop rounds and item indexes as numbers, so that they sort."""
    return tuple(int(part) for part in path.split(".")) if path else ()
