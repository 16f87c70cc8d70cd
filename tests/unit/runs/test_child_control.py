"""Child runs when the run around them is paused, begun again, forked, swept, or in a race."""

from __future__ import annotations

import time
from typing import Any

import pytest
from kit.children import Crashes, StepFunctions, inline, known, plans_of
from kit.models import Says
from kit.workflows import workflow

from joinery.compiler.opt import DEFAULT_OPT
from joinery.errors import NotFound
from joinery.model_errors import PermanentModelAuth
from joinery.runs.cancel import cancel_and_stop
from joinery.runs.child_end import catch_up
from joinery.runs.control import pause, resume
from joinery.runs.end import close_failed
from joinery.runs.fork import fork
from joinery.runs.start import create_run
from joinery.runs.task import run_task

TALK = workflow(
    ["start -> talk -> end"],
    {"talk": {"type": "llm", "prompt": "hi", "retry": {"attempts": 1}}},
    name="talk",
    outputs={"said": "{{ nodes.talk.text }}"},
)
CALL = {"type": "workflow", "workflow": "talk"}


class World:
    """A parent whose Tasks are run one at a time; a child run begins when it is let."""

    def __init__(
        self, edges: list[str], nodes: dict[str, Any], answer: Any = None, opt: int = DEFAULT_OPT
    ) -> None:
        graph = workflow(edges, nodes, outputs={"x": "{{ nodes.b.text }}"})
        calls = {name: known(TALK) for name, node in nodes.items() if node["type"] == "workflow"}
        self.machines = StepFunctions(plans_of(graph, opt, **calls), Crashes())
        self.deps = self.machines.world(Says(answer or (lambda r, c: "hello")))
        self.store: Any = self.deps.store
        self.run, _ = create_run(
            self.deps, self.machines.plans["wf/1"],
            owner="me", workflow_id="wf", version=1, given={},
        )  # fmt: skip
        self.store.mark_started(self.run.run_id, "arn:1", self.deps.clock())
        self.start = self.machines.start
        self.machines.start = lambda *_, **__: None  # type: ignore[method-assign]  # not yet

    def task(self, node: str, *, quorum: tuple[str, ...] = ()) -> Any:
        """Runs a Task, one that waits with a token of its own."""
        token = ""
        if self.machines.plans["wf/1"].by_id[node].type == "workflow":
            self.machines.tokens += 1
            token = f"token{self.machines.tokens}"
            self.machines.waits[token] = (self.run.run_id, node)
        run = self.store.get_run(self.run.run_id)
        return run_task(
            self.deps, self.machines.plans["wf/1"], run, node, "",
            deadline=time.monotonic() + 60, token=token, quorum=quorum,
        )  # fmt: skip

    def go_on(self) -> None:
        """Lets child runs begin, and begins the parent's execution anew."""
        self.machines.start = self.start  # type: ignore[method-assign]
        self.machines.waits.clear()
        first = self.machines.plans["wf/1"].nodes[0].id
        resume(self.deps, self.now, lambda run: f"arn:{run.incarnation}")
        self.machines.ready.append((self.run.run_id, first, 0))
        self.machines.work()

    def finish_child(self) -> None:
        """Runs what was not begun of the child run, to its end."""
        (made,) = [run for run in self.below if not run.closed]
        self.start(self.deps, made, within_s=60)
        self.machines.work()

    @property
    def now(self) -> Any:
        return self.store.get_run(self.run.run_id)

    @property
    def below(self) -> list[Any]:
        return [held.record for held in self.store._runs.values() if held.record.parent]

    def told(self, name: str) -> list[Any]:
        return [e for e in self.store.events(self.run.run_id, 0, 200) if e["event"] == name]


def chain(answer: Any = None, **more: Any) -> World:
    nodes = {"a": {**CALL, **more}, "b": {"type": "template", "template": "{{ nodes.a.text }}"}}
    return World(["start -> a -> b -> end"], nodes, answer)


def stop(_arn: str, _cause: str) -> None:
    """No execution to stop."""


def test_a_pause_leaves_the_child_and_going_on_finds_the_same_one() -> None:
    world = chain()
    world.task("a")
    pause(world.deps, world.now, stop)
    assert [made.closed for made in world.below] == [False]
    world.go_on()
    assert (world.now.status, world.store.outputs(world.run.run_id)) == (
        "completed",
        {"x": "hello"},
    )
    assert [made.status for made in world.below] == ["completed"]
    assert len(world.told("child.started")) == 1


def test_a_child_may_end_while_its_parent_is_paused() -> None:
    world = chain()
    world.task("a")
    pause(world.deps, world.now, stop)
    world.machines.waits.clear()
    world.finish_child()
    assert world.now.status == "paused"
    assert world.store.nodes(world.run.run_id)[0].status == "completed"
    world.go_on()
    assert world.now.status == "completed"
    assert len(world.below) == 1


def test_a_paused_child_that_is_cancelled_ends_the_node_that_waits_for_it_at_once() -> None:
    world = chain()
    world.task("a")
    (made,) = world.below
    pause(world.deps, made, stop)
    cancel_and_stop(world.deps, world.store.get_run(made.run_id), stop)
    assert world.machines.answered == [("a", "Permanent")]
    (record,) = world.store.nodes(world.run.run_id)
    assert (record.status, record.error["code"]) == ("failed", "workflow.child_failed")
    assert world.now.status == "failed"
    cancel_and_stop(world.deps, world.store.get_run(made.run_id), stop)  # again: no harm
    assert len(world.machines.answered) == 1


