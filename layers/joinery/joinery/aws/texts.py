"""The streamed text of a run, in the pieces in which it was stored."""

from __future__ import annotations

import json
from collections.abc import Callable

from joinery.aws.event_log import EventLog
from joinery.aws.items import (
    TEXTS,
    Attribute,
    Item,
    attempt_sk,
    get_string,
    is_unicode,
    key,
    live,
    node_key,
    run_pk,
    string,
    text_sk,
)
from joinery.aws.table import Table
from joinery.runs.model import NodeKey
from joinery.runs.ports import TextPiece


class TextTable:
    """What a run store does with streamed text.

    Args:
        table: The state table.
        events: The runs' logs, which know how long things are kept.
        clock: Epoch seconds.
    """

    def __init__(self, table: Table, events: EventLog, clock: Callable[[], float]) -> None:
        self._table, self._events, self._clock = table, events, clock

    def put(self, run_id: str, piece: TextPiece) -> None:
        """Stores a piece; the same piece again changes nothing."""
        sk = text_sk(piece.key, piece.attempt, piece.stream, piece.offset)
        self._table.put(
            {**key(run_pk(run_id), sk), **_content(piece.text), **self._events.expiry()}
        )

    def all(self, run_id: str) -> list[TextPiece]:
        """Returns all pieces by node, attempt, stream and offset."""
        return self._under(run_id, TEXTS)

    def of(self, run_id: str, node: NodeKey, attempt: int) -> list[TextPiece]:
        """Returns the pieces of one attempt by stream and offset."""
        return self._under(run_id, attempt_sk(node, attempt))

    def _under(self, run_id: str, prefix: str) -> list[TextPiece]:
        now = self._clock()
        items = self._table.prefix(run_pk(run_id), prefix)
        return [_piece(item) for item in items if live(item, now)]


def _content(text: str) -> dict[str, Attribute]:
    # Half of a surrogate pair, which some models send, has no UTF-8: JSON can escape it.
    return {"text": string(text)} if is_unicode(text) else {"escaped": string(json.dumps(text))}


def _piece(item: Item) -> TextPiece:
    sk = get_string(item, "sk")
    _, _, _, attempt, rest = sk.split("#", 4)
    stream, offset = rest.rsplit("#", 1)
    text = json.loads(item["escaped"]["S"]) if "escaped" in item else get_string(item, "text")
    return TextPiece(node_key(sk), int(attempt), stream, int(offset), text)
