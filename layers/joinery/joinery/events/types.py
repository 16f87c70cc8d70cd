"""Types of everything that goes over the wire; made from `schema.json`, not by hand.

Run `python -m tools.generate` after a change of the schema.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, TypedDict

EVENT_NAMES: Final = (
    "run.started", "run.completed", "run.failed", "run.cancelled", "run.timed_out", "run.paused",
    "run.resumed", "nodes.reused", "node.started", "node.completed", "node.failed",
    "node.retrying", "nodes.skipped", "nodes.cancelled", "loop.round", "agent.round",
    "tool.called", "tool.completed", "context.compacted", "input.requested", "input.received",
    "input.taken", "input.cut", "model.retrying", "model.waiting", "model.fallback",
    "output.rejected", "usage.recorded", "budget.warning", "budget.exceeded", "breaker.tripped",
    "breaker.unlocked", "void",
)  # fmt: skip
DELTA_NAMES: Final = ("text.delta",)  # fmt: skip
FRAME_NAMES: Final = ("ack", "error", "pong", "resync", "hint",)  # fmt: skip
ACTIONS: Final = (
    "subscribe", "unsubscribe", "ping", "start", "cancel", "pause", "resume", "unlock", "input",
)  # fmt: skip


class _Message(TypedDict):
    """What every message from the server has."""

    v: Literal[1]
    timestamp: str


class _OfRun(_Message):
    """What every event and delta has besides."""

    run_id: str
    head: int


class _Event(_OfRun):
    """What every event has besides."""

    seq: int
    session_id: NotRequired[str]


class _OfNode(TypedDict):
    """Which node an event or delta is about."""

    node_id: str
    path: str


class _EventOfNode(_OfNode):
    """Which node an event is about."""

    node_name: NotRequired[str]


class Usage(TypedDict):
    """What models were used for, over all attempts."""

    input_tokens: int
    output_tokens: int
    model_calls: int
    estimated: bool
    usd: NotRequired[float]
    cached_tokens: NotRequired[int]
    reasoning_tokens: NotRequired[int]
    unpriced: NotRequired[list[str]]
    models: NotRequired[list[ModelUsage]]


class ModelUsage(TypedDict):
    """What one model was used for."""

    provider: str
    model: str
    model_calls: int
    input_tokens: int
    output_tokens: int
    estimated: bool
    usd: NotRequired[float]
    cached_tokens: NotRequired[int]
    reasoning_tokens: NotRequired[int]


class Budget(TypedDict):
    """What a run may use; one of the two at least."""

    tokens: NotRequired[int]
    usd: NotRequired[float]


class BudgetShown(TypedDict):
    """Tokens and dollars of a run."""

    tokens: NotRequired[int]
    usd: NotRequired[float]


class ErrorInfo(TypedDict):
    """What went wrong; the same shape in every interface."""

    code: str
    message: str
    retryable: bool
    details: NotRequired[dict[str, Any]]
    node_id: NotRequired[str]
    path: NotRequired[str]
    cause: NotRequired[dict[str, Any]]


class WorkflowRef(TypedDict):
    """Which workflow a run runs."""

    workflow_id: str
    version: int
    name: str


class GraphNode(TypedDict):
    """A node of the graph."""

    node_id: str
    type: str
    name: NotRequired[str]
    loops: list[str]


class NodeAt(TypedDict):
    """A node at a path."""

    node_id: str
    path: str


class StreamSummary(TypedDict):
    """A finished stream."""

    length: int
    sha256: str


class ReusedNode(TypedDict):
    """A node that a fork took over."""

    node_id: str
    path: str
    status: str


class RunEndData(TypedDict):
    """How a run ended."""

    usage: Usage
    duration_ms: int


class RunErrorData(TypedDict):
    """How a run ended that did not complete."""

    usage: Usage
    duration_ms: int
    error: ErrorInfo


class RunStartedData(TypedDict):
    """`data` of `run.started`."""

    workflow: WorkflowRef
    incarnation: int
    nodes: list[GraphNode]
    edges: list[list[Any]]
    loops: list[list[Any]]
    forked_from: NotRequired[str]


class RunStarted(_Event):
    """A run was made."""

    event: Literal["run.started"]
    data: RunStartedData


class RunCompleted(_Event):
    """The run has ended well; its outputs are stored."""

    event: Literal["run.completed"]
    data: RunEndData


class RunFailed(_Event):
    """The run has ended because a node failed, or because the execution did."""

    event: Literal["run.failed"]
    data: RunErrorData


class RunCancelled(_Event):
    """The run was cancelled."""

    event: Literal["run.cancelled"]
    data: RunEndData


class RunTimedOut(_Event):
    """The execution passed its time limit."""

    event: Literal["run.timed_out"]
    data: RunErrorData


class RunPausedData(TypedDict):
    """`data` of `run.paused`."""

    incarnation: int


class RunPaused(_Event):
    """No further node begins until the run is resumed."""

    event: Literal["run.paused"]
    data: RunPausedData


class RunResumedData(TypedDict):
    """`data` of `run.resumed`."""

    incarnation: int
    after: Literal["paused", "suspended", "failed", "timed_out"]
    nodes: list[NodeAt]


class RunResumed(_Event):
    """The run goes on, also after `run.failed` or `run.timed_out`."""

    event: Literal["run.resumed"]
    data: RunResumedData


class NodesReusedData(TypedDict):
    """`data` of `nodes.reused`."""

    nodes: list[ReusedNode]


class NodesReused(_Event):
    """What a fork took over from the run that it was made of; it is not run again."""

    event: Literal["nodes.reused"]
    data: NodesReusedData


class NodeStartedData(TypedDict):
    """`data` of `node.started`."""

    attempt: int
    type: str
    kept: NotRequired[dict[str, int]]


class NodeStarted(_Event, _EventOfNode):
    """An attempt of a node begins."""

    event: Literal["node.started"]
    data: NodeStartedData


class NodeCompletedData(TypedDict):
    """`data` of `node.completed`."""

    attempt: int
    duration_ms: int
    streams: dict[str, StreamSummary]
    port: NotRequired[str]
    reason: NotRequired[str]
    items: NotRequired[int]


class NodeCompleted(_Event, _EventOfNode):
    """A node has ended well."""

    event: Literal["node.completed"]
    data: NodeCompletedData


class NodeFailedData(TypedDict):
    """`data` of `node.failed`."""

    attempt: int
    error: ErrorInfo
    on_error: Literal["fail", "continue", "default", "route", "contained"]


class NodeFailed(_Event, _EventOfNode):
    """A node has ended badly, after its last attempt."""

    event: Literal["node.failed"]
    data: NodeFailedData


class NodeRetryingData(TypedDict):
    """`data` of `node.retrying`."""

    attempt: int
    error: ErrorInfo


class NodeRetrying(_Event, _EventOfNode):
    """An attempt failed and another will follow."""

    event: Literal["node.retrying"]
    data: NodeRetryingData


class NodesSkippedData(TypedDict):
    """`data` of `nodes.skipped`."""

    nodes: list[NodeAt]


class NodesSkipped(_Event, _EventOfNode):
    """Nodes that will not run, because the node named in the envelope took another port."""

    event: Literal["nodes.skipped"]
    data: NodesSkippedData


class NodesCancelledData(TypedDict):
    """`data` of `nodes.cancelled`."""

    join: str
    nodes: list[NodeAt]


class NodesCancelled(_Event, _OfNode):
    """Nodes that a join has no need of any more."""

    event: Literal["nodes.cancelled"]
    data: NodesCancelledData


class LoopRoundData(TypedDict):
    """`data` of `loop.round`."""

    round: int
    path: str
    max_rounds: int


class LoopRound(_Event, _EventOfNode):
    """A loop begins another round."""

    event: Literal["loop.round"]
    data: LoopRoundData


class AgentRoundData(TypedDict):
    """`data` of `agent.round`."""

    round: int
    max_rounds: int
    calls: int
    last: NotRequired[Literal["rounds", "calls", "time"]]


class AgentRound(_Event, _EventOfNode):
    """An agent with tools asks its model."""

    event: Literal["agent.round"]
    data: AgentRoundData


class ToolCalledData(TypedDict):
    """`data` of `tool.called`."""

    round: int
    index: int
    call_id: str
    tool: str
    arguments: str
    key: str


class ToolCalled(_Event, _EventOfNode):
    """A tool begins to work for an agent."""

    event: Literal["tool.called"]
    data: ToolCalledData


class ToolCompletedData(TypedDict):
    """`data` of `tool.completed`."""

    round: int
    index: int
    call_id: str
    tool: str
    ok: bool
    duration_ms: int
    chars: int
    cut: bool
    result: NotRequired[Any]
    result_cut: NotRequired[list[Literal["items", "text", "size"]]]
    code: NotRequired[str]


class ToolCompleted(_Event, _EventOfNode):
    """A tool's result is stored; the model is told it."""

    event: Literal["tool.completed"]
    data: ToolCompletedData


