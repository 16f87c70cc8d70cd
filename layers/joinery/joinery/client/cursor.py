"""A client's place in the log of a run: the highest seq below which nothing is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery.events.make import Event


class EventCursor:
    """Puts events in order and holds the ones after a hole until it fills.

    Attributes:
        seq: Highest contiguous seq; everything up to it was given out once.
        head: Highest seq that the server is known to have drawn.
    """

    def __init__(self, after_seq: int = 0) -> None:
        self.seq = after_seq
        self.head = after_seq
        self._held: dict[int, Event] = {}

    @property
    def behind(self) -> bool:
        """Whether the server has events that were not given out yet."""
        return self.head > self.seq

    def note_head(self, message: Mapping[str, Any]) -> None:
        """Learns from any frame how far the log goes."""
        head = message.get("head")
        if isinstance(head, int):
            self.head = max(self.head, head)

    def offer(self, event: Event) -> list[Event]:
        """Takes an event as it arrived; returns those that are next in order.

        An event seen before gives nothing; so does one after a hole.
        """
        self.note_head(event)
        seq = event["seq"]
        self.head = max(self.head, seq)
        if seq <= self.seq or seq in self._held:
            return []
        self._held[seq] = event
        following: list[Event] = []
        while (following_event := self._held.pop(self.seq + 1, None)) is not None:
            self.seq += 1
            following.append(following_event)
        return following
