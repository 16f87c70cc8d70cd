from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from joinery.errors import Unavailable
from joinery_cli import session as sessions
from joinery_cli.live.views import SilentView
from joinery_cli.session import Session

from .messages import RUN, Log


class FakeEngine:
    """A run that goes on until it is cancelled, told to end, or left."""

    run_id = RUN

    def __init__(self, *, survives=True, presses=(), ends_after=None, failure=None, tells=()):
        self.survives, self.presses, self.ends_after = survives, presses, ends_after
        self.failure, self.tells = failure, tells
        self.cancelled = threading.Event()
        self.left = False

    def follow(self, put, stop):
        log = Log()
        put(log.started())
        for name, data in self.tells:
            put(log.event(name, **data))
        begun = time.monotonic()
        presses = list(self.presses)
        while not stop():
            if presses and time.monotonic() - begun > presses[0][0]:
                os.kill(os.getpid(), presses.pop(0)[1])
            if self.failure:
                raise self.failure
            if self.cancelled.is_set():
                put(log.event("run.cancelled", usage={}))
                return
            if self.ends_after is not None and time.monotonic() - begun > self.ends_after:
                put(log.event("run.completed", usage={}))
                return
            time.sleep(0.005)
        self.left = True

    def cancel(self):
        self.cancelled.set()

    def result(self):
        raise AssertionError("nobody asks this run for its result")


class Notices(SilentView):
    def __init__(self):
        self.said, self.closed = [], 0

    def notice(self, text):
        self.said.append(text)

    def close(self):
        self.closed += 1


def follow(engine, **options):
    view = Notices()
    state = Session(engine, view, **options).run()
    assert view.closed
    return state, view.said


INT = signal.SIGINT


def test_a_run_that_ends_by_itself():
    state, said = follow(FakeEngine(ends_after=0.05))
    assert (state.status, said) == ("completed", [])


def test_one_ctrl_c_detaches_after_the_time_to_answer(monkeypatch):
    monkeypatch.setattr(sessions, "PROMPT_S", 0.2)
    engine = FakeEngine(presses=[(0.05, INT)])
    state, said = follow(engine)
    assert not state.ended
    assert engine.left
    assert not engine.cancelled.is_set()
    assert said == ["the run goes on without this command; Ctrl-C again cancels it", ""]


def test_a_second_ctrl_c_cancels():
    engine = FakeEngine(presses=[(0.05, INT), (0.2, INT)])
    state, said = follow(engine)
    assert state.status == "cancelled"
    assert said[-1] == "cancelling …"


def test_a_run_that_ends_while_the_person_thinks_has_ended():
    state, _ = follow(FakeEngine(presses=[(0.05, INT)], ends_after=0.3))
    assert state.status == "completed"


def test_an_inline_run_goes_on_when_the_second_ctrl_c_does_not_come(monkeypatch):
    monkeypatch.setattr(sessions, "PROMPT_S", 0.1)
    engine = FakeEngine(survives=False, presses=[(0.05, INT)], ends_after=0.5)
    state, said = follow(engine)
    assert state.status == "completed"
    assert said == ["the run lives in this command; Ctrl-C again cancels it", ""]


def test_an_inline_run_is_cancelled_by_the_second(monkeypatch):
    engine = FakeEngine(survives=False, presses=[(0.05, INT), (0.2, INT)])
    state, _ = follow(engine)
    assert state.status == "cancelled"


def test_without_a_terminal_the_first_cancels_an_inline_run():
    engine = FakeEngine(survives=False, presses=[(0.05, INT)])
    state, said = follow(engine, patient=False)
    assert (state.status, said) == ("cancelled", ["cancelling …"])


def test_watching_ends_at_once_and_cancels_nothing():
    engine = FakeEngine(presses=[(0.05, INT)])
    state, said = follow(engine, cancellable=False)
    assert not state.ended
    assert not engine.cancelled.is_set()
    assert said == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_stop_leaves_a_run_that_survives_and_cancels_one_that_does_not(number):
    engine = FakeEngine(presses=[(0.05, number)])
    state, _ = follow(engine)
    assert not state.ended
    assert not engine.cancelled.is_set()
    engine = FakeEngine(survives=False, presses=[(0.05, number)])
    state, _ = follow(engine)
    assert state.status == "cancelled"


SUSPENDED = [
    ("budget.exceeded", {"message": "it is used up", "budget": {"tokens": 1}}),
    ("breaker.tripped", {"message": "it says nothing new", "reason": "loop"}),
]


@pytest.mark.parametrize(("name", "data"), SUSPENDED)
def test_a_run_that_is_suspended_is_left_when_nothing_more_is_heard(monkeypatch, name, data):
    monkeypatch.setattr(sessions, "SUSPENDED_S", 0.1)
    monkeypatch.setattr(sessions, "WAITS_S", 60.0)
    engine = FakeEngine(tells=[(name, data)])
    begun = time.monotonic()
    state, _ = follow(engine)
    assert (state.status, state.error["message"]) == ("suspended", data["message"])
    assert not engine.cancelled.is_set()
    assert time.monotonic() - begun < 5.0


def test_one_that_is_suspended_and_goes_on_at_once_is_not_left(monkeypatch):
    monkeypatch.setattr(sessions, "SUSPENDED_S", 0.1)
    tells = [SUSPENDED[0], ("run.resumed", {"incarnation": 2, "after": "suspended", "nodes": []})]
    state, _ = follow(FakeEngine(tells=tells, ends_after=0.4))
    assert state.status == "completed"


def test_the_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    follow(FakeEngine(ends_after=0.01))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_cannot_be_followed_is_that_error_and_the_view_is_closed():
    view = Notices()
    with pytest.raises(Unavailable):
        Session(FakeEngine(failure=Unavailable("gone")), view).run()
    assert view.closed
