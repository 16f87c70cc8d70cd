"""Builds workflows in Python: the same model that a file gives, from typed code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from joinery.workflow.builder_draft import Draft
from joinery.workflow.builder_functions import (
    P,
    PythonFunction,
    R,
    code_function,
    tool_function,
)
from joinery.workflow.builder_handles import (
    AgentHandle,
    Endpoint,
    ErrorHandle,
    ItemHandle,
    Port,
)
from joinery.workflow.builder_nodes import Nodes, Text
from joinery.workflow.builder_options import (
    BreakerOptions,
    DefaultOptions,
    Duration,
    ModelOptions,
    NodeOptions,
    model_data,
    node_data,
    tool_data,
    type_name,
)
from joinery.workflow.builder_values import Expression, ValueHandle
from joinery.workflow.graph import END, START
from joinery.workflow.paths import PATH
from joinery.workflow.report import Report
from joinery.workflow.syntax import ExpressionSyntax, split
from joinery.workflow.yaml_tree import escape_pointer

if TYPE_CHECKING:
    from joinery.workflow.model import Workflow

Step = Endpoint | Port | ErrorHandle | ItemHandle
"""What an edge joins: a node, a port of one, `start` or `end`."""


class WorkflowBuilder:
    """A workflow in the making.

    Nothing is checked before the end: `build` reports everything that is wrong at once.

    Args:
        name: Small letters, digits, `-` and `_`.
        description: For people.
        run_on: `standard`, `inline` or `auto`: where it runs; `standard` when left out.

    Attributes:
        node: Adds nodes: `flow.node.agent(...)`, `flow.node.loop(...)`.
        start: Where every run begins.
        end: Where every run ends.
        loop: `loop.round`, and `loop.previous.x`: the results of the round before.
        item: `item`, the current item of the iterate node right around.
        run: `run.id`.
        session: `session.id`.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        run_on: Literal["standard", "inline", "auto"] | None = None,
    ) -> None:
        self._draft = Draft(name, description)
        if run_on is not None:
            self._draft.data["run_on"] = self._draft.plain(run_on, "/run_on")
        owner = self._draft.owner
        self.node = Nodes(self._draft)
        self.start = Endpoint(owner, START)
        self.end = Endpoint(owner, END)
        self.loop = ValueHandle(owner, ("loop",))
        self.item = ValueHandle(owner, ("item",))
        self.run = ValueHandle(owner, ("run",))
        self.session = ValueHandle(owner, ("session",))

    def input(
        self,
        name: str,
        kind: type | str = str,
        *,
        required: bool = False,
        default: Any = None,
        description: str = "",
    ) -> ValueHandle:
        """Declares an input.

        Args:
            name: Its name.
            kind: `str`, `int`, `float`, `bool`, `dict` or `list`, or the name of a JSON type.
            required: Whether a run must give it.
            default: Its value when a run does not.
            description: For people.
        """
        spec: dict[str, Any] = {"type": type_name(kind)}
        if required:
            spec["required"] = True
        if default is not None:
            spec["default"] = default
        if description:
            spec["description"] = description
        self._draft.put("inputs", name, spec)
        return ValueHandle(self._draft.owner, ("inputs", name))

    def model(
        self,
        name: str,
        *,
        stages: Mapping[str, str | Mapping[str, Any]] | None = None,
        **model: Unpack[ModelOptions],
    ) -> str:
        """Gives a model a name, which nodes take with `use=`; returns the name.

        Args:
            name: A name of your own.
            stages: The model of each stage as a file has it; `default` is for the others.
            **model: Which model, and how it samples.
        """
        pointer = f"/models/{escape_pointer(name)}"
        options = self._draft.known(model, ModelOptions.__optional_keys__, pointer)
        spec = model_data(options)
        if stages:
            spec["stages"] = dict(stages)
        self._draft.put("models", name, spec)
        return name

    def agent(
        self,
        name: str,
        *,
        persona: str = "",
        description: str = "",
        tools: Sequence[PythonFunction[..., Any] | str] = (),
        max_rounds: int | None = None,
        max_calls: int | None = None,
        **model: Unpack[ModelOptions],
    ) -> AgentHandle:
        """Declares an agent: a persona (the system message, word for word), its model, its tools.

        Args:
            name: Its name.
            persona: What the model is told before each prompt.
            description: For people.
            tools: What its model may call: functions that `flow.tool` made, or names.
            max_rounds: How often it asks its model at most, with tools.
            max_calls: How many tools it calls at most.
            model: Which model answers, and how it samples.
        """
        pointer = f"/agents/{escape_pointer(name)}"
        options = self._draft.known(model, ModelOptions.__optional_keys__, pointer)
        spec: dict[str, Any] = {"persona": persona}
        if description:
            spec["description"] = description
        if chosen := model_data(options):
            spec["model"] = chosen
        if tools:
            spec["tools"] = [getattr(tool, "__name__", tool) for tool in tools]
        for key, bound in (("max_rounds", max_rounds), ("max_calls", max_calls)):
            if bound is not None:
                spec[key] = bound
        self._draft.put("agents", name, spec)
        return AgentHandle(self._draft.owner, name)

    @overload
    def code(self, function: Callable[P, R], /) -> PythonFunction[P, R]: ...

    @overload
    def code(
        self,
        function: None = None,
        /,
        *,
        requirements: Sequence[str] = (),
        **options: Unpack[NodeOptions],
    ) -> Callable[[Callable[P, R]], PythonFunction[P, R]]: ...

    def code(
        self,
        function: Any = None,
        /,
        *,
        requirements: Sequence[str] = (),
        **options: Unpack[NodeOptions],
    ) -> Any:
        """Makes a function a kind of node: called with handles, it adds one.

        Its source is taken, alone: it may use its parameters, what it defines itself, the
        standard library and the packages that it requires. The workflow runs it in a sandbox.

        Args:
            function: The function; `@flow.code` or `@flow.code(timeout="10s")`.
            requirements: Packages that it imports, such as `humanize==4.12.0`.
            options: As every node takes.

        Raises:
            InvalidWorkflow: It uses what stands outside of it; with every name.
        """
        if function is None:
            return lambda found: code_function(self.node, found, options, requirements)
        return code_function(self.node, function, options, requirements)

    @overload
    def tool(self, function: Callable[P, R], /) -> PythonFunction[P, R]: ...

    @overload
    def tool(
        self,
        function: None = None,
        /,
        *,
        read_only: bool | None = None,
        at_most_once: bool | None = None,
        call_timeout: Duration | None = None,
        requirements: Sequence[str] = (),
        **options: Unpack[NodeOptions],
    ) -> Callable[[Callable[P, R]], PythonFunction[P, R]]: ...

    def tool(
        self,
        function: Any = None,
        /,
        *,
        read_only: bool | None = None,
        at_most_once: bool | None = None,
        call_timeout: Duration | None = None,
        requirements: Sequence[str] = (),
        **options: Unpack[NodeOptions],
    ) -> Any:
        """Declares a function as a tool: its docstring describes it, its type hints its parameters.

        Args:
            function: The function; see `code`.
            read_only: Whether calls change nothing, so that an agent's may run side by side.
            at_most_once: Whether an agent's call that may have happened is not repeated.
            call_timeout: Longest time of a call by an agent.
            requirements: Packages that it imports; see `code`.
            options: Of the nodes that call it, as every node takes.

        Raises:
            InvalidWorkflow: It uses what stands outside of it, or a parameter has no type
                that JSON knows.
        """
        said = tool_data(read_only, at_most_once, call_timeout, requirements)
        if function is None:
            return lambda found: tool_function(self._draft, self.node, found, options, said)
        return tool_function(self._draft, self.node, function, options, said)

    def defaults(self, **options: Unpack[DefaultOptions]) -> None:
        """Says what nodes use that say nothing themselves; a later call adds to it."""
        known = self._draft.known(options, DefaultOptions.__optional_keys__, "/defaults")
        for key, value in node_data(known, asks_model=True).items():
            self._draft.put("defaults", key, value)

    def budget(self, *, tokens: int | None = None, usd: float | None = None) -> None:
        """Says what a run may use at most: tokens, US dollars or both."""
        said = {"tokens": tokens, "usd": usd}
        for unit, most in said.items():
            if most is not None:
                self._draft.put("budget", unit, most)

    def breaker(self, **rules: Unpack[BreakerOptions]) -> None:
        """Says when a run is stopped until somebody unlocks it; each rule has a default."""
        known = self._draft.known(rules, BreakerOptions.__optional_keys__, "/breaker")
        for rule, most in node_data(known).items():
            self._draft.put("breaker", rule, most)

    def edge(self, source: Step | Sequence[Step], target: Step | Sequence[Step],
             *more: Step | Sequence[Step], when: Text | None = None) -> None:  # fmt: skip
        """Leads from one step to the next: each of a list to each of the following.

        Args:
            source: A node, a port, `flow.start`, or a list of them.
            target: A node, `flow.end`, or a list of them.
            more: Further steps of a chain.
            when: A condition; false leaves the edges not taken.
        """
        edges = self._draft.data.setdefault("edges", [])
        pointer = f"/edges/{len(edges)}"
        groups = [self._ends(step, pointer) for step in (source, target, *more)]
        for node, port in groups[-1]:
            if port:
                self._draft.note("builder.value", f"an edge enters '{node}', not its port '{port}'",
                                 pointer, hint="pass the node")  # fmt: skip
        if when is None and all(_writable(end) for group in groups for end in group):
            sides = (", ".join(f"{i}.{p}" if p else i for i, p in group) for group in groups)
            edges.append(" -> ".join(sides))
            return
        guard = {} if when is None else {"when": self._draft.plain(when, pointer)}
        for sources, targets in pairwise(groups):
            for node, port in sources:
                for to, _ in targets:
                    edge = {"from": node, "to": to}
                    edges.append({**edge, **({"port": port} if port else {}), **guard})

    def _ends(self, step: Any, pointer: str) -> list[tuple[str, str]]:
        """Returns node and port of each step in a group."""
        ends: list[tuple[str, str]] = []
        for one in step if isinstance(step, list | tuple) else [step]:
            if not isinstance(one, Endpoint | Port | ErrorHandle | ItemHandle):
                self._draft.note("builder.value", f"an edge cannot join {one!r}", pointer,
                                 hint="pass nodes, ports, flow.start or flow.end")  # fmt: skip
                continue
            self._draft.owns(one, pointer)
            ends.append((one.id, _port_of(one)))
        return ends

    def output(self, name: str, value: Any) -> None:
        """Declares an output: a handle, a text with handles, or data with handles in it."""
        self._draft.put("outputs", name, value)

    def expression(self, text: str) -> Expression:
        """Returns a whole text as one expression: `f"$count({sort.output.names}) > 3"`.

        Args:
            text: JSONata with handles in it.
        """
        try:
            pieces = split(text)
        except ExpressionSyntax:  # the check says where, when it sees the expression
            return Expression(self._draft.owner, text)
        source = ""
        for piece in pieces:
            inner = piece.text.strip() if piece.expression else piece.text
            bare = not piece.expression or len(pieces) == 1 or PATH.fullmatch(inner)
            source += inner if bare else f"({inner})"
        return Expression(self._draft.owner, source.strip())

    def validate(self) -> Report:
        """Returns everything that is wrong, warnings as well. Lines and columns are 0."""
        return self._draft.report()

    def build(self) -> Workflow:
        """Returns the workflow.

        Raises:
            InvalidWorkflow: With everything that is wrong.
        """
        return self.validate().require()

    def to_yaml(self) -> str:
        """Returns the workflow as a file; the same calls give the same text.

        Raises:
            InvalidWorkflow: With everything that is wrong.
        """
        report = self.validate()
        report.require()
        return report.source.text


def _port_of(step: Step) -> str:
    """Returns the port by which an edge leaves a step."""
    match step:
        case Port():
            return step.port
        case ErrorHandle():
            return "error"
        case ItemHandle():
            return "item"
    return ""


def _writable(end: tuple[str, str]) -> bool:
    """Whether an edge can be text: in its text form, these signs mean something else."""
    return all(not set(" .,->") & set(str(part)) for part in end)
