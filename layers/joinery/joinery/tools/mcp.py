"""Tools of an MCP server, over streamable HTTP, by the official SDK.

The SDK is asynchronous and takes most of a second to import: it is imported with the
first server of a process, and its loop runs in a thread of its own.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from joinery.errors import NodeError
from joinery.llm.types import ToolSpec
from joinery.tool_errors import (
    PermanentToolAnswer,
    PermanentToolUnknown,
    TransientToolTimeout,
)
from joinery.tools.addresses import pinned
from joinery.tools.base import Tool, ToolResult, ToolUse
from joinery.tools.hiding import hide, parts_of, without_secrets
from joinery.tools.mcp_errors import known_error
from joinery.tools.outbound import CONNECT_S

if TYPE_CHECKING:
    import httpx2
    from mcp.client import Client
    from mcp.types import CallToolResult
    from mcp.types import Tool as ServerTool

    from joinery.nodes.base import NodeContext
    from joinery.tools.services import ToolServices

log = logging.getLogger(__name__)

TOOLS_MAX: Final = 200
"""Most tools of one server: models choose badly among more, and a listing must end."""

OPEN_S: Final = 15.0
"""Longest time to connect and to list the tools, in seconds."""

ANSWER_BYTES: Final = 24 * 1024 * 1024
"""Longest answer that is read: the SDK holds it several times, and as data."""

CLOSE_S: Final = 5.0
"""Longest time to say goodbye to a server, in seconds."""

_LOOK_S: Final = 0.2
_KEY_META: Final = "joinery/idempotency-key"
_OWNER_META: Final = "joinery/owner"
_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(slots=True)
class Server:
    """A connection to a server, opened when it is first needed and again when it broke.

    Attributes:
        name: Its name in the workflow.
        url: Where it is.
        headers: Fixed headers.
        secret_headers: Names of secrets by header.
        services: Secrets and the way out.
        secrets: What must not come back of the secrets that went out.
    """

    name: str
    url: str
    headers: Mapping[str, str]
    secret_headers: Mapping[str, str]
    services: ToolServices
    secrets: tuple[str, ...] = ()
    _open: ExitStack | None = None
    _portal: Any = None
    _client: Client | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # What HTTP said last: the SDK tells only that something went wrong.
    _said: list[int | BaseException] = field(default_factory=list)

    def tools(self, use_until: float) -> list[ServerTool]:
        """Returns what the server offers, in its order.

        Raises:
            NodeError: It is not there, or answers what is no MCP.
        """
        until = min(use_until, time.monotonic() + OPEN_S)
        found: list[ServerTool] = []
        cursor: str | None = None
        while len(found) <= TOOLS_MAX:
            page = self._run("list_tools", until, lambda: False, cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                return found
        raise PermanentToolAnswer(
            f"the MCP server '{self.name}' has more than {TOOLS_MAX} tools: name those that "
            "are meant in its `tools`",
            server=self.name,
        )

    def call(self, tool: str, use: ToolUse, timeout_s: float, *, identity: bool) -> CallToolResult:
        """Calls a tool.

        Raises:
            NodeError: The server is gone, late, or answers what is no MCP.
        """
        meta: dict[str, Any] = {_KEY_META: use.key}
        if identity:
            meta[_OWNER_META] = use.owner
        until = min(use.deadline, time.monotonic() + timeout_s)
        result: CallToolResult = self._run(
            "call_tool", until, use.cancelled,
            name=tool, arguments=dict(use.arguments), meta=meta,
        )  # fmt: skip
        return result

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._drop()

    # -- inside --------------------------------------------------------------------------

    def _run(self, method: str, until: float, cancelled: Any, **arguments: Any) -> Any:
        self._said.clear()
        try:
            client, portal = self._connected(until)
            future = portal.start_task_soon(lambda: getattr(client, method)(**arguments))
            return _awaited(future, until, cancelled, self.name)
        except Exception as error:
            known = known_error(error, self.name, self._said[-1] if self._said else None)
            if known is None or not isinstance(known, PermanentToolUnknown | TransientToolTimeout):
                with self._lock:
                    self._drop()
            if known is None:
                raise
            if known is error:
                raise
            raise known from error

    def _connected(self, until: float) -> tuple[Client, Any]:
        with self._lock:
            if self._client is None:
                from anyio.from_thread import start_blocking_portal

                until = min(until, time.monotonic() + OPEN_S)
                with ExitStack() as stack:
                    self._portal = stack.enter_context(start_blocking_portal())
                    ready: Future[Client] = Future()
                    session = self._portal.start_task_soon(self._session, ready)
                    stack.callback(_ended, session)
                    self._client = _awaited(ready, until, session.done, self.name)
                    self._open = stack.pop_all()
            return self._client, self._portal

    async def _session(self, ready: Future[Client]) -> None:
        """Holds the connection open until it is cancelled.

        One task opens and closes it, as the SDK's scopes need it.
        """
        import anyio
        import httpx2
        from mcp.client import Client
        from mcp.client.streamable_http import streamable_http_client

        try:
            host = httpx2.URL(self.url).host
            secrets = self.services.headers_for(self.secret_headers, host)
            self.secrets = parts_of(secrets.values())
            transport = _pinning(self._said.append, private=self.services.private_addresses)
            timeout = httpx2.Timeout(None, connect=CONNECT_S)
            async with (
                httpx2.AsyncClient(
                    transport=transport,
                    headers={**self.headers, "Accept-Encoding": "identity", **secrets},
                    timeout=timeout,
                ) as http,
                Client(streamable_http_client(self.url, http_client=http), cache=None) as client,
            ):
                ready.set_result(client)
                await anyio.sleep_forever()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def _drop(self) -> None:
        stack, self._open, self._client, self._portal = self._open, None, None, None
        if stack is not None:
            stack.close()


def _ended(session: Future[None]) -> None:
    """Ends the task that holds a connection, and waits for it."""
    session.cancel()
    with suppress(BaseException):
        session.result(CLOSE_S)


def _pinning(
    note: Callable[[int | BaseException], None], *, private: bool
) -> httpx2.AsyncBaseTransport:
    """Returns a transport that connects to the address that was checked, and to no other.

    Args:
        note: Takes each status, and what was raised.
        private: Whether private addresses are allowed.
    """
    import anyio.to_thread
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        """An answer of the length that is read; what is too long is noted and raised."""

        def __init__(self, inner: httpx2.AsyncByteStream, host: str) -> None:
            self._inner, self._host = inner, host

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in self._inner:
                size += len(piece)
                if size > ANSWER_BYTES:
                    error = _too_long(self._host)
                    note(error)
                    raise error
                yield piece

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Pinning(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            host, port = request.url.host, request.url.port
            port = port or (443 if request.url.scheme == "https" else 80)
            try:
                address = await anyio.to_thread.run_sync(
                    lambda: pinned(host, port, private=private)
                )
                request.url = request.url.copy_with(host=address)
                request.extensions = {**request.extensions, "sni_hostname": host}
                response = await super().handle_async_request(request)
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise _packed(host)
                if request.method == "POST" and isinstance(response.stream, httpx2.AsyncByteStream):
                    response.stream = Bounded(response.stream, host)
            except Exception as error:
                note(error)
                raise
            note(response.status_code)
            return response

    return Pinning()


def _too_long(host: str) -> PermanentToolAnswer:
    return PermanentToolAnswer(
        f"'{host}' answered with more than {ANSWER_BYTES:,} bytes", host=host, limit=ANSWER_BYTES
    )


def _packed(host: str) -> PermanentToolAnswer:
    # Nobody knows how long it is before it is unpacked.
    return PermanentToolAnswer(f"'{host}' packs its answers, though it was not asked to", host=host)


def _awaited(future: Future[Any], until: float, cancelled: Any, name: str) -> Any:
    while True:
        left = until - time.monotonic()
        if not future.done() and (left <= 0 or cancelled()):
            future.cancel()
            raise TransientToolTimeout(f"the MCP server '{name}' did not answer in time")
        try:
            return future.result(max(0.0, min(left, _LOOK_S)))
        except FutureTimeout:
            if future.done():
                raise


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of a server; implements `Tool`.

    Attributes:
        remote: Its name there.
        server: The connection, shared by the tools of the server.
        identity: Whether the server is told for whom the run is.
    """

    spec: ToolSpec
    remote: str
    server: Server
    identity: bool
    read_only: bool
    at_most_once: bool
    timeout_s: float

    def call(self, use: ToolUse) -> ToolResult:
        """See `Tool.call`."""
        try:
            answer = self.server.call(self.remote, use, self.timeout_s, identity=self.identity)
        except NodeError as error:  # it may say what the server says
            raise without_secrets(error, self.server.secrets) from error
        result, secrets = _result(answer), self.server.secrets
        return replace(
            result, content=hide(result.content, secrets), data=hide(result.data, secrets)
        )

    def close(self) -> None:
        """Ends the connection; the first tool that is closed ends it for all."""
        self.server.close()


