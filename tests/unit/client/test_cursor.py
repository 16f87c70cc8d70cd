from __future__ import annotations

import random

from joinery.client import EventCursor

from .fake_api import event


def seqs(events):
    return [e["seq"] for e in events]


def test_later_events_wait_until_the_hole_fills():
    cursor = EventCursor()
    assert seqs(cursor.offer(event(1, "run.started"))) == [1]
    assert cursor.offer(event(3, "node.completed", "a")) == []
    assert (cursor.seq, cursor.head, cursor.behind) == (1, 3, True)
    assert seqs(cursor.offer(event(2, "node.started", "a"))) == [2, 3]
    assert not cursor.behind


def test_each_event_is_given_out_once_in_order_whatever_the_order_of_arrival():
    arrivals = [event(seq, "node.started", "a") for seq in range(1, 30)] * 3
    random.Random(3).shuffle(arrivals)
    cursor = EventCursor()
    assert [seq for e in arrivals for seq in seqs(cursor.offer(e))] == list(range(1, 30))


def test_a_head_in_any_frame_shows_that_something_is_missing():
    cursor = EventCursor(after_seq=4)
    cursor.note_head({"event": "pong", "head": 6})
    assert cursor.behind
    assert cursor.offer(event(4, "node.started", "a")) == []
