"""Cold starts of Lambda workers on ministack, a few at a time.

Part of `joinery_cli.local.serve`; tested in tests/integration/test_local_stack_starts.py.

An invocation that finds no free worker starts one. Many that come at once to cold functions
started as many processes; on a few cores none of them was ready within the ten seconds that
ministack gives them, so all were ended and started again, and nobody was answered meanwhile.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

AT_ONCE: Final = max(2, os.cpu_count() or 1)
"""So many processes start at the same time."""

LONGEST_WAIT_S: Final = 20.0
"""Who has waited for so long starts one all the same: a start may hang."""

WARMING: Final = {"warm": True}
"""The event of those who want a worker for each call, see `joinery_cli.local.access`."""

_warming = contextvars.ContextVar("warming", default=False)


class Starts:
    """Counts the processes that are starting.

    Args:
        lease: Gives a free worker for an invocation, or a new one that has no process yet.
        is_free: Whether there is a free one.
        start: Starts the process of a worker.
    """

    def __init__(
        self,
        lease: Callable[..., tuple[Any, str]],
        is_free: Callable[..., bool],
        start: Callable[..., None],
    ) -> None:
        self._lease, self._is_free, self._start = lease, is_free, start
        self._changed = threading.Condition()
        self._starting = 0
        self._promised: set[int] = set()

    def lease(self, *args: Any, **fields: Any) -> tuple[Any, str]:
        """Waits until a worker is free, as one that has just answered, or may be started."""
        with self._changed:
            if not _warming.get():
                self._wait(lambda: self._is_free(*args, **fields))
            worker, how = self._lease(*args, **fields)
            if how == "spawn" and not _warming.get():
                self._starting += 1
                self._promised.add(id(worker))
            return worker, how

    def start(self, worker: Any, *args: Any, **fields: Any) -> None:
        """Starts the process of a worker when it may."""
        with self._changed:
            if id(worker) not in self._promised:
                self._wait(lambda: False)
                self._starting += 1
            self._promised.discard(id(worker))
        try:
            self._start(worker, *args, **fields)
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify_all()

    def freed(self, worker: Any) -> None:
        """Notes that an invocation has ended."""
        with self._changed:
            if id(worker) in self._promised:  # it was never started
                self._promised.discard(id(worker))
                self._starting -= 1
            self._changed.notify_all()

    def _wait(self, is_free: Callable[[], bool]) -> None:
        end = time.monotonic() + LONGEST_WAIT_S
        while self._starting >= AT_ONCE and not is_free() and time.monotonic() < end:
            self._changed.wait(1.0)


def start_few_at_once() -> None:
    """Starts few processes at a time; who waits is served by a worker that becomes free."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    release = lambda_svc.release_worker
    execute = lambda_svc._execute_function_provided_warm

    def is_free(
        name: str, config: Mapping[str, Any], _code: bytes, qualifier: str = "$LATEST"
    ) -> bool:
        workers = lambda_runtime._workers.get(
            lambda_runtime._worker_key(name, config, qualifier), []
        )
        return any(not worker.in_use for worker in list(workers))

    starts = Starts(lambda_svc.acquire_worker, is_free, lambda_runtime.ProvidedWorker._spawn)

    def free(worker: Any) -> None:
        release(worker)
        starts.freed(worker)

    def spawn(worker: Any, *args: Any, **fields: Any) -> None:
        starts.start(worker, *args, **fields)

    def executed(func: Any, event: Any, request_id: str) -> Any:
        token = _warming.set(event == WARMING)
        try:
            return execute(func, event, request_id)
        finally:
            _warming.reset(token)

    lambda_svc.acquire_worker, lambda_svc.release_worker = starts.lease, free
    lambda_svc._execute_function_provided_warm = executed
    lambda_runtime.ProvidedWorker._spawn = spawn


__all__ = ["AT_ONCE", "Starts", "start_few_at_once"]
