"""Runs to do harm to, and clients that follow them meanwhile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from joinery.aws.dynamo_catalog import DynamoCatalogStore
from joinery.catalog.launch import prepare, read_order
from joinery.client import AsyncClient, Timing
from joinery.runs.deps import Deps
from joinery.runs.ids import run_id_for_key
from kit.faulty import Fault, Faulty
from kit.judge import Ended, Message, Truth, documents_of, store_of
from kit.node import ROOT, node
from kit.people import Person

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

QUICK = Timing(backoff_s=0.1, behind_s=0.5, quiet_s=3.0, poll_s=0.2, answer_s=4.0)
"""A test does not wait as long as a person would; the rules are the same."""

FOLLOW_S = 110.0
TRIES = 3
VIEWERS_S = 12.0
AT_ONCE = 8

Given = tuple[list[dict[str, Any]], Truth]
"""A cassette, with what a run must come to with it."""


@dataclass
class Scene:
    """A client that follows a run.

    Attributes:
        run_id: The run.
        ws: Address of the WebSocket API, or of what stands before it.
        messages: What the client gave out.
        error: Why it ended before the run did.
    """

    run_id: str
    ws: str
    messages: list[Message] = field(default_factory=list)
    error: str = ""

    @property
    def seen(self) -> list[Message]:
        """What the client gave out; asserts that it came to the end."""
        assert not self.error, self.error
        return self.messages


class Nobody:
    """Implements `Publisher`: nobody watches a run that is just being made."""

    def publish(self, run_id: str, messages: Sequence[Message]) -> None:
        assert [message["event"] for message in messages] == ["run.started"]


class NoModels:
    """Implements `Models` where no node runs."""


@dataclass(frozen=True)
class Made:
    """A run that is made and perhaps not begun."""

    lab: Lab
    run_id: str
    key: str
    body: dict[str, Any]

    def begin(self, *, viewers: int = 0) -> None:
        """Starts it as soon as so many watch it, or some seconds later."""
        deadline = time.monotonic() + VIEWERS_S
        while len(self.lab.store.subscribers(self.run_id)) < viewers:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        headers = {"Idempotency-Key": self.key}
        answer: httpx.Response | None = None
        for _ in range(TRIES):
            # A start that has died is asked for again, as every client does.
            with suppress(httpx.TransportError):
                answer = self.lab.person.call("POST", "/runs", self.body, headers=headers)
                if answer.status_code < 500:
                    break
        assert answer is not None, "nobody answered a start"
        assert answer.status_code in (200, 202), answer.text
        assert answer.json()["run_id"] == self.run_id


class Lab:
    """One person with runs on a stack.

    Args:
        stack: The stack.
        faulty: Where faults are asked for.
    """

    def __init__(self, stack: LocalStack, faulty: Faulty) -> None:
        self.stack, self.faulty = stack, faulty
        self.person = Person(stack, f"lab-{uuid.uuid4().hex[:8]}")
        self.store, self.documents = store_of(stack), documents_of(stack)

    def publish(self, source: str, opt: int = 1) -> str:
        """Publishes at level 1, where each node is invoked alone: faults are named by it."""
        answer = self.person.call("POST", "/workflows", {"source": source, "opt": opt})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["workflow_id"])

    def make(self, workflow_id: str, *faults: Fault, **body: Any) -> Made:
        """Makes a run that is not begun; its points are noted, and faults may be waiting."""
        key = uuid.uuid4().hex
        self.faulty.arm(run_id_for_key(self.person.owner, workflow_id, key), *faults)
        fields = {"workflow_id": workflow_id, **body}
        deps = Deps(self.store, Nobody(), NoModels())
        catalog = DynamoCatalogStore(
            self.stack.client("dynamodb"), self.stack.outputs["CatalogTableName"], self.documents
        )
        made = prepare(deps, catalog, read_order(fields), owner=self.person.owner, key=key)
        return Made(self, made.run.run_id, key, fields)

    def start(self, workflow_id: str, *faults: Fault, **body: Any) -> str:
        """Starts a run in which faults are to happen."""
        key = uuid.uuid4().hex
        run_id = run_id_for_key(self.person.owner, workflow_id, key)
        self.faulty.arm(run_id, *faults)
        Made(self, run_id, key, {"workflow_id": workflow_id, **body}).begin()
        return run_id

    def ended(self, run_id: str) -> Ended:
        return Ended(self.person, self.store, run_id)

    def scene(self, run_id: str, ws: str = "") -> Scene:
        return Scene(run_id, ws or self.stack.websocket_url)

    @contextmanager
    def following(self, *scenes: Scene, timing: Timing = QUICK) -> Iterator[None]:
        """Follows runs with the Python client; leaving waits for their ends."""

        async def follow(scene: Scene) -> None:
            url = self.stack.http_api_url
            async with AsyncClient(url, scene.ws, self.person.token, timing=timing) as client:
                try:
                    async with asyncio.timeout(FOLLOW_S):
                        async for message in client.follow(scene.run_id):
                            scene.messages.append(message)
                except Exception as error:
                    scene.error = repr(error)

        async def all_of_them() -> None:
            await asyncio.gather(*(follow(scene) for scene in scenes))

        thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
        thread.start()
        try:
            yield
        finally:
            thread.join()

    @contextmanager
    def following_in_javascript(self, *scenes: Scene) -> Iterator[None]:
        """The same with the JavaScript client."""
        timing = {
            "backoffS": QUICK.backoff_s,
            "behindS": QUICK.behind_s,
            "quietS": QUICK.quiet_s,
            "pollS": QUICK.poll_s,
            "answerS": QUICK.answer_s,
        }
        rows = [
            {
                "name": str(number),
                "http": self.stack.http_api_url,
                "ws": scene.ws,
                "run_id": scene.run_id,
                "token": self.person.token,
            }
            for number, scene in enumerate(scenes)
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as plan:
            json.dump({"scenes": rows, "timing": timing}, plan)
            plan.flush()
            command = [node(), "tests/js/follow_scenes.mjs", plan.name]
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
            ) as process:
                try:
                    yield
                    out, err = process.communicate(timeout=FOLLOW_S)
                finally:
                    process.kill()
            assert process.returncode == 0, err
        for line in out.splitlines():
            row = json.loads(line)
            scene = scenes[int(row["name"])]
            scene.messages, scene.error = row.get("messages", []), row.get("error", "")

    # -- many at once --------------------------------------------------------------------------

    def trial(self, workflow_id: str, faults: Sequence[Fault], given: Given) -> Ended:
        """Runs a workflow with faults and judges it; two clients follow it meanwhile."""
        entries, truth = given
        starting = [fault for fault in faults if fault.function == "http-api"]
        if starting:
            run_id = self.start(workflow_id, *faults, cassette=entries)
            python, javascript = self.scene(run_id), self.scene(run_id)
            with self.following(python), self.following_in_javascript(javascript):
                pass
        else:
            made = self.make(workflow_id, *faults, cassette=entries)
            run_id = made.run_id
            python, javascript = self.scene(run_id), self.scene(run_id)
            with self.following(python), self.following_in_javascript(javascript):
                made.begin(viewers=2)
        ended = self.ended(run_id).judge(truth, python.seen, javascript.seen)
        assert self.faulty.happened(run_id) == len(faults), "it happened"
        return ended

    def trials(
        self,
        source: str,
        cases: Iterable[Sequence[Fault]],
        given: Given,
        opt: int = 1,
    ) -> list[Ended]:
        """Judges runs with faults, some at a time; fails with all that went wrong."""
        workflow_id = self.publish(source, opt)
        problems: list[str] = []

        def one(faults: Sequence[Fault]) -> Ended | None:
            try:
                return self.trial(workflow_id, faults, given)
            except Exception as error:
                problems.append(f"{' + '.join(map(str, faults)) or 'uncut'}: {error}")
                return None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(one, cases))
        assert not problems, "\n\n".join(problems)
        return [ended for ended in found if ended]


# -- the runs ------------------------------------------------------------------------------

TWO = """\
version: 1
name: two-writers
defaults: {retry: {attempts: 3, backoff: 1s}}
nodes:
  pro: {type: llm, prompt: Defend it}
  con: {type: llm, prompt: Attack it}
  last: {type: llm, prompt: "{{ nodes.pro.text }} {{ nodes.con.text }}"}