def test_a_run_that_had_ended_goes_on_with_a_new_child_run() -> None:
    world = chain()
    world.task("a")
    close_failed(world.deps, world.now, {"code": "execution_aborted", "message": "stopped"})
    assert [made.status for made in world.below] == ["cancelled"]
    world.go_on()
    assert world.now.status == "completed"
    assert [made.status for made in world.below] == ["cancelled", "completed"]
    (resumed,) = world.told("run.resumed")
    assert resumed["data"]["nodes"] == [{"node_id": "a", "path": ""}]


def test_what_the_child_gave_before_its_parent_ended_is_not_asked_for_again() -> None:
    world = chain()
    world.task("a")
    world.machines.settles = False  # whoever closes the child dies before it tells
    world.finish_child()
    world.machines.settles = True
    close_failed(world.deps, world.now, {"code": "execution_aborted", "message": "stopped"})
    world.go_on()
    assert world.now.status == "completed"
    assert [made.status for made in world.below] == ["completed"]


def test_a_node_whose_child_failed_begins_another_when_the_run_goes_on() -> None:
    answers = iter([PermanentModelAuth("no key"), "second"])

    def says(_request: Any, _call: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = chain(says)
    world.task("a")
    world.finish_child()
    assert world.now.status == "failed"
    world.go_on()
    assert world.store.outputs(world.run.run_id) == {"x": "second"}
    assert [made.status for made in world.below] == ["failed", "completed"]


def test_a_fork_has_what_the_child_gave_and_no_child() -> None:
    plans = chain().machines.plans
    ended = inline(plans, {}, Says(lambda r, c: "hello"))
    made, _ = fork(ended.deps, plans["wf/1"], ended.run, node_id="b", path=None, inputs={})
    (kept,) = ended.store.nodes(made.run_id)
    assert (kept.node_id, kept.child, kept.usage) == ("a", "", {})
    assert ended.store.result(made.run_id, kept)["text"] == "hello"


def test_a_look_at_an_open_run_ends_the_nodes_whose_child_runs_have_ended() -> None:
    world = chain()
    world.task("a")
    world.machines.settles = False
    world.finish_child()
    assert world.store.nodes(world.run.run_id)[0].status == "waiting"
    catch_up(world.deps, world.now)  # it may wake nobody
    assert world.machines.waits
    world.machines.settles = True
    catch_up(world.deps, world.now)
    world.machines.work()
    assert world.now.status == "completed"


def test_a_child_outlives_its_parent_being_deleted() -> None:
    world = chain()
    world.task("a")
    world.store.delete_run(world.run.run_id)
    with pytest.raises(NotFound):
        world.store.get_run(world.run.run_id)
    world.finish_child()
    assert [made.status for made in world.below] == ["completed"]


# -- joins that do not wait for all ----------------------------------------------------------


each_level = pytest.mark.parametrize("opt", [1, 2])


def race(opt: int) -> World:
    nodes = {
        "a": CALL,
        "q": {"type": "template", "template": "quick"},
        "b": {"type": "template", "template": "done", "join": "any"},
    }
    return World(["start -> a, q -> b -> end"], nodes, opt=opt)


@each_level
def test_a_child_run_that_lost_is_cancelled_and_its_task_ends(opt: int) -> None:
    world = race(opt)
    world.task("a")
    world.task("q")
    world.task("b")
    assert [made.status for made in world.below] == ["cancelled"]
    (record,) = [r for r in world.store.nodes(world.run.run_id) if r.node_id == "a"]
    assert (record.status, record.child) == ("cancelled", world.below[0].run_id)
    assert world.machines.answered == [("a", {"port": "", "path": ""})]


def test_a_child_run_that_is_made_after_its_node_has_lost_is_cancelled() -> None:
    world = race(1)  # its end has a Task of its own, so the run goes on
    world.machines.crashes.at = ("create_run", 2, "before")
    world.machines.crashes.seen["create_run"] = 1

    def decide() -> None:
        world.task("q")
        world.task("b")

    world.machines.crashes.act = decide
    assert world.task("a") == {"port": "", "path": ""}
    assert [made.status for made in world.below] == ["cancelled"]
    assert world.machines.started == []


@each_level
def test_a_node_that_waits_and_has_lost_stands_down_when_its_task_is_repeated(opt: int) -> None:
    world = race(opt)
    world.task("a")
    world.task("q")
    assert world.task("a") == {"port": "", "path": ""}
    assert [made.status for made in world.below] == ["cancelled"]


@each_level
def test_a_child_run_that_decides_a_join_leaves_the_state_around_its_task(opt: int) -> None:
    world = race(opt)
    world.task("a", quorum=("b",))
    world.finish_child()
    assert world.machines.answered == [("a", "Quorum_b")]
    world.task("b")
    assert [made.status for made in world.below] == ["completed"]


@each_level
def test_without_a_state_to_leave_its_task_answers(opt: int) -> None:
    world = race(opt)
    world.task("a")
    world.finish_child()
    assert world.machines.answered == [("a", {"port": "", "path": ""})]


@each_level
def test_a_failed_child_in_a_race_is_left_to_the_join(opt: int) -> None:
    def fails(_request: Any, _call: Any) -> Any:
        raise PermanentModelAuth("no key")

    world = race(opt)
    world.deps.models.answer = fails  # type: ignore[attr-defined]
    world.task("a", quorum=("b",))
    world.finish_child()
    (record,) = [r for r in world.store.nodes(world.run.run_id) if r.node_id == "a"]
    assert (record.status, record.contained) == ("failed", True)
    assert world.machines.answered == [("a", {"port": "", "path": ""})]
