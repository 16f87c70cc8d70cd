"""The demo takes down what it put up, however it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from joinery_cli import demo, exits, local
from joinery_cli.engines import local as engines
from joinery_cli.local import LocalStackFailed

from .messages import RUN, debate
from .test_local_engine import COST


class FakeLocal:
    """The local stack and a run on it, as the demo sees them."""

    survives = True
    run_id = RUN
    cost = COST

    def __init__(self):
        self.is_up = False
        self.downs = 0
        self.failure = None
        self.press = None
        self.cancelled = False
        self.status = "completed"

    def up(self, progress, *, home=None):
        progress("emulator", "127.0.0.1:1")
        if self.failure:
            raise self.failure
        self.is_up = True
        return SimpleNamespace(service=lambda name: name == "model")

    def down(self, *, home=None):
        self.downs += 1
        self.is_up = False
        return True

    def start(self, client, source, inputs):
        assert "four-day week" in inputs["document"]
        return self

    def follow(self, put, stop):
        if self.press:
            time.sleep(0.05)
            os.kill(os.getpid(), self.press)
            while not stop():
                time.sleep(0.005)
            return
        for message in debate():
            put(message)

    def cancel(self):
        self.cancelled = True

    def result(self):
        outputs = {"report": "Score 80 of 100.\n"} if self.status == "completed" else None
        error = {} if outputs else {"error": {"message": "node 'pro' failed"}}
        return {
            "run_id": RUN,
            "status": self.status,
            "outputs": outputs,
            **error,
            "nodes": {},
            "transitions": 7,
            "transitions_predicted": 7,
            "aws_calls": COST["aws_calls"],
            "tokens": {"input": 1840, "output": 287},
            "model_calls": 3,
            "price_usd": 0.00042,
        }


@pytest.fixture
def fake(monkeypatch):
    fake = FakeLocal()
    client = SimpleNamespace(publish=lambda source: {"workflow_id": "wf"})
    monkeypatch.setattr(demo, "running_stack", lambda: fake if fake.is_up else None)
    monkeypatch.setattr(local, "up", fake.up)
    monkeypatch.setattr(local, "down", fake.down)
    monkeypatch.setattr(engines, "client_of", lambda stack: nullcontext(client))
    monkeypatch.setattr(engines.LocalEngine, "start", fake.start)
    return fake


def test_it_plays_from_the_plan_to_the_bill_and_takes_everything_down(fake, joinery):
    result = joinery("demo")
    assert result.exit_code == 0
    parts = [line for line in result.stdout.splitlines() if line.startswith("== ")]
    assert [part[3:].split(":")[0] for part in parts] == [
        "The plan",
        "The local stack",
        "The run",
        "The report",
        "What it took",
    ]
    for text in (
        "1,000 runs",
        "shows the machinery and not the quality",
        "Score 80 of 100.",
        "wall time",
        "time to first token",
        "1,840 in, 287 out",
        "DynamoDB",
        "price on AWS            $0.000420",
    ):
        assert text in result.stdout
    assert "emulator 127.0.0.1:1" in result.stderr
    assert (fake.is_up, fake.downs) == (False, 1)


def test_a_stack_that_was_up_stays_up(fake, joinery):
    fake.is_up = True
    assert joinery("demo").exit_code == 0
    assert (fake.is_up, fake.downs) == (True, 0)


def test_a_stack_that_does_not_start_is_taken_down(fake, joinery):
    fake.failure = LocalStackFailed("the emulator ended at its start.")
    result = joinery("demo")
    assert result.exit_code == exits.FAILED
    assert "error: the emulator ended at its start." in result.stderr
    assert fake.downs == 1


def test_a_run_that_fails_is_told_and_everything_taken_down(fake, joinery):
    fake.status = "failed"
    result = joinery("demo")
    assert result.exit_code == exits.FAILED
    assert "error: node 'pro' failed" in result.stderr
    assert "What it took" in result.stdout
    assert fake.downs == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_cancels_the_run_and_takes_everything_down(fake, joinery, number):
    fake.press = number
    result = joinery("demo")
    assert result.exit_code == exits.CANCELLED
    assert fake.cancelled
    assert fake.downs == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_while_the_stack_starts_takes_it_down(fake, joinery, monkeypatch, number):
    def up(progress, *, home=None):
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        time.sleep(5)

    monkeypatch.setattr(local, "up", up)
    result = joinery("demo")
    assert result.exit_code == exits.CANCELLED
    assert fake.downs == 1


def test_ctrl_c_while_it_is_taken_down_does_not_stop_that(fake, joinery, monkeypatch):
    def down(*, home=None):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        fake.downs += 1
        return True

    monkeypatch.setattr(local, "down", down)
    assert joinery("demo").exit_code == 0
    assert fake.downs == 1
