"""What must hold of a run whatever happened to it: its state, its effects, and what was seen.

The three are asked of the real tables and of what clients gave out, so a fault that shows
in one place only is found.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from joinery.aws.documents import Documents
from joinery.aws.dynamo_runs import DynamoRunStore
from kit.api import ENDINGS
from kit.people import Person, until

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

Message = dict[str, Any]
Place = tuple[str, str]

SETTLED_S = 40.0
ENDS = {"node.completed", "node.failed"}
AGAIN = {"node.started", "node.retrying", "void"}
"""Events of which a run that was disturbed may have more than one that was not."""


def store_of(stack: LocalStack) -> DynamoRunStore:
    """Returns the stack's own tables, without its functions."""
    table = stack.outputs["StateTableName"]
    return DynamoRunStore(stack.client("dynamodb"), table, documents_of(stack))


def documents_of(stack: LocalStack) -> Documents:
    """Returns its bucket."""
    return Documents(stack.client("s3"), stack.outputs["BucketName"])


@dataclass(frozen=True)
class Truth:
    """What a run's workflow and cassette make of it, disturbed or not.

    Attributes:
        status: Status of the run.
        texts: The text of each node that has one, by node and path.
        outputs: Outputs of the run.
        calls: Model calls of the attempts that ended.
    """

    status: str
    texts: Mapping[Place, str] = field(default_factory=dict)
    outputs: Mapping[str, Any] | None = None
    calls: int = 0


