"""Starts real MCP servers, each in a process of its own: ours, and examples of the official SDK."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.mcp_examples import examples

SHOP = Path(__file__).with_name("mcp_shop.py")


@contextmanager
def mcp_server(folder: Path, *, port: int = 0) -> Iterator[tuple[str, Path, int]]:
    """Starts our own server; gives its address, the file of its effects, and its port."""
    port = port or free_port()
    log = folder / "effects.log"
    log.touch()
    with _serving([str(SHOP), str(port), str(log)], port) as url:
        yield url, log, port


@contextmanager
def weather_server() -> Iterator[str]:
    """Starts the SDK's example of tools with structured output; gives its address."""
    port = free_port()
    serve = f"import weather_structured as it; it.mcp.run(transport='streamable-http', port={port})"
    with _serving(["-c", serve], port, examples() / "mcpserver") as url:
        yield url


@contextmanager
def everything_server() -> Iterator[str]:
    """Starts the SDK's example of all that a server may do; gives its address."""
    port = free_port()
    folder = examples() / "servers" / "everything-server"
    with _serving(["-m", "mcp_everything_server", "--port", str(port)], port, folder) as url:
        yield url


@contextmanager
def _serving(program: Sequence[str], port: int, folder: Path | None = None) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, *program], cwd=folder)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, "the MCP server did not start"
            assert time.monotonic() < deadline, "the MCP server did not start in time"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
