"""What stands under `tools:`: the part of the workflow model that says what agents may call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from joinery import limits
from joinery.workflow.durations import Seconds
from joinery.workflow.parts import Code, NodeId, Requirements, Strict

HEADER: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
"""https://www.rfc-editor.org/rfc/rfc9110.html#name-tokens"""

SECRET: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"

Header = Annotated[str, StringConstraints(pattern=HEADER, max_length=64)]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=4_096)]
SecretName = Annotated[str, StringConstraints(pattern=SECRET, max_length=64)]
Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=2_048)
]


class _ToolBase(Strict):
    """What every tool may say."""

    description: str = ""
    at_most_once: bool = False
    timeout: Seconds = limits.TOOL_TIMEOUT_S


class _Outside(_ToolBase):
    """What every tool may say that a server outside runs.

    `secret_headers` names a secret by header: its value is not part of the workflow.
    With `send_identity` the server is told whose run it is, by the run itself.
    """

    headers: dict[Header, HeaderValue] = {}
    secret_headers: dict[Header, SecretName] = {}
    send_identity: bool = False


class PythonTool(_ToolBase):
    """A tool that is a function written in Python, called as the tool is.

    `parameters` are properties of a JSON Schema; those without `default` are required.
    """

    kind: Literal["python"] = "python"
    parameters: dict[NodeId, dict[str, Any]] = {}
    read_only: bool = True
    code: Code
    requirements: Requirements = []


class OpenApiTool(_Outside):
    """The operations of an HTTP API, each a tool; all of them where none is named."""

    kind: Literal["openapi"]
    document: Code
    server: Url | None = None
    operations: Annotated[list[str], Field(max_length=100)] = []
    read_only: bool | None = None


class McpTool(_Outside):
    """The tools of an MCP server; all of them where none is named."""

    kind: Literal["mcp"]
    url: Url
    tools: Annotated[list[str], Field(max_length=100)] = []
    read_only: bool = False


class SearchTool(_ToolBase):
    """A search of the web."""

    kind: Literal["search"]
    provider: Literal["tavily", "serper"]
    max_results: Annotated[int, Field(ge=1, le=20)] = 5


class WorkflowTool(_ToolBase):
    """Another workflow, run as a run of its own; its inputs are the parameters."""

    kind: Literal["workflow"]
    workflow: str
    version: Annotated[int, Field(ge=1)] | None = None
    read_only: bool = False


TOOL_CLASSES: Final[Mapping[str, type[_ToolBase]]] = {
    "python": PythonTool,
    "openapi": OpenApiTool,
    "mcp": McpTool,
    "search": SearchTool,
    "workflow": WorkflowTool,
}

TOOL_KINDS: Final = tuple(TOOL_CLASSES)
"""Kinds that this release runs."""

PLANNED_TOOL_KINDS: Final = ("http",)
"""Kinds that the format reserves; using one is an error that says so."""


def kind_of(tool: Any) -> str | None:
    """Returns the kind of a tool as a file or the model holds it, None where it is no text."""
    kind = tool.get("kind", "python") if isinstance(tool, dict) else getattr(tool, "kind", None)
    return kind if isinstance(kind, str) else None


def _tag(tool: Any) -> str | None:
    # What is no mapping is told to be one, as of the usual kind.
    return kind_of(tool) if isinstance(tool, dict | _ToolBase) else "python"


Tool = Annotated[
    Annotated[PythonTool, Tag("python")]
    | Annotated[OpenApiTool, Tag("openapi")]
    | Annotated[McpTool, Tag("mcp")]
    | Annotated[SearchTool, Tag("search")]
    | Annotated[WorkflowTool, Tag("workflow")],
    Discriminator(_tag),
]
"""What a tool may be, told apart by `kind`."""
