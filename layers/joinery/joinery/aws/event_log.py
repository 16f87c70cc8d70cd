"""The log of a run: numbers from the control item, an item an event.

A number is drawn before its event is stored, so a writer that dies between the
two leaves a hole. A replay that meets one fills it with `void`; a writer that is
only slow then finds its number taken and draws another.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, takewhile
from typing import Any, Final

from joinery.aws.conditions import Parameters, absent, goes_on, present, unended, updating
from joinery.aws.documents import Documents
from joinery.aws.errors import ConditionFailed, Reason
from joinery.aws.items import (
    CTRL,
    SEQ_MAX,
    Attribute,
    Item,
    boolean,
    event_sk,
    key,
    live,
    node_sk,
    number,
    run_pk,
    string,
)
from joinery.aws.records import control_of, node_record
from joinery.aws.table import Table, values
from joinery.errors import JoineryError, NotFound, TransientStore
from joinery.events.make import Event, make_event
from joinery.runs.model import Control, NodeRecord
from joinery.runs.ports import ClaimLost

log = logging.getLogger(__name__)

APPEND_TRIES: Final = 5
"""Each try takes new numbers; a number is taken only from a writer slower than a replay."""

EVENT_INLINE_BYTES: Final = 256 * 1024
"""An event that no socket could carry anyway goes to the bucket, not past an item's limit."""

_RUNS_SEEN: Final = 64


