from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from joinery_cli.live import views
from joinery_cli.live.lines import LinePrinter
from joinery_cli.live.state import RunState
from joinery_cli.live.views import LiveView, PlainView

from .messages import RUN, Log, debate, delta


def play(view, messages):
    state = RunState()
    for message in messages:
        view.heard(state, message, state.apply(message))
        view.draw(state)
    view.close()
    return state


def test_plain_lines_tell_everything_that_happens(capsys):
    play(PlainView(), debate())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "debate started",
        "pro #1 started",
        "con #1 started",
        "con #1 is tried again: the provider answered 503",
        "pro #1 completed in 4.0 s",
        "con #1 (attempt 2) started",
        "con #1 (attempt 2) completed in 6.0 s",
        "verdict #1 started",
        "verdict #1 completed in 2.0 s",
        "again #1 started",
        "again #1 completed in 1.0 s (repeat)",
        "again begins round 2 of 2",
        "pro #2 started",
        "pro #2 completed in 2.0 s",
        "con #2 started",
        "con #2 completed in 2.0 s",
        "verdict #2 started",
        "verdict #2 completed in 2.0 s",
        "again #2 started",
        "again #2 completed in 1.0 s (max_rounds)",
    ]


def test_plain_lines_of_a_pause(capsys):
    log = Log()
    play(
        PlainView(),
        [
            log.started(),
            log.event("run.paused", incarnation=1),
            log.event("run.resumed", incarnation=2, after="paused", nodes=[]),
        ],
    )
    assert capsys.readouterr().err.splitlines() == [
        "debate started",
        f"debate is paused; go on with: joinery resume {RUN}",
        "debate goes on",
    ]


def test_plain_lines_of_failures_and_skips(capsys):
    log = Log()
    error = {"code": "x", "message": "two\nlines \x1b[31m"}
    skipped = [{"node_id": "con", "path": "1"}]
    who = {"provider": "local", "model": "m"}
    play(
        PlainView(),
        [
            log.started(),
            log.event("nodes.skipped", "pro", "1", nodes=skipped),
            log.event("node.failed", "pro", "1", attempt=3, error=error, on_error="continue"),
            log.event("input.cut", "verdict", "1", kept_chars=1, total_chars=2),
            log.event("nodes.cancelled", "verdict", "1", join="verdict", nodes=skipped),
            log.event("model.retrying", "con", "1", **who, wait_ms=1500, error=error),
            log.event("model.waiting", "con", "1", **who, wait_ms=3000, reason="limit"),
            log.event("model.fallback", "con", "1", model="a/b", next="c/d", error=error),
            log.event("output.rejected", "con", "1", problems=["answer: too short"]),
        ],
    )
    assert capsys.readouterr().err.splitlines()[1:] == [
        "con #1 skipped",
        "pro #1 failed: two",
        "lines [31m; the run goes on (continue)",
        "verdict #1: input cut to 1 of 2 characters",
        "con #1 cancelled: verdict was decided without it",
        "con #1: local/m is called again in 1.5 s: two",
        "lines [31m",
        "con #1: waits 3.0 s for local/m",
        "con #1: c/d is asked in place of a/b: two",
        "lines [31m",
        "con #1: the answer was rejected: answer: too short",
    ]


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_lines_hold_every_event_once_and_all_text_before_the_end_of_its_node(capsys):
    messages = list(debate())
    play(LinePrinter(), [*messages[:9], *messages])
    lines = lines_of(capsys)
    assert [line["seq"] for line in lines if "seq" in line] == [
        m["seq"] for m in messages if "seq" in m
    ]
    spoken = {}
    for line in lines:
        if line["event"] == "text.delta":
            key = (line["node_id"], line["path"], line["data"]["attempt"])
            assert line["data"]["offset"] == len(spoken.get(key, ""))
            spoken[key] = spoken.get(key, "") + line["data"]["text"]
        if line["event"] == "node.completed" and line["node_id"] != "again":
            assert spoken[line["node_id"], line["path"], line["data"]["attempt"]]
    assert spoken["pro", "1", 1] == "It is good. It pays for itself. 日本語"
    assert spoken["con", "1", 2] == "It is bad."


def test_json_lines_do_not_wait_long_and_keep_streams_apart(capsys, monkeypatch):
    monkeypatch.setattr("joinery_cli.live.lines.FLUSH_S", 0)
    printer, state, log = LinePrinter(), RunState(), Log()
    for message in [
        log.started(),
        log.event("node.started", "pro", "1", attempt=1),
        delta("pro", 0, "hmm", stream="reasoning"),
        delta("pro", 0, "a"),
        delta("pro", 1, "b"),
        delta("pro", 0, "ab"),
    ]:
        printer.heard(state, message, state.apply(message))
        printer.draw(state)
    said = [line["data"] for line in lines_of(capsys) if line["event"] == "text.delta"]
    assert [(d["stream"], d["offset"], d["text"]) for d in said] == [
        ("reasoning", 0, "hmm"),
        ("text", 0, "a"),
        ("text", 1, "b"),
    ]


def test_json_lines_tell_of_text_that_is_missing(capsys):
    printer, state, log = LinePrinter(), RunState(), Log()
    lost = {"attempt": 1, "stream": "text", "offset": 2, "length": 9, "reason": "not_stored"}
    for message in [
        log.started(),
        log.event("node.started", "pro", "1", attempt=1),
        delta("pro", 0, "ab"),
        {**delta("pro", 0, ""), "event": "client.gap", "data": lost},
        delta("pro", 11, "cd"),
        log.event("node.completed", "pro", "1", attempt=1, streams={}),
    ]:
        printer.heard(state, message, state.apply(message))
    lines = [(line["event"], line["data"]) for line in lines_of(capsys) if "seq" not in line]
    assert [(event, data["offset"], data.get("text")) for event, data in lines] == [
        ("text.delta", 0, "ab"),
        ("client.gap", 2, None),
        ("text.delta", 11, "cd"),
    ]
    assert state.transcript.text("pro", "1") == "ab[…]cd"


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=80, height=24)


def test_a_run_that_is_over_at_once_changes_no_screen(screen):
    view = LiveView(screen)
    play(view, debate())
    assert screen.file.getvalue() == ""


def test_the_screen_is_opened_once_and_left(screen, monkeypatch):
    monkeypatch.setattr(views, "PATIENCE_S", 0)
    monkeypatch.setattr(views, "FRAME_S", 0)
    view = LiveView(screen)
    play(view, debate())
    view.close()
    drawn = screen.file.getvalue()
    assert (drawn.count("\x1b[?1049h"), drawn.count("\x1b[?1049l")) == (1, 1)
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h")
    assert "pro #1" in drawn


def test_nothing_is_drawn_when_nothing_has_changed(screen, monkeypatch):
    monkeypatch.setattr(views, "PATIENCE_S", 0)
    monkeypatch.setattr(views, "FRAME_S", 0)
    view, state = LiveView(screen), RunState()
    first = next(iter(debate()))
    view.heard(state, first, state.apply(first))
    view.draw(state)
    before = len(screen.file.getvalue())
    for _ in range(5):
        view.draw(state)
    assert len(screen.file.getvalue()) == before
    view.notice("attention")
    view.draw(state)
    assert "attention" in screen.file.getvalue()
    view.close()
