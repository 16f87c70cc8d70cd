"""A worker dies at a named point, or the answer of a call is lost: the run ends as if not."""

from __future__ import annotations

import pytest
from kit.faulty import Fault
from kit.judge import Ended, story
from kit.lab import TWO, Lab, two

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def at(node: str, when: str, point: str, nth: int = 1) -> tuple[Fault, ...]:
    return (Fault(when, point, node, nth),)


def elsewhere(function: str, when: str, point: str, nth: int = 1) -> tuple[Fault, ...]:
    return (Fault(when, point, nth=nth, function=function),)


AFTER_THE_CLAIM = at("pro", "after", "claim")
IN_MID_STREAM = at("pro", "after", "put text")
NUMBER_WITHOUT_EVENT = at("con", "after", "draw")
NUMBERS_OF_AN_END = at("con", "after", "draw", 2)
RESULT_NOT_POSTED = at("pro", "after", "finish")
LAST_NOT_POSTED = at("last", "after", "finish")
BEFORE_THE_LAST_CLAIM = at("last", "before", "claim")
END_NOT_POSTED = at("end", "after", "close")

KILLS = [
    (),
    *(at("pro", "before", point) for point in ("read", "load", "query", "claim", "finish")),
    *(AFTER_THE_CLAIM, IN_MID_STREAM, NUMBER_WITHOUT_EVENT, NUMBERS_OF_AN_END),
    *(RESULT_NOT_POSTED, END_NOT_POSTED),
    at("pro", "after", "put node.started"),
    at("pro", "after", "put text", 2),
    *(at("pro", "after", "post text.delta", nth) for nth in (1, 4)),
    *(at("pro", "after", point) for point in ("post usage.recorded", "post node.completed")),
    *(at("last", "after", point) for point in ("load", "claim", "draw", "put text", "finish")),
    *(at("end", "before", point) for point in ("read", "draw", "close")),
    *(at("end", "after", point) for point in ("draw", "post run.completed")),
    # Two of the same run, and the second attempt as well as the first.
    (*AFTER_THE_CLAIM, *NUMBERS_OF_AN_END),
    (*IN_MID_STREAM, *at("pro", "after", "post text.delta")),
    (*RESULT_NOT_POSTED, *END_NOT_POSTED),
    # Whoever starts it, and whoever answers a subscriber.
    *(elsewhere("http-api", "after", point) for point in ("create", "StartExecution", "update")),
    *(elsewhere("websocket", "after", "update", nth) for nth in (1, 2)),
    *(elsewhere("websocket", "after", point) for point in ("query", "post run.started")),
    elsewhere("websocket", "before", "post ack"),
]

TWICE = [
    *(at("pro", "twice", point) for point in ("claim", "draw", "put node.started", "put text")),
    *(at("pro", "twice", point) for point in ("post text.delta", "finish", "post node.completed")),
    *(at("end", "twice", point) for point in ("draw", "close", "post run.completed")),
    *(elsewhere("http-api", "twice", point) for point in ("create", "StartExecution", "update")),
    *(elsewhere("websocket", "twice", point) for point in ("update", "post ack")),
]


def judged(lab: Lab, cases: list[tuple[Fault, ...]]) -> dict[tuple[Fault, ...], Ended]:
    ended = lab.trials(TWO, cases, two())
    assert len({frozenset(story(run.said).items()) for run in ended}) == 1, "one story"
    return dict(zip(cases, ended, strict=True))


def test_a_worker_dies_where_it_hurts(lab: Lab) -> None:
    # Several in a run, each in another node: so that few runs have to wait for a lease.
    runs = judged(
        lab,
        [
            (),
            (*AFTER_THE_CLAIM, *NUMBERS_OF_AN_END, *BEFORE_THE_LAST_CLAIM, *END_NOT_POSTED),
            (*IN_MID_STREAM, *NUMBER_WITHOUT_EVENT, *LAST_NOT_POSTED),
        ],
    )
    # What nobody wrote is void: one number of a start, two of an end with its usage.
    assert [len(run.voids) for run in runs.values()] == [0, 2, 1]


@pytest.mark.timeout(400)
def test_a_worker_dies_anywhere(lab: Lab) -> None:
    judged(lab, KILLS)


@pytest.mark.timeout(200)
def test_the_answer_of_any_call_is_lost(lab: Lab) -> None:
    judged(lab, TWICE)
