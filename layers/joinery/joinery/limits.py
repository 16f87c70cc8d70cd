"""Every limit and price that Joinery works within, each with its source.

Prices are us-east-1, on demand, without free tiers, in US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# -- our own -------------------------------------------------------------------------

INPUT_BYTES: Final = 1_048_576
"""Largest single input of a run, in bytes of UTF-8 (text) or of JSON (anything else)."""

INPUTS_TOTAL_BYTES: Final = 4 * 1_048_576
"""All inputs of a run together: below Lambda's 6 MB request with room for JSON escapes."""

MEDIA_BYTES: Final = 3_932_160
"""Largest image or file of a prompt: 3.75 MB, the smallest limit of the providers (Bedrock's).

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

MEDIA_COUNT: Final = 20
"""Most images and files of a prompt. Bedrock takes as many images, and five files.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

NODE_ID_CHARS: Final = 64
"""A state name may have 80 characters; boxes around a node need room for theirs."""

NODE_NAME_CHARS: Final = 1_000
"""Each event of a node carries its `name`."""

LOOP_ROUNDS_MAX: Final = 100
"""Hard cap of `max_rounds`."""

ITERATE_ITEMS_MAX: Final = 1_000
"""Hard cap of `max_items`."""

ITERATE_CONCURRENCY_MAX: Final = 1_000
"""Hard cap of `concurrency`: as many as there are items at most."""

ITERATE_DEPTH_MAX: Final = 20
"""Iterate nodes in iterate nodes; two items in each would be a million."""

ATTEMPTS_MAX: Final = 10
"""Hard cap of `retry.attempts`."""

CHILD_DEPTH_MAX: Final = 5
"""How many runs may be nested in each other, the outermost not counted."""

WAIT_TIMEOUT_S: Final = 365 * 24 * 3_600
"""Longest wait of a node that costs nothing meanwhile: as long as an execution may last."""

CHILD_TIMEOUT_S: Final = 24 * 3_600
"""Longest child run of a node that says nothing itself: `defaults.timeout` is for work."""

QUESTION_TIMEOUT_S: Final = 7 * 24 * 3_600
"""How long a question waits that says nothing itself."""

QUESTION_BYTES: Final = 32_768
"""Largest question, its expressions filled in: its event goes over sockets in one frame."""

QUESTION_OPTIONS_MAX: Final = 50
"""Most options of a question."""

ANSWER_BYTES: Final = 65_536
"""Largest answer, or message to a running agent, in bytes of UTF-8 (text) or of JSON: its
event goes over sockets, which carry 128 KB."""

INBOX_PENDING_MAX: Final = 20
"""Most messages to a run's agents that none has taken."""

INBOX_RUN_MAX: Final = 1_000
"""Most messages to the agents of one run: each look reads all of them."""

NODES_MAX: Final = 2_000
"""Largest workflow."""

PLAN_BYTES: Final = 8 * 1_048_576
"""Largest plan: each worker reads it once, and parsed it takes up to five times as much memory."""

INLINE_BYTES: Final = 8_192
"""Values above go to S3: one PUT ($5/M) costs what 8 write units ($0.625/M each) cost."""

AGENT_ROUNDS: Final = 10
"""How often an agent with tools asks its model, where it says nothing itself."""

AGENT_ROUNDS_MAX: Final = 100
"""Hard cap of an agent's `max_rounds`."""

AGENT_CALLS: Final = 50
"""How many tools an agent calls, where it says nothing itself."""

AGENT_CALLS_MAX: Final = 1_000
"""Hard cap of an agent's `max_calls`: each is an entry of the journal and two events."""

AGENT_TOOLS_MAX: Final = 100
"""Most tools of one agent: what models still tell apart, and below all providers' limits."""

CHECKS_MAX: Final = 20
"""Most checks of a node's answer: all that are not true are told, stored and sent at once."""

CHECK_SAY_CHARS: Final = 1_000
"""Longest text that a check tells the model, as written and with its values put in."""

TOOL_TIMEOUT_S: Final = 60.0
"""Longest time of a call that an agent makes, where the tool says nothing itself."""

DOCUMENT_BYTES: Final = 512 * 1024
"""Largest OpenAPI document of a tool: it is part of the published workflow."""

