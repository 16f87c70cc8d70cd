/**
 * Everything that goes over the wire; made from `schema.json`, not by hand. Run
 * `python -m tools.generate` after a change of the schema.
 */

export const PROTOCOL_VERSION = 1;

export const EVENT_NAMES = Object.freeze([
  "run.started", "run.completed", "run.failed", "run.cancelled", "run.timed_out", "run.paused",
  "run.resumed", "nodes.reused", "node.started", "node.completed", "node.failed",
  "node.retrying", "nodes.skipped", "nodes.cancelled", "loop.round", "agent.round",
  "tool.called", "tool.completed", "context.compacted", "input.requested", "input.received",
  "input.taken", "input.cut", "model.retrying", "model.waiting", "model.fallback",
  "output.rejected", "usage.recorded", "budget.warning", "budget.exceeded", "breaker.tripped",
  "breaker.unlocked", "void",
]);

export const DELTA_NAMES = Object.freeze(["text.delta"]);

export const FRAME_NAMES = Object.freeze(["ack", "error", "pong", "resync", "hint"]);

export const ACTIONS = Object.freeze([
  "subscribe", "unsubscribe", "ping", "start", "cancel", "pause", "resume", "unlock", "input",
]);

/** What each message must have, `data.` before what is in its data. */
export const REQUIRED = Object.freeze({
  "run.started": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.workflow",
    "data.incarnation", "data.nodes", "data.edges", "data.loops",
  ],
  "run.completed": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.usage", "data.duration_ms",
  ],
  "run.failed": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.usage", "data.duration_ms",
    "data.error",
  ],
  "run.cancelled": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.usage", "data.duration_ms",
  ],
  "run.timed_out": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.usage", "data.duration_ms",
    "data.error",
  ],
  "run.paused": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.incarnation",
  ],
  "run.resumed": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.incarnation", "data.after",
    "data.nodes",
  ],
  "nodes.reused": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.nodes",
  ],
  "node.started": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.type",
  ],
  "node.completed": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.duration_ms", "data.streams",
  ],
  "node.failed": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.error", "data.on_error",
  ],
  "node.retrying": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.error",
  ],
  "nodes.skipped": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.nodes",
  ],
  "nodes.cancelled": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.join",
    "data.nodes",
  ],
  "loop.round": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.round",
    "data.path", "data.max_rounds",
  ],
  "agent.round": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.round",
    "data.max_rounds", "data.calls",
  ],
  "tool.called": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.round",
    "data.index", "data.call_id", "data.tool", "data.arguments", "data.key",
  ],
  "tool.completed": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.round",
    "data.index", "data.call_id", "data.tool", "data.ok", "data.duration_ms", "data.chars",
    "data.cut",
  ],
  "context.compacted": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.round",
    "data.exchanges", "data.before_tokens", "data.after_tokens", "data.by",
  ],
  "input.requested": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.prompt",
    "data.expires_at",
  ],
  "input.received": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.kind", "data.value",
  ],
  "input.taken": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.turn",
    "data.input_ids",
  ],
  "input.cut": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data",
    "data.kept_chars", "data.total_chars",
  ],
  "model.retrying": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.provider", "data.model", "data.calls", "data.wait_ms", "data.reason",
  ],
  "model.waiting": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.provider", "data.model", "data.wait_ms", "data.reason",
  ],
  "model.fallback": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.model", "data.next", "data.reason", "data.error",
  ],
  "output.rejected": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data", "data.attempt",
    "data.problems", "data.reason",
  ],
  "usage.recorded": [
    "v", "timestamp", "run_id", "head", "seq", "node_id", "path", "event", "data",
    "data.input_tokens", "data.output_tokens", "data.model_calls", "data.estimated",
  ],
  "budget.warning": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.budget", "data.used",
  ],
  "budget.exceeded": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.incarnation",
    "data.message", "data.budget", "data.used", "data.wanted", "data.node_id", "data.path",
  ],
  "breaker.tripped": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.incarnation", "data.reason",
    "data.message", "data.value", "data.limit", "data.used", "data.node_id", "data.path",
  ],
  "breaker.unlocked": [
    "v", "timestamp", "run_id", "head", "seq", "event", "data", "data.incarnation", "data.reason",
  ],
  void: ["v", "timestamp", "run_id", "head", "seq", "event", "data"],
  "text.delta": [
    "v", "timestamp", "run_id", "head", "node_id", "path", "event", "data", "data.attempt",
    "data.stream", "data.offset", "data.text",
  ],
  ack: ["v", "timestamp", "event", "data", "data.request_id", "data.action"],
  error: [
    "v", "timestamp", "event", "data", "data.request_id", "data.code", "data.message",
    "data.retryable",
  ],
  pong: ["v", "timestamp", "event", "data", "data.request_id"],
  resync: ["v", "timestamp", "event", "run_id", "head", "data"],
  hint: ["v", "timestamp", "event", "run_id", "head", "data"],
  subscribe: ["action", "request_id", "run_id"],
  unsubscribe: ["action", "request_id", "run_id"],
  ping: ["action", "request_id"],
  start: ["action", "request_id", "workflow_id"],
  cancel: ["action", "request_id", "run_id"],
  pause: ["action", "request_id", "run_id"],
  resume: ["action", "request_id", "run_id"],
  unlock: ["action", "request_id", "run_id"],
  input: ["action", "request_id", "run_id", "value"],
});

