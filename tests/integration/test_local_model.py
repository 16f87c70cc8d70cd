"""The real local model behind its real server: tokens that nobody scripted."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from operator import mul

import httpx
import pytest
from kit.agents import agent_workflow, python_tool
from kit.engines import interpreted
from kit.wires import PIXEL
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.llm.registry import ModelSettings, Registry
from joinery.llm.types import CallContext, Finished, Media, Message, ModelRequest, TextChunk
from joinery.model_errors import PermanentEmbeddingsUnsupported, PermanentMediaUnsupported


@pytest.fixture(scope="module")
def models() -> Iterator[Registry]:
    with served() as registry:
        yield registry


@contextmanager
def served(*options: str) -> Iterator[Registry]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "joinery_cli.model_server", "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        registry = Registry(ModelSettings(f"http://127.0.0.1:{port}/v1", "smollm2"))
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield registry
        finally:
            registry.close()
            process.terminate()
            assert process.wait(10) == 0


def _wait(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, "the model's server did not start"
        time.sleep(0.1)


def call() -> CallContext:
    return CallContext("n", "", 1, time.monotonic() + 60)


def test_tokens_stream(models: Registry) -> None:
    provider, name = models.resolve({})
    assert provider.context_window(name) == 8192
    request = ModelRequest(
        name, (Message("user", "Name three colours."),), max_tokens=40, temperature=0
    )
    arrivals = []
    chunks = []
    for chunk in provider.stream(request, call()):
        arrivals.append(time.monotonic())
        chunks.append(chunk)
    texts = [c for c in chunks if isinstance(c, TextChunk)]
    assert len(texts) >= 5
    assert arrivals[0] < arrivals[-1] - 0.05
    finished = chunks[-1]
    assert isinstance(finished, Finished)
    assert 0 < finished.usage.output_tokens <= 40
    assert finished.usage.input_tokens > 0
    assert not finished.usage.estimated


def test_embeddings_of_texts_that_say_the_same_are_near() -> None:
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Shares fell sharply."]
    with served("--embeddings", "--ctx", "512", "--parallel", "1") as registry:
        embedder, name = registry.embedder({})
        found = embedder.embed(name, texts)
        again = embedder.embed(name, texts[::-1])

    def nearness(one: int, other: int) -> float:
        a, b = found.vectors[one], found.vectors[other]
        return sum(map(mul, a, b))  # their length is one

    assert {len(vector) for vector in found.vectors} == {576}
    assert nearness(0, 1) > nearness(0, 2)
    assert found.usage.input_tokens > 10
    assert not found.usage.estimated
    for vector, same in zip(found.vectors, again.vectors[::-1], strict=True):
        assert same == pytest.approx(vector, abs=1e-3)


def test_a_server_without_embeddings_says_so_at_once(models: Registry) -> None:
    embedder, name = models.embedder({})
    with pytest.raises(PermanentEmbeddingsUnsupported, match="embeddings"):
        embedder.embed(name, ["text"])


def test_an_image_is_refused_by_a_model_that_sees_nothing(models: Registry) -> None:
    provider, name = models.resolve({})
    messages = (Message("user", "What is it?", media=(Media("image/png", PIXEL),)),)
    with pytest.raises(PermanentMediaUnsupported, match="image"):
        list(provider.stream(ModelRequest(name, messages), call()))


def test_a_workflow_with_a_scored_answer(models: Registry) -> None:
    graph = workflow(
        ["start -> judge -> end"],
        {
            "judge": {
                "type": "llm",
                "prompt": "Score this idea from 0 to 100: {{ inputs.idea }}",
                "output": {"score": {"type": "integer", "minimum": 0, "maximum": 100}},
                "model": {"max_tokens": 30},
            }
        },
        inputs={"idea": {"type": "string", "required": True}},
        outputs={"score": "{{ nodes.judge.output.score }}"},
    )
    ended = interpreted(compile_workflow(graph).plan, {"idea": "a four-day week"}, models)
    assert ended.status == "completed", ended.run.error
    assert 0 <= ended.outputs["score"] <= 100
    assert json.loads("".join(d["data"]["text"] for d in ended.listener.named("text.delta")))


def test_a_client_that_leaves_frees_its_slot(models: Registry) -> None:
    provider, name = models.resolve({})
    long = ModelRequest(name, (Message("user", "Write a long story."),), max_tokens=4000)
    for _ in range(3):  # one more than there are slots
        stream = provider.stream(long, call())
        next(iter(stream))
        stream.close()  # type: ignore[attr-defined]  # it is a generator
    short = ModelRequest(name, (Message("user", "Hi"),), max_tokens=3)
    began = time.monotonic()
    list(provider.stream(short, call()))
    assert time.monotonic() - began < 10


def test_a_client_that_leaves_while_its_prompt_is_read_frees_its_slot(models: Registry) -> None:
    provider, name = models.resolve({})
    # About 5,000 tokens: more than 20 seconds of reading on two cores.
    long = ModelRequest(name, (Message("user", "the town closes the street " * 1000),))
    for _ in range(2):
        leaves = time.monotonic() + 0.6
        left = CallContext("n", "", 1, leaves + 60, lambda at=leaves: time.monotonic() > at)
        assert list(provider.stream(long, left)) == []
    began = time.monotonic()
    list(provider.stream(ModelRequest(name, (Message("user", "Hi"),), max_tokens=3), call()))
    assert time.monotonic() - began < 8


def test_an_agent_calls_a_tool(models: Registry) -> None:
    tools = {
        "weather": python_tool(
            "weather",
            "def weather(city):\n    return f'It rains in {city}.'",
            parameters={"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
        )
    }
    model = {"temperature": 0, "max_tokens": 60}
    node = {"prompt": "What is the weather in Oslo?"}
    flow = agent_workflow(tools, node, model=model, max_rounds=3)
    ended = interpreted(compile_workflow(flow).plan, {}, models)
    assert ended.status == "completed", ended.listener.named("node.failed")
    calls = ended.listener.named("tool.completed")
    assert calls
    assert all(call["data"]["ok"] for call in calls)
    assert ended.outputs["text"]
    [record] = [r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "a"]
    assert record.usage["model_calls"] == len(ended.listener.named("agent.round"))
