"""Search of the web, by Tavily or Serper.

Both are read into the same results, so a workflow may change from one to the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from joinery.llm.types import ToolSpec
from joinery.tool_errors import PermanentToolAnswer, PermanentToolSecret
from joinery.tools.base import Tool, ToolResult, ToolUse
from joinery.tools.outbound import Answer, send
from joinery.tools.services import ToolServices

if TYPE_CHECKING:
    from joinery.nodes.base import NodeContext

DESCRIPTION: Final = "Searches the web; returns titles, addresses and extracts."

PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 1, "maxLength": 400, "description": "What to find"}
    },
    "required": ["query"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class _Service:
    """One search service.

    Attributes:
        url: Where it is.
        header: The header of its key.
        prefix: What stands before the key.
        body: Makes a request of a query and how many results are wanted.
        read: Takes the answer and the direct one apart: `(results, answer)`.
    """

    url: str
    header: str
    prefix: str
    body: Callable[[str, int], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], tuple[list[dict[str, str]], str]]


def _tavily_body(query: str, results: int) -> dict[str, Any]:
    return {
        "query": query,
        "max_results": results,
        "search_depth": "advanced",
        "include_answer": True,
    }


def _tavily(data: Mapping[str, Any]) -> tuple[list[dict[str, str]], str]:
    return _results(data.get("results"), "url", "content"), _text(data.get("answer"))


def _serper_body(query: str, results: int) -> dict[str, Any]:
    return {"q": query, "num": results}


def _serper(data: Mapping[str, Any]) -> tuple[list[dict[str, str]], str]:
    box = data.get("answerBox")
    box = box if isinstance(box, dict) else {}
    answer = _text(box.get("answer")) or _text(box.get("snippet"))
    return _results(data.get("organic"), "link", "snippet"), answer


SERVICES: Final[Mapping[str, _Service]] = {
    # https://docs.tavily.com/documentation/api-reference/endpoint/search
    "tavily": _Service(
        "https://api.tavily.com/search", "Authorization", "Bearer ", _tavily_body, _tavily
    ),
    # https://serper.dev/playground
    "serper": _Service("https://google.serper.dev/search", "X-API-KEY", "", _serper_body, _serper),
}


@dataclass(frozen=True, slots=True)
class SearchTool:
    """A search service; implements `Tool`."""

    spec: ToolSpec
    provider: str
    results: int
    read_only: bool
    at_most_once: bool
    timeout_s: float
    services: ToolServices

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`; gives `{answer?, results: [{title, url, content}]}`."""
        service = SERVICES[self.provider]
        url = self.services.search_urls.get(self.provider, service.url)
        host = service.url.split("/")[2]
        key = self.services.secret_for(self.provider, host)
        answer = send(
            "POST",
            url,
            use,
            self.timeout_s,
            private=self.services.private_addresses,
            headers={service.header: service.prefix + key},
            json=service.body(str(use.arguments["query"]), self.results),
        )
        return self._result(answer, service)

    def _result(self, answer: Answer, service: _Service) -> ToolResult:
        if answer.status in {401, 403}:
            raise PermanentToolSecret(
                f"'{self.provider}' refused the key: {self.services.secrets.hint(self.provider)}",
                secret=self.provider,
                status=answer.status,
            )
        if answer.status >= 400:
            said = answer.text[:500]
            return ToolResult(f"{self.provider} answered {answer.status}: {said}", is_error=True)
        try:
            data = json.loads(answer.body)
            results, direct = service.read(data)
        except (ValueError, AttributeError, RecursionError) as error:
            raise PermanentToolAnswer(
                f"'{self.provider}' answered what is not its format", provider=self.provider
            ) from error
        shown: dict[str, Any] = {"answer": direct} if direct else {}
        return ToolResult(data={**shown, "results": results[: self.results]})


def _results(rows: Any, url: str, content: str) -> list[dict[str, str]]:
    if not isinstance(rows, list):
        raise ValueError("no list of results")
    return [
        {"title": _text(row.get("title")), "url": _text(row.get(url)),
         "content": _text(row.get(content))}
        for row in rows if isinstance(row, dict)
    ]  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def open_tools(name: str, spec: Mapping[str, Any], context: NodeContext) -> Sequence[Tool]:
    """See `joinery.tools.base.Opener`."""
    return [
        SearchTool(
            ToolSpec(name, spec.get("description") or DESCRIPTION, PARAMETERS),
            spec["provider"],
            spec["max_results"],
            read_only=True,
            at_most_once=False,
            timeout_s=spec["timeout_s"],
            services=context.tool_services,
        )
    ]