class ContextCompactedData(TypedDict):
    """`data` of `context.compacted`."""

    round: int
    exchanges: int
    before_tokens: int
    after_tokens: int
    by: Literal["model", "list", "cut"]


class ContextCompacted(_Event, _EventOfNode):
    """An agent's conversation came near to its model's window."""

    event: Literal["context.compacted"]
    data: ContextCompactedData


class InputRequestedData(TypedDict):
    """`data` of `input.requested`."""

    prompt: str
    options: NotRequired[dict[str, str]]
    schema: NotRequired[dict[str, Any]]
    default: NotRequired[Any]
    expires_at: str


class InputRequested(_Event, _EventOfNode):
    """A question waits for its answer."""

    event: Literal["input.requested"]
    data: InputRequestedData


class InputReceivedData(TypedDict):
    """`data` of `input.received`."""

    kind: Literal["answer", "message"]
    value: Any
    input_id: NotRequired[str]
    to: NotRequired[str]


class InputReceived(_Event):
    """Somebody has answered a question, or told the run's agents something."""

    event: Literal["input.received"]
    node_id: NotRequired[str]
    path: NotRequired[str]
    node_name: NotRequired[str]
    data: InputReceivedData


class InputTakenData(TypedDict):
    """`data` of `input.taken`."""

    turn: int
    input_ids: list[str]


