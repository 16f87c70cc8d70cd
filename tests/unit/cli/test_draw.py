from __future__ import annotations

import pytest

from joinery_cli.live.draw import Painter
from joinery_cli.live.glyphs import ASCII, UNICODE, glyphs_for
from joinery_cli.live.state import RunState, epoch

from .messages import RUN, Log, debate, delta

NOW = epoch("2026-01-01T00:00:05.500Z")


def frame(messages, width=100, height=30, count=None, now=NOW, notice="", glyphs=UNICODE):
    state = RunState()
    for message in list(messages)[:count]:
        state.apply(message)
    return [str(line) for line in Painter(glyphs).frame(state, width, height, now, notice)]


def test_both_sides_of_a_debate_stand_next_to_each_other():
    lines = frame(debate(), count=5)
    titles = next(line for line in lines if "pro #1" in line and "con #1" in line)
    texts = lines[lines.index(titles) + 1]
    bar = titles.index("│")
    assert texts.index("│") == bar
    assert texts[:bar].strip() == "It is good."
    assert texts[bar + 1 :].strip() == "It is b"


def test_nodes_show_sign_round_time_and_where_edges_come_from():
    lines = frame(debate(), count=9)
    row = {line.split()[1]: line for line in lines[1:7] if line.strip()}
    assert row["pro"].startswith("✓ pro")
    assert "4.0 s" in row["pro"]
    assert row["con"].startswith("↻ con")
    assert "the provider answered 503" in row["con"]
    assert row["verdict"].startswith("○ verdict")
    assert row["verdict"].endswith("← pro, con")
    assert "round 1 of 2" in row["again"]


def test_finished_texts_become_a_line_and_the_footer_counts():
    lines = frame(debate(), count=14)
    assert any(
        line.startswith("✓ pro #1  It is good. It pays for itself. 日本語") for line in lines
    )
    assert lines[-1].strip() == "4.5 s · 20 tokens in · 8 out · 2 model calls"


def test_a_model_that_has_not_spoken_yet_reads():
    lines = frame(debate(), count=3)
    assert sum(line.count("reading the prompt …") for line in lines) == 2


def test_reasoning_shows_until_there_is_text():
    messages = [*list(debate())[:3], delta("pro", 0, "let me think", stream="reasoning")]
    assert any("let me think" in line for line in frame(messages))
    assert not any("let me think" in line for line in frame([*messages, delta("pro", 0, "So:")]))


def test_a_hole_in_the_text_is_visible():
    messages = [*list(debate())[:4], delta("pro", 40, "after")]
    assert any("It is good. […]after" in line for line in frame(messages))


def test_a_notice_stands_at_the_right_end_of_the_footer():
    assert frame(debate(), count=5, notice="Ctrl-C again cancels it")[-1].endswith("cancels it")


SIZES = [(w, h) for w in (10, 24, 40, 60, 61, 80, 200) for h in (3, 4, 6, 10, 16, 24, 60)]


def test_a_paused_run_says_how_it_goes_on():
    log = Log()
    lines = frame([log.started(), log.event("run.paused", incarnation=1)])
    assert lines[0].endswith("‖ paused")
    assert lines[-1].endswith(f"go on with: joinery resume {RUN}")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [0, 1, 5, 9, 14, 24, None])
def test_every_frame_fits(width, height, count):
    from rich.cells import cell_len

    lines = frame(debate(), width, height, count, notice="Ctrl-C again cancels it")
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("nodes", [30, 2_000])
def test_large_graphs_are_summed_up(nodes):
    log = Log()
    graph = [(f"n{i}", "agent", []) for i in range(nodes)]
    messages = [log.started(graph, [("start", "", "n0")])]
    messages.append(log.event("node.started", "n7", "", attempt=1))
    messages.append(log.event("node.completed", "n1", "", attempt=1))
    lines = frame(messages, 80, 20)
    text = "\n".join(lines)
    assert len(lines) <= 20
    assert "n7" in text
    if nodes > 100:
        assert "1,998 pending · 1 running · 1 completed" in text


def test_more_speakers_than_columns_are_named():
    log = Log()
    graph = [(f"n{i}", "agent", []) for i in range(6)]
    messages = [log.started(graph, [("start", "", "n0")])]
    messages += [log.event("node.started", f"n{i}", "", attempt=1) for i in range(6)]
    lines = frame(messages, 60, 40)
    assert any(line.startswith("also running: n2, n3, n4, n5") for line in lines)


def test_text_that_steers_terminals_never_reaches_one():
    evil = "\x1b]0;title\x07\x1b[31m red \x9b2J"
    log = Log()
    messages = [log.started([("pro", "agent", [])], [("start", "", "pro")])]
    messages.append(log.event("node.started", "pro", "", attempt=1))
    messages.append(delta("pro", 0, evil, path=""))
    error = {"message": evil, "code": "x"}
    for extra in ([], [log.event("node.failed", "pro", "", attempt=1, error=error)]):
        assert not any(c in "".join(frame([*messages, *extra])) for c in "\x1b\x07\x9b")


def test_ascii_where_nothing_else_can_be_shown():
    assert glyphs_for("ascii") is ASCII
    assert glyphs_for("utf-8") is UNICODE
    assert glyphs_for("no such encoding") is ASCII
    lines = frame(list(debate())[:3], glyphs=ASCII)
    assert all(line.isascii() for line in lines)


def test_the_spinner_turns_and_the_clock_runs():
    one, other = frame(debate(), count=5), frame(debate(), count=5, now=NOW + 0.1)
    assert one != other


def test_a_node_is_shown_by_its_name():
    log = Log()
    started = log.started([("node_1", "llm", []), ("b", "llm", [])], [("node_1", "", "b")])
    started["data"]["nodes"][0]["name"] = "面试\x1b官"
    lines = frame([started, log.event("node.started", "node_1", "", attempt=1, type="llm")])
    text = "\n".join(lines)
    assert "node_1" not in text
    assert "\x1b" not in text
    first, second = (line for line in lines[1:] if " llm " in line)
    assert "面试官" in first
    assert second.rstrip().endswith("← 面试官")
