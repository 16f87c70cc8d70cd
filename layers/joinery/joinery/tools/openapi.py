"""Operations of an HTTP API that an OpenAPI document describes.

The document is read when the workflow is published (`joinery.workflow.openapi`); the
plan holds what a call needs, so what a model may do does not change under a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

from joinery.llm.types import ToolSpec
from joinery.tool_errors import PermanentToolAnswer
from joinery.tools.base import Tool, ToolResult, ToolUse
from joinery.tools.hiding import hide_in_body, parts_of
from joinery.tools.outbound import Answer, send
from joinery.tools.services import ToolServices

if TYPE_CHECKING:
    from joinery.nodes.base import NodeContext

KEY_HEADER: Final = "Idempotency-Key"
"""https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/"""

JSON_BYTES: Final = 8 * 1024 * 1024
"""A longer answer is taken as text: as data it would take up to 20 times its size in memory."""

BODY: Final = "body"
"""The argument that is the body, where the body is no object of its own."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; implements `Tool`.

    Attributes:
        method: The method.
        url: Server and path, `{name}` for parameters.
        parameters: `{argument: {name, in}}`; `in` is `path`, `query` or `header`.
        body: `{media, whole, names}`: the media type, whether `body` is all of it, and
            else the arguments that are its fields; None without.
        headers: Fixed headers.
        secret_headers: Names of secrets by header.
        identity: Whether the server is told for whom the run is.
    """

    spec: ToolSpec
    method: str
    url: str
    parameters: Mapping[str, Mapping[str, str]]
    body: Mapping[str, Any] | None
    headers: Mapping[str, str]
    secret_headers: Mapping[str, str]
    identity: bool
    read_only: bool
    at_most_once: bool
    timeout_s: float
    services: ToolServices

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`: JSON comes back as data, other text as text.

        A status of 400 and above is an error that the model is told; one that says
        "later" is tried again by the caller.
        """
        placed: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
        for argument, place in self.parameters.items():
            if argument in use.arguments:
                placed[place["in"]][place["name"]] = use.arguments[argument]
        url = self._url(placed["path"])
        headers = {name: _plain(value) for name, value in placed["header"].items()}
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                return ToolResult(
                    f"'{name}' has characters that no header can carry", is_error=True
                )
        headers |= {**self.headers, KEY_HEADER: use.key, "Accept": "application/json, text/*;q=0.8"}
        if self.identity:
            headers |= identity_of(use)
        secrets = self.services.headers_for(self.secret_headers, httpx.URL(url).host)
        headers |= secrets
        answer = send(
            self.method,
            url,
            use,
            self.timeout_s,
            private=self.services.private_addresses,
            params=_query(placed["query"]),
            headers=headers,
            **self._body(use.arguments),
        )
        body = hide_in_body(answer.body, parts_of(secrets.values()))
        return _result(replace(answer, body=body))

    def _url(self, values: Mapping[str, Any]) -> str:
        def put(found: re.Match[str]) -> str:
            # A value never leaves its segment: `/`, `?` and `..` are escaped.
            text = quote(_plain(values.get(found[1], "")), safe="")
            return text if text.strip(".") else text.replace(".", "%2E")

        return re.sub(r"\{([^{}]+)\}", put, self.url)

    def _body(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self.body is None:
            return {}
        if self.body["whole"]:
            content = arguments.get(BODY)
        else:
            content = {n: arguments[n] for n in self.body["names"] if n in arguments}
        if content is None:
            return {}
        if self.body["media"] == "application/x-www-form-urlencoded":
            return {"data": _query(content)}
        return {"json": content, "media": self.body["media"]}


def identity_of(use: ToolUse) -> dict[str, str]:
    """Returns the headers that tell a server for whom a run is, from the run itself."""
    found = {"Joinery-Run": use.run_id, "Joinery-Owner": quote(use.owner, safe="@:+ ")}
    return {**found, "Joinery-Session": use.session_id} if use.session_id else found


def _result(answer: Answer) -> ToolResult:
    failed = answer.status >= 400
    if 300 <= answer.status < 400:
        return ToolResult(f"HTTP {answer.status}: redirects are not followed", is_error=True)
    if not answer.body:
        return ToolResult(f"HTTP {answer.status}, without content", is_error=failed)
    if answer.is_json and len(answer.body) <= JSON_BYTES:
        try:
            data = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise PermanentToolAnswer(
                f"the answer says that it is JSON, and is not: {error}", status=answer.status
            ) from error
        return ToolResult(data={"status": answer.status, "body": data} if failed else data,
                          is_error=failed)  # fmt: skip
    if answer.is_json or answer.media.startswith("text/") or answer.media in _TEXTS:
        return ToolResult(f"HTTP {answer.status}: {answer.text}" if failed else answer.text,
                          is_error=failed)  # fmt: skip
    return ToolResult(
        f"HTTP {answer.status}: {len(answer.body):,} bytes of {answer.media}, which is no text",
        is_error=failed,
    )


_TEXTS: Final = frozenset({"", "application/xml"})


def _query(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values as OpenAPI's `form` style writes them: a list repeats its name."""
    return {
        name: [_plain(v) for v in value] if isinstance(value, list) else _plain(value)
        for name, value in values.items()
        if value is not None
    }


def _plain(value: Any) -> str:
    """Returns a value as OpenAPI's `simple` style writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(map(_plain, value))
    return json.dumps(value, ensure_ascii=False)


def open_tools(name: str, spec: Mapping[str, Any], context: NodeContext) -> Sequence[Tool]:
    """See `joinery.tools.base.Opener`: a tool for each operation."""
    return [
        Operation(
            ToolSpec(row["name"], row["description"], row["schema"]),
            row["method"],
            row["url"],
            row["parameters"],
            row["body"],
            spec["headers"],
            spec["secret_headers"],
            spec["send_identity"],
            read_only=row["read_only"],
            at_most_once=spec["at_most_once"],
            timeout_s=spec["timeout_s"],
            services=context.tool_services,
        )
        for row in spec["operations"]
    ]
