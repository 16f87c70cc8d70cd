"""An MCP server of the official SDK, as a program: `mcp_shop.py PORT FILE_OF_EFFECTS`.

The SDK reads annotations where they stand, so they are not put off here.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent
from pydantic import Field

server = MCPServer("shop", log_level="ERROR")


def note(line: str) -> None:
    with Path(sys.argv[2]).open("a") as file:
        file.write(line + "\n")


@server.tool()
def price(item: Literal["tea", "cake"], count: Annotated[int, Field(ge=1)] = 1) -> dict[str, Any]:
    """Says what items cost, in cents."""
    note(f"price {item}")
    return {"item": item, "cents": {"tea": 250, "cake": 480}[item] * count}


@server.tool()
async def order(item: str, context: Context[Any, Any]) -> str:
    """Orders an item."""
    meta = context.request_context.meta or {}
    note(f"order {item} {meta.get('joinery/idempotency-key')} {meta.get('joinery/owner')}")
    return f"ordered: {item}"


@server.tool()
async def slow(seconds: float) -> str:
    """Takes its time."""
    await asyncio.sleep(seconds)
    return "at last"


@server.tool()
def refuse() -> CallToolResult:
    """Never works."""
    return CallToolResult(content=[TextContent(type="text", text="sold out")], is_error=True)


@server.tool(structured_output=False)
def picture() -> Image:
    """Shows tea."""
    return Image(data=b"\x89PNG....", format="png")


@server.tool()
def leave() -> str:
    """Ends the server."""
    os._exit(3)


@server.tool()
async def who(context: Context[Any, Any]) -> str:
    """Says what it was told by headers."""
    request = context.request_context.request
    told = str(request.headers.get("authorization")) if request else ""
    note(f"who {told}")
    return told


@server.tool()
async def complain(context: Context[Any, Any]) -> str:
    """Fails, and says what it was told by headers."""
    request = context.request_context.request
    raise MCPError(
        code=-32050, message=str(request.headers.get("authorization") if request else "")
    )


@server.tool(structured_output=False)
def big(megabytes: int) -> str:
    """Says much."""
    return "x" * (megabytes * 1_000_000)


if __name__ == "__main__":
    uvicorn.run(server.streamable_http_app(), port=int(sys.argv[1]), log_level="error")