class InputTaken(_Event, _EventOfNode):
    """An agent reads messages of the user."""

    event: Literal["input.taken"]
    data: InputTakenData


class InputCutData(TypedDict):
    """`data` of `input.cut`."""

    kept_chars: int
    total_chars: int


class InputCut(_Event, _EventOfNode):
    """A prompt did not fit the model's window and was cut, because the node says `fit."""

    event: Literal["input.cut"]
    data: InputCutData


class ModelRetryingData(TypedDict):
    """`data` of `model.retrying`."""

    attempt: int
    provider: str
    model: str
    calls: int
    wait_ms: int
    reason: str
    error: NotRequired[ErrorInfo]


class ModelRetrying(_Event, _EventOfNode):
    """A call of a model failed before any text was shown."""

    event: Literal["model.retrying"]
    data: ModelRetryingData


class ModelWaitingData(TypedDict):
    """`data` of `model.waiting`."""

    attempt: int
    provider: str
    model: str
    wait_ms: int
    reason: Literal["limit", "asked"]


class ModelWaiting(_Event, _EventOfNode):
    """A call of a model waits before it is made."""

    event: Literal["model.waiting"]
    data: ModelWaitingData


class ModelFallbackData(TypedDict):
    """`data` of `model.fallback`."""

    attempt: int
    model: str
    next: str
    reason: str
    error: ErrorInfo


class ModelFallback(_Event, _EventOfNode):
    """A model did not answer, and the next of its `fallback` is asked in the same attempt."""

    event: Literal["model.fallback"]
    data: ModelFallbackData


class OutputRejectedData(TypedDict):
    """`data` of `output.rejected`."""

    attempt: int
    problems: list[str]
    checks: NotRequired[list[dict[str, Any]]]
    round: NotRequired[int]
    reason: str


class OutputRejected(_Event, _EventOfNode):
    """A model's answer cannot be taken."""

    event: Literal["output.rejected"]
    data: OutputRejectedData


class UsageRecorded(_Event, _EventOfNode):
    """What the models of a node were used for, over all its attempts at this path."""

    event: Literal["usage.recorded"]
    data: Usage


class BudgetWarningData(TypedDict):
    """`data` of `budget.warning`."""

    budget: BudgetShown
    used: BudgetShown


class BudgetWarning(_Event):
    """Four fifths of a run's budget are used."""

    event: Literal["budget.warning"]
    data: BudgetWarningData


class BudgetExceededData(TypedDict):
    """`data` of `budget.exceeded`."""

    incarnation: int
    message: str
    budget: BudgetShown
    used: BudgetShown
    wanted: BudgetShown
    node_id: str
    path: str


class BudgetExceeded(_Event):
    """The next call does not fit into the run's budget."""

    event: Literal["budget.exceeded"]
    data: BudgetExceededData


class BreakerTrippedData(TypedDict):
    """`data` of `breaker.tripped`."""

    incarnation: int
    reason: Literal["token_surge", "loop", "wall_time", "velocity", "depth"]
    message: str
    value: float
    limit: float
    used: BudgetShown
    node_id: str
    path: str


class BreakerTripped(_Event):
    """The breaker has stopped the run, which is `suspended` until somebody unlocks it."""

    event: Literal["breaker.tripped"]
    data: BreakerTrippedData


class BreakerUnlockedData(TypedDict):
    """`data` of `breaker.unlocked`."""

    incarnation: int
    reason: str
    because: NotRequired[str]
    checks: NotRequired[list[Literal["content", "cost", "risk"]]]


class BreakerUnlocked(_Event):
    """Somebody has unlocked the run; `run.resumed` follows."""

    event: Literal["breaker.unlocked"]
    data: BreakerUnlockedData


class Void(_Event):
    """Nothing."""

    event: Literal["void"]
    data: dict[str, Any]


class TextDeltaData(TypedDict):
    """`data` of `text.delta`."""

    attempt: int
    stream: str
    offset: int
    text: str


class TextDelta(_OfRun, _OfNode):
    """A piece of a stream of text."""

    event: Literal["text.delta"]
    data: TextDeltaData


