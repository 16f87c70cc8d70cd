"""Does what the core says: one socket, questions by HTTP, and time."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from joinery.client.batches import BATCH_S, Batch, merged
from joinery.client.core import Core
from joinery.client.failures import error_from
from joinery.client.outbox import Effect
from joinery.client.request import is_loopback
from joinery.errors import JoineryError
from joinery.events.make import Event

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from joinery.client.async_http import AsyncClient

OPEN_S: Final = 10.0
CLOSE_S: Final = 1.0

WAITING_MAX: Final = 10_000
"""Messages that wait for a caller who does not take them; then the socket is not read."""


KEYED: Final = frozenset({"input", "start"})
"""Commands whose request id is random: the same one again changes nothing."""


class AsyncLive:
    """One socket on which several runs are watched and commands are sent.

    Use it with `async with`. The socket is opened when there is something to do, opened
    again when it breaks, and replaced before API Gateway closes it after two hours.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._core = Core(socket=bool(client.ws_url), timing=client.timing)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: dict[int, ClientConnection] = {}
        self._queue: deque[Event] = deque()
        self._watched: set[str] = set()
        self._answers: dict[str, asyncio.Future[Event]] = {}
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._timer: asyncio.TimerHandle | None = None
        self._crash: BaseException | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the socket and ends everything that was under way."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(s.close() for s in self._sockets.values()))
        for waiting in self._answers.values():
            waiting.cancel()
        self._news.set()

    # -- what the caller wants ---------------------------------------------------------

    def watch(self, run_id: str, after_seq: int = 0) -> None:
        """Begins to watch a run, after the last event that the caller has."""
        self._watched.add(run_id)
        self._core.watch(run_id, self._loop.time(), after_seq)
        self._do()

    def unwatch(self, run_id: str) -> None:
        """Ends watching a run."""
        self._core.unwatch(run_id, self._loop.time())
        self._do()

    async def command(self, action: str, **fields: Any) -> Event:
        """Sends a command, such as `pause` with `run_id`; returns its `ack` or `pong`.

        A `start` and an `input` may bring a `request_id` of 8 to 64 random characters: the
        same one again changes nothing.

        Raises:
            Unavailable: There is no socket, or none that answers. When it broke after the
                command was sent, nobody knows whether it was carried out.
            JoineryError: What the server answered.
        """
        if action in KEYED:
            fields.setdefault("request_id", uuid.uuid4().hex)
        waiting: asyncio.Future[Event] = self._loop.create_future()
        request_id = self._core.command(action, fields, self._loop.time())
        self._answers[request_id] = waiting
        self._do()
        try:
            frame = await waiting
        finally:
            self._answers.pop(request_id, None)
        if frame["event"] == "error":
            raise error_from(0, {"error": frame["data"]})
        return frame

    async def take(self) -> list[Event] | None:
        """Waits for messages; returns those that are there, None when no run is watched.

        Raises:
            Exception: A defect of the client.
        """
        while not self._queue:
            if self._crash is not None:
                raise self._crash
            if self._closed or not self._watched:
                return None
            self._news.clear()
            await self._news.wait()
        messages = list(self._queue)
        self._queue.clear()
        self._room.set()
        return messages

    async def messages(self, *, strict: bool = False) -> AsyncGenerator[Event, None]:
        """Yields the messages of all watched runs until all have ended.

        Args:
            strict: Raise what ends the watching of a run; else it is a `client.error`
                message, and the other runs go on.

        Raises:
            JoineryError: With `strict`: what ended the watching.
        """
        while (messages := await self.take()) is not None:
            for message in messages:
                yield checked(message, strict=strict)

    async def batches(
        self, *, every_s: float = BATCH_S, strict: bool = False
    ) -> AsyncGenerator[Batch, None]:
        """Yields batches for a screen: the first at once, then one every `every_s` at most.

        Raises:
            JoineryError: With `strict`: what ended the watching.
        """
        while (messages := await self.take()) is not None:
            for message in messages:
                checked(message, strict=strict)
            yield merged(messages)
            if self._watched:
                await asyncio.sleep(every_s)

    # -- doing -------------------------------------------------------------------------

    def _do(self) -> None:
        """Carries out what the core says, and sets the clock for the next time."""
        if self._closed:
            return
        for effect in self._core.taken():
            getattr(self, f"_do_{effect['do']}")(effect)
        if self._timer:
            self._timer.cancel()
        due = self._core.next
        self._timer = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._core.tick(self._loop.time())
        self._do()

    def _do_give(self, effect: Effect) -> None:
        self._queue.append(effect["message"])
        self._news.set()
        if len(self._queue) >= WAITING_MAX:
            self._room.clear()

    def _do_done(self, effect: Effect) -> None:
        self._watched.discard(effect["run_id"])
        if effect["error"]:
            message = {"event": "client.error", "run_id": effect["run_id"], "data": effect["error"]}
            self._queue.append(message)
        self._news.set()

    def _do_answer(self, effect: Effect) -> None:
        # An answer may come before `command` has stored who waits for it.
        self._loop.call_soon(self._resolve, effect["request_id"], effect["frame"])

    def _resolve(self, request_id: str, frame: Event) -> None:
        waiting = self._answers.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    def _do_open(self, effect: Effect) -> None:
        self._spawn(self._connect(effect["connection"]))

    def _do_close(self, effect: Effect) -> None:
        socket = self._sockets.pop(effect["connection"], None)
        if socket is not None:
            self._spawn(socket.close())

    def _do_send(self, effect: Effect) -> None:
        socket = self._sockets.get(effect["connection"])
        if socket is not None:
            self._spawn(self._send(socket, effect["command"]))

    def _do_fetch(self, effect: Effect) -> None:
        self._spawn(self._fetch(effect))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._crash = self._crash or task.exception()
            self._news.set()

    # -- work --------------------------------------------------------------------------

    def _tell(self, take: Callable[..., None], *what: Any) -> None:
        take(*what, self._loop.time())
        self._do()

    async def _connect(self, connection: int) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, WebSocketException

        url = self._client.ws_url
        try:
            socket = await connect(
                url,
                additional_headers=self._client.headers,
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                # API Gateway counts commands as life, not the protocol's own pings.
                ping_interval=None,
                proxy=None if is_loopback(url) else True,
            )
        except (OSError, WebSocketException, ValueError):
            self._tell(self._core.open_failed, connection)
            return
        self._sockets[connection] = socket
        self._tell(self._core.opened, connection)
        try:
            while True:
                await self._room.wait()
                self._tell(self._core.frame, connection, _parsed(await socket.recv()))
        except (ConnectionClosed, OSError):
            self._sockets.pop(connection, None)
            self._tell(self._core.closed, connection)
        finally:
            if connection in self._sockets and self._closed:
                await self._sockets.pop(connection).close()

    async def _send(self, socket: ClientConnection, command: Mapping[str, Any]) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await socket.send(json.dumps(command))
        except (ConnectionClosed, OSError):
            return  # whoever reads hears of it too

    async def _fetch(self, effect: Effect) -> None:
        try:
            answer = await self._ask(effect)
        except JoineryError as error:
            shown = error.to_dict()
            # A defect of the moment; the core gives up when it stays.
            shown["retryable"] = error.retryable or error.code == "internal"
            self._tell(self._core.fetch_failed, effect["id"], shown)
            return
        self._tell(self._core.fetched, effect["id"], answer)

    async def _ask(self, effect: Effect) -> Any:
        client, run_id = self._client, effect["run_id"]
        match effect["what"]:
            case "events":
                after_seq, wait = effect["after_seq"], effect["wait"]
                return await client.events_page(run_id, after_seq, wait=wait, tries=1)
            case "texts":
                return await client.texts(run_id, effect["node_id"], tries=1)
            case _:
                return await client.get(run_id, results=False)


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def checked(message: Event, *, strict: bool) -> Event:
    """Returns a message; raises what a `client.error` stands for, where that is wanted."""
    if strict and message["event"] == "client.error":
        raise error_from(0, {"error": message["data"]})
    return message
