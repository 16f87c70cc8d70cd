"""Questions: what is asked, who answers first, what is refused, and what time does."""

from __future__ import annotations

from typing import Any

import pytest
from kit.children import Crashes, StepFunctions
from kit.engines import NoModels
from kit.workflows import loop, workflow

from joinery.compiler.build import build_plan
from joinery.errors import Conflict, InvalidInput, InvalidRequest, JoineryError, TooLarge
from joinery.input_errors import AlreadyAnswered, NotWaiting, QuestionOver
from joinery.runs.answers import Given
from joinery.runs.cancel import cancel_and_stop
from joinery.runs.control import pause, resume
from joinery.runs.fork import fork
from joinery.runs.inline_children import InlineChildRuns
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.model import NodeKey
from joinery.runs.ports import TaskToken
from joinery.runs.say import give_input
from joinery.runs.start import create_run
from joinery.runs.sweep import sweep
from joinery.runs.views import run_view, shown_status

DAY = 86_400.0


class World:
    """A run of `a` (a question), then `b`, on a Step Functions that is a toy."""

    def __init__(self, edges: list[str] | None = None, more: Any = None, **node: Any) -> None:
        described = {"type": "question", "prompt": "Send '{{ inputs.what }}'?", **node}
        graph = workflow(
            edges or ["start -> a -> b -> end"],
            {"a": described, "b": {"type": "template", "template": "{{ nodes.a.text ?? '-' }}"},
             **(more or {})},
            inputs={"what": {"default": "it"}},
            outputs={"x": "{{ nodes.b.text ?? '' }}"},
        )  # fmt: skip
        self.plan = build_plan(graph)
        self.machines = StepFunctions({"wf/1": self.plan}, Crashes())
        self.deps = self.machines.world(NoModels())
        self.store: Any = self.deps.store
        run, _ = create_run(self.deps, self.plan, owner="me", workflow_id="wf", version=1, given={})
        self.run_id = run.run_id
        self.machines.start(self.deps, run, within_s=1.0)

    @property
    def run(self) -> Any:
        return self.store.get_run(self.run_id)

    def asked(self) -> World:
        self.machines.work()
        return self

    def say(self, value: Any, node: str | None = "a", path: str | None = None, *,
            key: str = "") -> dict[str, Any]:  # fmt: skip
        given = Given(key or f"request-{value}", value, node, path)
        return give_input(self.deps, self.run, given)

    def answer(self, value: Any, **more: Any) -> dict[str, Any]:
        taken = self.say(value, **more)
        self.machines.work()
        return taken

    def refused(self, value: Any, **more: Any) -> JoineryError:
        with pytest.raises(JoineryError) as refused:
            self.say(value, **more)
        return refused.value

    def names(self) -> list[str]:
        return [event["event"] for event in self.store.events(self.run_id, 0, 100)]

    def event(self, name: str) -> Any:
        [found] = [e for e in self.store.events(self.run_id, 0, 100) if e["event"] == name]
        return found["data"]

    def node(self, name: str = "a") -> Any:
        [found] = [r for r in self.store.nodes(self.run_id) if r.node_id == name]
        return found

    def outputs(self) -> Any:
        return self.store.outputs(self.run_id)


def test_a_question_waits_and_its_answer_goes_on() -> None:
    world = World().asked()
    view = run_view(world.store, world.run)
    assert view["status"] == "waiting"
    [node] = view["nodes"]
    assert (node["status"], node["wait"]["kind"]) == ("waiting", "question")
    assert node["wait"]["prompt"] == "Send 'it'?"
    assert "answer" not in node["wait"]
    assert world.names()[1:] == ["node.started", "input.requested"]
    assert world.event("input.requested") == {
        "prompt": "Send 'it'?", "expires_at": node["wait"]["expires_at"],
    }  # fmt: skip
    assert world.node().wait["expires_at"] == pytest.approx(world.machines.now + 7 * DAY)
    taken = world.answer("yes, please")
    assert taken == {"run_id": world.run_id, "kind": "answer", "node_id": "a", "path": ""}
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes, please"})
    assert world.names()[3:5] == ["input.received", "node.completed"]
    assert world.event("input.received") == {"kind": "answer", "value": "yes, please"}
    shown = run_view(world.store, world.run)["nodes"][0]
    assert shown["result"] == {"output": "yes, please", "text": "yes, please"}
    assert shown["wait"]["answer"]["by"] == "input"
    assert world.store.tokens(world.run_id) == []


