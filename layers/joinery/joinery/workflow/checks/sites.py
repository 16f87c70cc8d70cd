"""Finds every place in a file where expressions stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joinery.workflow.checks.edges import RawGraph, RawNode
from joinery.workflow.graph import END
from joinery.workflow.yaml_tree import escape_pointer


@dataclass(frozen=True, slots=True)
class Site:
    """A text that may hold expressions.

    Attributes:
        text: The text.
        pointer: Where it stands.
        node: The node whose results it can rely on: the one it belongs to, or `end`.
        after: The port that has been taken when it is evaluated once `node` has
            ended; None when it is evaluated to run `node`.
        condition: Whether it must be exactly one expression, giving true or false.
        single: Whether it must be exactly one expression.
        answer: Whether it may read the node's own answer, as checks of it do.
    """

    text: str
    pointer: str
    node: str
    after: str | None = None
    condition: bool = False
    single: bool = False
    answer: bool = False


def sites(data: Mapping[str, Any], graph: RawGraph, prompts: Mapping[str, str]) -> Iterator[Site]:
    """Yields every place with expressions, in the order of the file.

    Args:
        data: The file's data.
        graph: Its graph.
        prompts: Prompts read from files, by node id.
    """
    for node in graph.nodes.values():
        yield from _node_sites(node, prompts)
    for edge in graph.edges:
        if edge.link.when is not None:
            link = edge.link
            yield Site(
                edge.link.when, f"{edge.pointer}/when", link.source, link.port, condition=True
            )
    outputs = data.get("outputs")
    if isinstance(outputs, dict):
        for name, value in outputs.items():
            yield from _nested(value, f"/outputs/{escape_pointer(name)}", END)


def _node_sites(node: RawNode, prompts: Mapping[str, str]) -> Iterator[Site]:
    pointer = node.pointer
    match node.type:
        case "agent" | "llm" | "question":
            yield from _asking(node, prompts)
        case "template":
            yield from _text(node, "template")
        case "transform":
            yield from _nested(node.data.get("value"), f"{pointer}/value", node.id)
        case "workflow":
            yield from _nested(node.data.get("inputs"), f"{pointer}/inputs", node.id)
        case "iterate":
            yield from _items(node)
        case "code" | "tool":
            key = "inputs" if node.type == "code" else "arguments"
            yield from _nested(node.data.get(key), f"{pointer}/{key}", node.id)
        case "condition":
            yield from _text(node, "if", condition=True)
        case "loop":
            yield from _text(node, "until", condition=True)
        case "switch":
            yield from _text(node, "value", single=True)
            yield from _cases(node)


def _asking(node: RawNode, prompts: Mapping[str, str]) -> Iterator[Site]:
    """What a model, or a person, is asked."""
    if node.id in prompts:
        yield Site(prompts[node.id], f"{node.pointer}/prompt", node.id)
    else:
        yield from _text(node, "prompt")
    for key in ("images", "files"):
        yield from _nested(node.data.get(key), f"{node.pointer}/{key}", node.id)
    if node.type != "question":
        yield from _checks(node)


def _cases(node: RawNode) -> Iterator[Site]:
    """The conditions of a switch without a value."""
    cases = node.data.get("cases")
    if node.data.get("value") is None and isinstance(cases, dict):
        for port, case in cases.items():
            if isinstance(case, str):
                place = f"{node.pointer}/cases/{escape_pointer(port)}"
                yield Site(case, place, node.id, condition=True)


def _checks(node: RawNode) -> Iterator[Site]:
    """The checks of an answer, and what they tell the model."""
    said, pointer = node.data.get("check"), f"{node.pointer}/check"
    places = [(said, pointer)]
    if isinstance(said, list):
        places = [(one, f"{pointer}/{index}") for index, one in enumerate(said)]
    for one, place in places:
        parts = one if isinstance(one, dict) else {"": one}
        for key in ("", "that", "say"):
            if isinstance(text := parts.get(key), str):
                where = f"{place}/{key}" if key else place
                yield Site(text, where, node.id, condition=key != "say", answer=True)


def _items(node: RawNode) -> Iterator[Site]:
    if isinstance(node.data.get("items"), str):
        yield from _text(node, "items", single=True)
    else:
        yield from _nested(node.data.get("items"), f"{node.pointer}/items", node.id)


def _text(
    node: RawNode, key: str, *, condition: bool = False, single: bool = False
) -> Iterator[Site]:
    text = node.data.get(key)
    if isinstance(text, str):
        place = f"{node.pointer}/{key}"
        yield Site(text, place, node.id, condition=condition, single=single)


def _nested(value: Any, pointer: str, node: str) -> Iterator[Site]:
    if isinstance(value, str):
        yield Site(value, pointer, node)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _nested(item, f"{pointer}/{escape_pointer(key)}", node)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nested(item, f"{pointer}/{index}", node)
