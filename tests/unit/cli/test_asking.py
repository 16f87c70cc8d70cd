"""Questions of a run, asked at the terminal and answered by the command."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.engines import NoModels

from joinery.compiler.build import build_plan
from joinery.errors import Conflict
from joinery.workflow.validation import load_workflow, validate_file
from joinery_cli import exits
from joinery_cli import session as sessions
from joinery_cli.asking import Asker, parse_answer
from joinery_cli.commands import runs as runs_module
from joinery_cli.engines.inline import InlineEngine
from joinery_cli.live.state import RunState
from joinery_cli.live.views import SilentView
from joinery_cli.session import Session

from .messages import RUN, Log

APPROVE = Path(__file__).parents[3] / "examples" / "approve.yaml"

YES_NO = {"options": {"yes": "Yes", "no": "No"}}


@pytest.mark.parametrize(
    ("text", "asked", "value"),
    [
        ("well, yes", {}, "well, yes"),
        ("7", {}, "7"),
        (" yes ", YES_NO, "yes"),
        ("2", YES_NO, "no"),
        ("3", YES_NO, "3"),
        ("7", {"schema": {"type": "integer"}}, 7),
        ("7", {"schema": {"type": "string"}}, "7"),
        ('{"a": [1]}', {"schema": {"type": "object"}}, {"a": [1]}),
        ("seven", {"schema": {"type": "integer"}}, "seven"),
    ],
)
def test_what_is_typed_becomes_what_the_question_takes(text, asked, value):
    assert parse_answer(text, asked) == value


class Rests(SilentView):
    def __init__(self):
        self.rested = 0

    def rest(self):
        self.rested += 1


def engine_of(source):
    plan = build_plan(load_workflow(source))
    return InlineEngine(plan, {}, NoModels())


ASK = """\
version: 1
name: ask
nodes:
  a: {type: question, prompt: "How many?", schema: {type: integer, minimum: 1}}
  b: {type: template, template: "{{ nodes.a.output }}"}
