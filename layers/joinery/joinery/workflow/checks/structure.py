"""Checks the shape of a file against the model, in words of the file.

pydantic finds what is wrong; nothing of its language reaches the reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from joinery.workflow import model as m
from joinery.workflow.checks.words import (
    TYPES,
    Location,
    general,
    name_of,
    rule,
    type_hint,
    value_hint,
    what,
)
from joinery.workflow.patience import ModelLimit, ModelTimeouts
from joinery.workflow.report import Collector, closest, did_you_mean
from joinery.workflow.tool_model import TOOL_CLASSES, kind_of
from joinery.workflow.yaml_tree import escape_pointer

NODE_CLASSES: Final[Mapping[str, type[BaseModel]]] = {
    "agent": m.AgentNode,
    "code": m.CodeNode,
    "condition": m.ConditionNode,
    "iterate": m.IterateNode,
    "llm": m.LlmNode,
    "loop": m.LoopNode,
    "question": m.QuestionNode,
    "switch": m.SwitchNode,
    "template": m.TemplateNode,
    "tool": m.ToolNode,
    "transform": m.TransformNode,
    "workflow": m.WorkflowNode,
}

_MODEL: Final = "the name of one of the models, or {provider, name, …}"

_BRANCHES: Final[Mapping[str, Mapping[str, type[BaseModel]]]] = {
    "nodes": NODE_CLASSES,
    "tools": TOOL_CLASSES,
}

# Places that take more than one form: what they take, and which part of the model
# describes the form that is a mapping.
_CHOICES: Final[Mapping[Location, tuple[str, type[BaseModel] | None]]] = {
    ("nodes", "*", "prompt"): ("text, or {file: path}", m.PromptFile),
    ("nodes", "*", "code"): ("Python source, or {file: path}", m.CodeFile),
    ("tools", "*", "code"): ("Python source, or {file: path}", m.CodeFile),
    ("tools", "*", "document"): ("an OpenAPI document as text, or {file: path}", m.CodeFile),
    ("agents", "*", "model"): (_MODEL, m.ModelRef),
    ("defaults", "model"): (_MODEL, m.ModelRef),
    ("nodes", "*", "model"): (_MODEL, m.ModelRef),
    ("models", "*", "stages", "*"): (_MODEL, m.ModelRef),
    ("agents", "*", "model", "fallback", "*"): (_MODEL, m.ModelTarget),
    ("defaults", "model", "fallback", "*"): (_MODEL, m.ModelTarget),
    ("nodes", "*", "model", "fallback", "*"): (_MODEL, m.ModelTarget),
    ("models", "*", "fallback", "*"): (_MODEL, m.ModelTarget),
    ("models", "*", "stages", "*", "fallback", "*"): (_MODEL, m.ModelTarget),
    ("nodes", "*", "join"): ("all, any or {at_least: number}", m.AtLeast),
    ("nodes", "*", "on_error"): (
        "fail, continue, route or {default: value}",
        m.DefaultOutput,
    ),
    ("nodes", "*", "cases", "*"): (
        "text, a number, true, false, null, a list of these, or {min, max}",
        m.Range,
    ),
    ("nodes", "*", "items"): ("an expression or a list", None),
    ("nodes", "*", "options"): ("a list of names, or {name: text}", None),
    ("edges", "*"): ("text such as 'a -> b', or {from, to, port, when}", m.Edge),
}

_PARTS: Final[Mapping[Location, type[BaseModel]]] = {
    (): m.Workflow,
    ("inputs", "*"): m.InputSpec,
    ("agents", "*"): m.Agent,
    ("models", "*"): m.ModelAlias,
    ("defaults",): m.Defaults,
    ("defaults", "retry"): m.Retry,
    ("nodes", "*", "retry"): m.Retry,
    **{place: part for place, (_, part) in _CHOICES.items() if part is not None},
    **{
        (*place, key): part
        for place in (("models", "*"), *(p for p, (said, _) in _CHOICES.items() if said == _MODEL))
        for key, part in (("timeouts", ModelTimeouts), ("limit", ModelLimit))
    },
}

_NEEDED: Final[Mapping[str, str]] = {
    "version": "add 'version: 1'",
    "name": "add 'name: my-workflow'",
    "nodes": "add 'nodes:' with at least one node",
    "edges": "add 'edges:', such as '- start -> first' and '- first -> end'",
    "type": f"add 'type:' with one of {', '.join(m.NODE_TYPES)}",
    "prompt": "add 'prompt: \"{{ inputs.x }}\"'",
    "code": "add 'code: |' with a function in Python, or 'code: {file: x.py}'",
    "tool": "add 'tool:' with the name of one of the tools",
    "agent": "add 'agent:' with the name of one of the agents",
    "if": "add 'if: \"{{ nodes.x.output.y > 3 }}\"'",
    "cases": "add 'cases:' with a name and a value for each way out",
    "workflow": "add 'workflow:' with the name of a published workflow, or './file.yaml'",
    "items": "add 'items: \"{{ inputs.x }}\"', or a list",
    "max_rounds": "add 'max_rounds: 3': a loop always has a bound",
}


def check_structure(data: Mapping[str, Any], out: Collector) -> m.Workflow | None:
    """Reports everything about the file's shape; returns the model when nothing is wrong."""
    try:
        workflow = m.Workflow.model_validate(data)
    except ValidationError as error:
        groups = _grouped(error, data)
        meant = _meant(groups, data)
        for place, errors in groups.items():
            kept = [e for e in errors if e["type"] != "missing" or (place, *e["rest"]) not in meant]
            if kept and not _explained_inside(place, kept, groups):
                _explain(place, kept, data, out)
        return None
    except RecursionError:
        out.add("limit.depth", "the file is nested too deeply", "")
        return None
    return workflow


