"""The workflow model: the one truth that every file format is an adapter to.

This module uses pydantic and is imported where workflow files are read (the
command line, the HTTP API), never where nodes run: those read the compiled plan.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from joinery import limits
from joinery.workflow.durations import Seconds
from joinery.workflow.model_refs import Model, ModelAlias, ModelRef, ModelTarget
from joinery.workflow.money import Breaker, Budget
from joinery.workflow.parts import (
    NODE_ID,
    Code,
    CodeFile,
    NodeId,
    PortName,
    Probability,
    Requirements,
    Strict,
)
from joinery.workflow.tool_model import (
    PLANNED_TOOL_KINDS,
    TOOL_KINDS,
    McpTool,
    OpenApiTool,
    PythonTool,
    SearchTool,
    Tool,
)

__all__ = [
    "NODE_ID", "PLANNED_TOOL_KINDS", "TOOL_KINDS", "CodeFile", "McpTool", "Model", "ModelAlias",
    "ModelRef", "ModelTarget", "OpenApiTool", "PythonTool", "SearchTool", "Tool",
]  # fmt: skip

RESERVED_IDS = frozenset({"start", "end"})


class InputSpec(Strict):
    """One input that a run takes."""

    type: Literal["string", "integer", "number", "boolean", "object", "array"] = "string"
    description: str = ""
    required: bool = False
    default: Any = None

    def declared(self) -> dict[str, Any]:
        """Returns it as plans hold it: `{type, required, default, description?}`."""
        return self.model_dump(exclude=set() if self.description else {"description"})


class Agent(Strict):
    """Who speaks: a persona (the system message, word for word), a model, and tools."""

    persona: str = ""
    description: str = ""
    model: Model = ModelRef()
    tools: Annotated[list[str], Field(max_length=limits.AGENT_TOOLS_MAX)] = []
    max_rounds: Annotated[int, Field(ge=2, le=limits.AGENT_ROUNDS_MAX)] = limits.AGENT_ROUNDS
    max_calls: Annotated[int, Field(ge=1, le=limits.AGENT_CALLS_MAX)] = limits.AGENT_CALLS


class Retry(Strict):
    """How often a node is tried; `attempts` counts the first."""

    attempts: Annotated[int, Field(ge=1, le=limits.ATTEMPTS_MAX)] = 3
    backoff: Seconds = 1.0
    errors: list[str] | None = None


class Defaults(Strict):
    """What nodes use when they say nothing themselves."""

    model: Model = ModelRef()
    retry: Retry = Retry()
    timeout: Seconds = 300.0
    fit: Literal["fail", "cut"] = "fail"


class AtLeast(Strict):
    """A join that fires when `at_least` parents have finished."""

    at_least: Annotated[int, Field(ge=1)]


class DefaultOutput(Strict):
    """What a failed node puts out instead of its result."""

    default: Any


class PromptFile(Strict):
    """A prompt in a file beside the workflow file."""

    file: str


Prompt = str | PromptFile


class _NodeBase(Strict):
    """What every node may say."""

    name: Annotated[str, Field(max_length=limits.NODE_NAME_CHARS)] = ""
    description: str = ""
    join: Literal["all", "any"] | AtLeast = "all"
    on_error: Literal["fail", "continue", "route"] | DefaultOutput = "fail"
    retry: Retry | None = None
    timeout: Seconds | None = None
    probabilities: dict[PortName, Probability] = {}


class AgentNode(_NodeBase):
    """A persona answers a prompt."""

    type: Literal["agent"]
    agent: str
    prompt: Prompt
    images: list[str] = []
    files: list[str] = []
    output: dict[str, dict[str, Any]] | None = None
    model: Model = ModelRef()
    fit: Literal["fail", "cut"] | None = None


class LlmNode(_NodeBase):
    """A model answers a prompt, without a persona."""

    type: Literal["llm"]
    prompt: Prompt
    system: str = ""
    images: list[str] = []
    files: list[str] = []
    output: dict[str, dict[str, Any]] | None = None
    model: Model = ModelRef()
    fit: Literal["fail", "cut"] | None = None


class CodeNode(_NodeBase):
    """Calls a function written in Python; what it returns is `output`."""

    type: Literal["code"]
    code: Code
    function: NodeId = "main"
    inputs: dict[NodeId, Any] = {}
    requirements: Requirements = []


class ToolNode(_NodeBase):
    """Calls a tool; what it returns is `output`."""

    type: Literal["tool"]
    tool: str
    arguments: dict[NodeId, Any] = {}


class TemplateNode(_NodeBase):
    """Text with values put in; calls no model."""

    type: Literal["template"]
    template: str


class TransformNode(_NodeBase):
    """A value computed by an expression, put out as `output`."""

    type: Literal["transform"]
    value: Any


class ConditionNode(_NodeBase):
    """Takes the port `true` or `false`."""

    type: Literal["condition"]
    if_: Annotated[str, Field(alias="if")]


class Range(Strict):
    """Matches a number: `min` included, `max` not."""

    min: Annotated[float, Field(strict=False)] | None = None
    max: Annotated[float, Field(strict=False)] | None = None


CaseValue = str | int | float | bool | None


class SwitchNode(_NodeBase):
    """Takes the first port whose case holds, else `default`.

    With `value`, a case is a literal, a list of literals or a range that the
    value is compared with. Without it, a case is a condition.
    """

    type: Literal["switch"]
    value: str | None = None
    cases: Annotated[dict[PortName, CaseValue | list[CaseValue] | Range], Field(min_length=1)]


class LoopNode(_NodeBase):
    """Ends a round: takes `done` when `until` holds or the rounds are used up, else `repeat`."""

    type: Literal["loop"]
    until: str | None = None
    max_rounds: Annotated[int, Field(ge=1, le=limits.LOOP_ROUNDS_MAX)]
    expected_rounds: Annotated[float, Field(ge=1, strict=False)] | None = None


class IterateNode(_NodeBase):
    """Runs what its port `item` leads to once for each item of a list, then takes `done`."""

    type: Literal["iterate"]
    items: str | list[Any]
    concurrency: Annotated[int, Field(ge=1, le=limits.ITERATE_CONCURRENCY_MAX)] = 10
    max_items: Annotated[int, Field(ge=1, le=limits.ITERATE_ITEMS_MAX)] = 100
    expected_items: Annotated[int, Field(ge=0)] | None = None
    on_item_error: Literal["fail", "continue"] = "fail"


class WorkflowNode(_NodeBase):
    """Runs another workflow as a run of its own, and waits for it."""

    type: Literal["workflow"]
    workflow: str
    version: Annotated[int, Field(ge=1)] | None = None
    inputs: dict[NodeId, Any] = {}


class QuestionNode(_NodeBase):
    """Asks the user, and waits for the answer, which is its `output`.

    The answer is one of `options`, or matches `schema`, or is text.
    """

    type: Literal["question"]
    prompt: Prompt
    options: list[str] | dict[str, str] | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    default: Any = None

    @property
    def has_default(self) -> bool:
        """Whether there is an answer when nobody answers in time; it may be null."""
        return "default" in self.model_fields_set


Node = Annotated[
    AgentNode
    | LlmNode
    | CodeNode
    | ToolNode
    | TemplateNode
    | TransformNode
    | ConditionNode
    | SwitchNode
    | LoopNode
    | IterateNode
    | WorkflowNode
    | QuestionNode,
    Field(discriminator="type"),
]

NODE_TYPES = (
    "agent", "code", "condition", "iterate", "llm", "loop", "question", "switch", "template",
    "tool", "transform", "workflow",
)  # fmt: skip
"""Types that this release runs."""

PLANNED_NODE_TYPES = (
    "callback", "extract", "fact_check", "http", "knowledge", "lambda", "memory_read",
    "memory_write", "message", "review", "summarize_history", "table", "team", "vote", "wait",
)  # fmt: skip
"""Types that the format reserves; using one is an error that says so."""


WAITING_NODE_TYPES = frozenset({"question", "workflow"})
"""Types whose nodes wait for somebody, at no cost."""


class Edge(Strict):
    """One way from a node's port to another node; `when` may forbid it."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    port: PortName | None = None
    when: str | None = None