def test_options_are_ports_where_an_edge_uses_one() -> None:
    edges = ["start -> a", "a.yes -> b -> end", "a.no -> c -> end"]
    world = World(edges, options={"yes": "Send it", "no": "Leave it"}).asked()
    assert world.event("input.requested")["options"] == {"yes": "Send it", "no": "Leave it"}
    world.answer("yes")
    assert world.outputs() == {"x": "Send it"}
    assert (world.node().port, world.node("c").status) == ("yes", "skipped")
    assert world.node().result == {"output": "yes", "text": "Send it"}


def test_options_are_no_ports_where_none_is_used() -> None:
    world = World(options=["yes", "no"]).asked()
    world.answer("no")
    assert (world.node().port, world.outputs()) == ("", {"x": "no"})


@pytest.mark.parametrize(
    ("node", "value", "told"),
    [
        ({}, "", "text"),
        ({}, "  ", "text"),
        ({}, 7, "text"),
        ({}, None, "text"),
        ({"options": ["yes", "no"]}, "Yes", "yes, no"),
        ({"options": ["yes", "no"]}, True, "yes, no"),
        ({"options": ["yes", "no"]}, {"yes": 1}, "yes, no"),
        ({"schema": {"type": "integer", "minimum": 1}}, 0, "minimum"),
        ({"schema": {"type": "integer"}}, "1", "integer"),
        ({"schema": {"type": "object", "required": ["ok"]}}, {}, "'ok'"),
    ],
)
def test_a_bad_answer_is_refused_and_the_question_stays_open(
    node: Any, value: Any, told: str
) -> None:
    world = World(**node).asked()
    error = world.refused(value)
    assert isinstance(error, InvalidInput)
    assert told in error.message
    assert error.details["errors"][0].keys() == {"path", "code", "message"}
    assert run_view(world.store, world.run)["status"] == "waiting"
    assert "input.received" not in world.names()


def test_what_no_event_could_carry_is_refused() -> None:
    world = World().asked()
    assert isinstance(world.refused("x" * 65_537), TooLarge)
    assert isinstance(world.refused("\ud800"), InvalidInput)


def test_a_schema_says_all_that_is_wrong() -> None:
    shape = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}
    world = World(schema=shape).asked()
    rows = world.refused({"n": "x", "s": 1}).details["errors"]
    assert sorted(row["path"] for row in rows) == ["/n", "/s"]
    world.answer({"n": 1, "s": "é"})
    assert world.outputs() == {"x": '{"n": 1, "s": "é"}'}


def test_the_first_answer_wins() -> None:
    world = World().asked()
    world.answer("one")
    error = world.refused("two")
    assert isinstance(error, AlreadyAnswered)
    assert isinstance(error, Conflict)
    assert error.http_status == 409
    assert error.details["by"] == "input"
    assert world.outputs() == {"x": "one"}
    assert world.names().count("input.received") == 1


def test_of_two_answers_at_once_one_wins() -> None:
    world = World().asked()

    def other() -> None:
        world.say("second")

    world.machines.crashes.seen.clear()
    world.machines.crashes.at = ("finish", 1, "before")
    world.machines.crashes.act = other
    error = world.refused("first")
    assert isinstance(error, AlreadyAnswered)
    world.machines.work()
    assert world.outputs() == {"x": "second"}
    assert world.names().count("input.received") == 1


def test_the_same_request_again_is_the_same_answer() -> None:
    world = World().asked()
    assert world.answer("one", key="k1") == world.answer("one", key="k1")
    assert isinstance(world.refused("two", key="k1"), AlreadyAnswered)
    assert world.names().count("input.received") == 1


