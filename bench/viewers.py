"""What viewers who cannot follow, or are very many, do to a run; the connections are made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from joinery import limits
from joinery.aws.sockets import SocketPublisher
from joinery.aws.subscribers import Subscriber
from joinery.compiler.compile import compile_workflow
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, TextChunk, Usage
from joinery.runs.deps import Deps
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.runs.task import run_task
from joinery.workflow.validation import load_workflow

NODES, TOKENS, TOKEN_S = 10, 100, 0.01
NODE_DRAIN_S = 0.25
"""As `run_node` waits after a node of one second."""

POST_S = 0.02
GIVES_UP_S = 4.0
"""A post that nobody takes: two attempts of two seconds."""


class _Gateway:
    """Takes posts as its viewers do, and notes when."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.times: list[float] = []

    def post_to_connection(self, ConnectionId: str, Data: bytes) -> None:
        """Takes 20 ms, four seconds, or half a second, by the name of the connection."""
        self.times.append(time.monotonic())
        self.over.wait({"dead": GIVES_UP_S, "slow": 0.45}.get(ConnectionId, POST_S))
        if ConnectionId == "dead":
            raise TimeoutError


class _Watching:
    """Subscribers, in memory."""

    def __init__(self, names: Sequence[str]) -> None:
        self.all = [Subscriber(name, "me", 9e9) for name in names]
        self.version = len(self.all)

    def subscribers(self, run_id: str) -> list[Subscriber]:
        """Returns who watches."""
        return self.all

    def subs_seen(self, run_id: str) -> int:
        """Returns the version of the subscribers."""
        return self.version

    def lag(self, run_id: str, connection_id: str) -> None:
        """Marks the subscriber, as the table does."""
        self.all = [Subscriber(connection_id, "me", 9e9, lagging=True)]
        self.version += 1

    def unsubscribe(self, run_id: str, connection_id: str) -> None:
        """Forgets the subscriber."""
        self.all = []

    def delete(self, connection_id: str) -> None:
        """Has nothing to forget."""


class _Steady:
    """A model of a hundred tokens a second."""

    name = "steady"

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def resolve(self, ref: Any) -> tuple[_Steady, str]:
        """Returns itself."""
        return self, "steady"

    def context_window(self, model: str) -> None:
        """Has no limit."""

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Yields words at an even pace."""
        for _ in range(self.tokens):
            time.sleep(TOKEN_S)
            yield TextChunk("word ")
        yield Finished(Usage(1, self.tokens))


def made_up_viewers() -> None:
    """Prints the time of a run by how long its viewer takes for a message, against nobody."""
    print(f"time of a run of {NODES} nodes, a second of text each, by its viewer (made up)")
    alone = _chain(())
    print(f"{'nobody':20}{alone:8.2f} s")
    for name, what in {
        "good": "20 ms a post",
        "slow": "450 ms a post",
        "dead": "takes nothing",
    }.items():
        took = _chain((name,))
        print(f"{what:20}{took:8.2f} s{took / alone:8.3f} times nobody's")
    print()


def _chain(viewers: Sequence[str]) -> float:
    names = [f"n{number}" for number in range(NODES)]
    run = _Run(names, f"start -> {' -> '.join(names)} -> end", viewers)
    for name in [*names, "end"]:
        run.task(name, run.publisher())
    return run.end()


WIDTH = 4


def crowds() -> None:
    """Prints what a run of four nodes at once posts, by how many watch it."""
    cap = limits.RUN_POSTS_PER_SECOND
    print(f"posts of a run of {WIDTH} nodes at once, 10 s of text each, by its viewers (made up)")
    print(f"{'viewers':>8}{'posts':>8}{'busiest second':>16}{'of the cap':>12}{'time':>9}")
    for viewers in (1, 20, 1_000):
        names = [f"n{number}" for number in range(WIDTH)]
        all_of_them = [f"viewer{number:04d}" for number in range(viewers)]
        run = _Run(names, f"start -> {', '.join(names)} -> end", all_of_them, seconds=10)
        with ThreadPoolExecutor(WIDTH) as pool:
            for _ in pool.map(run.task_of_its_own, names):
                pass
        run.task("end", run.publisher())
        took = run.end()
        most = _busiest_second(run.gateway.times)
        print(f"{viewers:8,}{len(run.gateway.times):8}{most:16}{most / cap:12.2f}{took:7.2f} s")
    print()


def _busiest_second(times: Sequence[float]) -> int:
    ordered, first, most = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


class _Run:
    """A run of nodes that talk for a second each, or longer, with who watches it."""

    def __init__(
        self, names: Sequence[str], edge: str, viewers: Sequence[str], *, seconds: int = 1
    ) -> None:
        nodes = "\n".join(f"  {name}: {{type: llm, prompt: hi}}" for name in names)
        source = f"version: 1\nname: watched\nnodes:\n{nodes}\nedges:\n  - {edge}\n"
        self.plan = compile_workflow(load_workflow(source), opt=1).plan
        self.gateway, self.watching = _Gateway(), _Watching(viewers)
        self.store, self.model = MemoryStore(), _Steady(seconds * TOKENS)
        self.publishers: list[SocketPublisher] = []
        deps = Deps(self.store, self.publisher(), self.model)
        self.run, _ = create_run(deps, self.plan, owner="me", workflow_id="wf", version=1, given={})
        self.begun = time.monotonic()

    def publisher(self) -> SocketPublisher:
        """Returns the publisher of a new process."""
        made = SocketPublisher(self.gateway, self.watching, self.watching)
        self.publishers.append(made)
        return made

    def task(self, name: str, publisher: SocketPublisher) -> None:
        """Runs a node as `run_node` does: a process may be frozen once its handler returns."""
        deps = Deps(self.store, publisher, self.model)
        run_task(deps, self.plan, self.run, name, "", deadline=time.monotonic() + 60)
        if name != "end":
            publisher.drain(NODE_DRAIN_S)

    def task_of_its_own(self, name: str) -> None:
        """Runs a node in a process that does nothing afterwards."""
        publisher = self.publisher()
        self.task(name, publisher)
        publisher.close()

    def end(self) -> float:
        """Ends all threads; returns how many seconds the run took."""
        took = time.monotonic() - self.begun
        self.gateway.over.set()
        for publisher in self.publishers:
            publisher.close()
        return took
