"""Agents and tools at example servers of the official MCP SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.mcp_server import everything_server, weather_server
from kit.tool_server import services, use

from joinery.tool_errors import PermanentToolAnswer
from joinery.tools.base import Tool
from joinery.tools.mcp import open_tools


def test_the_local_model_asks_a_server_for_the_weather(tmp_path: Path) -> None:
    with weather_server() as url:
        flow = {
            "version": 1,
            "name": "weather",
            "agents": {"guide": {"persona": "You tell the weather.", "tools": ["weather"],
                                 "max_rounds": 2}},
            "tools": {"weather": {"kind": "mcp", "url": url, "tools": ["get_weather_summary"]}},
            "nodes": {"ask": {"type": "agent", "agent": "guide",
                              "prompt": "What is the weather in Paris?",
                              "model": {"temperature": 0, "max_tokens": 60}}},
            "edges": ["start -> ask -> end"],
            "outputs": {"answer": "{{ nodes.ask.text }}"},
        }  # fmt: skip
        (tmp_path / "flow.yaml").write_text(json.dumps(flow))
        plain = {name: v for name, v in os.environ.items() if not name.startswith("JOINERY_")}
        done = subprocess.run(
            [sys.executable, "-m", "joinery_cli", "run", str(tmp_path / "flow.yaml"),
             "--engine", "inline"],
            check=False, capture_output=True, text=True, timeout=100, env=plain,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    given = {"city": "Paris", "temp_c": 22.5, "description": "Partly cloudy with light breeze"}
    size = len(json.dumps(given))
    assert 'ask: calls weather_get_weather_summary({"city": "Paris"})' in done.stderr
    assert f"ask: weather_get_weather_summary gave {size} characters" in done.stderr


@pytest.fixture(scope="module")
def everything() -> Iterator[dict[str, Tool]]:
    entry = {
        "headers": {}, "secret_headers": {}, "tools": (), "send_identity": False,
        "read_only": False, "at_most_once": False, "timeout_s": 10.0,
    }  # fmt: skip
    with everything_server() as url:
        context: Any = SimpleNamespace(tool_services=services(), deadline=time.monotonic() + 60)
        made = open_tools("all", {"url": url, **entry}, context)
        yield {tool.spec.name: tool for tool in made}
        made[0].close()


MANY = """\
Multiple content types test:
[image image/png, 72 bytes, not shown]
{"test": "data", "value": 123}"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("simple_text", {"result": "This is a simple text response for testing."}),
        ("image_content", "[image image/png, 72 bytes, not shown]"),
        ("audio_content", "[audio audio/wav, 45 bytes, not shown]"),
        ("embedded_resource", "This is an embedded resource content."),
        ("multiple_content_types", MANY),
        ("tool_with_logging", {"result": "Tool with logging executed successfully"}),
        ("reconnection", {"result": "Reconnection test completed"}),
        ("trigger_tool_change", {"result": "tool list changed"}),
    ],
)
def test_what_a_server_gives(everything: dict[str, Tool], name: str, told: Any) -> None:
    result = everything[f"all_test_{name}"].call(use())
    assert (result.content or result.data) == told
    assert not result.is_error


def test_a_tools_own_error_is_a_result(everything: dict[str, Tool]) -> None:
    result = everything["all_test_error_handling"].call(use())
    assert result.is_error
    assert "intentionally returns an error" in result.content


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing_capability", "requires the client 'sampling' capability"),
        ("input_required_result_elicitation", "Elicitation not supported"),
        ("input_required_result_capabilities", "again and again for what an agent cannot give"),
    ],
)
def test_what_an_agent_cannot_give_is_told(
    everything: dict[str, Tool], name: str, said: str
) -> None:
    with pytest.raises(PermanentToolAnswer, match=said):
        everything[f"all_test_{name}"].call(use())
    # The server is there for the next call.
    assert everything["all_test_simple_text"].call(use()).data