def test_nothing_is_answered_that_was_not_asked() -> None:
    world = World(["start -> b -> a -> end"], {"b": {"type": "template", "template": "x"}})
    assert isinstance(world.refused("x"), NotWaiting)
    assert world.refused("x").details == {"status": "pending"}
    assert isinstance(world.refused("x", node="nope"), InvalidRequest)
    assert isinstance(world.refused("x", node="end"), InvalidRequest)


def test_an_answer_before_the_token_is_stored_is_not_lost() -> None:
    world = World()
    world.machines.crashes.seen.clear()
    world.machines.crashes.at = ("put_token", 1, "before")
    world.machines.crashes.act = lambda: world.say("early") and None
    world.machines.work()
    assert (world.run.status, world.outputs()) == ("completed", {"x": "early"})


def test_where_no_agent_takes_messages_the_one_question_needs_no_name() -> None:
    world = World().asked()
    taken = world.answer("yes", node=None, key="k1")
    assert (taken["kind"], taken["node_id"], world.outputs()) == ("answer", "a", {"x": "yes"})
    assert world.say("yes", node=None, key="k1") == taken


def test_of_two_questions_one_is_named() -> None:
    world = World(["start -> a, c -> b -> end"], {"c": {"type": "question", "prompt": "?"}})
    world.machines.ready.append((world.run_id, "c", 0))
    world.asked()
    error = world.refused("yes", node=None)
    assert isinstance(error, Conflict)
    assert [row["node_id"] for row in error.details["waiting"]] == ["a", "c"]


ASKING = ("claim", "append", "mark_asked", "release", "put_token")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ASKING)
def test_a_worker_that_dies_while_asking_asks_once(name: str, when: str) -> None:
    world = World()
    world.machines.crashes.seen.clear()
    world.machines.crashes.at = (name, 1, when)
    world.asked()
    assert world.machines.crashes.at is None
    assert run_view(world.store, world.run)["status"] == "waiting"
    assert world.names().count("input.requested") == 1
    world.answer("yes")
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes"})


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["look_soon", "finish", "answer", "drop_token"])
def test_who_dies_while_answering_may_ask_again(name: str, when: str) -> None:
    world = World().asked()
    world.machines.crashes.seen.clear()
    world.machines.crashes.at = (name, 1, when)
    with pytest.raises(BaseException, match=name):
        world.answer("yes", key="k1")
    world.answer("yes", key="k1")
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes"})
    assert world.names().count("input.received") == 1


class Due:
    """One run that is due."""

    def __init__(self, world: World) -> None:
        self.world, self.again = world, 0.0

    def due(self, now: float) -> Any:
        return [(self.world.run_id, False)]

    def look_again(self, run: Any, at: float) -> None:
        self.again = at

    def delete_run(self, run_id: str) -> bool:
        raise AssertionError

    def sweep(self, status: str = "RUNNING") -> dict[str, int]:
        def describe(_arn: str) -> Any:
            return {"name": self.world.run_id, "status": status, "error": "X", "cause": "gone"}

        return sweep(self.world.deps, self, describe, more=lambda: True)


def test_who_dies_before_the_task_is_woken_is_made_up_for_by_the_sweeper() -> None:
    world = World().asked()
    world.machines.crashes.seen.clear()
    world.machines.crashes.at = ("answer", 1, "before")
    with pytest.raises(BaseException, match="answer"):
        world.say("yes")
    assert Due(world).sweep() == {"open": 1}
    world.machines.work()
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes"})


def test_the_sweeper_leaves_a_run_that_waits_alone_and_closes_a_dead_one() -> None:
    world, events = World(timeout="20d").asked(), 3
    due = Due(world)
    world.machines.now += 19.9 * DAY
    assert due.sweep() == {"open": 1}
    assert due.again == pytest.approx(world.machines.now + 0.1 * DAY + 120)
    assert (run_view(world.store, world.run)["status"], len(world.names())) == ("waiting", events)
    assert due.sweep("ABORTED") == {"closed": 1}
    assert world.run.status == "failed"
    assert isinstance(world.refused("yes"), NotWaiting)


