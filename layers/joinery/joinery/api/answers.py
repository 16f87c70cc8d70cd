"""What the routes answer, for OpenAPI; a test holds every answer to these models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RunStatus = Literal[
    "queued", "running", "paused", "waiting", "suspended",
    "completed", "failed", "cancelled", "timed_out",
]  # fmt: skip


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorShown(_Exact):
    """What went wrong."""

    code: str
    message: str
    retryable: bool
    details: dict[str, Any] | None = None
    request_id: str


class ErrorAnswer(_Exact):
    """The shape of every error."""

    error: ErrorShown


class Health(_Exact):
    """The service is up."""

    status: Literal["ok"]
    version: str


class ProblemRow(_Exact):
    """One thing that is wrong, or worth knowing, in a workflow file."""

    code: str
    severity: Literal["error", "warning"]
    node_id: str | None
    pointer: str
    line: int
    column: int
    message: str
    hint: str


class Range(_Exact):
    """A figure of a run: least, expected, most."""

    min: float
    expected: float
    max: float


class PlanReport(_Exact):
    """The figures of a compiled workflow."""

    states: int
    transitions: Range
    history_events: Range
    model_calls: Range
    input_tokens: Range
    output_tokens: Range
    model_usd: Range
    unpriced: list[str]
    price_usd: Range
    price_by_service: dict[str, Range]
    payload_bytes_max: int
    definition_bytes: int
    plan_bytes: int
    warnings: list[str]
    children: list[str]
    items_apart: dict[str, Range]


class WorkflowShown(_Exact):
    """A version of a workflow."""

    workflow_id: str
    version: int
    name: str
    machine: str
    opt: int
    run_on: Literal["standard", "inline"]
    created_at: str


class WorkflowPublished(WorkflowShown):
    """A published version with what it will cost."""

    report: PlanReport
    problems: list[ProblemRow]


class PackagePinned(_Exact):
    """The packages that some code of a version runs with."""

    requirements: list[str]
    sha256: str
    bytes: int
    resolved: list[str]
    modules: list[str]


class WorkflowDetail(WorkflowShown):
    """A version with its file and the inputs that its runs take."""

    source: str
    inputs: dict[str, dict[str, Any]]
    packages: list[PackagePinned]


class PackageTarget(_Exact):
    """The Python and the system that code runs on."""

    python: str
    platform: str


class PackageUpload(_Exact):
    """Where to send a package, and what with it."""

    url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_at: str


class PackageOffered(_Exact):
    """Whether a package is stored, and where to send it if not."""

    sha256: str
    bytes: int
    stored: bool
    upload: PackageUpload | None


class WorkflowList(_Exact):
    """The newest version of each of the caller's workflows."""

    workflows: list[WorkflowShown]


class RunAccepted(_Exact):
    """A run that was started or cancelled."""

    run_id: str
    status: RunStatus


class InputTaken(_Exact):
    """What a run was told: the answer of a question, or a message to its agents."""

    run_id: str
    kind: Literal["answer", "message"]
    node_id: str | None = None
    path: str | None = None
    input_id: str | None = None


class AnswerShown(_Exact):
    """That a question was answered, when, and by whom: by `input` or by its `default`."""

    at: str
    by: Literal["input", "default"]


class WaitShown(_Exact):
    """What a node waits for, or has waited for."""

    kind: Literal["question"]
    prompt: str
    options: dict[str, str] | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    expires_at: str
    answer: AnswerShown | None = None


class TicketIssued(_Exact):
    """A ticket; `expires_at` is when it can no longer be used."""

    ticket: str
    expires_at: str


class WorkflowRef(_Exact):
    """Which workflow a run runs."""

    workflow_id: str
    version: int
    name: str


class ParentShown(_Exact):
    """The node of another run that waits for a child run; `depth` is how many are around it."""

    run_id: str
    node_id: str
    path: str
    depth: int


class RunShown(_Exact):
    """A run in short."""

    run_id: str
    status: RunStatus
    workflow: WorkflowRef
    incarnation: int
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    session_id: str | None = None
    forked_from: str | None = None
    usage: dict[str, Any]
    error: dict[str, Any] | None = None
    parent: ParentShown | None = None


class NodeShown(_Exact):
    """A node of a run at one path."""

    node_id: str
    path: str
    status: str
    attempts: int
    port: str | None = None
    reason: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    streams: dict[str, Any] | None = None
    child_run_id: str | None = None
    wait: WaitShown | None = None
    started_at: str | None = None
    ended_at: str | None = None
    result: dict[str, Any] | None = None


class EstimateShown(_Exact):
    """What a run was expected to use; `usd` leaves out the models in `unpriced`.

    `bound_tokens` is the same with each answer as long as it may be: the breaker's rule
    `token_surge` takes that.
    """

    input_tokens: int
    output_tokens: int
    model_calls: float
    usd: float
    bound_tokens: int
    unpriced: list[str] | None = None


class BudgetShown(_Exact):
    """What a run may use."""

    tokens: int | None = None
    usd: float | None = None


class SessionUsage(_Exact):
    """What the runs of a session used that have ended."""

    session_id: str
    usage: dict[str, Any]


class RunDetail(RunShown):
    """A run with its nodes; outputs and results unless `results=false`."""

    head: int
    outputs: dict[str, Any] | None = None
    estimate: EstimateShown | None = None
    budget: BudgetShown | None = None
    nodes: list[NodeShown]


class RunList(_Exact):
    """The caller's runs, newest first."""

    runs: list[RunShown]
    next_cursor: str | None


class EventPage(_Exact):
    """Stored events without a gap; `next_after_seq` is the next request's `after_seq`.

    With `text` also what was stored of it; `last_event_id` leads on in both.
    """

    events: list[dict[str, Any]]
    head: int
    next_after_seq: int
    deltas: list[dict[str, Any]] | None = None
    last_event_id: str | None = None


class TextRow(_Exact):
    """A stored piece of a stream; `offset` counts code points."""

    node_id: str
    path: str
    attempt: int
    stream: str
    offset: int
    text: str


class TextPage(_Exact):
    """Stored pieces by node, attempt, stream and offset."""

    texts: list[TextRow]
    next_cursor: str | None


class Tokens(_Exact):
    """Tokens of all model calls of a run."""

    input_tokens: int
    output_tokens: int
    estimated: bool


class ModelFees(_Exact):
    """What models cost, and what they were expected to cost; `unpriced` ones are left out."""

    usd: float
    expected_usd: float | None = None
    unpriced: list[str] | None = None


class DynamoUnits(_Exact):
    """Request units of DynamoDB that the run's invocations took."""

    read: float
    write: float


class Cost(_Exact):
    """What a run has cost so far; model fees are not in the price."""

    run_id: str
    status: RunStatus
    transitions: int
    transitions_predicted: int
    transitions_counted: bool
    aws_calls: dict[str, int]
    dynamodb_units: DynamoUnits
    model_calls: int
    tokens: Tokens
    models: ModelFees
    price_usd: float
    price_by_service: dict[str, float]