CODE_BYTES: Final = 65_536
"""Largest source of a code node or a tool."""

CODE_ARGUMENTS_BYTES: Final = 4 * 1_048_576
"""Arguments of one call as JSON: what an expression may give, below Lambda's 6 MB."""

CODE_RESULT_BYTES: Final = 4 * 1_048_576
"""Result of one call as JSON."""

CODE_STDOUT_BYTES: Final = 4_096
"""What is kept of what code prints: the end."""

CODE_MEMORY_BYTES: Final = 256 * 1_048_576
"""Address space of a call: half of what `run_code` has, the other half is the handler's."""

REQUIREMENTS_MAX: Final = 20
"""Most requirements of a tool or a code node; what they need in turn does not count."""

REQUIREMENT_CHARS: Final = 200
"""Longest requirement."""

PACKAGES_RESOLVED_MAX: Final = 200
"""Most projects that requirements may come to, with what they need."""

# `run_code` keeps a package, packed and unpacked, in /tmp, which has 512 MB:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html

PACKAGE_ZIP_BYTES: Final = 50 * 1_048_576
"""Largest package."""

PACKAGE_BYTES: Final = 200 * 1_048_576
"""Largest package, unpacked."""

PACKAGE_FILES: Final = 20_000
"""Most files of a package."""

PACKAGES_KEPT_BYTES: Final = 1_024 * 1_048_576
"""Unpacked packages that a laptop keeps; those used least recently go first."""

PACKAGE_URL_S: Final = 300
"""How long an address is good from which a package is fetched, or to which it is sent."""

# -- Step Functions --------------------------------------------------------------------
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html

SFN_PAYLOAD_BYTES: Final = 262_144
SFN_HISTORY_EVENTS: Final = 25_000
SFN_DEFINITION_BYTES: Final = 1_048_576
SFN_NAME_CHARS: Final = 80
SFN_INLINE_MAP_WIDTH: Final = 40
SFN_MAP_RUNS_OPEN: Final = 1_000
SFN_HISTORY_WARN: Final = 0.6
SFN_HISTORY_REFUSE: Final = 0.8

# History events per state, counted on recorded executions.
SFN_EVENTS_EXECUTION: Final = 2
SFN_EVENTS_TASK: Final = 5
SFN_EVENTS_TASK_RETRY: Final = 3
SFN_EVENTS_CALLBACK: Final = 6
SFN_EVENTS_PLAIN: Final = 2
SFN_EVENTS_MAP: Final = 4
SFN_EVENTS_MAP_ITEM: Final = 2
SFN_EVENTS_PARALLEL: Final = 4

# https://aws.amazon.com/step-functions/pricing/
SFN_USD_PER_TRANSITION: Final = 25e-6

# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html
SFN_TRANSITIONS_CHILD_START: Final = 1
"""A distributed Map pays for each execution that it starts as for a transition."""

# -- Lambda ------------------------------------------------------------------------------
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html

LAMBDA_TIMEOUT_S: Final = 900
NODE_TIMEOUT_S: Final = 780
"""Longest node in one invocation: 13 of Lambda's 15 minutes, the rest to record the end."""

INVOCATION_S: Final = 880
"""What a walk may count on in one invocation: Lambda's limit without what `run_node` keeps
back to store an end, and without what begins and ends each node."""

FUSE_BUDGET_S: Final = 300
"""Expected time of all nodes that level 2 fuses into one Task: a third of the limit, so
that models three times slower than assumed still need no second invocation."""

INLINE_BUDGET_S: Final = 720
"""Expected time of a workflow that runs inline: the longest node, less a minute."""

INLINE_WIDTH: Final = 40
"""Most branches at once in one invocation: as many as an inline Map runs."""

RETRY_INSIDE_S: Final = 30.0
"""A walk waits this long itself before a new attempt. A Retry of the Task would cost less from
3.75 s on, but counts the attempts of all its nodes as one: it cannot double the wait of one."""

LAMBDA_SYNC_BYTES: Final = 6 * 1024 * 1024
LAMBDA_UNZIPPED_BYTES: Final = 250 * 1024 * 1024

