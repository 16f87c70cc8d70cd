"""What every engine offers, and the thread that carries a run's messages to the screen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from joinery.events.make import Event

Put = Callable[[Event], None]
Stop = Callable[[], bool]


class Engine(Protocol):
    """One run on one engine.

    Attributes:
        run_id: The run.
        survives: Whether the run goes on when this command ends.
    """

    run_id: str
    survives: bool

    def follow(self, put: Put, stop: Stop) -> None:
        """Hands over the run's messages until it has ended or `stop` says so; blocks."""
        ...

    def cancel(self) -> None:
        """Cancels the run; it ends soon after."""
        ...

    def answer(self, node_id: str, path: str, value: Any) -> None:
        """Answers a question of the run.

        Raises:
            JoineryError: Why the answer was not taken.
        """
        ...

    def result(self) -> dict[str, Any]:
        """Returns the run as `joinery run --json` prints it, ended or not."""
        ...


class Feed:
    """The messages of a run, from a thread that ends with the run or on `stop`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        # A daemon: a model that never answers must not keep the process.
        self._thread = threading.Thread(target=self._run, name="joinery-feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._engine.follow(self._queue.put, self._stopping.is_set)
        except BaseException as error:
            self._failure = error

    def get(self, timeout_s: float) -> list[Event]:
        """Returns what has come, at once if there is something, else after the time at most."""
        try:
            found = [self._queue.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        while len(found) < 500:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return found

    @property
    def over(self) -> bool:
        """Whether nothing more will come.

        Raises:
            BaseException: What ended the thread, once everything before it was taken.
        """
        if self._thread.is_alive() or not self._queue.empty():
            return False
        if self._failure is not None:
            raise self._failure
        return True

    def stop(self, wait_s: float = 5.0) -> None:
        """Asks the thread to end and waits for it."""
        self._stopping.set()
        self._thread.join(wait_s)