@pytest.mark.parametrize("sweeper", [True, False])
def test_time_that_is_over_takes_the_default(sweeper: bool) -> None:
    world = World(options=["yes", "no"], default="no", timeout="2d").asked()
    assert world.event("input.requested")["default"] == "no"
    world.machines.now += 2 * DAY
    assert isinstance(world.refused("yes"), QuestionOver)
    if sweeper:
        Due(world).sweep()
    else:
        world.machines.expire()
    world.machines.work()
    assert (world.run.status, world.outputs()) == ("completed", {"x": "no"})
    assert world.node().reason == "default"
    error = world.refused("yes")
    assert isinstance(error, AlreadyAnswered)
    assert error.details["by"] == "default"
    assert "input.received" not in world.names()


@pytest.mark.parametrize("sweeper", [True, False])
def test_time_that_is_over_fails_a_question_without_default(sweeper: bool) -> None:
    world = World(timeout="2d").asked()
    world.machines.now += 2 * DAY
    if sweeper:
        Due(world).sweep()
    else:
        world.machines.expire()
    world.machines.work()
    assert (world.run.status, world.run.error["code"]) == ("failed", "question.expired")
    assert isinstance(world.refused("late"), JoineryError)


def test_time_that_is_over_may_take_the_port_error() -> None:
    edges = ["start -> a", "a -> b -> end", "a.error -> c -> end"]
    world = World(edges, on_error="route").asked()
    world.machines.now += 8 * DAY
    world.machines.expire()
    world.machines.work()
    assert (world.run.status, world.node().port) == ("completed", "error")


def test_a_default_may_be_null() -> None:
    world = World(schema={"type": ["string", "null"]}, default=None).asked()
    world.machines.now += 8 * DAY
    world.machines.expire()
    world.machines.work()
    assert world.node().result == {"output": None, "text": "null"}


def test_a_run_that_waits_can_be_cancelled() -> None:
    world = World().asked()
    cancel_and_stop(world.deps, world.run, lambda arn, cause: None)
    assert run_view(world.store, world.run)["nodes"][0]["status"] == "cancelled"
    error = world.refused("yes")
    assert isinstance(error, NotWaiting)
    assert error.details == {"status": "cancelled"}
    assert world.run.status == "cancelled"


@pytest.mark.parametrize("while_paused", [True, False])
def test_a_run_that_waits_can_be_paused_and_resumed(while_paused: bool) -> None:
    world = World().asked()
    old = list(world.machines.waits)
    pause(world.deps, world.run, lambda arn, cause: world.machines.waits.clear())
    assert run_view(world.store, world.run)["status"] == "paused"
    if while_paused:
        world.say("yes")

    def launch(run: Any) -> str:
        world.machines.ready.append((run.run_id, "a", 0))
        return "arn:again"

    resume(world.deps, world.run, launch)
    world.machines.work()
    if not while_paused:
        assert shown_status(world.store, world.run) == "waiting"
        assert set(world.machines.waits).isdisjoint(old)
        world.answer("yes")
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes"})
    assert world.names().count("input.requested") == 1


def test_a_fork_of_a_run_that_waits_asks_anew() -> None:
    world = World(["start -> c -> a -> b -> end"]).asked()
    pause(world.deps, world.run, lambda arn, cause: None)
    made, _ = fork(world.deps, world.plan, world.run, node_id="a", path=None, inputs={})
    assert [r.node_id for r in world.store.nodes(made.run_id)] == ["c"]
    world.run_id = made.run_id
    world.machines.start(world.deps, made, within_s=1.0)
    world.machines.work()
    world.answer("yes")
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes"})