/**
 * Any message, as a client reads it before it knows which one it is. A later version may
 * add names and fields.
 *
 * @typedef {Object} Message
 * @property {string} event
 * @property {number} [v]
 * @property {string} [run_id]
 * @property {string} [session_id]
 * @property {string} [timestamp]
 * @property {number} [head]
 * @property {number} [seq]
 * @property {string} [node_id]
 * @property {string} [path]
 * @property {any} [data]
 */

/**
 * What models were used for, over all attempts.
 *
 * @typedef {Object} Usage
 * @property {number} input_tokens
 * @property {number} output_tokens
 * @property {number} model_calls
 * @property {boolean} estimated
 * @property {number} [usd]
 * @property {number} [cached_tokens]
 * @property {number} [reasoning_tokens]
 * @property {(string)[]} [unpriced]
 * @property {(ModelUsage)[]} [models]
 */

/**
 * What one model was used for.
 *
 * @typedef {Object} ModelUsage
 * @property {string} provider
 * @property {string} model
 * @property {number} model_calls
 * @property {number} input_tokens
 * @property {number} output_tokens
 * @property {boolean} estimated
 * @property {number} [usd]
 * @property {number} [cached_tokens]
 * @property {number} [reasoning_tokens]
 */

/**
 * What a run may use; one of the two at least.
 *
 * @typedef {Object} Budget
 * @property {number} [tokens]
 * @property {number} [usd]
 */

/**
 * Tokens and dollars of a run.
 *
 * @typedef {Object} BudgetShown
 * @property {number} [tokens]
 * @property {number} [usd]
 */

/**
 * What went wrong; the same shape in every interface.
 *
 * @typedef {Object} ErrorInfo
 * @property {string} code
 * @property {string} message
 * @property {boolean} retryable
 * @property {Record<string, any>} [details]
 * @property {string} [node_id]
 * @property {string} [path]
 * @property {Record<string, any>} [cause]
 */

/**
 * Which workflow a run runs.
 *
 * @typedef {Object} WorkflowRef
 * @property {string} workflow_id
 * @property {number} version
 * @property {string} name
 */

/**
 * A node of the graph.
 *
 * @typedef {Object} GraphNode
 * @property {string} node_id
 * @property {string} type
 * @property {string} [name]
 * @property {(string)[]} loops
 */

/**
 * A node at a path.
 *
 * @typedef {Object} NodeAt
 * @property {string} node_id
 * @property {string} path
 */

/**
 * A finished stream.
 *
 * @typedef {Object} StreamSummary
 * @property {number} length
 * @property {string} sha256
 */

/**
 * A node that a fork took over.
 *
 * @typedef {Object} ReusedNode
 * @property {string} node_id
 * @property {string} path
 * @property {string} status
 */

/**
 * How a run ended.
 *
 * @typedef {Object} RunEndData
 * @property {Usage} usage
 * @property {number} duration_ms
 */