# https://aws.amazon.com/lambda/pricing/ (arm)
LAMBDA_USD_PER_REQUEST: Final = 0.2e-6
LAMBDA_USD_PER_GB_S: Final = 13.3334e-6

RUN_NODE_MEMORY_GB: Final = 0.5
"""Memory of `run_node` in template.yaml."""

RUN_CODE_MEMORY_GB: Final = 0.5
"""Memory of `run_code` in template.yaml."""

# -- DynamoDB ----------------------------------------------------------------------------
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html

DYNAMODB_ITEM_BYTES: Final = 400 * 1024
DYNAMODB_TRANSACTION_ITEMS: Final = 100
DYNAMODB_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
DYNAMODB_BATCH_GET_ITEMS: Final = 100
DYNAMODB_BATCH_WRITE_ITEMS: Final = 25

# https://aws.amazon.com/dynamodb/pricing/on-demand/
DYNAMODB_USD_PER_WRITE_UNIT: Final = 0.625e-6
DYNAMODB_USD_PER_READ_UNIT: Final = 0.125e-6
DYNAMODB_WRITE_UNIT_BYTES: Final = 1024
DYNAMODB_READ_UNIT_BYTES: Final = 4096

# -- API Gateway -------------------------------------------------------------------------
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html

WEBSOCKET_MESSAGE_BYTES: Final = 128 * 1024
WEBSOCKET_FRAME_BYTES: Final = 32 * 1024
WEBSOCKET_LIFETIME_S: Final = 7_200
HTTP_API_TIMEOUT_S: Final = 30

# https://aws.amazon.com/api-gateway/pricing/
WEBSOCKET_USD_PER_MESSAGE: Final = 1e-6
HTTP_API_USD_PER_REQUEST: Final = 1e-6

# -- S3 ----------------------------------------------------------------------------------
# https://aws.amazon.com/s3/pricing/

S3_USD_PER_PUT: Final = 5e-6
S3_USD_PER_GET: Final = 0.4e-6

# -- what a price estimate assumes -------------------------------------------------------

ASSUMED_MODEL_CALL_S: Final = 10.0
"""Time of a model call whose real one is not known: 500 tokens at 50 tokens/s."""

ASSUMED_AGENT_ROUNDS: Final = 3
"""Usual calls of a model by an agent with tools: two that use them and one that answers."""

ASSUMED_PLAIN_NODE_S: Final = 0.05
ASSUMED_CODE_S: Final = 0.2
"""Time of a call of user code: a fresh process and a little work."""
ASSUMED_RESULT_BYTES: Final = 2_048
ASSUMED_READ_UNITS: Final[Mapping[str, float]] = {
    "dynamodb.GetItem": 1.0,  # the run or its control item: below 4 KB, strongly consistent
    "dynamodb.BatchGetItem": 3.0,  # control, the node and its parents: a unit each
    "dynamodb.Query": 2.0,  # a few records or events, up to 8 KB
}

ASSUMED_WRITE_UNITS: Final[Mapping[str, float]] = {
    "dynamodb.PutItem": 1.0,  # an event or a second of text
    "dynamodb.UpdateItem": 1.0,  # a counter, a claim
    "dynamodb.DeleteItem": 1.0,
    "dynamodb.BatchWriteItem": 2.0,
    "dynamodb.TransactWriteItems": 8.0,  # result of 2 KB, event, control: twice the units
}
"""What a call takes that tells no units: one that was refused takes some all the same."""
ASSUMED_VIEWERS: Final = 1
RUN_POSTS_PER_SECOND: Final = 50
"""Most posts a second of one run: all sockets and APIs of an account share 10,000 requests."""
LIVE_VIEWERS: Final = 20
"""The first viewers of a run get every message; the others are told to pull."""
DELTA_INTERVAL_S: Final = 0.1
"""Deltas of one stream are posted at most this often while somebody waits for its beginning."""
DELTA_FRESH_S: Final = 0.5
"""So long text is new: afterwards it is ahead of whoever reads it."""
DELTA_SETTLED: Final = 2
"""So many intervals lie between two deltas then: ten posts cost what 1.5 s of the function do."""
DURABLE_INTERVAL_S: Final = 1.0
"""Streamed text is in the table at most this much later."""
