"""A server that plays a recorded run to real clients, and fails as it is told.

Real sockets and real HTTP on one port each. Every scene has an address of its own and is a
run of its own: it begins with the first visitor, and goes on whether somebody looks or not.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from kit.recorded import Message, Recorded

TOKEN = "jn_test"
STEP_S = 0.001


@dataclass
class Faults:
    """What goes wrong in a scene.

    Attributes:
        cut: The connection is closed when this message is to be sent.
        cut_late: It is closed after it was sent.
        drop, double, late: How likely it is that a message gets lost, comes twice, or
            comes some messages later.
        resync, hint: From this message on nobody gets more than that frame.
        refuse: How many sockets cannot be opened; -1 is all.
        busy: How likely it is that HTTP answers 503.
        tickets: Whether there are tickets.
        begin: How much of the run has happened before anybody comes.
        seed: For the random ones.
    """

    cut: int = -1
    cut_late: bool = False
    drop: float = 0.0
    double: float = 0.0
    late: float = 0.0
    resync: int = -1
    hint: int = -1
    refuse: int = 0
    busy: float = 0.0
    tickets: bool = True
    begin: int = 0
    seed: int = 0


@dataclass
class Scene:
    """One run, as it is played."""

    recorded: Recorded
    faults: Faults
    moment: int = 0
    playing: bool = False
    connections: int = 0
    cuts: int = 0
    commands: list[Message] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    tickets: set[str] = field(default_factory=set)
    sockets: set[ServerConnection] = field(default_factory=set)
    held: list[tuple[int, Message]] = field(default_factory=list)
    silenced: set[ServerConnection] = field(default_factory=set)
    dice: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.moment = self.faults.begin
        self.dice = random.Random(self.faults.seed)

    # -- the run -------------------------------------------------------------------------------

    def begin(self) -> None:
        if not self.playing:
            self.playing = True
            self.task = asyncio.get_running_loop().create_task(self.play())

    async def play(self) -> None:
        messages = self.recorded.messages
        while self.moment < len(messages):
            await asyncio.sleep(STEP_S)
            index, message = self.moment, messages[self.moment]
            self.moment += 1
            for socket in list(self.sockets):
                await self.post(socket, index, message)
            for _, late in [row for row in self.held if row[0] <= index]:
                for socket in list(self.sockets - self.silenced):
                    await self.send(socket, late)
            self.held = [row for row in self.held if row[0] > index]
        for socket in list(self.sockets):
            for _, late in self.held:
                await self.send(socket, late)

    async def post(self, socket: ServerConnection, index: int, message: Message) -> None:
        faults, dice = self.faults, self.dice
        if index == faults.cut:
            self.cuts += 1
            self.sockets.discard(socket)
            if faults.cut_late:
                await self.send(socket, message)
            await socket.close()
            return
        if 0 <= faults.resync == index:
            self.silenced.add(socket)
            await self.send(socket, self.frame("resync"))
        if 0 <= faults.hint <= index:
            await self.send(socket, self.frame("hint"))
            return
        if socket in self.silenced or dice.random() < faults.drop:
            return
        if dice.random() < faults.late:
            self.held.append((index + dice.randint(1, 8), message))
            return
        await self.send(socket, message)
        if dice.random() < faults.double:
            await self.send(socket, message)

    def frame(self, event: str, **data: Any) -> Message:
        head = self.recorded.head(self.moment)
        return {"v": 1, "event": event, "run_id": self.recorded.run_id, "head": head, "data": data}

    async def send(self, socket: ServerConnection, message: Message) -> None:
        try:
            await socket.send(json.dumps(message))
        except ConnectionClosed:
            self.sockets.discard(socket)

    # -- sockets -------------------------------------------------------------------------------

    async def visit(self, socket: ServerConnection) -> None:
        try:
            async for text in socket:
                await self.command(socket, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.sockets.discard(socket)

    async def command(self, socket: ServerConnection, command: Message) -> None:
        self.commands.append(command)
        answer = {"request_id": command["request_id"], "action": command["action"]}
        if command["action"] == "ping":
            await self.send(socket, self.frame("pong", **answer))
            return
        if command.get("run_id") != self.recorded.run_id:
            error = {"code": "not_found", "message": "no such run", "retryable": False}
            data = {"request_id": command["request_id"], **error}
            await self.send(socket, {"v": 1, "event": "error", "data": data})
            return
        if command["action"] == "subscribe":
            self.begin()
            self.sockets.add(socket)
            self.silenced.discard(socket)
            if self.faults.hint < 0:
                offsets = command.get("offsets") or {}
                replay = self.recorded.replay(self.moment, command["after_seq"], offsets)
                for message in replay:
                    await self.send(socket, message)
            ended = self.moment == len(self.recorded.messages)
            answer["status"] = "completed" if ended else "running"
        await self.send(socket, self.frame("ack", **answer))

    # -- HTTP ----------------------------------------------------------------------------------

    async def answer(self, method: str, path: str, query: dict[str, str]) -> tuple[int, Any]:
        self.requests.append(f"{method} {path}")
        if self.dice.random() < self.faults.busy:
            return 503, {"error": {"code": "unavailable", "message": "busy", "retryable": True}}
        run = f"/runs/{self.recorded.run_id}"
        if (method, path) == ("POST", "/tickets") and self.faults.tickets:
            ticket = secrets.token_hex(8)
            self.tickets.add(ticket)
            return 201, {"ticket": ticket, "expires_at": "2026-01-01T00:00:30.000Z"}
        if path == f"{run}/events":
            self.begin()
            return 200, await self.page(int(query["after_seq"]), float(query.get("wait", 0)))
        if path == f"{run}/texts":
            rows = self.recorded.texts(self.moment, query.get("node_id"))
            return 200, {"texts": rows, "next_cursor": None}
        if path == run:
            ended = self.moment == len(self.recorded.messages)
            return 200, {"run_id": run, "status": "completed" if ended else "running"}
        return 404, {"error": {"code": "not_found", "message": f"no {path}", "retryable": False}}

    async def page(self, after_seq: int, wait: float) -> Message:
        end = asyncio.get_running_loop().time() + wait
        while not (rows := self.recorded.events(self.moment, after_seq)):
            if asyncio.get_running_loop().time() >= end:
                break
            await asyncio.sleep(0.005)
        cursor = rows[-1]["seq"] if rows else after_seq
        head = self.recorded.head(self.moment)
        return {"events": rows, "head": head, "next_after_seq": cursor}


@dataclass
class Stage:
    """The server; `scenes` by name, which is the first part of every path."""

    scenes: dict[str, Scene] = field(default_factory=dict)
    http_port: int = 0
    ws_port: int = 0

    def add(self, name: str, recorded: Recorded, faults: Faults) -> dict[str, str]:
        """Adds a scene; returns where a client finds it."""
        self.scenes[name] = Scene(recorded, faults)
        return {
            "name": name,
            "http": f"http://127.0.0.1:{self.http_port}/{name}",
            "ws": f"ws://127.0.0.1:{self.ws_port}/{name}",
            "run_id": recorded.run_id,
            "token": TOKEN,
        }

    async def on_socket(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        await self.scenes[urlsplit(socket.request.path).path.strip("/")].visit(socket)

    def on_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        scene = self.scenes[url.path.strip("/")]
        scene.connections += 1
        if scene.faults.refuse < 0 or scene.connections <= scene.faults.refuse:
            return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "not now")
        ticket = parse_qs(url.query).get("ticket", [""])[0]
        if ticket in scene.tickets:
            scene.tickets.remove(ticket)
        elif request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return socket.respond(HTTPStatus.FORBIDDEN, "nobody")
        return None

    async def on_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines if line)
                await reader.readexactly(int(headers.get("content-length", 0)))
                method, target, _ = first.split(" ")
                url = urlsplit(target)
                _, name, path = url.path.split("/", 2)
                query = {k: v[0] for k, v in parse_qs(url.query).items()}
                if headers.get("authorization") != f"bearer {TOKEN}":
                    status, answer = 403, {"message": "Forbidden"}
                else:
                    status, answer = await self.scenes[name].answer(method, f"/{path}", query)
                body = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def opened() -> Iterator[Stage]:
    """Runs a stage in a thread of its own."""
    stage, ready, loop = Stage(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        http = await asyncio.start_server(stage.on_request, "127.0.0.1", 0)
        async with serve(
            stage.on_socket,
            "127.0.0.1",
            0,
            process_request=stage.on_handshake,
            ping_interval=None,
            close_timeout=0.5,
        ) as sockets:
            stage.http_port = http.sockets[0].getsockname()[1]
            stage.ws_port = next(iter(sockets.sockets)).getsockname()[1]
            ready.set()
            await stop.wait()
        http.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    try:
        yield stage
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
