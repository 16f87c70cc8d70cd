"""Spans of runs, nodes and calls, as a collector receives them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from kit.bad_days import Clock, fails, patience, says, script
from kit.collector import Collector, collector
from kit.engines import Ended, begin, compiled_run
from kit.model_server import model_server
from kit.models import Says
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import DEFAULT_OPT
from joinery.compiler.plan import Plan
from joinery.llm.registry import ModelSettings, Registry
from joinery.model_errors import PermanentModelAuth
from joinery.runs.deps import Deps
from joinery.runs.interpreter import run_inline
from joinery.runs.task import run_task
from joinery.tracing import CONTENT, NO_TRACER, Tracer, tracer_of

SECRET = "the prompt that nobody else may read"


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        yield found


def tracer(sink: Collector, **environ: str) -> Tracer:
    return tracer_of({"OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, **environ}, "test")


def plan(opt: int = DEFAULT_OPT, **node: Any) -> Plan:
    nodes = {
        "judge": {"type": "agent", "agent": "judge", "prompt": SECRET, **node},
        "count": {"type": "tool", "tool": "count", "arguments": {"text": "{{ nodes.judge.text }}"}},
    }
    tools = {
        "count": {
            "description": "Counts.",
            "parameters": {"text": {"type": "string"}},
            "code": "def count(text):\n    return len(text)\n",
        }
    }
    agents = {"judge": {"persona": SECRET, "model": {"name": "m", "temperature": 0.5}}}
    made = workflow(
        ["start -> judge -> count -> end"],
        nodes,
        agents=agents,
        tools=tools,
        outputs={"x": "{{ nodes.count.output }}"},
    )
    return compile_workflow(made, opt=opt).plan


def run(made: Plan, models: Any, traced: Tracer) -> Ended:
    ended = begin(made, {}, models)
    ended.deps = replace(ended.deps, tracer=traced, calls=patience(Clock()))
    run_inline(ended.deps, made, ended.run, sleep=lambda _: None)
    traced.flush(5)
    ended.run = ended.store.get_run(ended.run.run_id)
    return ended


def test_a_run_is_one_trace_of_runs_nodes_calls_and_tools(sink: Collector) -> None:
    with model_server(script(fails(500), says("all is well"))) as server:
        models = Registry(ModelSettings(server.url))
        ended = run(plan(), models, tracer(sink))
        models.close()
    assert ended.status == "completed"
    assert {span.trace for span in sink.spans} == {sink.spans[0].trace}
    (whole,) = sink.named("invoke_workflow")
    (judge,) = sink.named("invoke_agent judge")
    failed, answered = sink.named("chat m")
    (tool,) = sink.named("execute_tool count")
    (count,) = sink.named("tool count")
    assert whole.parent == ""
    assert judge.parent == count.parent == whole.id
    assert failed.parent == answered.parent == judge.id
    assert tool.parent == count.id
    assert whole.facts["joinery.run.status"] == "completed"
    assert whole.facts["joinery.run.id"] == judge.facts["joinery.run.id"] == ended.run.run_id
    assert judge.facts["joinery.attempt"] == 1
    assert (failed.failed, failed.facts["error.type"]) == (True, "model_unavailable")
    assert not (answered.failed or judge.failed or whole.failed)
    assert answered.kind == 3  # a client's
    facts = answered.facts
    assert facts["gen_ai.operation.name"] == "chat"
    assert (facts["gen_ai.provider.name"], facts["gen_ai.request.model"]) == ("local", "m")
    assert facts["gen_ai.request.temperature"] == 0.5
    assert facts["gen_ai.usage.input_tokens"] == 3
    assert facts["gen_ai.usage.output_tokens"] == 5
    assert facts["gen_ai.response.finish_reasons"] == ["stop"]
    assert 0 <= facts["gen_ai.response.time_to_first_chunk"] <= answered.seconds
    assert tool.facts["gen_ai.tool.name"] == "count"
    assert sink.resources[0]["service.name"] == "joinery"
    assert sink.resources[0]["deployment.environment.name"] == "test"


def test_no_span_holds_what_was_said(sink: Collector) -> None:
    run(plan(), Says(lambda *_: "an answer for one person"), tracer(sink))
    assert sink.named("chat")
    sent = b"".join(sink.bodies)
    assert SECRET.encode() not in sent
    assert b"an answer for" not in sent


def test_an_installation_may_ask_for_what_was_said(sink: Collector) -> None:
    run(plan(), Says(lambda *_: "an answer"), tracer(sink, **{CONTENT: "true"}))
    (call,) = sink.named("chat")
    asked = json.loads(call.facts["gen_ai.input.messages"])
    assert [m["role"] for m in asked] == ["system", "user"]
    assert asked[1]["parts"] == [{"type": "text", "content": SECRET}]
    (said,) = json.loads(call.facts["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "text", "content": "an answer"}]


def test_a_failed_run_says_which_error_and_no_more(sink: Collector) -> None:
    def refuse(*_: Any) -> str:
        raise PermanentModelAuth(f"refused: {SECRET}")

    ended = run(plan(), Says(refuse), tracer(sink))
    assert ended.status == "failed"
    for name in ("invoke_workflow", "invoke_agent", "chat"):
        (span,) = sink.named(name)
        assert (span.failed, span.message) == (True, "")
        assert span.facts["error.type"] == "model_auth"
    assert SECRET.encode() not in b"".join(sink.bodies)


def test_tasks_of_several_processes_join_one_trace(sink: Collector) -> None:
    made = plan(opt=1)
    ended = begin(made, {}, Says(lambda *_: "well"))
    for node in ("judge", "count", "end"):
        # Each Task may be another Lambda, which knows the run's id and nothing else.
        deps = replace(ended.deps, tracer=tracer(sink))
        run_task(deps, made, ended.run, node, "", deadline=time.monotonic() + 60)
        deps.tracer.flush(5)
    (whole,) = sink.named("invoke_workflow")
    assert {span.trace for span in sink.spans} == {whole.trace}
    nodes = [*sink.named("invoke_agent"), *sink.named("tool ")]
    assert [span.parent for span in nodes] == [whole.id] * 2
    assert len({span.id for span in sink.spans}) == len(sink.spans)


def test_a_sampler_decides_for_the_whole_run(
    sink: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    traced = tracer(sink)
    for _ in range(24):
        run(plan(), Says(lambda *_: "well"), traced)
    runs = {span.trace for span in sink.named("invoke_workflow")}
    assert 0 < len(runs) < 24
    assert {span.trace for span in sink.spans} == runs
    for name in ("invoke_agent", "chat", "tool ", "execute_tool"):
        assert len(sink.named(name)) == len(runs)


def test_a_collector_that_is_down_stops_no_run_and_is_left_alone(sink: Collector) -> None:
    sink.status = 400
    traced = tracer(sink)
    for _ in range(3):
        assert run(plan(), Says(lambda *_: "well"), traced).status == "completed"
    assert len(sink.bodies) == 1


def test_headers_of_the_environment_are_sent(
    sink: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    run(plan(), Says(lambda *_: "well"), tracer(sink))
    assert sink.headers[0]["x-key"] == "secret"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nobody_is_told_where_nobody_asks(environ: dict[str, str]) -> None:
    assert tracer_of(environ) is NO_TRACER


def test_nothing_of_it_is_imported_where_no_collector_is_named() -> None:
    program = (
        "import sys\n"
        "from joinery.tracing import tracer_of\n"
        "import joinery.runs.task, joinery.nodes.model\n"
        "tracer_of({})\n"
        "assert not [m for m in sys.modules if m.startswith(('opentelemetry', 'google'))]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env={})


def test_the_compiled_machine_makes_the_same_spans(sink: Collector) -> None:
    nodes = {"a": {"type": "llm", "prompt": "x", "model": {"name": "m"}}}
    compiled = compile_workflow(workflow(["start -> a -> end"], nodes))
    with pytest.MonkeyPatch.context() as patch:
        traced = tracer(sink)
        patch.setattr("kit.engines.Deps", partial(Deps, tracer=traced))
        compiled_run(compiled, {}, Says(lambda *_: "well"))
    traced.flush(5)
    assert sorted(span.name.split()[0] for span in sink.spans) == [
        "chat",
        "invoke_workflow",
        "llm",
    ]