class Workflow(Strict):
    """A graph of nodes with the inputs it takes and the outputs it gives."""

    version: Literal[1]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
    description: str = ""
    inputs: dict[NodeId, InputSpec] = {}
    models: dict[NodeId, ModelAlias] = {}
    defaults: Defaults = Defaults()
    agents: dict[NodeId, Agent] = {}
    tools: dict[NodeId, Tool] = {}
    nodes: Annotated[dict[NodeId, Node], Field(min_length=1)]
    edges: Annotated[list[Edge | str], Field(min_length=1)]
    outputs: dict[NodeId, Any] = {}
    run_on: Literal["standard", "inline", "auto"] = "standard"
    budget: Budget | None = None
    breaker: Breaker | Literal["off"] = Breaker()

    def expanded_edges(self) -> list[Edge]:
        """Returns every edge on its own, in the order of the file.

        Raises:
            ValueError: A text edge does not read `a[.port][, b] -> c[, d]`.
        """
        found: list[Edge] = []
        for edge in self.edges:
            found.extend([edge] if isinstance(edge, Edge) else parse_edge(edge))
        return found


_END = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))?$")


def parse_edge(text: str) -> list[Edge]:
    """Returns the edges that `a.port, b -> c, d` stands for; `a -> b -> c` is a chain.

    Raises:
        ValueError: The text has another form.
    """
    groups = [[end.strip() for end in side.split(",")] for side in text.split("->")]
    if len(groups) < 2:
        raise ValueError("an edge is written 'a -> b', 'a.port -> b' or 'a, b -> c, d'")
    edges: list[Edge] = []
    for index in range(len(groups) - 1):
        for source in groups[index]:
            for target in groups[index + 1]:
                start, stop = _END.match(source), _END.match(target)
                if not start or not stop:
                    bad = source if not start else target
                    raise ValueError(f"'{bad}' is not a node or node.port")
                if stop.group(2) and index + 2 == len(groups):
                    raise ValueError(f"'{target}': an edge enters a node, not a port")
                edges.append(
                    Edge.model_construct(
                        from_=start.group(1), to=stop.group(1), port=start.group(2), when=None
                    )
                )
    return edges


def ports_of(node: Any, leaves_by: Collection[str] = ()) -> tuple[str, ...]:
    """Returns the ports of a node; `""` is the one port of a node that decides nothing.

    Args:
        node: The node.
        leaves_by: The ports that edges leave it by: the options of a question are ports
            where an edge uses one of them.
    """
    base: tuple[str, ...]
    match node:
        case ConditionNode():
            base = ("true", "false")
        case SwitchNode():
            base = (*node.cases, "default")
        case LoopNode():
            base = ("repeat", "done")
        case IterateNode():
            base = ("item", "done")
        case QuestionNode() if node.options and set(leaves_by) - {"", "error"}:
            base = tuple(node.options)
        case _:
            base = ("",)
    return (*base, "error") if node.on_error == "route" else base
