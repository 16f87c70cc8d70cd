"""Makes events; `schema.json` beside this file says what each one holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

PROTOCOL_VERSION = 1

RUN_ENDINGS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.timed_out"})
"""The last event of a run is one of these."""

Event = dict[str, Any]
"""An event or delta as it goes over the wire: JSON-ready, shaped by `schema.json`."""


def timestamp(epoch_s: float) -> str:
    """Returns RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(epoch_s, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def make_event(
    name: str,
    run_id: str,
    data: Mapping[str, Any],
    *,
    at: float,
    session_id: str | None = None,
    node_id: str | None = None,
    path: str | None = None,
    node_name: str = "",
) -> Event:
    """Returns an event that has no place in the log yet: the store adds `seq` and `head`."""
    event: Event = {
        "v": PROTOCOL_VERSION,
        "event": name,
        "run_id": run_id,
        "timestamp": timestamp(at),
    }
    if session_id is not None:
        event["session_id"] = session_id
    if node_id is not None:
        event["node_id"] = node_id
        event["path"] = path or ""
    if node_name:
        event["node_name"] = node_name
    event["data"] = dict(data)
    return event


def make_delta(
    run_id: str,
    *,
    at: float,
    head: int,
    node_id: str,
    path: str,
    attempt: int,
    stream: str,
    offset: int,
    text: str,
) -> Event:
    """Returns one `text.delta`; `offset` counts Unicode code points from the stream's start."""
    return {
        "v": PROTOCOL_VERSION,
        "event": "text.delta",
        "run_id": run_id,
        "head": head,
        "timestamp": timestamp(at),
        "node_id": node_id,
        "path": path,
        "data": {"attempt": attempt, "stream": stream, "offset": offset, "text": text},
    }


def with_nodes(event: Event, records: Iterable[Any]) -> Event:
    """Returns an event whose `data.nodes` are the places of some node records."""
    rows = [{"node_id": record.node_id, "path": record.key.path} for record in records]
    return {**event, "data": {**event["data"], "nodes": rows}}


def without_skips(event: Event, gone: Collection[tuple[str, str]]) -> Event:
    """Returns an event that no longer tells of some skips, given as `(node_id, path)`.

    A `nodes.skipped` with no row left becomes a `void`: its number is drawn already.
    """
    if event["event"] != "nodes.skipped" or not gone:
        return event
    rows = [row for row in event["data"]["nodes"] if (row["node_id"], row["path"]) not in gone]
    if rows:
        return {**event, "data": {**event["data"], "nodes": rows}}
    kept: Event = {n: event[n] for n in ("v", "run_id", "session_id", "timestamp") if n in event}
    return {**kept, "event": "void", "data": {}}
