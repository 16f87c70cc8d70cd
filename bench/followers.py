"""What viewers do to the time of a run on the local stack, over real sockets."""

from __future__ import annotations

import json
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from bench import shapes
from bench.stamps import caller, publish, time_of
from joinery_cli import local

if TYPE_CHECKING:
    import httpx

TOKENS, RATE, TIMES = 500, 50, 2
"""Ten nodes of a second each, twice."""

SMALL_BUFFER = 4_096
"""What the system keeps for a viewer that does not read, in bytes."""


def real_viewers(stack: local.LocalStack) -> None:
    """Prints the time of a run by who watches it, against nobody."""
    print(f"time of a run of {shapes.NODES} nodes, a second of text each, by its viewer (sockets)")
    kinds = {
        "nobody": None,
        "reads": 0.0,
        "reads 1 a second": 1.0,
        "reads nothing": float("inf"),
        "gone without a word": -1.0,
    }
    with caller(stack) as http:
        workflow = publish(http, shapes.chain(shapes.NODES, TOKENS, RATE))
        took: dict[str, list[float]] = {name: [] for name in kinds}
        # In turns, so that what else the machine does falls on all of them.
        for _ in range(TIMES):
            for name, pause in kinds.items():
                took[name].append(_time(stack, http, workflow, pause))
    alone = statistics.mean(took["nobody"])
    for name, found in took.items():
        mean = statistics.mean(found)
        print(f"{name:20}{mean:8.2f} s{mean / alone:8.3f} times nobody's")
    print()


def _time(stack: local.LocalStack, http: httpx.Client, workflow: str, pause: float | None) -> float:
    run_id = str(http.post("/runs", json={"workflow_id": workflow}).json()["run_id"])
    over = threading.Event()
    if pause is None:
        _wait(http, run_id)
    else:
        with _viewer(stack) as connection:
            command = {"action": "subscribe", "request_id": "1", "run_id": run_id}
            connection.send(json.dumps(command))
            reader = threading.Thread(target=_read, args=(connection, pause, over))
            reader.start()
            _wait(http, run_id)
            over.set()
            reader.join()
    return time_of(http, run_id)


@contextmanager
def _viewer(stack: local.LocalStack) -> Iterator[ClientConnection]:
    address = urlsplit(stack.websocket_url)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    plain.connect((address.hostname, address.port))
    headers = {"Authorization": f"Bearer {stack.token}"}
    connection = connect(
        stack.websocket_url, sock=plain, additional_headers=headers, max_queue=1, close_timeout=0.1
    )
    try:
        yield connection
    finally:
        connection.close()


def _read(connection: ClientConnection, pause: float, over: threading.Event) -> None:
    """Reads with a pause after each message; gone at once where the pause is negative."""
    if pause < 0:
        connection.recv(timeout=10)
        reset = struct.pack("ii", 1, 0)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.close_socket()
        return
    while not over.wait(min(pause, 3_600.0)):
        try:
            connection.recv(timeout=0.2)
        except TimeoutError:
            continue


def _wait(http: httpx.Client, run_id: str) -> None:
    """Waits for the end with a long poll, which costs the run nothing."""
    after = 0
    while True:
        path = f"/runs/{run_id}/events?after_seq={after}&wait=10"
        page = http.get(path).raise_for_status().json()
        after = page["next_after_seq"]
        if any(event["event"] in {"run.completed", "run.failed"} for event in page["events"]):
            time.sleep(0.2)
            return
