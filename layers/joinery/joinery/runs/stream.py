"""Events and text of a run for a reader that asks again and again, from where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from joinery.compiler.plan import Plan
from joinery.errors import CursorAhead
from joinery.events.make import RUN_ENDINGS, Event, make_delta
from joinery.events.streams import DELTA_TEXT_BYTES, split_encoded
from joinery.runs.cursor import Cursor, Writing
from joinery.runs.model import NodeKey, NodeRecord, RunRecord
from joinery.runs.ports import TextPiece
from joinery.runs.replay import Log, Page, beyond, read_page
from joinery.strictjson import to_json

POLL_S: Final = 0.25
POLL_MAX_S: Final = 1.0

_OVERHEAD: Final = 64
"""Bytes around a message and its id."""


class Source(Log, Protocol):
    """What reading events and text needs of a store."""

    def nodes(self, run_id: str) -> list[NodeRecord]:
        """Returns all node records of a run."""
        ...

    def texts_of(self, run_id: str, key: NodeKey, attempt: int) -> list[TextPiece]:
        """Returns the stored pieces of one attempt, by stream and offset."""
        ...


@dataclass(frozen=True, slots=True)
class Portion:
    """What there is behind a cursor.

    Attributes:
        messages: Events and deltas, each with the cursor of whoever has it.
        cursor: Where the next portion begins.
        head: Highest seq drawn.
        finished: Whether the run has ended and nothing is left to read.
    """

    messages: list[tuple[Event, Cursor]]
    cursor: Cursor
    head: int
    finished: bool


def read_portion(
    source: Source,
    run: RunRecord,
    plan: Plan | None,
    cursor: Cursor,
    *,
    limit: int,
    most_bytes: int,
    now: float,
) -> Portion:
    """Returns the stored events and text behind a cursor, in the order of the run.

    A node's text comes before the event of its end, and after that of its start; what
    running nodes have stored so far comes last. A portion may end anywhere: every
    message's own cursor leads on.

    Args:
        source: Where events and text are.
        run: The run.
        plan: The plan that it is pinned to; None leaves text out.
        cursor: Where the reader is.
        limit: Most events.
        most_bytes: Most bytes of messages as JSON; one message may pass it.
        now: Epoch seconds.

    Raises:
        CursorAhead: The run has fewer events than the reader claims to have.
    """
    page = read_page(source, run, cursor.seq, limit, now=now)
    if cursor.seq > page.head:
        raise CursorAhead(cursor.seq, page.head)
    reader = _Reader(source, run, plan, page, cursor, now)
    messages: list[tuple[Event, Cursor]] = []
    size, whole = 0, True
    for message in reader.messages():
        size += len(to_json(message)) + _OVERHEAD
        if messages and size > most_bytes:
            whole = False
            break
        reader.has(message)
        messages.append((message, reader.cursor))
    at_head = reader.cursor.seq == page.head
    finished = run.closed and whole and at_head and not messages
    return Portion(messages, reader.cursor, page.head, finished)


def wait_for_news(
    read: Callable[[], Portion],
    head: Callable[[], int],
    wait_s: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Portion:
    """Returns a portion once there is something in it, or the run has ended, or time is up.

    While nothing happens it costs a read of the control item, at first four times a
    second and then once.

    Args:
        read: Reads what there is behind the cursor.
        head: Returns the highest seq drawn.
        wait_s: Longest wait.
        clock: Seconds.
        sleep: Waits a number of seconds.
    """
    until, pause = clock() + wait_s, POLL_S
    portion = read()
    while not (portion.messages or portion.finished) and (left := until - clock()) > 0:
        sleep(min(pause, left))
        pause = min(POLL_MAX_S, pause * 1.5)
        # A hole fills, and a node writes, without a new number.
        pending = portion.cursor.writing or portion.cursor.seq < portion.head
        if pending or head() != portion.head:
            portion = read()
    return portion


@dataclass(slots=True)
class _Reader:
    """Knows what a reader has, message by message."""

    source: Source
    run: RunRecord
    plan: Plan | None
    page: Page
    cursor: Cursor
    now: float

    def __post_init__(self) -> None:
        if self.plan is None:
            self.cursor = Cursor.at(self.cursor.seq)
        else:
            writing = self._writing(self.plan, self.cursor)
            self.cursor = replace(self.cursor, writing=writing, more=False)

    def _writing(self, plan: Plan, cursor: Cursor) -> dict[NodeKey, Writing]:
        """Returns the nodes that had begun and not ended, unlisted ones from their records."""
        writing = {k: node for k, node in cursor.writing.items() if k.ord in plan.by_ord}
        for record in self.source.nodes(self.run.run_id) if cursor.more else ():
            had_ended = record.terminal and record.seq <= cursor.seq
            if record.attempt and not had_ended:
                writing.setdefault(record.key, Writing(record.attempt))
        return writing

    def messages(self) -> Iterator[Event]:
        """Yields what there is; `has` must be told of each before the next is asked for."""
        for event in self.page.events:
            match event["event"]:
                case "node.completed" | "node.failed":
                    yield from self._text_of_ended(event)
                case name if name in RUN_ENDINGS:
                    yield from self._text_of(list(self.cursor.writing))
            yield event
        # A run that has ended writes no more; what it left was sent before its last event.
        if not self.run.closed or self.page.next_after_seq < self.page.head:
            yield from self._text_of(list(self.cursor.writing))

    def has(self, message: Event) -> None:
        """Moves the cursor behind a message."""
        writing = dict(self.cursor.writing)
        data, name = message["data"], message["event"]
        key = self._key(message)
        if name == "text.delta":
            assert key is not None
            offsets = {**writing[key].offsets, data["stream"]: data["offset"] + len(data["text"])}
            writing[key] = replace(writing[key], offsets=offsets)
        elif name in RUN_ENDINGS:
            writing.clear()
        elif key is not None and name == "node.started":
            if key not in writing or writing[key].attempt < data["attempt"]:
                writing[key] = Writing(data["attempt"])
        elif key is not None and name in {"node.completed", "node.failed", "node.retrying"}:
            writing.pop(key, None)
        self.cursor = replace(self.cursor, seq=message.get("seq", self.cursor.seq), writing=writing)

    def _key(self, message: Event) -> NodeKey | None:
        node = self.plan.by_id.get(message.get("node_id", "")) if self.plan else None
        return NodeKey(node.ord, message["path"]) if node else None

    def _text_of_ended(self, event: Event) -> Iterator[Event]:
        key, data = self._key(event), event["data"]
        if key is None:
            return
        node = self.cursor.writing.get(key)
        if node is None or node.attempt != data["attempt"]:
            node = Writing(data["attempt"])
        lengths = {name: s["length"] for name, s in data.get("streams", {}).items()}
        if event["event"] == "node.completed" and lengths == dict(node.offsets):
            return
        self.cursor = replace(self.cursor, writing={**self.cursor.writing, key: node})
        yield from self._text_of([key])

    def _text_of(self, keys: Iterable[NodeKey]) -> Iterator[Event]:
        """Yields the stored text that the reader lacks, in as few deltas as can be."""
        names = self.plan.by_ord if self.plan else {}
        for key in keys:
            node = self.cursor.writing[key]
            pieces = self.source.texts_of(self.run.run_id, key, node.attempt)
            for stream in dict.fromkeys(piece.stream for piece in pieces):
                mine = ((p.offset, p.text) for p in pieces if p.stream == stream)
                for offset, text in beyond(mine, node.offsets.get(stream, 0)):
                    for start, part in split_encoded(text, DELTA_TEXT_BYTES):
                        yield make_delta(
                            self.run.run_id,
                            at=self.now,
                            head=self.page.head,
                            node_id=names[key.ord].id,
                            path=key.path,
                            attempt=node.attempt,
                            stream=stream,
                            offset=offset + start,
                            text=part,
                        )
