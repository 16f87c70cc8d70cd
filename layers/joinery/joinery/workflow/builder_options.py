"""What nodes, agents and defaults take as keyword arguments, and how a file says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, TypedDict

Duration = str | timedelta
"""`"30s"`, `"5m"`, ... or a `timedelta`."""

Schema = type | Mapping[str, Any]
"""A JSON Schema, or a Python type that stands for one: str, int, float, bool, dict, list."""


class ModelOptions(TypedDict, total=False):
    """Which model answers, and how it samples."""

    provider: str
    model: str
    temperature: float
    top_p: float
    max_tokens: int
    stop: list[str]
    seed: int
    price: Mapping[str, float]
    tools_by: Literal["native", "prompt"]
    use: str
    reasoning: Literal["none", "low", "medium", "high"]
    schema_by: Literal["native", "tool", "json"]
    timeouts: Mapping[str, Duration]
    limit: Mapping[str, int]
    fallback: list[str | Mapping[str, Any]]


class RetryOptions(TypedDict, total=False):
    """How often a node is tried; `attempts` counts the first."""

    attempts: int
    backoff: Duration
    errors: list[str]


class DefaultOutput(TypedDict):
    """What a failed node puts out instead of its result."""

    default: Any


class NodeOptions(TypedDict, total=False):
    """What every node takes. A number as `join` is `at_least`, as `retry` the attempts."""

    name: str
    description: str
    join: Literal["all", "any"] | int
    on_error: Literal["fail", "continue", "route"] | DefaultOutput
    retry: int | RetryOptions
    timeout: Duration
    probabilities: Mapping[str, float]


class AnswerOptions(NodeOptions, ModelOptions, total=False):
    """What nodes take that ask a model."""

    output: Mapping[str, Schema]
    fit: Literal["fail", "cut"]
    images: Sequence[Any]
    files: Sequence[Any]


class QuestionOptions(NodeOptions, total=False):
    """What a question takes besides: the answer when nobody answers in time."""

    default: Any


class DefaultOptions(ModelOptions, total=False):
    """What a workflow says for all nodes."""

    retry: int | RetryOptions
    timeout: Duration
    fit: Literal["fail", "cut"]


class BreakerOptions(TypedDict, total=False):
    """When the breaker stops a run; `off` switches a rule off."""

    token_surge: float | Literal["off"]
    novelty: float | Literal["off"]
    wall_time: Duration
    velocity: float | Literal["off"]
    depth: int | Literal["off"]


class Range(TypedDict, total=False):
    """A case of a switch that matches a number: `min` included, `max` not."""

    min: float
    max: float


_TYPES: Final[Mapping[object, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
}

_MODEL_KEYS: Final = (
    "provider", "model", "temperature", "top_p", "max_tokens", "stop", "seed", "use", "reasoning",
    "schema_by", "fallback", "tools_by", "timeouts", "limit", "price",
)  # fmt: skip

_UNITS: Final = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000))
"""Units of a duration in microseconds."""


def type_name(kind: object) -> object:
    """Returns the JSON name of a Python type; anything else as it is, for the check to judge."""
    if isinstance(kind, type):
        return _TYPES.get(kind, kind.__name__)
    return kind


def model_data(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the model's options out of `options` and returns them as a file's `model`."""
    found = {key: options.pop(key) for key in _MODEL_KEYS if key in options}
    if isinstance(found.get("timeouts"), Mapping):
        found["timeouts"] = {name: _duration(value) for name, value in found["timeouts"].items()}
    return {("name" if key == "model" else key): value for key, value in found.items()}


def node_data(options: dict[str, Any], *, asks_model: bool = False) -> dict[str, Any]:
    """Returns options as the keys of a node or of `defaults`."""
    keys = dict(options)
    if asks_model and (model := model_data(keys)):
        keys["model"] = model
    if _is_count(keys.get("join")):
        keys["join"] = {"at_least": keys["join"]}
    if "retry" in keys:
        keys["retry"] = _retry(keys["retry"])
    for name in ("timeout", "wall_time"):
        if name in keys:
            keys[name] = _duration(keys[name])
    if isinstance(keys.get("output"), Mapping):
        keys["output"] = {
            name: {"type": type_name(schema)} if isinstance(schema, type) else schema
            for name, schema in keys["output"].items()
        }
    return keys


def tool_data(
    read_only: bool | None,
    at_most_once: bool | None,
    call_timeout: Duration | None,
    requirements: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns what a tool says of its calls and needs for them, as the keys of a file."""
    said = {
        "read_only": read_only,
        "at_most_once": at_most_once,
        "timeout": None if call_timeout is None else _duration(call_timeout),
        "requirements": list(requirements) or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _retry(retry: Any) -> Any:
    if _is_count(retry):
        return {"attempts": retry}
    if isinstance(retry, Mapping) and "backoff" in retry:
        return {**retry, "backoff": _duration(retry["backoff"])}
    return retry


def _duration(value: Any) -> Any:
    if not isinstance(value, timedelta):
        return value
    micros = value // timedelta(microseconds=1)
    for unit, size in _UNITS:
        if micros > 0 and micros % size == 0:
            return f"{micros // size}{unit}"
    # Zero and less stay as they are, for the check to refuse.
    return f"{micros // 1000 if micros % 1000 == 0 else micros / 1000}ms"
