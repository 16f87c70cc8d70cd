"""What a workflow says about waiting for a model."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from joinery.workflow.durations import Seconds

_STRICT: Final = ConfigDict(extra="forbid", strict=True)


class ModelTimeouts(BaseModel):
    """How long a model may take: to be reached, for its first token and between two."""

    model_config = _STRICT

    connect: Seconds | None = None
    first_token: Seconds | None = None
    idle: Seconds | None = None


class ModelLimit(BaseModel):
    """What a model may be sent in a minute, by all runs together."""

    model_config = _STRICT

    requests: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1)] | None = None
