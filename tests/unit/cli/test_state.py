from __future__ import annotations

import random

import pytest

from joinery_cli.live.state import RunState

from .messages import Log, debate, delta


def after(messages, count=None):
    state = RunState()
    for message in list(messages)[:count]:
        state.apply(message)
    return state


def statuses(state):
    return {node_id: node.visit.status for node_id, node in state.nodes.items()}


def test_the_graph_comes_with_the_first_event():
    state = after(debate(), 1)
    assert (state.name, state.status) == ("debate", "running")
    assert list(state.nodes) == ["pro", "con", "verdict", "again"]
    assert state.nodes["verdict"].parents == ("pro", "con")
    assert state.nodes["pro"].parents == ()
    assert state.rounds == {"again": (1, 2)}
    assert set(statuses(state).values()) == {"pending"}


def test_both_sides_run_and_speak_side_by_side():
    state = after(debate(), 5)
    assert [v.node_id for v in state.running()] == ["pro", "con"]
    assert state.transcript.text("pro", "1") == "It is good. "
    assert state.transcript.text("con", "1") == "It is b"


def test_a_node_between_two_attempts_says_why_and_then_begins_its_text_anew():
    messages = list(debate())
    state = after(messages, 6)
    assert statuses(state)["con"] == "retrying"
    assert state.nodes["con"].visit.error == "the provider answered 503"
    for message in messages[6:10]:
        state.apply(message)
    visit = state.nodes["con"].visit
    assert (visit.status, visit.attempt, visit.error) == ("running", 2, "")
    assert state.transcript.text("con", "1") == ""


def test_a_new_round_sets_the_nodes_of_its_loop_back():
    messages = list(debate())
    place = next(i for i, m in enumerate(messages) if m["event"] == "loop.round")
    state = after(messages, place + 1)
    assert state.rounds == {"again": (2, 2)}
    assert set(statuses(state).values()) == {"pending"}
    assert state.nodes["pro"].visit.path == "2"
    assert [v.node_id for v in state.finished()] == ["pro", "con", "verdict"]


def test_the_end():
    state = after(debate())
    assert (state.status, state.ended) == ("completed", True)
    assert set(statuses(state).values()) == {"completed"}
    assert state.nodes["again"].visit.note == "max_rounds"
    assert state.usage == {"input_tokens": 60, "output_tokens": 24, "model_calls": 7}
    assert state.running() == []
    assert len(state.finished()) == 6


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_arrival_does_not_matter(seed):
    messages = [*debate(), *debate()]
    random.Random(seed).shuffle(messages)
    mixed, straight = after(messages), after(debate())
    assert statuses(mixed) == statuses(straight)
    assert mixed.usage == straight.usage
    for place in straight.visits:
        assert mixed.visits[place].status == straight.visits[place].status
        assert mixed.transcript.text(*place) == straight.transcript.text(*place)


def test_usage_counts_each_node_and_round_once():
    messages = list(debate())
    place = [i for i, m in enumerate(messages) if m["event"] == "usage.recorded"][2]
    state = after([*messages[: place + 1], messages[place]])
    assert state.usage == {"input_tokens": 30, "output_tokens": 12, "model_calls": 3}


def test_a_failure_that_is_dealt_with_says_so_and_one_that_is_not_ends_what_runs():
    log = Log()
    state = RunState()
    state.apply(log.started())
    state.apply(log.event("node.started", "pro", "1", attempt=1, type="agent"))
    state.apply(log.event("node.started", "con", "1", attempt=1, type="agent"))
    error = {"code": "expression", "message": "a value is missing"}
    state.apply(log.event("node.failed", "pro", "1", attempt=1, error=error, on_error="route"))
    assert state.nodes["pro"].visit.note == "the run goes on (route)"
    state.apply(log.event("run.failed", error={**error, "node_id": "pro"}, usage={}))
    assert state.error["node_id"] == "pro"
    assert statuses(state) | {"again": ""} == {
        "pro": "failed",
        "con": "failed",
        "verdict": "pending",
        "again": "",
    }


def test_a_cancelled_run_cancels_what_ran():
    log = Log()
    state = RunState()
    state.apply(log.started())
    state.apply(log.event("node.started", "pro", "1", attempt=1, type="agent"))
    state.apply(log.event("run.cancelled", usage={}))
    assert (state.status, statuses(state)["pro"]) == ("cancelled", "cancelled")


