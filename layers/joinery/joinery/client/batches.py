"""Batches for a screen: what has come since the last one, each stream's text in one piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from joinery.events.make import Event

BATCH_S: Final = 0.1
"""Least time between two batches: ten a second look like running text."""

Batch = list[Event]
"""Messages in order, each stream with one `text.delta` between two of its gaps."""


def merged(messages: Iterable[Event]) -> Batch:
    """Merges the text of each stream into the first piece of it.

    Text so may come before an event that came before it, never after one that came
    after it: a node's text is still there before the node's end.
    """
    batch: Batch = []
    texts: dict[tuple[str, ...], list[str]] = {}
    places: dict[tuple[str, ...], int] = {}
    for message in messages:
        if message["event"] not in ("text.delta", "client.gap"):
            batch.append(message)
            continue
        key = _key(message)
        if message["event"] == "client.gap":
            places.pop(key, None)
            batch.append(message)
        elif key in places:
            texts[(*key, str(places[key]))].append(message["data"]["text"])
        else:
            places[key] = len(batch)
            texts[(*key, str(len(batch)))] = [message["data"]["text"]]
            batch.append(message)
    for (*_, place), parts in texts.items():
        if len(parts) > 1:
            first = batch[int(place)]
            batch[int(place)] = {**first, "data": {**first["data"], "text": "".join(parts)}}
    return batch


def _key(message: Event) -> tuple[str, ...]:
    data = message["data"]
    place = (message["run_id"], message["node_id"], message["path"])
    return (*place, str(data["attempt"]), data["stream"])
