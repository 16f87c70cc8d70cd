"""What nodes that wait keep: tokens, and the messages to a run's agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from joinery import limits
from joinery.aws.conditions import (
    absent,
    has_room,
    not_issued_after,
    present,
    this_token,
    untaken,
    updating,
)
from joinery.aws.errors import ConditionFailed, TransactionCancelled
from joinery.aws.event_log import EventLog, stamped, went_through
from joinery.aws.items import (
    CTRL,
    INBOX,
    META,
    TOKENS,
    Item,
    boolean,
    document,
    get_float,
    get_int,
    get_json,
    get_string,
    input_sk,
    key,
    node_key,
    number,
    run_pk,
    string,
    token_sk,
)
from joinery.aws.items import present as without_none
from joinery.aws.table import Table
from joinery.errors import NotFound, TransientStore
from joinery.events.make import Event
from joinery.input_errors import InboxFull
from joinery.runs.model import LiveInput, NodeKey, taken_by
from joinery.runs.ports import TaskToken
from joinery.runs.wait_ports import for_node, in_order, refuse_full, with_ids

TRIES: Final = 8


class WaitTable:
    """Implements `InboxStore`, and of `WaitStore` what does not concern when a run is due.

    Args:
        table: The state table.
        events: The runs' logs.
    """

    def __init__(self, table: Table, events: EventLog) -> None:
        self._state, self._events_of = table, events

    # -- tokens ------------------------------------------------------------------------

    def put_token(self, run_id: str, token: TaskToken) -> None:
        """See `WaitStore.put_token`."""
        item = {
            **key(run_pk(run_id), token_sk(token.key)),
            "token": string(token.token),
            # Its first use was for child runs, and items of then are still there.
            "child": string(token.awaited),
            "issued_at": number(token.issued_at),
            "caught": document(list(token.caught)),
        }
        try:
            self._state.put(item, **not_issued_after(token.issued_at))
        except ConditionFailed:
            return

    def token(self, run_id: str, node: NodeKey) -> TaskToken | None:
        """See `WaitStore.token`."""
        item = self._state.get(key(run_pk(run_id), token_sk(node)))
        return None if item is None else _token(item)

    def tokens(self, run_id: str) -> list[TaskToken]:
        """See `WaitStore.tokens`."""
        return [_token(item) for item in self._state.prefix(run_pk(run_id), TOKENS)]

    def drop_token(self, run_id: str, token: TaskToken) -> None:
        """See `WaitStore.drop_token`."""
        place = key(run_pk(run_id), token_sk(token.key))
        try:
            self._state.delete_if(place, **this_token(token.token))
        except ConditionFailed:
            return

    def mark_asked(self, run_id: str) -> None:
        """See `WaitStore.mark_asked`."""
        change = updating(present(), "SET asked = :yes", yes=boolean(True))
        try:
            self._state.update(key(run_pk(run_id), META), **change)
        except ConditionFailed:
            raise NotFound(f"no run {run_id}") from None

    # -- the inbox ---------------------------------------------------------------------

    def input(self, run_id: str, input_id: str) -> LiveInput | None:
        """See `InboxStore.input`."""
        item = self._state.get(key(run_pk(run_id), input_sk(input_id)))
        return None if item is None else _message(item)

    def put_input(
        self, run_id: str, message: LiveInput, event: Event
    ) -> tuple[LiveInput, list[Event]]:
        """See `InboxStore.put_input`: the message, the counts and the event at once."""
        room = has_room(limits.INBOX_PENDING_MAX, limits.INBOX_RUN_MAX)
        counts = {
            "Key": key(run_pk(run_id), CTRL),
            **updating(room, "ADD pending :one, inputs :one", one=number(1)),
        }
        for _ in range(TRIES):
            seqs = self._events_of.draw(run_id, 1)
            stored = stamped([event], seqs)
            message = replace(message, seq=seqs[0])
            puts = self._events_of.puts(run_id, stored)
            put = {"Put": {"Item": _item(run_id, message), **absent()}}
            try:
                self._state.transact([put, {"Update": counts}, *puts])
                return message, stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[2:], puts):
                    return message, stored
                self._events_of.void(run_id, seqs)
                if cancelled.reasons[0].item is not None:
                    return _message(cancelled.reasons[0].item), []
                if cancelled.reasons[1].condition_failed:
                    self._refuse(run_id)
        raise TransientStore("numbers of the event log kept being taken")

    def _refuse(self, run_id: str) -> None:
        item = self._state.get(key(run_pk(run_id), CTRL)) or {}
        refuse_full(get_int(item, "pending"), get_int(item, "inputs"))
        raise InboxFull("there was no room a moment ago: ask again", for_good=False)

    def take_inputs(
        self, run_id: str, node: NodeKey, node_id: str, turn: int, event: Event
    ) -> tuple[list[LiveInput], list[Event]]:
        """See `InboxStore.take_inputs`: marks, count and event at once."""
        by = taken_by(node, turn)
        for _ in range(TRIES):
            messages = self._messages(run_id)
            before = [message for message in messages if message.taken == by]
            new = [message for message in messages if for_node(message, node, node_id)]
            if not new:
                return before, []
            seqs = self._events_of.draw(run_id, 1)
            stored = stamped([with_ids(event, new)], seqs)
            puts = self._events_of.puts(run_id, stored)
            marks = [self._mark(run_id, message, by) for message in new]
            count = updating(present(), "ADD pending :taken", taken=number(-len(new)))
            counts = {"Update": {"Key": key(run_pk(run_id), CTRL), **count}}
            try:
                self._state.transact([*puts, counts, *marks])
                return [*before, *(replace(message, taken=by) for message in new)], stored
            except TransactionCancelled as cancelled:
                if went_through(cancelled.reasons[:1], puts):
                    return [*before, *(replace(message, taken=by) for message in new)], stored
                self._events_of.void(run_id, seqs)
        raise TransientStore("messages were taken by others again and again")

    @staticmethod
    def _mark(run_id: str, message: LiveInput, by: str) -> dict[str, Any]:
        change = updating(untaken(), "SET taken = :by", by=string(by))
        return {"Update": {"Key": key(run_pk(run_id), input_sk(message.input_id)), **change}}

    def taken_inputs(self, run_id: str, node: NodeKey, turn: int) -> list[LiveInput]:
        """See `InboxStore.taken_inputs`."""
        by = taken_by(node, turn)
        return [message for message in self._messages(run_id) if message.taken == by]

    def _messages(self, run_id: str) -> Sequence[LiveInput]:
        return in_order([_message(item) for item in self._state.prefix(run_pk(run_id), INBOX)])


def _token(item: Mapping[str, Any]) -> TaskToken:
    return TaskToken(
        node_key(get_string(item, "sk")),
        get_string(item, "token"),
        get_string(item, "child"),
        get_float(item, "issued_at"),
        tuple(get_json(item, "caught") or ()),
    )


def _item(run_id: str, message: LiveInput) -> Item:
    return {
        **key(run_pk(run_id), input_sk(message.input_id)),
        **without_none(
            {
                "value": document(message.value),
                "at": number(message.at),
                "seq": number(message.seq),
                "digest": string(message.digest),
                "node_id": string(message.node_id) if message.node_id else None,
                "path": string(message.path) if message.path is not None else None,
            }
        ),
    }


def _message(item: Mapping[str, Any]) -> LiveInput:
    return LiveInput(
        input_id=get_string(item, "sk").removeprefix(INBOX),
        value=get_json(item, "value"),
        at=get_float(item, "at"),
        seq=get_int(item, "seq"),
        digest=get_string(item, "digest"),
        node_id=get_string(item, "node_id"),
        path=get_string(item, "path") if "path" in item else None,
        taken=get_string(item, "taken"),
    )
