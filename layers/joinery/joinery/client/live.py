"""`AsyncLive` for code that waits: the same object, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from joinery.client.async_http import AsyncClient
from joinery.client.async_live import AsyncLive, checked
from joinery.client.batches import BATCH_S, Batch, merged
from joinery.events.make import Event

if TYPE_CHECKING:
    from joinery.client.http import Client

_Answer = TypeVar("_Answer")

ASKED_S: Final = 0.2
"""How often `stop` is asked."""


class Live:
    """One socket on which several runs are watched and commands are sent.

    Use it as a context manager. Its methods may be called from several threads, but
    the messages go to one: each comes once.
    """

    def __init__(self, client: Client) -> None:
        self._client = AsyncClient(
            client.base_url,
            client.ws_url,
            client.token,
            timeout_s=client.timeout_s,
            timing=client.timing,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._live = self._do(self._begin())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the socket and ends everything that was under way."""
        if self._loop.is_closed():
            return
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def watch(self, run_id: str, after_seq: int = 0) -> None:
        """Begins to watch a run, after the last event that the caller has."""
        self._do(self._call(lambda: self._live.watch(run_id, after_seq)))

    def unwatch(self, run_id: str) -> None:
        """Ends watching a run."""
        self._do(self._call(lambda: self._live.unwatch(run_id)))

    def command(self, action: str, **fields: Any) -> Event:
        """Sends a command, such as `pause` with `run_id`; returns its `ack` or `pong`.

        A `start` and an `input` may bring a `request_id` of 8 to 64 random characters: the
        same one again changes nothing.

        Raises:
            Unavailable: There is no socket, or none that answers. When it broke after the
                command was sent, nobody knows whether it was carried out.
            JoineryError: What the server answered.
        """
        return self._do(self._live.command(action, **fields))

    def messages(
        self, *, stop: Callable[[], bool] = lambda: False, strict: bool = False
    ) -> Iterator[Event]:
        """Yields the messages of all watched runs until all have ended.

        Args:
            stop: Asked several times a second; True ends the iteration.
            strict: Raise what ends the watching of a run; else it is a `client.error`
                message, and the other runs go on.

        Raises:
            JoineryError: With `strict`: what ended the watching.
        """
        for messages in self._taken(stop):
            for message in messages:
                yield checked(message, strict=strict)
                if stop():
                    return

    def batches(
        self,
        *,
        every_s: float = BATCH_S,
        stop: Callable[[], bool] = lambda: False,
        strict: bool = False,
    ) -> Iterator[Batch]:
        """Yields batches for a screen: the first at once, then one every `every_s` at most.

        Raises:
            JoineryError: With `strict`: what ended the watching.
        """
        for messages in self._taken(stop):
            for message in messages:
                checked(message, strict=strict)
            yield merged(messages)
            end = time.monotonic() + every_s
            while not stop() and (rest := end - time.monotonic()) > 0:
                time.sleep(min(rest, ASKED_S))

    def _taken(self, stop: Callable[[], bool]) -> Iterator[list[Event]]:
        while not stop():
            asked = asyncio.run_coroutine_threadsafe(self._live.take(), self._loop)
            try:
                messages = _result(asked, stop)
            finally:
                asked.cancel()
            if messages is None:
                return
            yield messages

    # -- the thread --------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _begin(self) -> AsyncLive:
        return AsyncLive(self._client)

    async def _call(self, do: Callable[[], None]) -> None:
        do()

    async def _end(self) -> None:
        await self._live.close()
        await self._client.close()
        await self._loop.shutdown_asyncgens()


def _result(asked: Future[list[Event] | None], stop: Callable[[], bool]) -> list[Event] | None:
    """Returns what was asked for; None once nobody wants it any more."""
    while True:
        try:
            return asked.result(timeout=ASKED_S)
        except TimeoutError:
            if asked.done():
                raise
            if stop():
                return None
