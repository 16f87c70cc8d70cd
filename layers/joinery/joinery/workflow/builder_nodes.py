"""The methods that add nodes to a workflow that is built in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Unpack

from joinery.workflow.builder_draft import Draft
from joinery.workflow.builder_handles import (
    AgentHandle,
    ConditionHandle,
    IterateHandle,
    LoopHandle,
    NodeHandle,
    QuestionHandle,
    SwitchHandle,
)
from joinery.workflow.builder_options import (
    AnswerOptions,
    NodeOptions,
    QuestionOptions,
    Range,
    Schema,
    node_data,
    type_name,
)
from joinery.workflow.builder_values import Expression
from joinery.workflow.ids import NodeIds
from joinery.workflow.yaml_tree import escape_pointer

Text = str | Expression
Case = str | int | float | bool | None | Expression | Range | Sequence[str | int | float | bool]


_OPTIONS: Final[Mapping[str, Any]] = {
    "agent": AnswerOptions,
    "llm": AnswerOptions,
    "question": QuestionOptions,
}


class Nodes:
    """Adds nodes to a workflow, one method a type; each returns the node's handle.

    A `node_id` in any script is taken: what cannot be an id becomes the node's `name`, and
    the node gets an id that looks like it.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._ids = NodeIds()

    def _add(
        self, node_id: str, kind: str, keys: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str:
        """Adds a node; returns its id, which is another where `node_id` cannot be one."""
        said = str(node_id)
        own = self._ids.of(said)
        asks_model = kind in ("agent", "llm")
        known = _OPTIONS.get(kind, NodeOptions).__optional_keys__
        more = self._draft.known(options, known, f"/nodes/{escape_pointer(own)}")
        data = {"type": kind, **keys, **node_data(more, asks_model=asks_model)}
        if own != said:
            data.setdefault("name", said)
        self._draft.put("nodes", own, data)
        return own

    def agent(
        self, node_id: str, *, agent: AgentHandle, prompt: Text, **options: Unpack[AnswerOptions]
    ) -> NodeHandle:
        """Adds a node in which an agent answers a prompt, the whole user message."""
        name: Any = agent
        if isinstance(agent, AgentHandle):
            own = self._ids.of(str(node_id))
            self._draft.owns(agent, f"/nodes/{escape_pointer(own)}/agent")
            name = agent.name
        own = self._add(node_id, "agent", {"agent": name, "prompt": prompt}, options)
        return NodeHandle(self._draft.owner, own)

    def llm(
        self, node_id: str, *, prompt: Text, system: str = "", **options: Unpack[AnswerOptions]
    ) -> NodeHandle:
        """Adds a node in which a model answers a prompt, without a persona."""
        keys = {"prompt": prompt, **({"system": system} if system else {})}
        own = self._add(node_id, "llm", keys, options)
        return NodeHandle(self._draft.owner, own)

    def code(
        self,
        node_id: str,
        code: str,
        *,
        function: str = "main",
        inputs: Mapping[str, Any] | None = None,
        requirements: Sequence[str] = (),
        **options: Unpack[NodeOptions],
    ) -> NodeHandle:
        """Adds a call of a function in a text of Python; `flow.code` takes functions."""
        keys: dict[str, Any] = {"code": code}
        if function != "main":
            keys["function"] = function
        if inputs:
            keys["inputs"] = inputs
        if requirements:
            keys["requirements"] = list(requirements)
        own = self._add(node_id, "code", keys, options)
        return NodeHandle(self._draft.owner, own)

    def tool(
        self,
        node_id: str,
        *,
        tool: str,
        arguments: Mapping[str, Any] | None = None,
        **options: Unpack[NodeOptions],
    ) -> NodeHandle:
        """Adds a call of a tool by its name."""
        keys: dict[str, Any] = {"tool": tool}
        if arguments:
            keys["arguments"] = arguments
        own = self._add(node_id, "tool", keys, options)
        return NodeHandle(self._draft.owner, own)

    def has(self, node_id: str) -> bool:
        """Whether there is a node of this id."""
        return node_id in self._ids

    def template(self, node_id: str, text: Text, **options: Unpack[NodeOptions]) -> NodeHandle:
        """Adds a text with values put in; calls no model."""
        own = self._add(node_id, "template", {"template": text}, options)
        return NodeHandle(self._draft.owner, own)

    def transform(self, node_id: str, value: Any, **options: Unpack[NodeOptions]) -> NodeHandle:
        """Adds a value: a handle, an expression, or data with handles in it."""
        own = self._add(node_id, "transform", {"value": value}, options)
        return NodeHandle(self._draft.owner, own)

    def condition(
        self, node_id: str, test: Text, **options: Unpack[NodeOptions]
    ) -> ConditionHandle:
        """Adds a condition; its ways out are `.on(True)` and `.on(False)`."""
        own = self._add(node_id, "condition", {"if": test}, options)
        return ConditionHandle(self._draft.owner, own)

    def switch(
        self,
        node_id: str,
        *,
        cases: Mapping[str, Case],
        value: Text | None = None,
        **options: Unpack[NodeOptions],
    ) -> SwitchHandle:
        """Adds a switch; its ways out are `.case(name)` and `.default`.

        Args:
            node_id: Its id.
            cases: By port: what `value` must be (a literal, a list of them, or a range
                `{"min": 0, "max": 50}`), or without `value` a condition.
            value: What the cases are compared with.
            options: As every node takes.
        """
        keys = {} if value is None else {"value": value}
        own = self._add(node_id, "switch", {**keys, "cases": cases}, options)
        return SwitchHandle(self._draft.owner, own)

    def workflow(
        self,
        node_id: str,
        *,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        version: int | None = None,
        **options: Unpack[NodeOptions],
    ) -> NodeHandle:
        """Adds a run of another workflow.

        Args:
            node_id: Its id.
            workflow: The name of a published workflow, or a file: `./debate.yaml`.
            inputs: What the run is given, by name: values, handles, or data with handles.
            version: Its version; the newest when the workflow around it is published.
            options: As every node takes.
        """
        keys: dict[str, Any] = {"workflow": workflow, "inputs": inputs, "version": version}
        given = {name: value for name, value in keys.items() if value is not None}
        own = self._add(node_id, "workflow", given, options)
        return NodeHandle(self._draft.owner, own)

    def question(
        self,
        node_id: str,
        *,
        prompt: Text,
        options: Sequence[str] | Mapping[str, str] | None = None,
        schema: Schema | None = None,
        **options_: Unpack[QuestionOptions],
    ) -> QuestionHandle:
        """Adds a question to the user, which waits for the answer.

        Args:
            node_id: Its id.
            prompt: The question.
            options: What may be answered: names, or names with what each says.
            schema: What the answer must match, or a Python type; text when left out.
            options_: As every node takes, and `default`: the answer when none came in time.
        """
        said = {"options": options, "schema": schema}
        keys = {
            "prompt": prompt,
            **{key: value for key, value in said.items() if value is not None},
        }
        if isinstance(schema, type):
            keys["schema"] = {"type": type_name(schema)}
        own = self._add(node_id, "question", keys, options_)
        return QuestionHandle(self._draft.owner, own)

    def loop(
        self,
        node_id: str,
        *,
        max_rounds: int,
        until: Text | None = None,
        expected_rounds: float | None = None,
        **options: Unpack[NodeOptions],
    ) -> LoopHandle:
        """Adds the end of a round; its ways out are `.repeat` and `.done`.

        Args:
            node_id: Its id.
            max_rounds: The loop ends after so many rounds in any case.
            until: The condition that ends it before.
            expected_rounds: How many rounds are usual; `joinery plan` uses it.
            options: As every node takes.
        """
        said = {"until": until, "expected_rounds": expected_rounds}
        keys = {"max_rounds": max_rounds, **{k: v for k, v in said.items() if v is not None}}
        own = self._add(node_id, "loop", keys, options)
        return LoopHandle(self._draft.owner, own)

    def iterate(
        self,
        node_id: str,
        *,
        items: Text | Sequence[Any],
        concurrency: int | None = None,
        max_items: int | None = None,
        expected_items: int | None = None,
        on_item_error: Literal["fail", "continue"] | None = None,
        **options: Unpack[NodeOptions],
    ) -> IterateHandle:
        """Adds a node that runs others for each item; its ways out are `.item` and `.done`.

        Args:
            node_id: Its id.
            items: The handle or expression of a list, or a list.
            concurrency: So many items run at the same time at most; 10 when left out.
            max_items: A longer list fails the node; 100 when left out.
            expected_items: So many items a run has as a rule, for the price.
            on_item_error: What follows when a node fails for an item.
            options: As every node takes.
        """
        said = {
            "concurrency": concurrency,
            "max_items": max_items,
            "expected_items": expected_items,
            "on_item_error": on_item_error,
        }
        keys = {"items": items, **{key: value for key, value in said.items() if value is not None}}
        own = self._add(node_id, "iterate", keys, options)
        return IterateHandle(self._draft.owner, own)