class EventLog:
    """Appends to and reads the logs of runs.

    Args:
        table: The state table.
        documents: Where very large events go.
        retention_s: How long events and texts are kept after they were stored; None
            is for ever.
        clock: Epoch seconds.
    """

    def __init__(
        self,
        table: Table,
        documents: Documents,
        *,
        retention_s: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._table, self._documents = table, documents
        self._retention_s, self._clock = retention_s, clock
        self._subs: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    # -- the control item ----------------------------------------------------------------

    def note(self, run_id: str, item: Mapping[str, Any]) -> Control:
        """Returns what a control item says, and remembers its version of the subscribers."""
        control = control_of(item)
        with self._lock:
            self._subs[run_id] = control.subs
            self._subs.move_to_end(run_id)
            while len(self._subs) > _RUNS_SEEN:
                self._subs.popitem(last=False)
        return control

    def subs_seen(self, run_id: str) -> int | None:
        """Returns the version of the subscribers that was last read, None if never."""
        with self._lock:
            return self._subs.get(run_id)

    def control(self, run_id: str) -> Control:
        """Returns the control item. Raises: NotFound."""
        item = self._table.get(key(run_pk(run_id), CTRL))
        if item is None:
            raise NotFound(f"no run {run_id}")
        return self.note(run_id, item)

    def request_cancel(self, run_id: str) -> None:
        """Raises the flag that running nodes look at. Raises: NotFound."""
        self._change(run_id, "SET cancel = :yes", yes=boolean(True))

    def subscribers_changed(self, run_id: str) -> int:
        """Lets running nodes see that somebody came or went; returns how often that was.

        Raises: NotFound.
        """
        return self._change(run_id, "ADD subs :one", one=number(1)).subs

    def _change(
        self, run_id: str, update: str, *, only: Parameters | None = None, **values: Attribute
    ) -> Control:
        try:
            # ALL_NEW costs nothing more and brings the subscribers' version with it.
            item = self._table.update(
                key(run_pk(run_id), CTRL),
                **updating(only or present(), update, **values),
                ReturnValues="ALL_NEW",
            )
        except ConditionFailed as failed:
            if failed.item is not None:
                self.note(run_id, failed.item).check(last=True)
            raise NotFound(f"no run {run_id}") from None
        return self.note(run_id, item)

    def draw(
        self, run_id: str, count: int, *, going_on: bool = False, of_run: bool = False
    ) -> list[int]:
        """Takes the next numbers of a log.

        The SDK may repeat a call that was done: that leaves a hole, no double number.

        Args:
            run_id: The run.
            count: How many.
            going_on: Only where the run is to go on.
            of_run: For what ends a run or begins it again, which may follow its end:
                what nodes say may not.

        Raises:
            NotFound: There is no such run.
            RunCancelled, RunSuspended: It has ended, or is not to go on.
        """
        if not count:
            return []
        only = present() if of_run else goes_on() if going_on else unended()
        change = self._change(run_id, "ADD seq :count", only=only, count=number(count))
        return list(range(change.head - count + 1, change.head + 1))

    # -- writing -----------------------------------------------------------------------

    def append(
        self, run_id: str, events: Sequence[Event], *, begins: NodeRecord | None
    ) -> list[Event]:
        """See `RunStore.append`: stores events in order and returns them with their numbers."""
        stored: list[Event] = []
        for _ in range(APPEND_TRIES):
            left = events[len(stored) :]
            seqs = self.draw(run_id, len(left), going_on=begins is not None)
            done = self._put_in_order(run_id, stamped(left, seqs))
            stored += done
            if len(done) == len(left):
                return stored
            # Order is kept: what follows a taken number gets a new one too.
            self.void(run_id, seqs[len(done) + 1 :])
            if begins is not None:
                self._check_claim(run_id, begins)
        raise TransientStore("numbers of the event log kept being taken")

    def _check_claim(self, run_id: str, record: NodeRecord) -> None:
        """Refuses the beginning of an attempt that was slow, once another has begun since.

        Raises:
            ClaimLost: Another has.
        """
        item = self._table.get(key(run_pk(run_id), node_sk(record.key)))
        held = node_record(item) if item else record
        if held.terminal or held.attempt != record.attempt:
            raise ClaimLost

    def _put_in_order(self, run_id: str, events: Sequence[Event]) -> list[Event]:
        return list(takewhile(lambda event: self._put(run_id, event), events))

    def _put(self, run_id: str, event: Event) -> bool:
        item = self.item(run_id, event)
        try:
            self._table.put(item, **absent())
        except ConditionFailed as failed:
            return same_event(failed.item, item)
        return True

    def puts(self, run_id: str, events: Sequence[Event]) -> list[dict[str, Any]]:
        """Returns the actions of a transaction that store numbered events."""
        return [{"Put": {"Item": self.item(run_id, event), **absent()}} for event in events]

    def item(self, run_id: str, event: Event) -> Item:
        """Returns an event as an item; a very large one is in the bucket afterwards."""
        return {
            **key(run_pk(run_id), event_sk(event["seq"])),
            **self._documents.attributes(
                "event", event, f"runs/{run_id}", inline=EVENT_INLINE_BYTES
            ),
            **self.expiry(),
        }

    def expiry(self) -> dict[str, Attribute]:
        """Returns the `ttl` of an item that is stored now, nothing where all is kept."""
        if self._retention_s is None:
            return {}
        return {"ttl": number(int(self._clock() + self._retention_s))}

    def put_void(self, run_id: str, seq: int) -> bool:
        """Fills a hole of the log; returns whether it was still open."""
        event = make_event("void", run_id, {}, at=self._clock())
        return self._put(run_id, {**event, "seq": seq, "head": seq})

    def void(self, run_id: str, seqs: Iterable[int]) -> None:
        """Fills numbers that nothing will be stored under; best effort, replays do the rest."""
        for seq in seqs:
            try:
                self.put_void(run_id, seq)
            except JoineryError as error:
                log.warning("event %d of run %s stays open: %s", seq, run_id, error)

    # -- reading -----------------------------------------------------------------------

    def read(self, run_id: str, after_seq: int, limit: int) -> list[Event]:
        """Returns up to `limit` stored events above a number, in order."""
        if limit <= 0:
            return []
        rows = self._table.query(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=values(
                pk=string(run_pk(run_id)),
                first=string(event_sk(max(0, after_seq) + 1)),
                last=string(event_sk(SEQ_MAX)),
            ),
            ConsistentRead=True,
            Limit=limit,
        )
        now = self._clock()
        return [self._event(row) for row in islice((r for r in rows if live(r, now)), limit)]

    def _event(self, item: Item) -> Event:
        event: Event = self._documents.value(item, "event")
        return event


def stamped(events: Sequence[Event], seqs: Sequence[int]) -> list[Event]:
    """Returns events with their numbers."""
    return [{**event, "seq": seq, "head": seq} for event, seq in zip(events, seqs, strict=True)]


def went_through(reasons: Sequence[Reason], puts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a refused transaction had been done before, by a try without an answer.

    Args:
        reasons: Those of the transaction's events.
        puts: The actions that store these events.
    """
    return any(
        reason.condition_failed and same_event(reason.item, put["Put"]["Item"])
        for reason, put in zip(reasons, puts, strict=True)
    )


def same_event(stored: Mapping[str, Any] | None, mine: Mapping[str, Any]) -> bool:
    """Whether a stored event is this very one: then an earlier try had gone through."""
    if stored is None:
        return False
    for name in ("event", "event_ref"):
        if name in mine:
            return name in stored and _content(stored[name]) == _content(mine[name])
    return False


def _content(attribute: Mapping[str, Any]) -> Any:
    held = attribute.get("M")
    return held["ref"]["S"] if held else json.loads(attribute["S"])
