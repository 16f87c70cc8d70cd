"""What a workflow says about waiting for a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from joinery.workflow.durations import Seconds
from joinery.workflow.parts import Strict


class ModelTimeouts(Strict):
    """How long a model may take: to be reached, for its first token and between two."""

    connect: Seconds | None = None
    first_token: Seconds | None = None
    idle: Seconds | None = None


class ModelLimit(Strict):
    """What a model may be sent in a minute, by all runs together."""

    requests: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1)] | None = None
