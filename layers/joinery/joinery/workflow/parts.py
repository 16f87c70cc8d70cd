"""What all parts of the workflow model are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from joinery import limits

NODE_ID = r"^[A-Za-z_][A-Za-z0-9_]*$"

NodeId = Annotated[str, StringConstraints(pattern=NODE_ID, max_length=limits.NODE_ID_CHARS)]
PortName = Annotated[str, StringConstraints(pattern=NODE_ID, max_length=limits.NODE_ID_CHARS)]

Probability = Annotated[float, Field(ge=0, le=1, strict=False)]


class Strict(BaseModel):
    """Base of all parts of the model: unknown keys are errors, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class CodeFile(Strict):
    """Code in a file beside the workflow file."""

    file: str


Code = str | CodeFile

Requirements = list[str]
"""What code imports besides the standard library, as PEP 508 has it."""
