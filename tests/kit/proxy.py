"""Stands between clients and the sockets of a stack, and treats their messages badly."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

NOT_NOW = 1013


@dataclass(frozen=True)
class Bad:
    """How the messages of one client are treated.

    Attributes:
        cut_seq: The first message with this seq closes the connection, which it does not pass.
        cut_delta: So does this delta, counted from 0.
        after: The message that cuts gets through before.
        rough: The connection breaks off, without a farewell.
        cuts: How often a cut happens, at the same message again.
        drop, double, late: How likely it is that a message to the client gets lost, comes
            twice, or comes up to half a second and some messages later.
        lost, repeated: How likely it is that a command gets lost or comes twice.
        seed: For the random ones.
    """

    cut_seq: int = 0
    cut_delta: int = -1
    after: bool = False
    rough: bool = False
    cuts: int = 1
    drop: float = 0.0
    double: float = 0.0
    late: float = 0.0
    lost: float = 0.0
    repeated: float = 0.0
    seed: int = 0

    @property
    def cuts_something(self) -> bool:
        return bool(self.cut_seq) or self.cut_delta >= 0


@dataclass
class Way:
    """The way of one client to the stack, over all its connections."""

    bad: Bad
    connections: int = 0
    cut: int = 0
    deltas: int = 0
    dice: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.bad.seed)

    def cuts_at(self, message: dict[str, Any]) -> bool:
        """Whether this message is where the connection ends."""
        delta = message["event"] == "text.delta"
        here = message.get("seq") == self.bad.cut_seq or (
            delta and 0 <= self.bad.cut_delta <= self.deltas
        )
        self.deltas += delta
        if not here or self.cut >= self.bad.cuts:
            return False
        self.cut += 1
        return True


class Proxy:
    """The server; every client has an address of its own."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.port = upstream, 0
        self.ways: list[Way] = []

    def add(self, bad: Bad) -> tuple[str, Way]:
        """Returns the address for a client, and what became of its messages."""
        way = Way(bad)
        self.ways.append(way)
        return f"ws://127.0.0.1:{self.port}/{len(self.ways) - 1}", way

    async def visit(self, client: ServerConnection) -> None:
        assert client.request is not None
        url = urlsplit(client.request.path)
        way = self.ways[int(url.path.strip("/"))]
        way.connections += 1
        token = client.request.headers.get("Authorization")
        try:
            async with connect(
                self.upstream + (f"?{url.query}" if url.query else ""),
                additional_headers={"Authorization": token} if token else None,
                proxy=None,
                max_size=None,
            ) as server:
                await self.carry(way, client, server)
        except (InvalidHandshake, ConnectionClosed, OSError):
            await client.close(NOT_NOW)

    async def carry(self, way: Way, client: ServerConnection, server: ClientConnection) -> None:
        ends = [
            asyncio.ensure_future(self.down(way, client, server)),
            asyncio.ensure_future(self.up(way, client, server)),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        if way.bad.rough:
            client.transport.abort()
        else:
            await client.close()

    async def up(self, way: Way, client: ServerConnection, server: ClientConnection) -> None:
        try:
            async for text in client:
                if way.dice.random() < way.bad.lost:
                    continue
                await server.send(text)
                if way.dice.random() < way.bad.repeated:
                    await server.send(text)
        except ConnectionClosed:
            return

    async def down(self, way: Way, client: ServerConnection, server: ClientConnection) -> None:
        late: set[asyncio.Task[None]] = set()
        try:
            async for text in server:
                if way.cuts_at(json.loads(text)):
                    if way.bad.after:
                        await client.send(text)
                    return
                if way.dice.random() < way.bad.drop:
                    continue
                if way.dice.random() < way.bad.late:
                    late.add(asyncio.ensure_future(self.later(way, client, text)))
                    continue
                await client.send(text)
                if way.dice.random() < way.bad.double:
                    await client.send(text)
            # What is late comes also when nothing comes after it.
            await asyncio.gather(*late)
        except ConnectionClosed:
            return
        finally:
            for task in late:
                task.cancel()

    async def later(self, way: Way, client: ServerConnection, text: str | bytes) -> None:
        await asyncio.sleep(way.dice.uniform(0.01, 0.5))
        try:
            await client.send(text)
        except ConnectionClosed:
            return


@contextmanager
def proxy_of(upstream: str) -> Iterator[Proxy]:
    """Runs a proxy in a thread of its own."""
    proxy, ready, loop = Proxy(upstream), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(
            proxy.visit, "127.0.0.1", 0, ping_interval=None, close_timeout=0.5, max_size=None
        ) as server:
            proxy.port = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
