"""Nodes that compute from what is stored: template, transform, condition, switch, loop, iterate."""

from __future__ import annotations

from typing import Any

from joinery.errors import PermanentExpression, PermanentNotAList, PermanentTooManyItems
from joinery.nodes.base import NodeContext, NodeResult
from joinery.workflow.expressions import Scope, compile_value, parse_template


def template(context: NodeContext) -> NodeResult:
    """Puts out text with values put in."""
    text = parse_template(context.node.spec["template"]).render(context.scope)
    context.streams.add("text", text)
    return NodeResult({"text": text})


def transform(context: NodeContext) -> NodeResult:
    """Puts out a computed value as `output`, and as `text` when it is text."""
    value = compile_value(context.node.spec["value"]).value(context.scope)
    result: dict[str, Any] = {"output": value}
    if isinstance(value, str):
        result["text"] = value
    return NodeResult(result)


def condition(context: NodeContext) -> NodeResult:
    """Takes the port `true` or `false`."""
    found = holds(context.node.spec["if"], context.scope)
    return NodeResult({"output": found}, port="true" if found else "false")


def switch(context: NodeContext) -> NodeResult:
    """Takes the first port whose case holds, else `default`."""
    spec = context.node.spec
    if spec["value"] is None:
        for port, _, (text,) in spec["cases"]:
            if holds(text, context.scope):
                return NodeResult({"output": port}, port=port)
        return NodeResult({"output": "default"}, port="default")
    value = parse_template(spec["value"]).value(context.scope)
    for port, kind, wanted in spec["cases"]:
        if kind == "range":
            if _within(value, *wanted):
                return NodeResult({"output": value}, port=port)
        elif any(_equal(value, one) for one in wanted):
            return NodeResult({"output": value}, port=port)
    return NodeResult({"output": value}, port="default")


def loop(context: NodeContext) -> NodeResult:
    """Ends a round: `done` when `until` holds or the rounds are used up, else `repeat`."""
    spec = context.node.spec
    current = int(context.path.split(".")[-1])
    if spec["until"] is not None and holds(spec["until"], context.scope):
        reason = "until"
    elif current >= spec["max_rounds"]:
        reason = "max_rounds"
    else:
        return NodeResult({"output": {"rounds": current}}, port="repeat", repeat=True)
    return NodeResult({"output": {"rounds": current, "reason": reason}}, "done", reason=reason)


def iterate(context: NodeContext) -> NodeResult:
    """Finds the items, and takes `done`, which is followed when all of them have ended."""
    spec = context.node.spec
    items = compile_value(spec["items"]).value(context.scope)
    if not isinstance(items, list):
        raise PermanentNotAList(
            f"the items of '{context.node.id}' are not a list but {_kind(items)}; an expression "
            "that finds one thing gives the thing: in brackets, [...], it gives a list",
            actual=_kind(items),
        )
    if len(items) > spec["max_items"]:
        raise PermanentTooManyItems(
            f"'{context.node.id}' has {len(items):,} items; its max_items is {spec['max_items']:,}",
            limit=spec["max_items"],
            actual=len(items),
        )
    return NodeResult({"output": items}, port="done", items=len(items))


def _kind(value: Any) -> str:
    """Returns what a value is, in a word."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, dict) else "a number"


def holds(text: str, scope: Scope) -> bool:
    """Returns what a condition gives.

    Raises:
        PermanentExpression: It cannot be evaluated, or gives something else than a boolean.
    """
    value = parse_template(text).value(scope)
    if isinstance(value, bool):
        return value
    raise PermanentExpression(
        f"the condition {text.strip()} gave {type(value).__name__}, not true or false",
        expression=text,
    )


def _within(value: Any, least: float | None, most: float | None) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (least is None or value >= least) and (most is None or value < most)


def _equal(value: Any, wanted: Any) -> bool:
    # 1 == True in Python; a case that says true means true.
    if isinstance(value, bool) != isinstance(wanted, bool):
        return False
    return bool(value == wanted)
