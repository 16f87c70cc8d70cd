"""Few processes start at a time, whatever becomes of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from joinery_cli.local.starts import AT_ONCE, Starts

CALLS = 24


class Pool:
    """Workers as the emulator has them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free: list[object] = []
        self.starting = self.most = self.started = 0
        self.fails = False
        self.starts = Starts(self.lease, lambda: bool(self.free), self.start)

    def lease(self) -> tuple[Any, str]:
        with self.lock:
            return (self.free.pop(), "reused") if self.free else (object(), "spawn")

    def start(self, _: object) -> None:
        with self.lock:
            self.started += 1
            self.starting += 1
            self.most = max(self.most, self.starting)
        threading.Event().wait(0.02)
        with self.lock:
            self.starting -= 1
        if self.fails:
            raise RuntimeError

    def call(self, _: int = 0) -> None:
        worker, how = self.starts.lease()
        if how == "spawn":
            self.starts.start(worker)
        with self.lock:
            self.free.append(worker)
        self.starts.freed(worker)


def at_once(call: Any) -> None:
    with ThreadPoolExecutor(CALLS) as pool:
        list(pool.map(call, range(CALLS)))


def test_who_waits_has_a_worker_that_became_free() -> None:
    pool = Pool()
    at_once(pool.call)
    assert pool.most <= AT_ONCE
    assert pool.started < CALLS / 2


def test_workers_that_have_died_start_again_a_few_at_a_time() -> None:
    pool = Pool()
    at_once(lambda _: pool.starts.start(object()))
    assert (pool.most, pool.started) == (AT_ONCE, CALLS)


def test_a_start_that_fails_leaves_its_place_to_the_next() -> None:
    pool = Pool()
    pool.fails = True

    def fail(_: int) -> None:
        with pytest.raises(RuntimeError):
            pool.call()

    at_once(fail)
    assert (pool.most, pool.started) == (AT_ONCE, CALLS)


def test_a_worker_that_was_never_started_leaves_its_place() -> None:
    pool = Pool()
    for _ in range(AT_ONCE + 1):
        worker, how = pool.starts.lease()
        assert how == "spawn"
        pool.starts.freed(worker)
