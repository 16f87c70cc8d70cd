"""The streams of one attempt: where its text goes while it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joinery.events.streams import TextStreams
from joinery.runs.model import NodeRecord
from joinery.runs.ports import TextPiece

if TYPE_CHECKING:
    from joinery.runs.invocation import Invocation
    from joinery.runs.journal import Journal
    from joinery.runs.watch import Watch


def open_streams(
    inv: Invocation, record: NodeRecord, watch: Watch, journal: Journal | None
) -> TextStreams:
    """Returns what sends the text of an attempt to viewers, and stores it.

    Args:
        inv: The invocation.
        record: The node's record, as it was claimed.
        watch: Knows the run's newest event.
        journal: Has the text that the attempt goes on from.
    """
    from joinery.events.make import make_delta

    def post(stream: str, offset: int, text: str) -> None:
        delta = make_delta(
            inv.run_id,
            at=inv.deps.clock(),
            head=max(watch.head, inv.head),
            node_id=inv.node.id,
            path=inv.path,
            attempt=record.attempt,
            stream=stream,
            offset=offset,
            text=text,
        )
        inv.deps.publisher.publish(inv.run_id, [delta])

    def store(stream: str, offset: int, text: str) -> None:
        piece = TextPiece(inv.key, record.attempt, stream, offset, text)
        inv.deps.store.put_text(inv.run_id, piece)

    # A template's text is there at once: no thread is worth its start.
    background = inv.deps.background and inv.node.type in {"agent", "llm"}
    return TextStreams(
        post,
        store,
        background=background,
        delta_s=inv.deps.delta_s,
        pace=lambda: inv.deps.publisher.interval(inv.run_id),
        durable_s=inv.deps.durable_s,
        kept=journal.kept() if journal else {},
    )