@dataclass
class Ended:
    """A run that has ended, as everybody can read it afterwards."""

    person: Person
    store: DynamoRunStore
    run_id: str

    @cached_property
    def view(self) -> dict[str, Any]:
        def closed() -> Any:
            run = self.person.call("GET", f"/runs/{self.run_id}").json()
            return run if run["status"] in {"completed", "failed", "cancelled", "timed_out"} else 0

        found: dict[str, Any] = until(closed, SETTLED_S)
        return found

    @cached_property
    def log(self) -> list[Message]:
        """All events, once every hole is filled."""
        assert self.view
        events: list[Message] = []

        def read() -> bool:
            after = events[-1]["seq"] if events else 0
            page = self.person.call("GET", f"/runs/{self.run_id}/events?after_seq={after}").json()
            events.extend(page["events"])
            return bool(page["next_after_seq"] == page["head"])

        until(read, SETTLED_S)
        return events

    @property
    def said(self) -> list[Message]:
        """The events that clients are given: up to the run's end."""
        told = [bare(event) for event in self.log if event["event"] != "void"]
        return told[: [event["event"] in ENDINGS for event in told].index(True) + 1]

    @property
    def voids(self) -> list[int]:
        return [event["seq"] for event in self.log if event["event"] == "void"]

    # -- the judgements ------------------------------------------------------------------------

    def judge(self, truth: Truth, *seen: Sequence[Message]) -> Ended:
        """Asserts all three: the final state, the effects, and what each client has seen."""
        self.judge_state(truth)
        self.judge_effects(truth)
        for messages in seen:
            self.judge_seen(messages, truth)
        return self

    def judge_state(self, truth: Truth) -> None:
        assert self.view["status"] == truth.status, self.view
        assert self.view["outputs"] == truth.outputs
        nodes = {(n["node_id"], n["path"]): n for n in self.view["nodes"]}
        assert len(nodes) == len(self.view["nodes"]), "each node has one record at each path"
        for place, node in nodes.items():
            if node["status"] == "completed" and place in truth.texts:
                assert node["result"]["text"] == truth.texts[place]
        if truth.status == "completed":
            assert set(truth.texts) <= set(nodes)
            assert {node["status"] for node in nodes.values()} <= {"completed", "skipped"}

    def judge_effects(self, truth: Truth) -> None:
        seqs = [event["seq"] for event in self.log]
        head = self.store.control(self.run_id).head
        assert seqs == list(range(1, head + 1)), "no number is missing, none is there twice"
        told = [content(event) for event in self.log if event["event"] != "void"]
        assert len(told) == len(set(told)), "no event is told twice"
        [end] = [event for event in self.log if event["event"] in ENDINGS]
        assert end["event"] == f"run.{truth.status}"
        if truth.status == "completed":
            assert [e for e in self.log if e["event"] != "void"][-1] == end
        records = {(r.node_id, r.key.path): r for r in self.store.nodes(self.run_id)}
        self._judge_nodes(records)
        self._judge_usage(records, end, truth)

    def _judge_nodes(self, records: Mapping[Place, Any]) -> None:
        ends = Counter(place(e) for e in self.log if e["event"] in ENDS)
        terminal = {p for p, r in records.items() if r.status in {"completed", "failed"}}
        assert ends == Counter(terminal), "each end is told once, and each one told is stored"
        begun = Counter(
            (*place(e), e["data"]["attempt"]) for e in self.log if e["event"] == "node.started"
        )
        assert set(begun.values()) <= {1}, "no attempt begins twice"
        for node_id, path, attempt in begun:
            assert attempt <= records[node_id, path].attempt
        for event in self.log:
            if event["event"] == "node.completed":
                record = records[place(event)]
                assert event["data"]["attempt"] == record.attempt, "it was the last attempt"
                self._judge_texts(record)

    def _judge_texts(self, record: Any) -> None:
        """What is stored of a text is all of it, in one piece or in several."""
        for name, summary in record.streams.items():
            text = ""
            for piece in self.store.texts_of(self.run_id, record.key, record.attempt):
                if piece.stream == name:
                    assert piece.offset <= len(text), "no hole in what is stored"
                    text = text[: piece.offset] + piece.text
            assert len(text) == summary["length"]

    def _judge_usage(self, records: Mapping[Place, Any], end: Message, truth: Truth) -> None:
        told = {place(e): e["data"] for e in self.log if e["event"] == "usage.recorded"}
        count = sum(event["event"] == "usage.recorded" for event in self.log)
        assert len(told) == count, "usage is told once a node"
        for where, usage in told.items():
            assert usage == dict(records[where].usage)
        assert self.view["usage"] == end["data"]["usage"]
        if truth.status == "completed":
            calls = [dict(r.usage) for r in records.values() if r.usage]
            for name in ("input_tokens", "output_tokens", "model_calls"):
                assert end["data"]["usage"][name] == sum(usage[name] for usage in calls)
            assert end["data"]["usage"]["model_calls"] == truth.calls

    def judge_seen(self, messages: Sequence[Message], truth: Truth) -> None:
        """Asserts that what a client gave out is the run: whole, once and in order."""
        events = [bare(message) for message in messages if "seq" in message]
        assert events == self.said, difference(events, self.said)
        texts: dict[tuple[str, str, int], str] = {}
        for message in messages:
            if "seq" in message:
                assert message["event"] not in ENDS or self._is_whole(message, texts)
                continue
            assert message["event"] == "text.delta", f"only text is there besides: {message}"
            data = message["data"]
            key = (*place(message), data["attempt"])
            assert data["offset"] == len(texts.get(key, "")), "no hole and no repeat"
            assert data["text"], "nothing for nothing"
            texts[key] = texts.get(key, "") + data["text"]
        for (node_id, path, _), text in texts.items():
            assert truth.texts[node_id, path].startswith(text)
        final = {(n, p): text for (n, p, _), text in sorted(texts.items())}
        done = {place(e) for e in events if e["event"] == "node.completed"} & set(truth.texts)
        assert {where: final.get(where) for where in done} == {w: truth.texts[w] for w in done}

    @staticmethod
    def _is_whole(end: Message, texts: Mapping[tuple[str, str, int], str]) -> bool:
        streams = end["data"].get("streams", {})
        key = (*place(end), end["data"]["attempt"])
        return all(len(texts.get(key, "")) == s["length"] for s in streams.values())


def story(messages: Sequence[Message]) -> Counter[tuple[str, str, str]]:
    """Returns what a run was, without how often it had to begin something again."""
    return Counter(
        (m["event"], m.get("node_id", ""), m.get("path", ""))
        for m in messages
        if "seq" in m and m["event"] not in AGAIN
    )


def place(message: Message) -> Place:
    return message["node_id"], message["path"]


def bare(event: Message) -> Message:
    """An event but its head, which is that of when it was read."""
    return {name: value for name, value in event.items() if name != "head"}


def content(event: Message) -> str:
    """What an event says: not when, and under which number."""
    shown = {n: v for n, v in event.items() if n not in {"seq", "head", "timestamp"}}
    return json.dumps(shown, sort_keys=True)


def difference(found: Sequence[Message], expected: Sequence[Message]) -> str:
    """Says what is missing, what is too much, or that the order is another."""
    have = [(e["seq"], e["event"], e.get("node_id")) for e in found]
    want = [(e["seq"], e["event"], e.get("node_id")) for e in expected]
    missing, more = [e for e in want if e not in have], [e for e in have if e not in want]
    return f"missing {missing}, too much {more}, doubled {len(have) - len(set(have))}"
