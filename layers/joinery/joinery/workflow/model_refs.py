"""Which model answers: the part of the workflow model that names models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from joinery.workflow.money import PriceSpec
from joinery.workflow.parts import NodeId, Strict
from joinery.workflow.patience import ModelLimit, ModelTimeouts


class ModelTarget(Strict):
    """A model, or with `use` one of the workflow's `models`, and how it samples."""

    use: NodeId | None = None
    provider: str | None = None
    name: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: list[str] | None = None
    seed: int | None = None
    tools_by: Literal["native", "prompt"] | None = None
    reasoning: Literal["none", "low", "medium", "high"] | None = None
    schema_by: Literal["native", "tool", "json"] | None = None
    price: PriceSpec | None = None
    timeouts: ModelTimeouts | None = None
    limit: ModelLimit | None = None


class ModelRef(ModelTarget):
    """Which model answers, and which when it does not. Unset fields come from the defaults."""

    fallback: list[str | ModelTarget] | None = None


class ModelAlias(ModelRef):
    """A model under a name of the workflow's own, which may differ from stage to stage."""

    stages: dict[str, str | ModelRef] | None = None


Model = str | ModelRef
"""A model, or the name of one of the workflow's `models`."""
