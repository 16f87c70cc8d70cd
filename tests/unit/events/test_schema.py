"""Everything that is really sent is what the schema says, to the last field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from kit.engines import Ended, begin, interpreted
from kit.models import Says
from kit.workflows import loop, workflow

import joinery.events
from joinery.compiler.compile import compile_workflow
from joinery.errors import NodeError
from joinery.events.make import Event
from joinery.events.types import ACTIONS, DELTA_NAMES, EVENT_NAMES, FRAME_NAMES
from joinery.model_errors import PermanentModelAuth, TransientModelUnavailable
from joinery.runs.end import close_failed
from joinery.runs.lifecycle import close_ended
from joinery.runs.start import cancel_run
from joinery.sockets.frames import Command, answer, error_frame, resync_frame

SCHEMA = json.loads((Path(joinery.events.__file__).parent / "schema.json").read_text("utf-8"))
MESSAGES = Draft202012Validator(SCHEMA)

OPTIONAL = {"run_id", "head", "after_seq", "offsets", "inputs", "because"}


def definition(name: str) -> Draft202012Validator:
    return Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{name}"}]})


def names(kind: str) -> list[str]:
    return [name for name, spec in SCHEMA["$defs"].items() if spec["x-kind"] == kind]


def check(messages: list[Event]) -> set[str]:
    for message in messages:
        definition(message["event"]).validate(json.loads(json.dumps(message)))
    return {message["event"] for message in messages}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert names("event") == list(EVENT_NAMES)
    assert names("delta") == list(DELTA_NAMES)
    assert names("frame") == list(FRAME_NAMES)
    assert names("command") == list(ACTIONS)
    listed = {row["$ref"].rsplit("/", 1)[1] for row in SCHEMA["oneOf"]}
    assert listed == {*EVENT_NAMES, *DELTA_NAMES, *FRAME_NAMES}


@pytest.mark.parametrize("name", [*EVENT_NAMES, *DELTA_NAMES, *FRAME_NAMES, *ACTIONS])
def test_examples_hold_and_nothing_may_be_added_or_left_out(name: str) -> None:
    [example] = SCHEMA["$defs"][name]["examples"]
    validator = definition(name)
    validator.validate(example)
    required = {key for key in example if key not in OPTIONAL}
    for key in required:
        assert not validator.is_valid({k: v for k, v in example.items() if k != key}), key
    if name not in ACTIONS:
        assert not validator.is_valid({**example, "surprise": 1})
        assert not validator.is_valid({**example, "data": {**example["data"], "surprise": 1}})
        assert MESSAGES.is_valid(example)


def test_every_definition_and_field_is_described() -> None:
    def undescribed(spec: dict[str, Any], place: str) -> Iterator[str]:
        for name, field in spec.get("properties", {}).items():
            at = f"{place}.{name}"
            if name not in {"event", "action", "data"} and not field.get("description"):
                yield at
            yield from undescribed(field, at)

    missing = [
        at for name, spec in SCHEMA["$defs"].items() for at in undescribed(spec, name)
    ]  # fmt: skip
    assert not missing
    assert all(spec["description"] for spec in SCHEMA["$defs"].values())


# -- what is really sent -----------------------------------------------------------------------


def run(edges: list[str], nodes: dict[str, Any], model: Any = None, **more: Any) -> Ended:
    given = more.pop("given", {})
    plan = compile_workflow(workflow(edges, nodes, **more)).plan
    return interpreted(plan, given, model)


def test_a_run_with_rounds_skips_and_streams() -> None:
    nodes = {
        "write": {"type": "llm", "prompt": "Write about {{ inputs.topic }}"},
        "good": {"type": "condition", "if": "{{ loop.round >= 2 }}"},
        "note": {"type": "template", "template": "again"},
        "again": loop(2),
    }
    edges = [
        "start -> write -> good",
        "good.false -> note",
        "good.true, note -> again",
        "again.repeat -> write",
        "again.done -> end",
    ]
    inputs = {"topic": {"type": "string", "default": "trees"}}
    ended = run(edges, nodes, Says(lambda *_: iter(["one ", "two 🌿"])), inputs=inputs)
    assert ended.status == "completed"
    seen = check(ended.listener.messages)
    assert seen >= {
        "run.started", "run.completed", "node.started", "node.completed", "nodes.skipped",
        "loop.round", "usage.recorded", "text.delta",
    }  # fmt: skip


def test_a_run_that_retries_and_fails() -> None:
    errors = iter([TransientModelUnavailable("503", provider="x"), PermanentModelAuth("no key")])

    def fails(*_: Any) -> Iterator[str]:
        yield "so far"
        raise next(errors)

    nodes = {"a": {"type": "llm", "prompt": "x", "retry": {"attempts": 3, "backoff": "1ms"}}}
    ended = run(["start -> a -> end"], nodes, Says(fails))
    assert ended.status == "failed"
    seen = check(ended.listener.messages)
    assert seen >= {"node.retrying", "node.failed", "run.failed", "text.delta"}


def test_a_node_that_fails_and_is_routed_around() -> None:
    def fails(*_: Any) -> str:
        raise PermanentModelAuth("no key")

    nodes = {"a": {"type": "llm", "prompt": "x", "on_error": "route"}}
    edges = ["start -> a", "a -> b -> end", "a.error -> c -> end"]
    ended = run(edges, nodes, Says(fails))
    assert ended.status == "completed"
    assert check(ended.listener.messages) >= {"node.failed", "nodes.skipped"}


def test_a_prompt_that_is_cut() -> None:
    nodes = {"a": {"type": "llm", "prompt": "{{ inputs.text }}", "fit": "cut"}}
    inputs = {"text": {"type": "string", "required": True}}
    model = Says(lambda *_: "done", window=700)
    given = {"text": "word " * 4_000}
    ended = run(["start -> a -> end"], nodes, model, inputs=inputs, given=given)
    assert "input.cut" in check(ended.listener.messages)


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_runs_that_others_end(status: str) -> None:
    plan = compile_workflow(workflow(["start -> a -> end"])).plan
    ended = begin(plan, {})
    detail = {"name": ended.run.run_id, "status": status, "error": "X", "cause": "y"}
    close_ended(ended.deps, detail)
    check(ended.listener.messages)
    cancelled = begin(plan, {})
    cancel_run(cancelled.deps, cancelled.run)
    assert "run.cancelled" in check(cancelled.listener.messages)
    failed = begin(plan, {})
    close_failed(failed.deps, failed.run, NodeError("x", more=1), node_id="end")
    check(failed.listener.messages)


def test_frames() -> None:
    run_id = "run_" + "0" * 26
    command = Command("subscribe", "r1", run_id)
    data = {"action": "subscribe", "status": "running", "events": 1, "deltas": 0}
    check(
        [
            answer("ack", command, data, at=1.0, head=3),
            answer("pong", Command("ping", "r2"), {}, at=1.0),
            answer("pong", Command("ping", "r2", run_id), {}, at=1.0, head=1),
            error_frame(NodeError("no", why=1), None, at=1.0),
            error_frame(NodeError("no"), "r1", at=1.0),
            resync_frame(run_id, at=1.0, head=5),
        ]
    )