def test_skips_and_cuts_are_told():
    log = Log()
    state = RunState()
    state.apply(log.started())
    state.apply(log.event("nodes.skipped", "pro", "1", nodes=[{"node_id": "con", "path": "1"}]))
    state.apply(log.event("input.cut", "pro", "1", kept_chars=1000, total_chars=5000))
    assert statuses(state)["con"] == "skipped"
    assert state.nodes["pro"].visit.note == "input cut to 1,000 of 5,000 characters"


def test_what_a_join_has_no_need_of_is_cancelled():
    log = Log()
    state = RunState()
    state.apply(log.started())
    state.apply(log.event("node.started", "con", "1", attempt=1, type="agent"))
    losers = [{"node_id": "con", "path": "1"}, {"node_id": "again", "path": "1"}]
    state.apply(log.event("nodes.cancelled", "verdict", "1", join="verdict", nodes=losers))
    assert statuses(state)["con"] == statuses(state)["again"] == "cancelled"
    con, again = state.nodes["con"].visit, state.nodes["again"].visit
    assert con.note == again.note == "verdict was decided without it"
    assert con.ended_at and not again.ended_at
    assert state.running() == []
    error = {"code": "x", "message": "no"}
    state.apply(log.event("node.failed", "pro", "1", attempt=1, error=error, on_error="contained"))
    assert state.nodes["pro"].visit.note == "the run goes on without it"


def test_inner_loops_begin_again_with_each_outer_round():
    log = Log()
    state = RunState()
    nodes = [("a", "template", ["out", "in"]), ("in", "loop", ["out", "in"])]
    nodes.append(("out", "loop", ["out"]))
    state.apply(log.started(nodes, [("start", "", "a")], [("out", ["a"], 3), ("in", ["a"], 4)]))
    state.apply(log.event("node.started", "a", "1.1", attempt=1))
    state.apply(log.event("loop.round", "in", "1.1", round=2, path="1.2", max_rounds=4))
    assert state.rounds == {"out": (1, 3), "in": (2, 4)}
    assert state.nodes["a"].visit.path == "1.2"
    assert state.nodes["out"].visit.path == ""
    state.apply(log.event("loop.round", "out", "1", round=2, path="2", max_rounds=3))
    assert state.rounds == {"out": (2, 3), "in": (1, 4)}
    assert state.nodes["a"].visit.path == "2.1"
    assert state.nodes["out"].visit.path == "2"


def test_the_first_text_of_a_model_is_timed_once():
    state = RunState(clock=iter([5.0, 6.0]).__next__)
    log = Log()
    state.apply(log.started([("t", "template", []), ("a", "agent", [])], [("start", "", "t")]))
    state.apply(delta("t", 0, "not a model", path=""))
    assert state.first_text_at == 0.0
    state.apply(delta("a", 0, "first", path=""))
    state.apply(delta("a", 5, " second", path=""))
    assert state.first_text_at == 5.0


def test_unknown_events_and_fields_are_ignored():
    log = Log()
    state = RunState()
    state.apply(log.started())
    state.apply(log.event("node.juggled", "pro", "1", balls=3))
    state.apply(log.event("run.paused"))
    state.apply({"event": "pong", "head": 9, "data": {}})
    assert statuses(state)["pro"] == "pending"


def test_items_count_from_0_and_begin_anew_in_each_round():
    log = Log()
    nodes = [("each", "iterate", ["l"]), ("a", "template", ["l", "each"]), ("l", "loop", ["l"])]
    state = RunState()
    state.apply(log.started(nodes, [("each", "item", "a")], [("l", ["each"], 3)]))
    done = {"attempt": 1, "duration_ms": 1, "streams": {}}
    state.apply(log.event("node.completed", "each", "1", **done, port="done", items=1))
    assert state.nodes["each"].visit.note == "1 item"
    state.apply(log.event("node.completed", "a", "1.0", **done))
    state.apply(log.event("loop.round", "l", "1", round=2, path="2", max_rounds=3))
    assert statuses(state) == {"each": "pending", "a": "pending", "l": "pending"}
    state.apply(log.event("node.completed", "a", "2.0", **done))
    assert state.nodes["a"].visit.path == "2.0"
    assert statuses(state)["a"] == "completed"
