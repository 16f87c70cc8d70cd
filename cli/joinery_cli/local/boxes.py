"""Lets a Map or a Parallel of ministack end with its first error, as Step Functions does.

What runs in the other branches is left to itself, and they begin nothing more.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any


class Aborted(Exception):
    """A branch beside this one, or around it, has failed."""


class Box:
    """A Map or Parallel under way; `failed` is done once a branch has failed."""

    def __init__(self, around: Box | None) -> None:
        self.failed: Future[Exception] = Future()
        self.around = around

    def fail(self, error: Exception) -> None:
        """Notes the first error."""
        if not self.failed.done():
            self.failed.set_result(error)

    def chain(self) -> Iterator[Box]:
        """Yields this box and those around it."""
        box: Box | None = self
        while box is not None:
            yield box
            box = box.around


_BOX: contextvars.ContextVar[Box | None] = contextvars.ContextVar("box", default=None)


def _failures() -> list[Future[Exception]]:
    box = _BOX.get()
    return [one.failed for one in box.chain()] if box else []


def _raise_if_aborted() -> None:
    if any(failure.done() for failure in _failures()):
        raise Aborted


@contextmanager
def box() -> Iterator[Box]:
    """Runs what is inside as branches that end with the first one's error."""
    opened = Box(_BOX.get())
    token = _BOX.set(opened)
    try:
        yield opened
    finally:
        _BOX.reset(token)


def patch() -> None:
    """Changes ministack; call it once, before it serves."""
    from ministack.services import stepfunctions as service

    error_type: type[Exception] = service._ExecutionError
    service._run_parallel_branches = _boxed(service._run_parallel_branches, error_type)
    service._run_map_items = _boxed(service._run_map_items, error_type)
    service._run_sub_machine = _branch(service._run_sub_machine, error_type)
    service._execute_task = _guarded(service._execute_task)
    service._invoke_resource = _left_alone(service._invoke_resource)
    service._invoke_with_callback = _left_alone(service._invoke_with_callback)
    service._scaled_sleep = _woken(service)


def _boxed(run: Callable[..., Any], error_type: type[Exception]) -> Callable[..., Any]:
    def run_box(*arguments: Any) -> Any:
        with box() as own:
            try:
                return run(*arguments)
            except error_type:
                if own.failed.done():
                    raise own.failed.result() from None
                raise
            finally:
                if own.around is not None and any(b.failed.done() for b in own.around.chain()):
                    raise Aborted

    return run_box


def _branch(run: Callable[..., Any], error_type: type[Exception]) -> Callable[..., Any]:
    def run_branch(*arguments: Any) -> Any:
        box = _BOX.get()
        try:
            return run(*arguments)
        except error_type as error:
            if box is not None:
                box.fail(error)
            raise

    return run_branch


def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_task(*arguments: Any) -> Any:
        _raise_if_aborted()
        return run(*arguments)

    return run_task


def _left_alone(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """Waits for a function or for the end of the box around it, whichever comes first."""

    def invoke_in_box(*arguments: Any) -> Any:
        failures = _failures()
        if not failures:
            return invoke(*arguments)
        pool = ThreadPoolExecutor(1)
        task = pool.submit(contextvars.copy_context().run, invoke, *arguments)
        pool.shutdown(wait=False)
        wait([task, *failures], return_when=FIRST_COMPLETED)
        if not task.done():
            raise Aborted
        return task.result()

    return invoke_in_box


def _woken(service: Any) -> Callable[[float], None]:
    sleep = service._scaled_sleep

    def sleep_in_box(seconds: float) -> None:
        failures = _failures()
        if not failures:
            sleep(seconds)
            return
        scaled = seconds * service._SFN_WAIT_SCALE
        if scaled > 0:
            wait(failures, timeout=scaled, return_when=FIRST_COMPLETED)
        _raise_if_aborted()

    return sleep_in_box