def _result(answer: CallToolResult) -> ToolResult:
    """Returns what a model can read of an answer."""
    if answer.structured_content is not None and not answer.is_error:
        return ToolResult(data=answer.structured_content)
    return ToolResult("\n".join(map(_told, answer.content)), is_error=answer.is_error)


def _told(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource_link":
            return f"[{block.name}: {block.uri}]"
        case "resource":
            text = getattr(block.resource, "text", None)
            return str(text) if text is not None else f"[data of {block.resource.uri}]"
        case kind:
            size = len(getattr(block, "data", "")) * 3 // 4
            return f"[{kind} {getattr(block, 'mime_type', '')}, {size:,} bytes, not shown]"


def open_tools(name: str, spec: Mapping[str, Any], context: NodeContext) -> Sequence[Tool]:
    """See `joinery.tools.base.Opener`: a tool for each that the server offers and the entry wants.

    Raises:
        PermanentToolUnknown: The server lacks one that the entry names, or one of them
            has a schema that is none.
    """
    server = Server(
        name, spec["url"], spec["headers"], spec["secret_headers"], context.tool_services
    )
    try:
        offered = {tool.name: tool for tool in server.tools(context.deadline)}
        wanted: Sequence[str] = spec["tools"] or list(offered)
        for remote in wanted:
            if remote not in offered:
                raise PermanentToolUnknown(
                    f"the MCP server '{name}' has no tool '{remote}'; it has "
                    f"{', '.join(sorted(offered)) or 'none'}",
                    server=name,
                    tool=remote,
                )
        return [
            McpTool(
                _spec(name, offered[remote]),
                remote,
                server,
                spec["send_identity"],
                read_only=spec["read_only"],
                at_most_once=spec["at_most_once"],
                timeout_s=spec["timeout_s"],
            )
            for remote in wanted
        ]
    except BaseException:
        server.close()
        raise


def _spec(name: str, tool: ServerTool) -> ToolSpec:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    schema = dict(tool.input_schema)
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        raise PermanentToolUnknown(
            f"the MCP server '{name}': the parameters of '{tool.name}' are no JSON Schema; leave "
            "it out by naming the others in `tools`",
            server=name,
            tool=tool.name,
        ) from error
    shown = _NAME.sub("_", f"{name}_{tool.name}")[:64]
    return ToolSpec(shown, tool.description or tool.name, schema)
