"""A node's text on its way out: posted in small deltas, stored in larger pieces.

The model is read by the node's own thread. Where posting and storing cross a
network, each has a thread of its own, so none of the three waits for another;
text that arrives meanwhile merges into the next delta, so nothing is dropped.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from joinery import limits

DELTA_TEXT_BYTES = limits.WEBSOCKET_FRAME_BYTES - 2_048
"""Most bytes of JSON-encoded text in one delta: a frame less its envelope."""

PIECE_BYTES = 256 * 1024
"""Most bytes of UTF-8 in one stored piece: well below an item of 400 KB."""

Post = Callable[[str, int, str], None]
"""Sends `(stream, offset, text)`."""


@dataclass(slots=True)
class _Stream:
    """One stream's text; offsets count code points, as Python's `len` does."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    unposted: list[str] = field(default_factory=list)
    posted: int = 0
    unstored: list[str] = field(default_factory=list)
    stored: int = 0
    gap: str = ""


class TextStreams:
    """The streams of one attempt of one node.

    Args:
        post: Sends a delta to the people watching.
        store: Stores a piece; raising ends the attempt (`failure`).
        background: Post and store from threads of their own, at intervals.
        delta_s: Least time between two posts of a stream while its text is new, in
            seconds; `DELTA_SETTLED` times as much afterwards.
        pace: Returns how many seconds a post of one stream takes of what may be posted.
        durable_s: Most time that text is not yet stored, in seconds.
        kept: What earlier attempts have said and this one goes on from, by stream. Viewers
            have it, so it is not posted again; it is stored with this attempt's text.
    """

    def __init__(
        self,
        post: Post,
        store: Post,
        *,
        background: bool,
        delta_s: float = limits.DELTA_INTERVAL_S,
        pace: Callable[[], float] = lambda: 0.0,
        durable_s: float = limits.DURABLE_INTERVAL_S,
        kept: Mapping[str, str] | None = None,
    ) -> None:
        self._post, self._store, self._pace = post, store, pace
        self._streams: dict[str, _Stream] = {
            name: _Stream(parts=[text], length=len(text), posted=len(text), unstored=[text])
            for name, text in (kept or {}).items()
        }
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._ending = False
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        if background:
            self._threads = [
                threading.Thread(target=self._post_loop, args=(delta_s,), daemon=True),
                threading.Thread(target=self._store_loop, args=(durable_s,), daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def add(self, stream: str, text: str) -> None:
        """Takes text from the model; returns at once."""
        if not text:
            return
        with self._lock:
            held = self._streams.setdefault(stream, _Stream())
            text, held.gap = held.gap + text, ""
            for buffer in (held.parts, held.unposted, held.unstored):
                buffer.append(text)
            held.length += len(text)
            self._more.notify_all()
        if not self._threads:
            self._flush_posts()

    def text(self, stream: str = "text") -> str:
        """Returns everything that the stream has had so far."""
        with self._lock:
            held = self._streams.get(stream)
            return "".join(held.parts) if held else ""

    def part(self, stream: str, gap: str) -> None:
        """Puts `gap` before the next text of a stream, if it has text already."""
        with self._lock:
            held = self._streams.get(stream)
            if held is not None and held.length:
                held.gap = gap

    def lengths(self) -> dict[str, int]:
        """Returns how many code points each stream has had so far."""
        with self._lock:
            return {name: held.length for name, held in self._streams.items()}

    def since(self, lengths: Mapping[str, int]) -> dict[str, str]:
        """Returns what each stream has had since it had these lengths."""
        found = {name: self.text(name)[lengths.get(name, 0) :] for name in self.lengths()}
        return {name: text for name, text in found.items() if text}

    def resend(self) -> None:
        """Sends every stream from its beginning, for a subscriber that has just come."""
        with self._lock:
            for held in self._streams.values():
                held.unposted = ["".join(held.parts)]
                held.posted = 0
            self._more.notify_all()

    def close(self) -> dict[str, dict[str, Any]]:
        """Sends and stores what is left; returns length and hash of each stream.

        Raises:
            BaseException: What `store` raised, if it did.
        """
        with self._lock:
            self._ending = True
            self._more.notify_all()
        for thread in self._threads:
            thread.join()
        self._flush_posts()
        self._flush_pieces()
        if self.failure is not None:
            raise self.failure
        summary = {}
        for name, held in self._streams.items():
            encoded = "".join(held.parts).encode()
            summary[name] = {
                "length": held.length,
                "sha256": hashlib.sha256(encoded).hexdigest(),
            }
        return summary

    # -- posting -----------------------------------------------------------------------

    def _post_loop(self, interval: float) -> None:
        """Posts the first text at once, then whatever has come, at intervals."""
        fresh_until = 0.0
        while True:
            asked = time.monotonic()
            with self._lock:
                while not self._ending and not any(s.unposted for s in self._streams.values()):
                    self._more.wait()
                if self._ending:
                    return
            started = time.monotonic()
            if not fresh_until or started - asked >= limits.DELTA_FRESH_S:
                # It begins, or comes again after a silence: somebody waits for it.
                fresh_until = started + limits.DELTA_FRESH_S
            posts = self._flush_posts()
            every = interval * (1 if started < fresh_until else limits.DELTA_SETTLED)
            rest = max(every, posts * self._pace()) - (time.monotonic() - started)
            with self._lock:
                if rest > 0 and not self._ending:
                    # New text notifies too; only the end cuts the wait short.
                    self._more.wait_for(lambda: self._ending, timeout=rest)

    def _flush_posts(self) -> int:
        """Posts what has come; returns in how many deltas."""
        with self._lock:
            due = []
            for name, held in self._streams.items():
                if held.unposted:
                    text = "".join(held.unposted)
                    due.append((name, held.posted, text))
                    held.posted += len(text)
                    held.unposted = []
        posts = 0
        for name, offset, text in due:
            for start, piece in split_encoded(text, DELTA_TEXT_BYTES):
                self._post(name, offset + start, piece)
                posts += 1
        return posts

    # -- storing -----------------------------------------------------------------------

    def _store_loop(self, interval: float) -> None:
        try:
            while True:
                with self._lock:
                    if self._more.wait_for(lambda: self._ending, timeout=interval):
                        return
                self._flush_pieces()
        except BaseException as error:  # handed to the node's thread by close()
            self.failure = error

    def _flush_pieces(self) -> None:
        with self._lock:
            due = []
            for name, held in self._streams.items():
                if held.unstored:
                    text = "".join(held.unstored)
                    due.append((name, held.stored, text))
                    held.stored += len(text)
                    held.unstored = []
        for name, offset, text in due:
            start = 0
            # Four bytes are the most a code point takes in UTF-8.
            step = PIECE_BYTES // 4
            while start < len(text):
                self._store(name, offset + start, text[start : start + step])
                start += step


def split_encoded(text: str, limit: int) -> list[tuple[int, str]]:
    """Splits text into `(offset, piece)` whose JSON encoding has at most `limit` bytes.

    Never splits a code point; a limit that one code point passes is not honoured.
    """
    if len(text) * 12 + 2 <= limit or len(json.dumps(text)) <= limit:
        return [(0, text)]
    pieces: list[tuple[int, str]] = []
    start = 0
    while start < len(text):
        # A code point takes 1 to 12 bytes of ASCII-only JSON: halve until it fits.
        stop = min(len(text), start + limit)
        while stop - start > 1 and len(json.dumps(text[start:stop])) > limit:
            stop = start + (stop - start) // 2
        pieces.append((start, text[start:stop]))
        start = stop
    return pieces
