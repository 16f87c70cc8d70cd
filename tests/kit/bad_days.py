"""A workflow of one model, played against a server that has a bad day."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan
from joinery.llm.breaker import Breaker, MemoryBreakers
from joinery.llm.calls import Calls
from joinery.llm.registry import ModelSettings, Registry
from joinery.runs.interpreter import run_inline
from kit.engines import Ended, begin
from kit.model_server import Answer
from kit.workflows import workflow

Behave = Callable[[Answer], None]


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    at: float = field(default_factory=time.time)
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.slept.append(seconds)

    @property
    def total(self) -> float:
        return round(sum(self.slept), 6)


def patience(clock: Clock, *, random: float = 1.0, **more: Any) -> Calls:
    """What calls share, on a clock of the test; the whole of each wait is taken."""
    breaker = more.pop("breaker", None) or Breaker(MemoryBreakers(), clock=clock)
    begun = clock.at
    return Calls(
        breaker=breaker,
        clock=clock,
        now=lambda: time.monotonic() + clock.at - begun,
        sleep=clock.sleep,
        random=lambda: random,
        **more,
    )


def one_model(**node: Any) -> Plan:
    """A workflow of one `llm` node `a`; its output is the node's text."""
    said = {"retry": {"attempts": 3, "backoff": "100ms"}, "timeout": "60s", **node}
    model = said.pop("model", {"name": "m"})
    nodes = {"a": {"type": "llm", "prompt": "hi", "model": model, **said}}
    outputs = {"x": "{{ nodes.a.text ?? '' }}"}
    return compile_workflow(workflow(["start -> a -> end"], nodes, outputs=outputs)).plan


def play(plan: Plan, models: Any, calls: Calls) -> Ended:
    """Runs the plan, without waiting between attempts."""
    ended = begin(plan, {}, models)
    ended.deps = replace(ended.deps, calls=calls)
    run_inline(ended.deps, plan, ended.run, sleep=lambda _: None)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def ask_server(url: str, plan: Plan, calls: Calls) -> Ended:
    """Runs the plan against a server."""
    models = Registry(ModelSettings(url))
    try:
        return play(plan, models, calls)
    finally:
        models.close()


def script(*behaviours: Behave) -> Behave:
    """Answers the n-th question as the n-th says, further ones as the last.

    The provider also asks for the window; that is answered with a 404.
    """
    asked: list[int] = []

    def behave(answer: Answer) -> None:
        if answer.body is None:
            answer.send(404, {})
            return
        asked.append(1)
        behaviours[min(len(asked), len(behaviours)) - 1](answer)

    return behave


def says(text: str, finish: str = "stop") -> Behave:
    """Answers word by word."""

    def behave(answer: Answer) -> None:
        answer.begin()
        for word in text.split(" ") if text else []:
            answer.chunk(word if text.startswith(word) else f" {word}")
        answer.chunk(finish_reason=finish)
        answer.usage(3, 5)
        answer.done()

    return behave


def fails(status: int, **headers: str) -> Behave:
    """Answers with an error."""
    return lambda answer: answer.send(status, {"error": {"message": "bad day"}}, **headers)


def begins_and(then: Callable[[Answer], None]) -> Behave:
    """Says two words, then does something else."""

    def behave(answer: Answer) -> None:
        answer.begin()
        answer.chunk("wrong")
        answer.chunk(" words")
        then(answer)

    return behave


def opens_and(then: Callable[[Answer], None]) -> Behave:
    """Accepts the question and says no word of an answer."""

    def behave(answer: Answer) -> None:
        answer.begin()
        then(answer)

    return behave


def hangs(answer: Answer) -> None:
    """Says nothing more."""
    answer.hang(10)


def cuts(answer: Answer) -> None:
    """Leaves without an end."""


def malformed(answer: Answer) -> None:
    """Sends what is no JSON."""
    answer.raw(b"data: {broken\n\n")


def seen(ended: Ended) -> str:
    """The text that a viewer has at the end, who merges deltas as the protocol says."""
    last = max(m["data"]["attempt"] for m in ended.listener.named("node.started"))
    text: dict[int, str] = {}
    for message in ended.listener.named("text.delta"):
        data = message["data"]
        if data["attempt"] == last and data["stream"] == "text":
            text.update(enumerate(data["text"], data["offset"]))
    return "".join(text[place] for place in range(len(text)))