edges: [start -> a -> b -> end]
outputs: {x: "{{ nodes.b.text }}"}
"""


def test_a_run_asks_and_asks_again_until_the_answer_fits(capsys):
    engine, view = engine_of(ASK), Rests()
    typed = iter([None, "0\n", "many\n", None, "3\n"])
    state = Session(engine, view, asker=Asker(engine, view, lambda: next(typed))).run()
    assert (state.status, engine.result()["outputs"]) == ("completed", {"x": "3"})
    assert view.rested == 1
    told = capsys.readouterr().err
    assert "a asks: How many?" in told
    assert "0 is less than the minimum of 1" in told
    assert "'many' is not of type 'integer'" in told
    assert told.count("> ") == 3


def test_without_a_terminal_a_run_that_waits_is_left(joinery, monkeypatch):
    monkeypatch.setattr(sessions, "WAITS_S", 0.1)
    result = joinery("run", APPROVE, "--engine", "inline")
    assert result.exit_code == exits.WAITING
    assert "Approval asks: Dear Ada" in result.stderr
    assert "only in a terminal" in result.stderr
    result = joinery("run", APPROVE, "--engine", "inline", "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (exits.WAITING, "waiting")


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["1\n"], "Sent: Dear Ada"),
        (["drop\n"], "The letter to Ada was not sent."),
        (["change\n", "the hour\n"], "Not sent yet; to be changed: the hour"),
    ],
)
def test_the_example_goes_the_way_of_its_answer(typed, text):
    plan = build_plan(validate_file(APPROVE).require())
    given = {name: spec["default"] for name, spec in plan.inputs.items()}
    engine, view, lines = InlineEngine(plan, given, NoModels()), Rests(), iter(typed)
    Session(engine, view, asker=Asker(engine, view, lambda: next(lines))).run()
    assert engine.result()["outputs"]["result"].startswith(text)


class Refuses:
    """An engine whose question somebody else has answered."""

    def answer(self, node_id, path, value):
        raise Conflict(f"node '{node_id}' waits no more")


def asked(log, **data):
    state = RunState()
    state.apply(log.started([("a", "question", [])], []))
    state.apply(log.event("node.started", "a", "", attempt=1, type="question"))
    more = {"prompt": "Send it?", "expires_at": "2026-01-08T00:00:00.000Z", **data}
    state.apply(log.event("input.requested", "a", "", **more))
    return state


def test_who_is_too_late_is_told(capsys):
    state = asked(Log(), **YES_NO, default="no")
    asker = Asker(Refuses(), Rests(), lambda: "yes\n")
    asker.ask(state)
    assert not asker.ask(state)
    told = capsys.readouterr().err
    assert "  1. yes  Yes\n  2. no  No\n" in told
    assert 'without an answer: "no"' in told
    assert "node 'a' waits no more" in told


def test_a_question_that_is_answered_elsewhere_is_asked_no_more(capsys):
    log = Log()
    state = asked(log)
    asker = Asker(Refuses(), Rests(), lambda: None)
    assert state.waits
    assert asker.ask(state)
    state.apply(log.event("input.received", "a", "", kind="answer", value="yes"))
    assert not asker.ask(state)
    assert not state.waits
    assert "answered or over" in capsys.readouterr().err


def test_where_nothing_can_be_typed_the_run_is_only_shown():
    state = asked(Log())
    asker = Asker(Refuses(), Rests(), lambda: "")
    assert not asker.ask(state)
    assert not asker.ask(state)
    assert state.waits


# -- joinery answer ------------------------------------------------------------------------


class Client:
    """Takes one answer; two questions wait."""

    def __init__(self, refuses=None):
        self.given, self.refuses = [], refuses

    def get(self, run_id, *, results):
        def node(name, path, status="waiting", **wait):
            return {"node_id": name, "path": path, "status": status, "wait": wait}

        return {"nodes": [
            node("a", "", schema={"type": "integer"}), node("b", "1", prompt="?"),
            node("b", "2", options={"x": "x"}), node("c", "", "completed"),
        ]}  # fmt: skip

    def input(self, run_id, value, *, node_id, path):
        self.given.append((value, node_id, path))
        if self.refuses:
            raise self.refuses
        if node_id == "agent":
            return {"run_id": run_id, "kind": "message", "input_id": "in_1"}
        return {"run_id": run_id, "kind": "answer", "node_id": node_id or "a", "path": path or ""}


@pytest.fixture
def client(monkeypatch):
    made = Client()

    @contextmanager
    def opened(run_id):
        assert run_id == RUN
        yield made

    monkeypatch.setattr(runs_module, "run_client", opened)
    return made


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["a", "7"], (7, "a", None)),
        (["b@2", "1"], ("x", "b", "2")),
        (["b", "1"], ("1", "b", None)),
        (["hello"], ("hello", None, None)),
        (["agent", "be brief"], ("be brief", "agent", None)),
    ],
)
def test_the_command_gives_an_answer(joinery, client, words, given):
    result = joinery("answer", RUN, *words)
    assert (result.exit_code, client.given) == (0, [given])
    assert f"joinery watch {RUN}" in result.stderr or "in_1" in result.stderr


def test_the_command_prints_what_was_taken(joinery, client):
    result = joinery("answer", RUN, "a", "7", "--json")
    assert json.loads(result.stdout) == {
        "run_id": RUN, "kind": "answer", "node_id": "a", "path": "",
    }  # fmt: skip


def test_the_command_says_why_an_answer_was_not_taken(joinery, client):
    client.refuses = Conflict("it was answered")
    result = joinery("answer", RUN, "a", "7")
    assert (result.exit_code, result.stderr) == (exits.FAILED, "error: it was answered\n")
    assert joinery("answer", RUN, "a", "not", "quoted").exit_code == exits.INVALID
