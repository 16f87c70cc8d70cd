"""What runs need from the world: a store, and a way to reach the people watching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from joinery.events.make import Event
from joinery.runs.closing_ports import ClosingStore
from joinery.runs.joins import JoinState
from joinery.runs.model import Address, Control, NodeKey, NodeRecord, RunRecord
from joinery.runs.wait_ports import ChildRuns, InboxStore, TaskToken, Waits, WaitStore

if TYPE_CHECKING:
    from joinery.runs.ledger import Ledgers

__all__ = [
    "AlreadyTerminal", "ChildRuns", "ClaimHeld", "ClaimLost", "JoinChanged", "Loaded", "Publisher",
    "RunStore", "TaskToken", "TextPiece", "Waits",
]  # fmt: skip


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


class JoinChanged(Exception):
    """A join's state is not the one that a change was computed from: read it and compute again."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A stored piece of a stream."""

    key: NodeKey
    attempt: int
    stream: str
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What an attempt noted before it went on.

    Attributes:
        value: JSON-ready data.
        attempt: The attempt that noted it.
    """

    value: Mapping[str, Any]
    attempt: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """One strongly consistent read."""

    control: Control
    records: Mapping[Address, NodeRecord] = field(default_factory=dict)
    joins: Mapping[NodeKey, JoinState] = field(default_factory=dict)


class RunStore(WaitStore, InboxStore, ClosingStore, Protocol):
    """Keeps runs. Every method is atomic; reads are strongly consistent.

    Methods that take events give them their `seq` and `head` and return them as
    stored: only then may they be shown to anyone.
    """

    @property
    def ledgers(self) -> Ledgers:
        """What budgets and breakers count, and what sessions used."""
        ...

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

    def suspend_run(
        self, run: RunRecord, event: Event, error: Mapping[str, Any], *, ledger: bool
    ) -> list[Event]:
        """Moves an open run to `suspended`, once, and raises the flag as a pause does.

        With `ledger`, no call of this incarnation is held any more from that moment on.
        Returns the stored event, or nothing when the run is paused, suspended or closed
        already, or has another incarnation than `run`.
        """
        ...

    def reopen_run(
        self, run: RunRecord, event: Event, *before: Event, at: float = 0.0
    ) -> list[Event]:
        """Begins the next incarnation of a run that is paused, suspended or has failed.

        Its status is `running`, without an execution; its flags are down; `at` is when.
        Returns the stored events, those of `before` first, or nothing when the run is not
        any more as `run` says.
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

    def load(
        self, run_id: str, addresses: Iterable[Address], joins: Iterable[NodeKey] = ()
    ) -> Loaded:
        """Reads the control item, records and joins; what does not exist is left out.

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

    def release(
        self, run_id: str, record: NodeRecord, events: Sequence[Event], *, was: str | None = None
    ) -> list[Event]:
        """Gives a claim back with what the attempt cost, so that another may begin.

        A record that is `waiting` waits for whoever finishes it. With `was`, the
        stored record must have that status.

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
        joins: Sequence[JoinState] = (),
    ) -> list[Event]:
        """Stores a terminal record, the records it skips and the events as one transaction.

        `fenced` is False for a record that nobody claimed, such as a skip. A
        skipped record that exists already is left as it is. `joins` are states as they
        were loaded, with changes: they are stored under the version that follows.

        Raises: ClaimLost, AlreadyTerminal, JoinChanged.
        """
        ...

    def cancel_nodes(self, run_id: str, records: Sequence[NodeRecord], event: Event) -> list[Event]:
        """Records nodes as cancelled that have not ended; the others stay as they are.

        The event, a `nodes.cancelled` without rows, comes to tell of those that it
        changed; where they do not fit into one transaction, there are several. Of a
        node that was begun, attempts, times and usage stay.
        """
        ...

    def settle(self, run_id: str, record: NodeRecord, events: Sequence[Event]) -> list[Event]:
        """Adds to a cancelled node what its last attempt had used by its end.

        Returns nothing when it was not that attempt that was cancelled.
        """
        ...

    def append(
        self, run_id: str, events: Sequence[Event], *, begins: NodeRecord | None = None
    ) -> list[Event]:
        """Adds events to the log.

        Those with which an attempt `begins` are refused in a run that is not to go on;
        and once the attempt was overtaken, where that is noticed.

        Raises: RunCancelled, RunSuspended, ClaimLost (with `begins`).
        """
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

    def texts_of(self, run_id: str, key: NodeKey, attempt: int) -> list[TextPiece]:
        """Returns the stored pieces of one attempt, by stream and offset."""
        ...

    def put_journal(
        self, run_id: str, key: NodeKey, entry_id: str, value: Mapping[str, Any], attempt: int
    ) -> None:
        """Notes what an attempt has done, so that no later one does it again.

        Args:
            run_id: The run.
            key: The node.
            entry_id: Names the entry in this node and path: digits, letters and `.`;
                entries are in its order. The same once more replaces it.
            value: JSON-ready data of any size.
            attempt: The attempt that notes it.

        Raises:
            ClaimLost: The attempt is not the node's last any more.
        """
        ...

    def journal(self, run_id: str, key: NodeKey) -> dict[str, JournalEntry]:
        """Returns what the attempts of a node have noted, by entry, in order."""
        ...

    def put_whole(self, run_id: str, name: str, text: str) -> None:
        """Stores a text of any size under a name, in parts: never all of it in another form.

        It is deleted with its run. `name` has digits, letters and `.` only.
        """
        ...

    def read_whole(self, run_id: str, name: str, start: int, stop: int) -> str:
        """Returns the code points from `start` to `stop` of a stored text, fewer at its end.

        Raises:
            NotFound: There is no such text.
        """
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

        What it used more than when it was closed before is added to its session, unless
        it is a child run, which the run around it counts.

        Returns the stored event, or nothing when the run was closed already.
        """
        ...


class Publisher(Protocol):
    """Reaches the people who watch a run. Never raises, never blocks for long."""

    def begin(self, run_id: str, width: int) -> None:
        """Tells that a node of a run begins, and how many may be at work at once."""
        ...

    def interval(self, run_id: str) -> float:
        """Returns how many seconds one message to everybody takes of what a node may post."""
        ...

    def publish(self, run_id: str, messages: Sequence[Event]) -> None:
        """Sends messages in order to every subscriber."""
        ...

    def refresh(self, run_id: str, subs: int) -> bool:
        """Tells which version of the subscribers is current; True when there are new ones."""
        ...