def _grouped(error: ValidationError, data: Any) -> dict[Location, list[dict[str, Any]]]:
    """Returns pydantic's errors by their place in the file."""
    groups: dict[Location, list[dict[str, Any]]] = {}
    for found in error.errors(include_url=False):
        place, rest = _locate(data, found["loc"], str(found["type"]))
        groups.setdefault(place, []).append({**found, "rest": rest})
    return groups


def _meant(groups: Mapping[Location, list[dict[str, Any]]], data: Any) -> set[tuple[Any, ...]]:
    """Returns the missing keys that an unknown key beside them was probably meant to be."""
    found: set[tuple[Any, ...]] = set()
    for place, errors in groups.items():
        part = part_at(place[:-1], data) if place else None
        if part is not None and any(e["type"] == "extra_forbidden" for e in errors):
            close = closest(str(place[-1]), keys_of(part))
            found.add((place[:-1], close))
    return found


def _explained_inside(
    place: Location, errors: Sequence[Mapping[str, Any]], groups: Mapping[Location, Any]
) -> bool:
    """Whether errors of a choice only repeat what is said about a place inside it."""
    if not all(error["rest"][:1] == ("[choice]",) for error in errors):
        return False
    return any(other[: len(place)] == place and other != place for other in groups)


def _locate(data: Any, loc: Location, kind: str) -> tuple[Location, Location]:
    """Splits a location into the place in the file and what pydantic put behind it.

    Its locations also name the branch of a union that it tried. Those are dropped.
    """
    parts = list(loc)
    branches = _BRANCHES.get(str(parts[0])) if len(parts) > 2 else None
    if branches and parts[2] in branches and parts[3:] != ["[key]"]:
        del parts[2]
    place: list[str | int] = []
    value = data
    while parts:
        here = general(tuple(place))
        if here in _CHOICES:
            chosen = _CHOICES[here][1]
            if not isinstance(value, dict) or chosen is None or parts[0] != chosen.__name__:
                return tuple(place), ("[choice]", *parts)
            parts.pop(0)
            if len(parts) == 1 and kind not in ("missing", "model_type"):
                return (*place, parts[0]), ()
        part = parts[0]
        known = isinstance(value, dict) and part in value
        if isinstance(value, list) and isinstance(part, int):
            known = part < len(value)
        if not known:
            break
        value = value[part]
        place.append(part)
        parts.pop(0)
    return tuple(place), tuple(parts)


def to_pointer(place: Location) -> str:
    """Returns a place as a JSON pointer."""
    return "".join(f"/{escape_pointer(str(part))}" for part in place)


def part_at(place: Location, data: Any) -> type[BaseModel] | None:
    """Returns the part of the model that describes the mapping at a place."""
    if len(place) == 2 and place[0] == "tools":
        return TOOL_CLASSES.get(kind_of(value_at(data, place)) or "")
    if len(place) == 2 and place[0] == "nodes":
        node = value_at(data, place)
        kind = node.get("type") if isinstance(node, dict) else None
        return NODE_CLASSES.get(kind) if isinstance(kind, str) else None
    return _PARTS.get(general(place))


def value_at(data: Any, place: Location) -> Any:
    """Returns the value at a place, or None."""
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def keys_of(part: type[BaseModel]) -> list[str]:
    """Returns the keys that a part of the model takes, as the file writes them."""
    return [field.alias or name for name, field in part.model_fields.items()]


# -- words ------------------------------------------------------------------------------


def _explain(
    place: Location, errors: Sequence[Mapping[str, Any]], data: Any, out: Collector
) -> None:
    """Reports what is wrong at one place."""
    inside = [e for e in errors if e["rest"][:1] != ("[choice]",)]
    choice = _CHOICES.get(general(place))
    if not inside and choice is not None:
        value = value_at(data, place)
        code = "schema.value" if isinstance(value, str) else "schema.type"
        out.add(
            code,
            f"{name_of(place)} must be {choice[0]}",
            to_pointer(place),
            hint=_choice_hint(place, value),
        )
        return
    for error in inside or errors:
        _explain_one(place, error, data, out)


