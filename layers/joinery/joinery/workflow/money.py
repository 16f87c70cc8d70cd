"""What a workflow says of money: its budget, and when its breaker stops a run.

Like `model`, this is imported where workflow files are read, never where nodes run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from joinery.workflow.durations import parse_duration
from joinery.workflow.parts import Strict


def _seconds(value: Any) -> Any:
    if value == "off" or (isinstance(value, float) and value > 0):
        return value
    return parse_duration(value)


Off = Literal["off"]

Above0 = Annotated[float, Field(gt=0, strict=False)]


class Budget(Strict):
    """What a run may use at most: tokens, dollars or both."""

    tokens: Annotated[int, Field(ge=1)] | None = None
    usd: Above0 | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Budget:
        if self.tokens is None and self.usd is None:
            raise ValueError("a budget names tokens, usd or both")
        return self


class Breaker(Strict):
    """When a run is stopped; what is not said has its default, `off` switches a rule off."""

    token_surge: Annotated[float, Field(ge=1, strict=False)] | Off | None = None
    novelty: Annotated[float, Field(gt=0, le=1, strict=False)] | Off | None = None
    wall_time: (
        Annotated[
            float | Off,
            BeforeValidator(_seconds, json_schema_input_type=str),
        ]
        | None
    ) = None
    velocity: Above0 | Off | None = None
    depth: Annotated[int, Field(ge=1)] | Off | None = None


class PriceSpec(Strict):
    """What a model costs, in US dollars for a million tokens."""

    input: Annotated[float, Field(ge=0, strict=False)]
    output: Annotated[float, Field(ge=0, strict=False)]
    cached_input: Annotated[float, Field(ge=0, strict=False)] | None = None