/**
 * How a run ended that did not complete.
 *
 * @typedef {Object} RunErrorData
 * @property {Usage} usage
 * @property {number} duration_ms
 * @property {ErrorInfo} error
 */

/**
 * A run was made.
 *
 * @typedef {Object} RunStarted
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.started"} event
 * @property {{workflow: WorkflowRef, incarnation: number, nodes: (GraphNode)[], edges:
 *   (any[])[], loops: (any[])[], forked_from?: string}} data
 */

/**
 * The run has ended well; its outputs are stored.
 *
 * @typedef {Object} RunCompleted
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.completed"} event
 * @property {RunEndData} data
 */

/**
 * The run has ended because a node failed, or because the execution did.
 *
 * @typedef {Object} RunFailed
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.failed"} event
 * @property {RunErrorData} data
 */

/**
 * The run was cancelled.
 *
 * @typedef {Object} RunCancelled
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.cancelled"} event
 * @property {RunEndData} data
 */

/**
 * The execution passed its time limit.
 *
 * @typedef {Object} RunTimedOut
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.timed_out"} event
 * @property {RunErrorData} data
 */

/**
 * No further node begins until the run is resumed.
 *
 * @typedef {Object} RunPaused
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.paused"} event
 * @property {{incarnation: number}} data
 */

/**
 * The run goes on, also after `run.failed` or `run.timed_out`.
 *
 * @typedef {Object} RunResumed
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"run.resumed"} event
 * @property {{incarnation: number, after: "paused" | "suspended" | "failed" | "timed_out",
 *   nodes: (NodeAt)[]}} data
 */

/**
 * What a fork took over from the run that it was made of; it is not run again.
 *
 * @typedef {Object} NodesReused
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"nodes.reused"} event
 * @property {{nodes: (ReusedNode)[]}} data
 */

/**
 * An attempt of a node begins.
 *
 * @typedef {Object} NodeStarted
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"node.started"} event
 * @property {{attempt: number, type: string, kept?: Record<string, number>}} data
 */

/**
 * A node has ended well.
 *
 * @typedef {Object} NodeCompleted
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"node.completed"} event
 * @property {{attempt: number, duration_ms: number, streams: Record<string, StreamSummary>,
 *   port?: string, reason?: string, items?: number}} data
 */

/**
 * A node has ended badly, after its last attempt.
 *
 * @typedef {Object} NodeFailed
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"node.failed"} event
 * @property {{attempt: number, error: ErrorInfo, on_error: "fail" | "continue" | "default" |
 *   "route" | "contained"}} data
 */

/**
 * An attempt failed and another will follow.
 *
 * @typedef {Object} NodeRetrying
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"node.retrying"} event
 * @property {{attempt: number, error: ErrorInfo}} data
 */

/**
 * Nodes that will not run, because the node named in the envelope took another port.
 *
 * @typedef {Object} NodesSkipped
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"nodes.skipped"} event
 * @property {{nodes: (NodeAt)[]}} data
 */

/**
 * Nodes that a join has no need of any more.
 *
 * @typedef {Object} NodesCancelled
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {"nodes.cancelled"} event
 * @property {{join: string, nodes: (NodeAt)[]}} data
 */

/**
 * A loop begins another round.
 *
 * @typedef {Object} LoopRound
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"loop.round"} event
 * @property {{round: number, path: string, max_rounds: number}} data
 */

/**
 * An agent with tools asks its model.
 *
 * @typedef {Object} AgentRound
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"agent.round"} event
 * @property {{round: number, max_rounds: number, calls: number, last?: "rounds" | "calls" |
 *   "time"}} data
 */

/**
 * A tool begins to work for an agent.
 *
 * @typedef {Object} ToolCalled
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"tool.called"} event
 * @property {{round: number, index: number, call_id: string, tool: string, arguments: string,
 *   key: string}} data
 */

/**
 * A tool's result is stored; the model is told it.
 *
 * @typedef {Object} ToolCompleted
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"tool.completed"} event
 * @property {{round: number, index: number, call_id: string, tool: string, ok: boolean,
 *   duration_ms: number, chars: number, cut: boolean, result?: any, result_cut?: ("items" |
 *   "text" | "size")[], code?: string}} data
 */