def test_a_fork_keeps_an_answer() -> None:
    world = World().asked()
    world.answer("yes")
    made, _ = fork(world.deps, world.plan, world.run, node_id="b", path=None, inputs={})
    [kept] = world.store.nodes(made.run_id)
    assert (kept.status, kept.wait, kept.result["text"]) == ("completed", None, "yes")


def test_a_run_resumed_after_its_question_expired_asks_anew() -> None:
    world = World(timeout="1d").asked()
    world.machines.now += DAY
    world.machines.expire()
    world.machines.work()
    assert world.run.status == "failed"

    def launch(run: Any) -> str:
        world.machines.ready.append((run.run_id, "a", 0))
        return "arn:again"

    resume(world.deps, world.run, launch)
    world.machines.work()
    assert shown_status(world.store, world.run) == "waiting"
    assert world.names().count("input.requested") == 2
    world.answer("yes")
    assert (world.run.status, world.outputs()) == ("completed", {"x": "yes"})


def test_a_late_token_does_not_take_the_place_of_a_newer_one() -> None:
    world = World().asked()
    key = world.node().key
    newest = world.store.token(world.run_id, key)
    world.store.put_token(world.run_id, TaskToken(key, "old", "", newest.issued_at - 1))
    world.answer("yes")
    assert world.run.status == "completed"


def inline(plan: Any, answers: Any) -> tuple[Any, Any, list[tuple[str, str]]]:
    """Walks a plan here; `answers` are given in turn while it waits."""
    from kit.engines import Listener

    from joinery.runs.deps import Deps

    seen: list[tuple[str, str]] = []

    def idle(run: Any, record: Any) -> None:
        seen.append((shown_status(store, store.get_run(run.run_id)), record.key.path))
        given = Given(f"request-{len(seen)}", next(rest), "a", record.key.path)
        give_input(deps, store.get_run(run.run_id), given)

    store, rest = MemoryStore(), iter(answers)
    children = InlineChildRuns({"wf/1": plan}, sleep=lambda _: None, idle=idle)
    deps = Deps(store, Listener(), NoModels(), background=False, children=children)
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    run_inline(deps, plan, run, sleep=lambda _: None, idle=idle)
    return store, store.get_run(run.run_id), seen


def test_the_inline_engine_waits_in_every_round() -> None:
    graph = workflow(
        ["start -> a -> again", "again.repeat -> a", "again.done -> end"],
        {"a": {"type": "question", "prompt": "Round {{ loop.round }}?"}, "again": loop(2)},
        outputs={"x": "{{ nodes.a.text }}"},
    )
    store, run, seen = inline(build_plan(graph), ["one", "two"])
    assert seen == [("waiting", "1"), ("waiting", "2")]
    assert (run.status, store.outputs(run.run_id)) == ("completed", {"x": "two"})


def test_of_several_items_that_wait_one_is_named() -> None:
    graph = workflow(
        ["start -> each", "each.item -> a", "each.done -> end"],
        {"a": {"type": "question", "prompt": "{{ item }}?"},
         "each": {"type": "iterate", "items": ["x", "y"]}},
    )  # fmt: skip
    plan = build_plan(graph)
    machines = StepFunctions({"wf/1": plan}, Crashes())
    deps = machines.world(NoModels())
    run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
    for path in ("0", "1"):
        key = NodeKey(plan.by_id["a"].ord, path)
        held = deps.store.claim(run.run_id, key, "a", holder="h", now=1.0, until=2.0)
        wait = {"kind": "question", "prompt": "?", "expires_at": machines.now + 60}
        deps.store.release(run.run_id, held.with_(status="waiting", wait=wait), [])
    with pytest.raises(InvalidRequest) as refused:
        give_input(deps, run, Given("request-1", "yes", "a"))
    assert refused.value.details["paths"] == ["0", "1"]
    taken = give_input(deps, run, Given("request-1", "yes", "a", "1"))
    assert taken["path"] == "1"
    assert give_input(deps, run, Given("request-1", "yes", "a", "1")) == taken
    assert give_input(deps, run, Given("request-2", "no", "a"))["path"] == "0"
