"""What runs need from the world: a store, and a way to reach the people watching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from joinery.events.make import Event
from joinery.runs.model import Address, Control, NodeKey, NodeRecord, RunRecord


class ClaimHeld(Exception):
    """Another invocation holds the node; `until` is in epoch seconds."""

    def __init__(self, until: float) -> None:
        super().__init__(f"claimed until {until}")
        self.until = until


class AlreadyTerminal(Exception):
    """The node has ended already; `record` says how."""

    def __init__(self, record: NodeRecord) -> None:
        super().__init__(record.status)
        self.record = record


class ClaimLost(Exception):
    """Another attempt has begun since: nothing that this one writes counts any more."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A stored piece of a stream."""

    key: NodeKey
    attempt: int
    stream: str
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """One strongly consistent read."""

    control: Control
    records: Mapping[Address, NodeRecord] = field(default_factory=dict)


class RunStore(Protocol):
    """Keeps runs. Every method is atomic; reads are strongly consistent.

    Methods that take events give them their `seq` and `head` and return them as
    stored: only then may they be shown to anyone.
    """

    def create_run(
        self,
        run: RunRecord,
        inputs: Mapping[str, Any],
        events: Sequence[Event],
        extra: Mapping[str, Any],
    ) -> tuple[RunRecord, list[Event]]:
        """Stores a new run, or returns the one that already has this id, with no events.

        `extra` is what else the run is pinned to, such as a cassette.
        """
        ...  # fmt: skip

    def get_run(self, run_id: str) -> RunRecord:
        """Returns a run. Raises: NotFound."""
        ...

    def inputs(self, run_id: str) -> Mapping[str, Any]:
        """Returns the inputs of a run."""
        ...

    def extra(self, run_id: str) -> Mapping[str, Any]:
        """Returns what `create_run` was given as `extra`."""
        ...

    def outputs(self, run_id: str) -> Mapping[str, Any] | None:
        """Returns the outputs of a completed run, else None."""
        ...

    def mark_started(self, run_id: str, execution_arn: str, at: float) -> None:
        """Notes the execution and moves `queued` to `running`."""
        ...

    def control(self, run_id: str) -> Control:
        """Returns the control item."""
        ...

    def request_cancel(self, run_id: str) -> None:
        """Raises the flag that running nodes see within a second."""
        ...

    def pause_run(self, run: RunRecord, event: Event) -> list[Event]:
        """Moves an open run to `paused` and raises the flag that nodes look at before they begin.

        Returns the stored event, or nothing when the run is paused or closed already,
        or has another incarnation than `run`.
        """
        ...

    def reopen_run(self, run: RunRecord, event: Event) -> list[Event]:
        """Begins the next incarnation of a run that is paused or has failed.

        Its status is `running`, without an execution; its flags are down. Returns the
        stored event, or nothing when the run is not any more as `run` says.
        """
        ...

    def reset_node(self, run_id: str, record: NodeRecord) -> None:
        """Lets a node that has ended be claimed again; one that has changed since is left."""
        ...

    def adopt(self, run_id: str, records: Sequence[NodeRecord]) -> None:
        """Stores terminal records of another run, results included; existing ones stay."""
        ...

    def delete_run(self, run_id: str) -> bool:
        """Deletes all that is stored of a run; False while some of it is left."""
        ...

    def load(self, run_id: str, addresses: Iterable[Address]) -> Loaded:
        """Reads the control item and records; what does not exist is left out.

        All records of an address with `every` are given each at its own exact address.
        """
        ...

    def result(self, run_id: str, record: NodeRecord) -> Mapping[str, Any]:
        """Returns the result of a record, fetching it where it is stored elsewhere."""
        ...

    def nodes(self, run_id: str) -> list[NodeRecord]:
        """Returns all node records of a run, by ordinal and path."""
        ...

    def claim(
        self, run_id: str, key: NodeKey, node_id: str, *, holder: str, now: float, until: float
    ) -> NodeRecord:
        """Begins an attempt. Raises: ClaimHeld, AlreadyTerminal."""
        ...

    def renew(self, run_id: str, key: NodeKey, attempt: int, until: float) -> None:
        """Extends a claim. Raises: ClaimLost."""
        ...

    def release(self, run_id: str, record: NodeRecord, events: Sequence[Event]) -> list[Event]:
        """Gives a claim back with what the attempt cost, so that another may begin.

        Raises: ClaimLost.
        """
        ...

    def finish(
        self,
        run_id: str,
        record: NodeRecord,
        events: Sequence[Event],
        skipped: Sequence[NodeRecord] = (),
        *,
        fenced: bool = True,
    ) -> list[Event]:
        """Stores a terminal record, the records it skips and the events as one transaction.

        `fenced` is False for a record that nobody claimed, such as a skip. A
        skipped record that exists already is left as it is.

        Raises: ClaimLost, AlreadyTerminal.
        """
        ...

    def append(self, run_id: str, events: Sequence[Event]) -> list[Event]:
        """Adds events to the log."""
        ...

    def events(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """Returns stored events above a seq, in order."""
        ...

    def put_text(self, run_id: str, piece: TextPiece) -> None:
        """Stores a piece of a stream."""
        ...

    def texts(self, run_id: str) -> list[TextPiece]:
        """Returns all stored pieces, by node, attempt, stream and offset."""
        ...

    def close_run(
        self,
        run: RunRecord,
        *,
        status: str,
        at: float,
        event: Event,
        outputs: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        usage: Mapping[str, Any] | None = None,
    ) -> list[Event]:
        """Ends a run once: status, outputs and event in one transaction.

        Returns the stored event, or nothing when the run was closed already.
        """
        ...


class Publisher(Protocol):
    """Reaches the people who watch a run. Never raises, never blocks for long."""

    def publish(self, run_id: str, messages: Sequence[Event]) -> None:
        """Sends messages in order to every subscriber."""
        ...

    def refresh(self, run_id: str, subs: int) -> bool:
        """Tells which version of the subscribers is current; True when there are new ones."""
        ...