edges: [start -> pro -> last, start -> con -> last, last -> end]
outputs: {verdict: "{{ nodes.last.text }}", both: "{{ nodes.pro.text }}|{{ nodes.con.text }}"}
"""

ROW = """\
version: 1
name: one-behind-the-other
defaults: {retry: {attempts: 3, backoff: 1s}}
nodes:
  pro: {type: llm, prompt: Defend it}
  con: {type: llm, prompt: "Attack {{ nodes.pro.text }}"}
  last: {type: llm, prompt: "{{ nodes.pro.text }} {{ nodes.con.text }}"}
edges: [start -> pro -> con -> last -> end]
outputs: {verdict: "{{ nodes.last.text }}", both: "{{ nodes.pro.text }}|{{ nodes.con.text }}"}
"""

FOUR = """\
version: 1
name: four-writers
defaults: {retry: {attempts: 3, backoff: 1s}}
nodes:
  a: {type: llm, prompt: hi}
  b: {type: llm, prompt: hi}
  c: {type: llm, prompt: hi}
  d: {type: llm, prompt: hi}
  last: {type: llm, prompt: "{{ nodes.a.text }} and the others"}
edges: ["start -> a, b, c, d", "a, b, c, d -> last", last -> end]
outputs: {said: "{{ nodes.last.text }}"}
"""


def spoken(name: str, words: int) -> str:
    """A text in which every piece is another, with characters of every width."""
    return "".join(f"{name}{number} é🌿👩‍👩‍👧 " for number in range(words))


def cassette(words: Mapping[str, int], per_second: float) -> list[dict[str, Any]]:
    return [
        {"node": name, "text": spoken(name, count), "tokens_per_second": per_second}
        for name, count in words.items()
    ]


def truth_of(entries: Sequence[Mapping[str, Any]], outputs: Mapping[str, Any]) -> Truth:
    texts = {(entry["node"], ""): entry["text"] for entry in entries}
    return Truth("completed", texts, outputs, calls=len(entries))


def two(words: int = 12, per_second: float = 16) -> tuple[list[dict[str, Any]], Truth]:
    """A cassette for `TWO` and `ROW` with what a run must come to."""
    entries = cassette({"pro": words, "con": words, "last": words // 2}, per_second)
    texts = {entry["node"]: entry["text"] for entry in entries}
    both = f"{texts['pro']}|{texts['con']}"
    return entries, truth_of(entries, {"verdict": texts["last"], "both": both})


def four(words: int = 30, per_second: float = 20) -> tuple[list[dict[str, Any]], Truth]:
    """A cassette for `FOUR` with what its run must come to."""
    entries = cassette(dict.fromkeys("abcd", words) | {"last": words // 3}, per_second)
    return entries, truth_of(entries, {"said": entries[-1]["text"]})


__all__ = ["FOUR", "ROW", "TWO", "Lab", "Scene", "cassette", "four", "spoken", "two"]