/**
 * An agent's conversation came near to its model's window.
 *
 * @typedef {Object} ContextCompacted
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"context.compacted"} event
 * @property {{round: number, exchanges: number, before_tokens: number, after_tokens: number, by:
 *   "model" | "list" | "cut"}} data
 */

/**
 * A question waits for its answer.
 *
 * @typedef {Object} InputRequested
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"input.requested"} event
 * @property {{prompt: string, options?: Record<string, string>, schema?: Record<string, any>,
 *   default?: any, expires_at: string}} data
 */

/**
 * Somebody has answered a question, or told the run's agents something.
 *
 * @typedef {Object} InputReceived
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"input.received"} event
 * @property {string} [node_id]
 * @property {string} [path]
 * @property {string} [node_name]
 * @property {{kind: "answer" | "message", value: any, input_id?: string, to?: string}} data
 */

/**
 * An agent reads messages of the user.
 *
 * @typedef {Object} InputTaken
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"input.taken"} event
 * @property {{turn: number, input_ids: (string)[]}} data
 */

/**
 * A prompt did not fit the model's window and was cut, because the node says `fit.
 *
 * @typedef {Object} InputCut
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"input.cut"} event
 * @property {{kept_chars: number, total_chars: number}} data
 */

/**
 * A call of a model failed before any text was shown.
 *
 * @typedef {Object} ModelRetrying
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"model.retrying"} event
 * @property {{attempt: number, provider: string, model: string, calls: number, wait_ms: number,
 *   reason: string, error?: ErrorInfo}} data
 */

/**
 * A call of a model waits before it is made.
 *
 * @typedef {Object} ModelWaiting
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"model.waiting"} event
 * @property {{attempt: number, provider: string, model: string, wait_ms: number, reason: "limit"
 *   | "asked"}} data
 */

/**
 * A model did not answer, and the next of its `fallback` is asked in the same attempt.
 *
 * @typedef {Object} ModelFallback
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"model.fallback"} event
 * @property {{attempt: number, model: string, next: string, reason: string, error: ErrorInfo}}
 *   data
 */

/**
 * A model's answer cannot be taken.
 *
 * @typedef {Object} OutputRejected
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"output.rejected"} event
 * @property {{attempt: number, problems: (string)[], checks?: ({check: number, that: string,
 *   say: string})[], round?: number, reason: string}} data
 */

/**
 * What the models of a node were used for, over all its attempts at this path.
 *
 * @typedef {Object} UsageRecorded
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {string} node_id
 * @property {string} path
 * @property {string} [node_name]
 * @property {"usage.recorded"} event
 * @property {Usage} data
 */

/**
 * Four fifths of a run's budget are used.
 *
 * @typedef {Object} BudgetWarning
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"budget.warning"} event
 * @property {{budget: BudgetShown, used: BudgetShown}} data
 */

/**
 * The next call does not fit into the run's budget.
 *
 * @typedef {Object} BudgetExceeded
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"budget.exceeded"} event
 * @property {{incarnation: number, message: string, budget: BudgetShown, used: BudgetShown,
 *   wanted: BudgetShown, node_id: string, path: string}} data
 */

/**
 * The breaker has stopped the run, which is `suspended` until somebody unlocks it.
 *
 * @typedef {Object} BreakerTripped
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"breaker.tripped"} event
 * @property {{incarnation: number, reason: "token_surge" | "loop" | "wall_time" | "velocity" |
 *   "depth", message: string, value: number, limit: number, used: BudgetShown, node_id: string,
 *   path: string}} data
 */

/**
 * Somebody has unlocked the run; `run.resumed` follows.
 *
 * @typedef {Object} BreakerUnlocked
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"breaker.unlocked"} event
 * @property {{incarnation: number, reason: string, because?: string, checks?: ("content" |
 *   "cost" | "risk")[]}} data
 */

/**
 * Nothing.
 *
 * @typedef {Object} Void
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {number} seq
 * @property {string} [session_id]
 * @property {"void"} event
 * @property {Record<string, any>} data
 */

/**
 * A piece of a stream of text.
 *
 * @typedef {Object} TextDelta
 * @property {1} v
 * @property {string} timestamp
 * @property {string} run_id
 * @property {number} head
 * @property {string} node_id
 * @property {string} path
 * @property {"text.delta"} event
 * @property {{attempt: number, stream: string, offset: number, text: string}} data
 */

