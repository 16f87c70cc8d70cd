"""Searches, against a server that answers in the services' own formats."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kit.tool_server import Told, services, tool_server, use

from joinery.tool_errors import PermanentToolAnswer, PermanentToolSecret, TransientToolUnreachable
from joinery.tools.base import Tool
from joinery.tools.search import open_tools

TAVILY = {
    "query": "tea",
    "answer": "Tea is a drink.",
    "results": [
        {"title": "Tea", "url": "https://a.example/tea", "content": "Leaves", "score": 0.9},
        {"title": "More", "url": "https://b.example", "content": None},
    ],
    "response_time": 1.2,
}
SERPER = {
    "searchParameters": {"q": "tea"},
    "answerBox": {"snippet": "Tea is a drink."},
    "organic": [
        {"title": "Tea", "link": "https://a.example/tea", "snippet": "Leaves", "position": 1},
        {"title": "More", "link": "https://b.example", "position": 2},
    ],
}
FOUND = {
    "answer": "Tea is a drink.",
    "results": [
        {"title": "Tea", "url": "https://a.example/tea", "content": "Leaves"},
        {"title": "More", "url": "https://b.example", "content": ""},
    ],
}


def tool(provider: str, url: str, **secrets: str) -> Tool:
    given = services(urls={provider: url + "/search"}, **secrets)
    context: Any = SimpleNamespace(tool_services=given)
    spec = {"description": "", "provider": provider, "max_results": 3, "timeout_s": 2.0}
    [made] = open_tools("web", spec, context)
    return made


@pytest.mark.parametrize(
    ("provider", "answer", "header", "body"),
    [
        ("tavily", TAVILY, ("authorization", "Bearer k1"),
         {"query": "tea", "max_results": 3, "search_depth": "advanced", "include_answer": True}),
        ("serper", SERPER, ("x-api-key", "k1"), {"q": "tea", "num": 3}),
    ],
)  # fmt: skip
def test_both_give_the_same(
    provider: str, answer: Any, header: tuple[str, str], body: dict[str, Any]
) -> None:
    with tool_server(lambda _: Told(json.dumps(answer))) as server:
        made = tool(provider, server.url, **{provider: "k1"})
        assert made.read_only
        assert made.spec.name == "web"
        assert made.call(use({"query": "tea"})).data == FOUND
    [asked] = server.requests
    assert asked.headers[header[0]] == header[1]
    assert json.loads(asked.body) == body


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (Told('{"detail": "no key"}', status=401), PermanentToolSecret),
        (Told("busy", status=429), TransientToolUnreachable),
        (Told("<html>"), PermanentToolAnswer),
        (Told('{"answer": "x"}'), PermanentToolAnswer),
        (Told("[1]"), PermanentToolAnswer),
    ],
)
def test_what_goes_wrong_has_a_name(told: Told, error: type[Exception]) -> None:
    with tool_server(lambda _: told) as server, pytest.raises(error) as found:
        tool("tavily", server.url, tavily="k1").call(use({"query": "tea"}))
    assert "k1" not in str(found.value)


def test_a_refusal_is_told_to_the_model() -> None:
    with tool_server(lambda _: Told("query too long", status=400)) as server:
        result = tool("serper", server.url, serper="k1").call(use({"query": "tea"}))
    assert (result.is_error, result.content) == (True, "serper answered 400: query too long")


def test_without_a_key_it_says_where_to_put_one() -> None:
    with (
        tool_server(lambda _: Told("{}")) as server,
        pytest.raises(PermanentToolSecret, match="TAVILY_API_KEY"),
    ):
        tool("tavily", server.url).call(use({"query": "tea"}))
    assert not server.requests
