"""What the SDK raises for a server that is gone, late or no MCP server, as our errors."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from joinery.errors import NodeError
from joinery.tool_errors import (
    PermanentToolAnswer,
    PermanentToolSecret,
    PermanentToolUnknown,
    TransientToolUnreachable,
)
from joinery.tools.outbound import BUSY


def known_error(
    error: BaseException, name: str, said: int | BaseException | None
) -> NodeError | None:
    """Returns our error for what the SDK raised; None for what is a bug of ours."""
    import httpx2
    import pydantic
    from mcp.client import InputRequiredRoundsExceededError
    from mcp.shared.exceptions import MCPError

    causes = [*_causes(error), *(_causes(said) if isinstance(said, BaseException) else ())]
    for cause in causes:
        if isinstance(cause, NodeError):
            return cause
    told = next((cause for cause in causes if isinstance(cause, MCPError)), None)
    if isinstance(said, int) and said >= 400:
        # Of a request that it refuses an MCP server may say why.
        refused = said == HTTPStatus.BAD_REQUEST and told is not None
        return _by_code(told, name) if refused else _by_status(said, name)
    for cause in causes:
        if isinstance(cause, TimeoutError):
            return TransientToolUnreachable(f"the MCP server '{name}' does not answer", server=name)
        if isinstance(cause, httpx2.TransportError | ConnectionError):
            return TransientToolUnreachable(
                f"the MCP server '{name}' was not reached: {cause}", server=name
            )
        if isinstance(cause, pydantic.ValidationError):
            return PermanentToolAnswer(
                f"the MCP server '{name}' answered what is no MCP", server=name
            )
        if isinstance(cause, InputRequiredRoundsExceededError):
            return PermanentToolAnswer(
                f"the MCP server '{name}' asks again and again for what an agent cannot give",
                server=name,
            )
    return None if told is None else _by_code(told, name)


def _by_status(status: int, name: str) -> NodeError:
    if status in {401, 403}:
        return PermanentToolSecret(
            f"the MCP server '{name}' answered {status}: see its `secret_headers`",
            server=name,
            status=status,
        )
    kind = TransientToolUnreachable if status in BUSY or status >= 500 else PermanentToolAnswer
    return kind(f"the MCP server '{name}' answered {status}", server=name, status=status)


def _by_code(error: Any, name: str) -> NodeError:
    from mcp.types import CONNECTION_CLOSED, INVALID_PARAMS, METHOD_NOT_FOUND

    said = f"the MCP server '{name}' says: {error.message}"
    if error.code in {METHOD_NOT_FOUND, INVALID_PARAMS}:
        return PermanentToolUnknown(said, server=name)
    if error.code == CONNECTION_CLOSED:
        return TransientToolUnreachable(said, server=name)
    return PermanentToolAnswer(said, server=name)


def _causes(error: BaseException | None) -> Sequence[BaseException]:
    """Returns an error, what it groups, and what it came from."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or each in found:
            continue
        found.append(each)
        # ExceptionGroup is built in from 3.11 on.
        waiting += [*getattr(each, "exceptions", ()), each.__cause__, each.__context__]
    return found
