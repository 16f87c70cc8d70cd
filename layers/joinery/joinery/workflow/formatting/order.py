"""The order in which the keys of a workflow file stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of a workflow file.

    Attributes:
        keys: Its keys in their order; empty where the order is the author's.
        parts: What stands under a key.
        each: What every entry or item is that `parts` does not name.
        by: The key whose text says which of `kinds` it is.
        kinds: The shapes by that text.
        usual: The kind where that key is not there.
    """

    keys: tuple[str, ...] = ()
    parts: Mapping[str, Shape] = field(default_factory=dict)
    each: Shape | None = None
    by: str = ""
    kinds: Mapping[str, Shape] = field(default_factory=dict)
    usual: str = ""

    def of(self, kind: str) -> Shape:
        """Returns the shape of a kind; itself where there are none."""
        return self.kinds.get(kind or self.usual, self)

    def under(self, key: str | None) -> Shape:
        """Returns the shape of what stands under a key, or of an item."""
        found = self.parts.get(key) if key is not None else None
        return found or self.each or FREE

    def rank(self, key: str) -> int:
        """Returns the place of a key; those that are not known come last."""
        return self.keys.index(key) if key in self.keys else len(self.keys)


FREE: Final = Shape()
"""Data of the author's own."""


def _named(shape: Shape) -> Shape:
    return Shape(each=shape)


_TARGET: Final = (
    "use", "provider", "name", "temperature", "top_p", "max_tokens", "stop", "seed", "reasoning",
    "tools_by", "schema_by", "timeouts", "limit", "fallback", "price", "stages",
)  # fmt: skip
_OF_TARGET: Final = {
    "timeouts": Shape(("connect", "first_token", "idle")),
    "limit": Shape(("requests", "tokens")),
    "price": Shape(("input", "output", "cached_input")),
}
_STANDS_IN: Final = Shape(_TARGET, _OF_TARGET)
_MODEL: Final = Shape(_TARGET, {**_OF_TARGET, "fallback": _named(_STANDS_IN)})
MODEL: Final = Shape(_TARGET, {**_MODEL.parts, "stages": _named(_MODEL)})

INPUT: Final = Shape(("type", "required", "default", "description"))
AGENT: Final = Shape(
    ("persona", "description", "model", "tools", "max_rounds", "max_calls"), {"model": MODEL}
)
RETRY: Final = Shape(("attempts", "backoff", "errors"))
DEFAULTS: Final = Shape(("model", "fit", "retry", "timeout"), {"model": MODEL, "retry": RETRY})
CHECK: Final = Shape(("that", "say"))
EDGE: Final = Shape(("from", "port", "to", "when"))
BUDGET: Final = Shape(("tokens", "usd"))
BREAKER: Final = Shape(("token_surge", "novelty", "wall_time", "velocity", "depth"))


def _kinds(
    first: tuple[str, ...], own: Mapping[str, tuple[str, ...]], last: tuple[str, ...],
    parts: Mapping[str, Shape],
) -> dict[str, Shape]:  # fmt: skip
    return {kind: Shape((*first, *keys, *last), parts) for kind, keys in own.items()}


_ANSWER: Final = ("images", "files", "output", "check", "model", "fit")

_ABOUT_NODE: Final = ("type", "name", "description", "join")
_AROUND_NODE: Final = ("retry", "timeout", "on_error", "probabilities")
_OF_NODE: Final = {
    "model": MODEL,
    "retry": RETRY,
    "check": Shape(CHECK.keys, each=CHECK),
    "cases": _named(Shape(("min", "max"))),
}
NODE: Final = Shape(
    (*_ABOUT_NODE, *_AROUND_NODE),
    _OF_NODE,
    by="type",
    kinds=_kinds(
        _ABOUT_NODE,
        {
            "agent": ("agent", "tools", "prompt", *_ANSWER),
            "llm": ("system", "prompt", *_ANSWER),
            "code": ("code", "function", "inputs", "requirements"),
            "tool": ("tool", "arguments"),
            "template": ("template",),
            "transform": ("value",),
            "condition": ("if",),
            "switch": ("value", "cases"),
            "loop": ("until", "max_rounds", "expected_rounds"),
            "iterate": ("items", "concurrency", "max_items", "expected_items", "on_item_error"),
            "workflow": ("workflow", "version", "inputs"),
            "question": ("prompt", "options", "schema", "default"),
        },
        _AROUND_NODE,
        _OF_NODE,
    ),
)

_ABOUT_TOOL: Final = ("kind", "description")
_AROUND_TOOL: Final = ("at_most_once", "timeout")
_OUTSIDE: Final = ("headers", "secret_headers", "send_identity")
TOOL: Final = Shape(
    (*_ABOUT_TOOL, "read_only", *_AROUND_TOOL),
    by="kind",
    kinds={
        "python": Shape(
            (*_ABOUT_TOOL, "requirements", "parameters", "read_only", *_AROUND_TOOL, "code")
        ),
        **_kinds(
            _ABOUT_TOOL,
            {
                "openapi": ("document", "server", "operations", *_OUTSIDE, "read_only"),
                "mcp": ("url", "tools", *_OUTSIDE, "read_only"),
                "search": ("provider", "max_results"),
                "workflow": ("workflow", "version", "read_only"),
            },
            _AROUND_TOOL,
            {},
        ),
    },
    usual="python",
)

WORKFLOW: Final = Shape(
    (
        "version", "name", "description", "inputs", "models", "defaults", "agents", "tools",
        "nodes", "edges", "outputs", "run_on", "budget", "breaker",
    ),
    {
        "inputs": _named(INPUT),
        "models": _named(MODEL),
        "defaults": DEFAULTS,
        "agents": _named(AGENT),
        "tools": _named(TOOL),
        "nodes": _named(NODE),
        "edges": _named(EDGE),
        "budget": BUDGET,
        "breaker": BREAKER,
    },
)  # fmt: skip


def ordered(data: Any, shape: Shape = WORKFLOW) -> Any:
    """Returns plain data with its keys in order."""
    if isinstance(data, list):
        return [ordered(item, shape.under(None)) for item in data]
    if not isinstance(data, dict):
        return data
    kind = data.get(shape.by)
    shape = shape.of(kind if isinstance(kind, str) else "")
    return {key: ordered(data[key], shape.under(key)) for key in _sorted(data, shape)}


def _sorted(keys: Iterable[str], shape: Shape) -> list[str]:
    return sorted(keys, key=shape.rank) if shape.keys else list(keys)
