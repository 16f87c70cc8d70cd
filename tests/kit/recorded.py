"""A run that was recorded on the local stack, and what a server knows of it at each moment.

A moment is how many messages of the recording have happened. Events are stored when they
happen; text is stored a few messages late, but always before the end of its node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

Message = dict[str, Any]

DATA = Path(__file__).parents[1] / "data"
LATE = 4
"""How many messages later text is stored."""

ENDS = ("node.completed", "node.failed", "node.retrying")


class Recorded:
    """The recording, and a server's view of it."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self.run_id: str = messages[0]["run_id"]

    @staticmethod
    def four_writers() -> Recorded:
        return Recorded(json.loads((DATA / "four_writers.json").read_text("utf-8")))

    # -- the server's view -----------------------------------------------------------------

    def head(self, moment: int) -> int:
        return max((m["seq"] for m in self.messages[:moment] if "seq" in m), default=0)

    def events(self, moment: int, after_seq: int) -> list[Message]:
        """The stored events behind a seq, up to one that is just being written."""
        stored = {m["seq"]: m for m in self.messages[:moment] if "seq" in m}
        found, seq = [], after_seq + 1
        while seq in stored:
            found.append(stored[seq])
            seq += 1
        return found

    def texts(self, moment: int, node_id: str | None = None) -> list[Message]:
        """The stored text, as `GET /runs/{run_id}/texts` has it."""
        rows = []
        for index, message in enumerate(self.messages[:moment]):
            if message["event"] != "text.delta" or node_id not in (None, message["node_id"]):
                continue
            if index < moment - LATE or self._ended(message, moment):
                place = {"node_id": message["node_id"], "path": message["path"]}
                rows.append({**place, **message["data"]})
        return rows

    def _ended(self, delta: Message, moment: int) -> bool:
        key = (delta["node_id"], delta["path"], delta["data"]["attempt"])
        return self._ends.get(key, len(self.messages)) < moment

    @cached_property
    def _ends(self) -> dict[tuple[str, str, int], int]:
        return {
            (m["node_id"], m["path"], m["data"]["attempt"]): index
            for index, m in enumerate(self.messages)
            if m["event"] in ENDS
        }

    def replay(self, moment: int, after_seq: int, offsets: Mapping[str, int]) -> Iterator[Message]:
        """What a new subscriber is sent first: stored events, then stored text beyond offsets,
        then the whole text of the nodes that are running, which see that somebody has come.
        """
        yield from self.events(moment, after_seq)
        for row in self.texts(moment):
            known = offsets.get("|".join(str(row[n]) for n in KEY), 0)
            if row["offset"] + len(row["text"]) > known:
                cut = max(0, known - row["offset"])
                yield self.delta(row, row["offset"] + cut, row["text"][cut:], moment)
        yield from self._running(moment)

    def _running(self, moment: int) -> Iterator[Message]:
        texts: dict[tuple[Any, ...], str] = {}
        for message in self.messages[:moment]:
            if message["event"] == "text.delta" and not self._ended(message, moment):
                row = {**message, **message["data"]}
                key = tuple(row[n] for n in KEY)
                texts[key] = texts.get(key, "") + row["text"]
        for key, text in texts.items():
            yield self.delta(dict(zip(KEY, key, strict=True)), 0, text, moment)

    def delta(self, row: Mapping[str, Any], offset: int, text: str, moment: int) -> Message:
        data = {"attempt": row["attempt"], "stream": row["stream"], "offset": offset, "text": text}
        kept = {n: self.messages[0][n] for n in ("v", "run_id", "timestamp")}
        place = {"node_id": row["node_id"], "path": row["path"]}
        return {**kept, "event": "text.delta", "head": self.head(moment), **place, "data": data}

    # -- what a client must have -------------------------------------------------------------

    @cached_property
    def expected_events(self) -> list[Message]:
        return sorted((m for m in self.messages if "seq" in m), key=lambda m: int(m["seq"]))

    @cached_property
    def expected_texts(self) -> dict[tuple[str, str, int, str], str]:
        """The text of the attempt that counts, by node, path, attempt and stream."""
        texts: dict[tuple[str, str, int, str], str] = {}
        for message in self.messages:
            if message["event"] == "text.delta":
                row = {**message, **message["data"]}
                key = (row["node_id"], row["path"], row["attempt"], row["stream"])
                assert row["offset"] == len(texts.get(key, "")), "the recording itself is whole"
                texts[key] = texts.get(key, "") + row["text"]
        newest = {(n, p): a for n, p, a, _ in sorted(texts)}
        return {key: text for key, text in texts.items() if newest[key[:2]] == key[2]}

    def check(self, messages: list[Message]) -> None:
        """Nothing missing, nothing double, nothing out of order."""
        assert [m for m in messages if "seq" in m] == self.expected_events
        texts: dict[tuple[str, str, int, str], str] = {}
        for message in messages:
            data = message["data"]
            if message["event"] == "text.delta":
                key = (message["node_id"], message["path"], data["attempt"], data["stream"])
                assert data["offset"] == len(texts.get(key, "")), "no hole and no repeat"
                assert data["text"], "nothing for nothing"
                texts[key] = texts.get(key, "") + data["text"]
            elif message["event"] == "node.completed":
                for name, summary in data["streams"].items():
                    key = (message["node_id"], message["path"], data["attempt"], name)
                    assert len(texts.get(key, "")) == summary["length"], "text before its end"
            else:
                assert "seq" in message, f"only what the run has said, not {message}"
        expected = self.expected_texts
        assert {key: text for key, text in texts.items() if key in expected} == expected


KEY = ("node_id", "path", "attempt", "stream")