/**
 * A command was carried out.
 *
 * @typedef {Object} AckFrame
 * @property {1} v
 * @property {string} timestamp
 * @property {"ack"} event
 * @property {string} [run_id]
 * @property {number} [head]
 * @property {{request_id: string, action: string, status?: string, created?: boolean, live?:
 *   boolean, events?: number, deltas?: number, kind?: "answer" | "message", node_id?: string,
 *   path?: string, input_id?: string}} data
 */

/**
 * A command was not carried out.
 *
 * @typedef {Object} ErrorFrame
 * @property {1} v
 * @property {string} timestamp
 * @property {"error"} event
 * @property {{request_id: string | null, code: string, message: string, retryable: boolean,
 *   details?: Record<string, any>}} data
 */

/**
 * The answer to `ping`.
 *
 * @typedef {Object} PongFrame
 * @property {1} v
 * @property {string} timestamp
 * @property {"pong"} event
 * @property {string} [run_id]
 * @property {number} [head]
 * @property {{request_id: string}} data
 */

/**
 * This client was too slow, a message passed 128 KB, or a replay would have been too long.
 *
 * @typedef {Object} ResyncFrame
 * @property {1} v
 * @property {string} timestamp
 * @property {"resync"} event
 * @property {string} run_id
 * @property {number} head
 * @property {Record<string, any>} data
 */

/**
 * The run has come to `head`.
 *
 * @typedef {Object} HintFrame
 * @property {1} v
 * @property {string} timestamp
 * @property {"hint"} event
 * @property {string} run_id
 * @property {number} head
 * @property {Record<string, any>} data
 */

/**
 * Watch a run.
 *
 * @typedef {Object} SubscribeCommand
 * @property {"subscribe"} action
 * @property {string} request_id
 * @property {string} run_id
 * @property {number} [after_seq]
 * @property {Record<string, number>} [offsets]
 */

/**
 * Stop watching a run.
 *
 * @typedef {Object} UnsubscribeCommand
 * @property {"unsubscribe"} action
 * @property {string} request_id
 * @property {string} run_id
 */

/**
 * Keep the socket open.
 *
 * @typedef {Object} PingCommand
 * @property {"ping"} action
 * @property {string} request_id
 * @property {string} [run_id]
 */

/**
 * Start a run, as `POST /runs` does, and watch it from its first event on.
 *
 * @typedef {Object} StartCommand
 * @property {"start"} action
 * @property {string} request_id
 * @property {string} workflow_id
 * @property {number} [version]
 * @property {Record<string, any>} [inputs]
 * @property {string} [session_id]
 * @property {(Record<string, any>)[]} [cassette]
 * @property {string} [model]
 * @property {Budget} [budget]
 * @property {boolean} [subscribe]
 */

/**
 * Cancel a run, as `POST /runs/{run_id}/cancel` does.
 *
 * @typedef {Object} CancelCommand
 * @property {"cancel"} action
 * @property {string} request_id
 * @property {string} run_id
 */

/**
 * Let no further node begin, as `POST /runs/{run_id}/pause` does.
 *
 * @typedef {Object} PauseCommand
 * @property {"pause"} action
 * @property {string} request_id
 * @property {string} run_id
 */

/**
 * Go on with a run that stands still, as `POST /runs/{run_id}/resume` does.
 *
 * @typedef {Object} ResumeCommand
 * @property {"resume"} action
 * @property {string} request_id
 * @property {string} run_id
 * @property {Budget} [budget]
 */

/**
 * Unlock a run, as `POST /runs/{run_id}/unlock` does.
 *
 * @typedef {Object} UnlockCommand
 * @property {"unlock"} action
 * @property {string} request_id
 * @property {string} run_id
 * @property {string} [because]
 * @property {("content" | "cost" | "risk")[]} [checks]
 */

/**
 * Answer a question that waits, or tell the run's agents something.
 *
 * @typedef {Object} InputCommand
 * @property {"input"} action
 * @property {string} request_id
 * @property {string} run_id
 * @property {string} [node_id]
 * @property {string} [path]
 * @property {any} value
 */
