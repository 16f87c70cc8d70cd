"""What the routes are sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from joinery import limits
from joinery.catalog.launch import BECAUSE_CHARS, MODEL, SESSION_ID, VERSION_MAX, WORKFLOW_ID_CHARS
from joinery.packages.model import SHA256

PACKAGES_MAX = 100
MODULES_MAX = 2_000

PATH = r"^(\d{1,5}(\.\d{1,5})*)?$"
"""Loop rounds and item indexes of a node."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Sha256 = Annotated[
    str, Field(pattern=SHA256, description="SHA-256 of the zip, in hexadecimal; its name.")
]
ZipBytes = Annotated[int, Field(ge=1, le=limits.PACKAGE_ZIP_BYTES, description="Bytes of the zip.")]
_Line = Annotated[str, Field(max_length=limits.REQUIREMENT_CHARS)]


class PackageBody(_Body):
    """A package that is to be stored."""

    sha256: Sha256
    bytes: ZipBytes


class BuiltPackageBody(PackageBody):
    """A package that was built for some requirements of a workflow."""

    requirements: Annotated[
        list[_Line],
        Field(
            min_length=1,
            max_length=limits.REQUIREMENTS_MAX,
            description="The requirements of the tools and nodes that it is for.",
        ),
    ]
    resolved: Annotated[
        list[_Line],
        Field(
            max_length=limits.PACKAGES_RESOLVED_MAX,
            description="Everything in it, as `name==version`.",
        ),
    ] = []
    modules: Annotated[
        list[_Line],
        Field(
            max_length=MODULES_MAX,
            description="What can be imported from it; imports are checked where it is said.",
        ),
    ] = []


class PublishBody(_Body):
    """A workflow to publish."""

    source: Annotated[
        str | dict[str, Any],
        Field(description="The workflow: the text of its YAML or JSON file, or the object itself."),
    ]
    opt: Annotated[
        Literal[0, 1, 2] | None, Field(description="Optimisation level; 2 when unset.")
    ] = None
    packages: Annotated[
        list[BuiltPackageBody],
        Field(
            max_length=PACKAGES_MAX,
            description="What was built and stored for the requirements of its code.",
        ),
    ] = []


class BudgetBody(_Body):
    """What a run may use at most: tokens, US dollars or both."""

    tokens: Annotated[
        int | None, Field(ge=1, lt=10**15, description="Tokens of prompts and answers.")
    ] = None
    usd: Annotated[float | None, Field(gt=0, lt=10**9, strict=False, description="US dollars.")] = (
        None
    )

    def said(self) -> dict[str, Any]:
        """Returns what it names."""
        return self.model_dump(exclude_none=True)


class StartBody(_Body):
    """A run to start."""

    workflow_id: Annotated[str, Field(max_length=WORKFLOW_ID_CHARS, description="The workflow.")]
    version: Annotated[
        int | None, Field(ge=1, le=VERSION_MAX, description="Its version; the newest when unset.")
    ] = None
    inputs: Annotated[dict[str, Any], Field(description="The inputs by name.")] = {}
    session_id: Annotated[
        str | None,
        Field(pattern=SESSION_ID, description="The session it belongs to."),
    ] = None
    cassette: Annotated[
        list[dict[str, Any]] | None,
        Field(description="Recorded answers: the run replays them and calls no model."),
    ] = None
    model: Annotated[
        str | None,
        Field(pattern=MODEL, description="`provider:name`, the model of every node of this run."),
    ] = None
    budget: Annotated[
        BudgetBody | None,
        Field(description="What the run may use; what it names takes the workflow's place."),
    ] = None


class ResumeBody(_Body):
    """How a run is to go on."""

    budget: Annotated[
        BudgetBody | None,
        Field(description="What the run may use in all; what it names is changed."),
    ] = None


class UnlockBody(_Body):
    """Why a run that its breaker has stopped may go on: a reason, or all three checks."""

    because: Annotated[str, Field(max_length=BECAUSE_CHARS, description="Why it may go on.")] = ""
    checks: Annotated[
        list[Literal["content", "cost", "risk"]],
        Field(
            max_length=3,
            description="What was checked: the content is as expected, the extra cost is "
            "understood, the risk is accepted.",
        ),
    ] = []


class InputBody(_Body):
    """What somebody says to a run."""

    value: Annotated[
        Any,
        Field(description="The answer, as the question has it; text for an agent."),
    ]
    node_id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="The question, or the agent. When unset: whichever agent is next to look, "
            "or, where no agent takes messages, the one question that waits.",
        ),
    ] = None
    path: Annotated[
        str | None,
        Field(
            pattern=PATH,
            description="Its loop rounds and item indexes; needed where several of them wait.",
        ),
    ] = None


class ForkBody(_Body):
    """A run to make of another one."""

    node_id: Annotated[
        str | None,
        Field(max_length=64, description="The first node to run again; all of them when unset."),
    ] = None
    path: Annotated[
        str | None,
        Field(
            pattern=PATH,
            description="Its loop rounds and item indexes; the first when unset.",
        ),
    ] = None
    inputs: Annotated[
        dict[str, Any], Field(description="Inputs that change; the others stay as they were.")
    ] = {}
