"""A tool that gives 50 MB: the run ends well, and what it takes fits into a function."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit.mcp_server import mcp_server
from kit.tool_server import Told, tool_server

TESTS = Path(__file__).parents[2]

MEMORY: int = 400 * 1024 * 1024
"""A function has 512 MB, and needs some of it for what is not in this test."""


def ran(kind: str, url: str = "", calls: int = 1) -> dict[str, Any]:
    """Returns what became of a run in a process of its own."""
    command = [sys.executable, "-m", "kit.big_results", kind, url, str(calls)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ended: dict[str, Any] = json.loads(done.stdout)
    assert (ended["status"], ended["outputs"]) == ("completed", {"text": "done"})
    assert ended["peak"] < MEMORY, f"{ended['peak']:,} bytes"
    return ended


@pytest.mark.parametrize("form", ["rows", "letters"])
def test_an_api_that_answers_50_mb(form: str) -> None:
    rows = "[" + ", ".join(f'{{"id": {i:07d}1}}' for i in range(2_800_000)) + "]"
    # One character outside of the basic plane makes all of them four bytes long.
    letters = "x" * 50_000_000 + "𝄞"
    body, media = {"rows": (rows, "application/json"), "letters": (letters, "text/plain")}[form]
    assert len(body) >= 50_000_000
    data = body.encode()
    with tool_server(lambda asked: Told(data, media=media)) as server:
        ended = ran("openapi", server.url)
    whole, part = ended["completed"]
    assert (whole["ok"], whole["chars"], whole["cut"]) == (True, len(body), True)
    assert whole["result_cut"] == ["text"]
    assert ended["lengths"][0] < 20_300
    told = f"{body[40_000_000:40_000_030]}\n[characters 40000000 to 40000030 of {len(body)}]"
    assert ended["told"][1] == told
    assert part["ok"]


def test_four_answers_of_50_mb_at_once() -> None:
    data = b"x" * 50_000_000
    with tool_server(lambda asked: Told(data, media="text/plain")) as server:
        ended = ran("openapi", server.url, calls=4)
    assert [call["ok"] for call in ended["completed"]] == [True] * 5
    assert ended["lengths"][:4] == [20_160] * 4


def test_an_mcp_server_that_answers_50_mb(tmp_path: Path) -> None:
    with mcp_server(tmp_path) as (url, _, _):
        ended = ran("mcp", url)
    [refused] = ended["completed"]
    assert (refused["ok"], refused["code"]) == (False, "tool.bad_answer")
    assert ended["told"] == ["Error: '127.0.0.1' answered with more than 25,165,824 bytes"]


def test_code_that_returns_50_mb() -> None:
    ended = ran("python")
    [refused] = ended["completed"]
    assert (refused["ok"], refused["code"]) == (False, "code.too_large")
    assert ended["told"] == ["Error: the result has more than 4,194,304 bytes as JSON"]