class AckFrameData(TypedDict):
    """`data` of `ack`."""

    request_id: str
    action: str
    status: NotRequired[str]
    created: NotRequired[bool]
    live: NotRequired[bool]
    events: NotRequired[int]
    deltas: NotRequired[int]
    kind: NotRequired[Literal["answer", "message"]]
    node_id: NotRequired[str]
    path: NotRequired[str]
    input_id: NotRequired[str]


class AckFrame(_Message):
    """A command was carried out."""

    event: Literal["ack"]
    run_id: NotRequired[str]
    head: NotRequired[int]
    data: AckFrameData


class ErrorFrameData(TypedDict):
    """`data` of `error`."""

    request_id: str | None
    code: str
    message: str
    retryable: bool
    details: NotRequired[dict[str, Any]]


class ErrorFrame(_Message):
    """A command was not carried out."""

    event: Literal["error"]
    data: ErrorFrameData


class PongFrameData(TypedDict):
    """`data` of `pong`."""

    request_id: str


class PongFrame(_Message):
    """The answer to `ping`."""

    event: Literal["pong"]
    run_id: NotRequired[str]
    head: NotRequired[int]
    data: PongFrameData


class ResyncFrame(_Message):
    """This client was too slow, a message passed 128 KB, or a replay would have been too long."""

    event: Literal["resync"]
    run_id: str
    head: int
    data: dict[str, Any]


class HintFrame(_Message):
    """The run has come to `head`."""

    event: Literal["hint"]
    run_id: str
    head: int
    data: dict[str, Any]


class SubscribeCommand(TypedDict):
    """Watch a run."""

    action: Literal["subscribe"]
    request_id: str
    run_id: str
    after_seq: NotRequired[int]
    offsets: NotRequired[dict[str, int]]


class UnsubscribeCommand(TypedDict):
    """Stop watching a run."""

    action: Literal["unsubscribe"]
    request_id: str
    run_id: str


class PingCommand(TypedDict):
    """Keep the socket open."""

    action: Literal["ping"]
    request_id: str
    run_id: NotRequired[str]


class StartCommand(TypedDict):
    """Start a run, as `POST /runs` does, and watch it from its first event on."""

    action: Literal["start"]
    request_id: str
    workflow_id: str
    version: NotRequired[int]
    inputs: NotRequired[dict[str, Any]]
    session_id: NotRequired[str]
    cassette: NotRequired[list[dict[str, Any]]]
    model: NotRequired[str]
    budget: NotRequired[Budget]
    subscribe: NotRequired[bool]


class CancelCommand(TypedDict):
    """Cancel a run, as `POST /runs/{run_id}/cancel` does."""

    action: Literal["cancel"]
    request_id: str
    run_id: str


class PauseCommand(TypedDict):
    """Let no further node begin, as `POST /runs/{run_id}/pause` does."""

    action: Literal["pause"]
    request_id: str
    run_id: str


class ResumeCommand(TypedDict):
    """Go on with a run that stands still, as `POST /runs/{run_id}/resume` does."""

    action: Literal["resume"]
    request_id: str
    run_id: str
    budget: NotRequired[Budget]


class UnlockCommand(TypedDict):
    """Unlock a run, as `POST /runs/{run_id}/unlock` does."""

    action: Literal["unlock"]
    request_id: str
    run_id: str
    because: NotRequired[str]
    checks: NotRequired[list[Literal["content", "cost", "risk"]]]


class InputCommand(TypedDict):
    """Answer a question that waits, or tell the run's agents something."""

    action: Literal["input"]
    request_id: str
    run_id: str
    node_id: NotRequired[str]
    path: NotRequired[str]
    value: Any


AnyEvent = (
    RunStarted
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTimedOut
    | RunPaused
    | RunResumed
    | NodesReused
    | NodeStarted
    | NodeCompleted
    | NodeFailed
    | NodeRetrying
    | NodesSkipped
    | NodesCancelled
    | LoopRound
    | AgentRound
    | ToolCalled
    | ToolCompleted
    | ContextCompacted
    | InputRequested
    | InputReceived
    | InputTaken
    | InputCut
    | ModelRetrying
    | ModelWaiting
    | ModelFallback
    | OutputRejected
    | UsageRecorded
    | BudgetWarning
    | BudgetExceeded
    | BreakerTripped
    | BreakerUnlocked
    | Void
)

AnyFrame = AckFrame | ErrorFrame | PongFrame | ResyncFrame | HintFrame

AnyCommand = (
    SubscribeCommand
    | UnsubscribeCommand
    | PingCommand
    | StartCommand
    | CancelCommand
    | PauseCommand
    | ResumeCommand
    | UnlockCommand
    | InputCommand
)

AnyMessage = AnyEvent | TextDelta | AnyFrame
