"""What a person sees of agents that call tools."""

from joinery_cli.live.draw import Painter
from joinery_cli.live.glyphs import UNICODE
from joinery_cli.live.state import RunState
from joinery_cli.live.views import PlainView

from .messages import RUN, Log


def heard():
    """Returns the messages of an agent in its second round."""
    log = Log()
    call = {"round": 1, "call_id": "c"}
    return [
        log.started([("finder", "agent", [])], [("start", "", "finder")]),
        log.event("node.started", "finder", attempt=1, type="agent"),
        log.event("agent.round", "finder", round=1, max_rounds=6, calls=0),
        log.event(
            "tool.called", "finder", **call, index=0, tool="search",
            arguments='{"words":\n "tea\x1b[31m"}', key="k0",
        ),
        log.event("tool.called", "finder", **call, index=1, tool="read", arguments="{}", key="k1"),
        log.event(
            "tool.completed", "finder", **call, index=0, tool="search", ok=True,
            duration_ms=412, chars=51893, cut=True,
        ),
        log.event(
            "tool.completed", "finder", **call, index=1, tool="read", ok=False,
            duration_ms=60012, chars=30, cut=False, code="agent.tool_timeout",
            result="It did\n not \x1b[31mend.",
        ),
        log.event(
            "context.compacted", "finder", round=2, exchanges=4, before_tokens=7120,
            after_tokens=3055, by="model",
        ),
        log.event("agent.round", "finder", round=2, max_rounds=6, calls=2, last="time"),
    ]  # fmt: skip


def test_plain_lines(capsys):
    state, view = RunState(run_id=RUN), PlainView()
    for message in heard():
        view.heard(state, message, state.apply(message))
    assert capsys.readouterr().err.splitlines()[2:] == [
        "finder: round 1 of 6",
        'finder: calls search({"words": "tea[31m"})',
        "finder: calls read({})",
        "finder: search gave 51,893 characters in 0.4 s, of which a part is told",
        "finder: read failed: agent.tool_timeout in 1:00 min: It did not [31mend.",
        "finder: 4 exchanges summed up: about 7,120 tokens became 3,055",
        "finder: round 2 of 6 (no more tools: time)",
    ]


def test_the_screen():
    state = RunState(run_id=RUN)
    for message in heard():
        state.apply(message)
    lines = [line.plain for line in Painter(UNICODE).frame(state, 100, 24, now=1767225615.0)]
    [row] = [line for line in lines if "round 2 of 6, 2 calls" in line]
    assert "finder" in row
    [search] = [line for line in lines if line.startswith("✓ search(")]
    assert "tea[31m" in search
    assert "51,893 characters" in search
    assert any(line.startswith("✗ read({})  agent.tool_timeout") for line in lines)
    assert all(len(line) <= 100 for line in lines)


def test_small_screens_have_room_for_text_only():
    state = RunState(run_id=RUN)
    for message in heard():
        state.apply(message)
    for height in range(3, 12):
        lines = Painter(UNICODE).frame(state, 30, height, now=1767225615.0)
        assert len(lines) <= height
