"""Starts a real MCP server in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHOP = Path(__file__).with_name("mcp_shop.py")


@contextmanager
def mcp_server(folder: Path, *, port: int = 0) -> Iterator[tuple[str, Path, int]]:
    """Starts the server; gives its address, the file of its effects, and its port."""
    port = port or free_port()
    log = folder / "effects.log"
    log.touch()
    process = subprocess.Popen([sys.executable, str(SHOP), str(port), str(log)])
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, "the MCP server did not start"
            assert time.monotonic() < deadline, "the MCP server did not start in time"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp", log, port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