def _choice_hint(place: Location, value: Any) -> str:
    if general(place)[2:] == ("join",) and isinstance(value, int):
        return f"write 'join: {{at_least: {value}}}'"
    if isinstance(value, str):
        close = closest(value, ("all", "any", "fail", "continue", "route"))
        return f"did you mean '{close}'?" if close else ""
    return ""


def _explain_one(place: Location, error: Mapping[str, Any], data: Any, out: Collector) -> None:
    kind = str(error["type"])
    context: Mapping[str, Any] = error.get("ctx", {})
    pointer = to_pointer(place)
    if kind == "missing":
        key = str(error["rest"][-1]) if error["rest"] else "a key"
        out.add(
            "schema.missing_key",
            f"{name_of(place)} has no '{key}'",
            pointer,
            hint=_NEEDED.get(key, f"add '{key}:'"),
            key=True,
        )
    elif kind == "extra_forbidden":
        _unknown_key(place, data, out)
    elif kind == "union_tag_not_found" and place[0] == "tools":
        _unknown_kind(place, data, out)
    elif kind == "union_tag_not_found":
        hint = _NEEDED["type"]
        out.add(
            "schema.missing_key", f"{name_of(place)} has no 'type'", pointer, hint=hint, key=True
        )
    elif kind == "union_tag_invalid":
        _unknown_type(place, data, out)
    elif error["loc"] and error["loc"][-1] == "[key]":
        _bad_key(place, out)
    elif kind in TYPES:
        value = value_at(data, place)
        out.add(
            "schema.type",
            f"{name_of(place)} must be {TYPES[kind]}, not {what(value)}",
            pointer,
            hint=type_hint(place, kind, value),
        )
    else:
        value = value_at(data, place)
        out.add("schema.value", f"{name_of(place)} {rule(kind, context)}", pointer,
                hint=value_hint(place, value, context))  # fmt: skip


def _unknown_key(place: Location, data: Any, out: Collector) -> None:
    key, owner = str(place[-1]), place[:-1]
    part = part_at(owner, data)
    hint = did_you_mean(key, keys_of(part)) if part else ""
    if key == "<<":
        hint = "merge keys are not part of YAML 1.2; repeat the keys"
    out.add(
        "schema.unknown_key",
        f"{name_of(owner)} takes no '{key}'",
        to_pointer(place),
        hint=hint,
        key=True,
    )


def _unknown_type(place: Location, data: Any, out: Collector) -> None:
    if place[0] == "tools":
        return _unknown_kind(place, data, out)
    node = value_at(data, place)
    kind = node.get("type") if isinstance(node, dict) else None
    pointer = f"{to_pointer(place)}/type"
    if not isinstance(kind, str):
        out.add("schema.type", f"{name_of(place)}: 'type' must be text, not {what(kind)}", pointer,
                hint=_NEEDED["type"])  # fmt: skip
    elif kind in m.PLANNED_NODE_TYPES:
        out.add(
            "node.not_available",
            f"{name_of(place)}: the type '{kind}' is planned and does not run in this release",
            pointer,
            hint=f"this release runs {', '.join(m.NODE_TYPES)}",
        )
    else:
        out.add(
            "node.unknown_type",
            f"{name_of(place)}: there is no node type '{kind}'",
            pointer,
            hint=did_you_mean(kind, m.NODE_TYPES),
        )


def _unknown_kind(place: Location, data: Any, out: Collector) -> None:
    kind = value_at(data, place)["kind"]
    pointer = f"{to_pointer(place)}/kind"
    known = f"one of {', '.join(m.TOOL_KINDS)}"
    if not isinstance(kind, str):
        out.add("schema.type", f"{name_of(place)}: 'kind' must be text, not {what(kind)}", pointer,
                hint=known)  # fmt: skip
    else:
        out.add("tool.unknown_kind", f"{name_of(place)}: there is no kind '{kind}'", pointer,
                hint=did_you_mean(kind, m.TOOL_KINDS) or known)  # fmt: skip


def _bad_key(place: Location, out: Collector) -> None:
    key = str(place[-1])
    form = "letters, digits and _, not beginning with a digit, at most 64 characters"
    if place[0] == "nodes" and len(place) == 2:
        out.add("node.bad_id", f"'{key}' cannot be the id of a node", to_pointer(place),
                hint=form, key=True)  # fmt: skip
    else:
        out.add("schema.value", f"'{key}' cannot be a name here", to_pointer(place),
                hint=form, key=True)  # fmt: skip
