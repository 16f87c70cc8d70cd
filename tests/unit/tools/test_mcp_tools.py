"""Tools of MCP servers, against a real one of the official SDK in a process of its own."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.mcp_server import mcp_server
from kit.tool_server import Told, services, tool_server, use

from joinery.errors import NodeError
from joinery.tool_errors import (
    PermanentToolAddress,
    PermanentToolAnswer,
    PermanentToolSecret,
    PermanentToolUnknown,
    TransientToolTimeout,
    TransientToolUnreachable,
)
from joinery.tools.base import ToolResult
from joinery.tools.mcp import McpTool, open_tools
from joinery.tools.services import ToolServices


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with mcp_server(tmp_path_factory.mktemp("mcp")) as (url, log, _):
        yield url, log


def opened(
    url: str, given: ToolServices | None = None, *, names: tuple[str, ...] = (), **spec: Any
) -> dict[str, McpTool]:
    entry = {
        "url": url, "headers": {}, "secret_headers": {}, "tools": names, "send_identity": False,
        "read_only": False, "at_most_once": False, "timeout_s": 10.0, **spec,
    }  # fmt: skip
    context: Any = SimpleNamespace(
        tool_services=given or services(), deadline=time.monotonic() + 20
    )
    made = open_tools("shop", entry, context)
    return {tool.spec.name: tool for tool in made}  # type: ignore[misc]


def close(tools: dict[str, McpTool]) -> None:
    for tool in tools.values():
        tool.close()


def left_over(before: set[threading.Thread]) -> set[threading.Thread]:
    """Returns threads that are still there after a while."""
    deadline = time.monotonic() + 3
    while found := set(threading.enumerate()) - before:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return found


def test_what_the_server_offers_is_what_the_model_sees(shop: tuple[str, Path]) -> None:
    before = set(threading.enumerate())
    tools = opened(shop[0])
    assert list(tools)[:2] == ["shop_price", "shop_order"]
    spec = tools["shop_price"].spec
    assert spec.description == "Says what items cost, in cents."
    assert spec.parameters["required"] == ["item"]
    assert tools["shop_price"].call(use({"item": "tea", "count": 2})).data == {
        "item": "tea", "cents": 500,
    }  # fmt: skip
    close(tools)
    assert not left_over(before)


def test_only_what_is_named_and_in_that_order(shop: tuple[str, Path]) -> None:
    tools = opened(shop[0], names=("who", "price"))
    assert list(tools) == ["shop_who", "shop_price"]
    close(tools)
    before = set(threading.enumerate())
    with pytest.raises(PermanentToolUnknown, match="no tool 'prices'; it has big, complain, leave"):
        opened(shop[0], names=("prices",))
    assert not left_over(before)


def test_calls_carry_their_key_and_say_for_whom_only_when_told_to(shop: tuple[str, Path]) -> None:
    url, log = shop
    for identity in (False, True):
        tools = opened(url, names=("order",), send_identity=identity)
        told = tools["shop_order"].call(use({"item": "tea"}))
        assert (told.data or told.content) in ({"result": "ordered: tea"}, "ordered: tea")
        close(tools)
    assert log.read_text().splitlines()[-2:] == [
        "order tea run_1.judge.1.1 None", "order tea run_1.judge.1.1 ada",
    ]  # fmt: skip


def test_secrets_go_as_headers(shop: tuple[str, Path]) -> None:
    tools = opened(
        shop[0], services(shop="Bearer s3"), names=("who", "complain"),
        secret_headers={"Authorization": "shop"},
    )  # fmt: skip
    told = tools["shop_who"].call(use())
    with pytest.raises(PermanentToolAnswer, match=r"says: \[secret\]"):
        tools["shop_complain"].call(use())
    close(tools)
    assert "who Bearer s3" in shop[1].read_text().splitlines()
    assert told.data == {"result": "[secret]"}  # what is sent back is not stored and shown
    with pytest.raises(PermanentToolSecret, match="JOINERY_SECRET_SHOP"):
        opened(shop[0], secret_headers={"Authorization": "shop"})


def test_a_refusal_is_told_and_the_connection_goes_on(shop: tuple[str, Path]) -> None:
    tools = opened(shop[0])
    assert tools["shop_refuse"].call(use()) == ToolResult("sold out", is_error=True)
    bad = tools["shop_price"].call(use({"item": "gold"}))
    assert bad.is_error
    picture = tools["shop_picture"].call(use())
    assert picture.content.startswith("[image image/png")
    assert len(tools["shop_big"].call(use({"megabytes": 20})).content) == 20_000_000
    close(tools)


def test_a_longer_answer_than_is_read_is_refused(shop: tuple[str, Path]) -> None:
    tools = opened(shop[0], names=("big", "price"))
    with pytest.raises(PermanentToolAnswer, match="more than 25,165,824 bytes") as refused:
        tools["shop_big"].call(use({"megabytes": 26}))
    assert refused.value.details["limit"] == 25_165_824
    assert tools["shop_price"].call(use({"item": "tea"})).data["cents"] == 250
    close(tools)


def test_an_answer_that_is_packed_is_refused() -> None:
    packed = Told(gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
    with (
        tool_server(lambda asked: packed) as server,
        pytest.raises(PermanentToolAnswer, match="packs its answers"),
    ):
        opened(server.url)
    assert {asked.headers["accept-encoding"] for asked in server.requests} == {"identity"}


def test_calls_go_side_by_side_on_one_connection(shop: tuple[str, Path]) -> None:
    tools = opened(shop[0], names=("slow",))
    found: list[ToolResult] = []
    workers = [
        threading.Thread(target=lambda: found.append(tools["shop_slow"].call(use({"seconds": 1}))))
        for _ in range(5)
    ]
    begun = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert time.monotonic() - begun < 4
    assert len(found) == 5
    close(tools)


def test_a_call_ends_in_its_time_or_when_nobody_waits(shop: tuple[str, Path]) -> None:
    tools = opened(shop[0], names=("slow", "price"), timeout_s=0.5)
    begun = time.monotonic()
    with pytest.raises(TransientToolTimeout):
        tools["shop_slow"].call(use({"seconds": 30}))
    with pytest.raises(TransientToolTimeout):
        tools["shop_slow"].call(use({"seconds": 30}, cancelled=lambda: True))
    assert time.monotonic() - begun < 3
    assert tools["shop_price"].call(use({"item": "tea"})).data["cents"] == 250
    close(tools)


def test_a_server_that_ends_is_named_and_found_again(tmp_path: Path) -> None:
    with mcp_server(tmp_path) as (url, _, port):
        tools = opened(url, names=("leave", "price"))
        with pytest.raises(TransientToolUnreachable):
            tools["shop_leave"].call(use(seconds=5))
        with pytest.raises(TransientToolUnreachable):
            tools["shop_price"].call(use({"item": "tea"}, seconds=5))
    with mcp_server(tmp_path, port=port):
        assert tools["shop_price"].call(use({"item": "tea"})).data["cents"] == 250
    close(tools)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (Told("<html>no</html>", media="text/html"), PermanentToolAnswer),
        (Told("{", status=200), PermanentToolAnswer),
        (Told("no", status=404), PermanentToolAnswer),
        (Told("who are you", status=401), PermanentToolSecret),
        (Told("busy", status=503), TransientToolUnreachable),
        (Told(hang_up=True), TransientToolUnreachable),
    ],
)
def test_what_is_no_mcp_server_is_said(told: Told, error: type[NodeError]) -> None:
    before = set(threading.enumerate())
    with tool_server(lambda _: told) as server, pytest.raises(error, match="'shop'"):
        opened(server.url + "/mcp")
    assert not left_over(before)


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with tool_server(lambda _: Told(wait_s=30)) as server:
        context: Any = SimpleNamespace(tool_services=services(), deadline=time.monotonic() + 1)
        entry = {"url": server.url, "headers": {}, "secret_headers": {}, "tools": ()}
        with pytest.raises(TransientToolTimeout):
            open_tools("shop", entry, context)


def test_this_machine_is_out_of_reach_on_aws(shop: tuple[str, Path]) -> None:
    with pytest.raises(PermanentToolAddress):
        opened(shop[0], services(private=False))
