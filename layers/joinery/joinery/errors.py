"""Every error that Joinery raises, as one tree.

    JoineryError
    ├── InvalidWorkflow           the file is wrong; `problems` lists everything at once
    ├── InvalidRequest            a request or an input is wrong
    │   ├── InvalidInput          an input of a run is missing, unknown or of the wrong type
    │   └── TooLarge              a value passes a limit; names the limit and the size
    ├── Unauthorized              no valid token
    ├── NotFound                  there is no such thing, or it is somebody else's
    ├── Conflict                  the thing is in another state than the request needs
    │   └── CursorAhead           a reader claims to have events that do not exist
    ├── Unavailable               a part we depend on does not answer
    └── NodeError                 raised while a node runs
        ├── Transient…            Step Functions retries it
        ├── Permanent…            never retried
        └── RunCancelled, RunSuspended, DeadlineNear, Quorum_…      control flow, not failures

What compiled state machines match on (`NodeError.asl_name`) is a public contract:
`Transient`, `Permanent`, and the class names of control flow. Machines live as long as
the runs that use them, so a class that is added later must need no new name in them.
This module imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class JoineryError(Exception):
    """Base of all errors.

    Attributes:
        code: Stable machine-readable name.
        http_status: The status the HTTP API answers with.
        retryable: Whether the same request may succeed later.
        details: Additional JSON-ready facts.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details

    def to_dict(self) -> dict[str, Any]:
        """Returns `{code, message, retryable, details?}`, the shape every interface shows."""
        shown: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
        }
        if self.details:
            shown["details"] = dict(self.details)
        return shown


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a workflow file.

    Attributes:
        code: Stable name of the rule, such as `edge.dangling`.
        severity: `error` or `warning`; only errors make a workflow invalid.
        message: What is wrong, for a person.
        hint: What to write instead; empty when there is nothing to add.
        node_id: The node it concerns, when it concerns one.
        pointer: JSON pointer (RFC 6901) into the file.
        line: 1-based line in the file, 0 when unknown.
        column: 1-based column in the file, 0 when unknown.
    """

    code: str
    message: str
    hint: str = ""
    severity: str = "error"
    node_id: str | None = None
    pointer: str = ""
    line: int = 0
    column: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as `joinery validate --json` prints it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "node_id": self.node_id,
            "pointer": self.pointer,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
        }


class InvalidWorkflow(JoineryError):
    """The workflow cannot be used; `problems` holds every reason."""

    code = "invalid_workflow"
    http_status = 422

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = [p for p in problems if p.severity == "error"]
        first = errors[0].message if errors else "unknown reason"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first}{more}", errors=[p.to_dict() for p in problems])
        self.problems = tuple(problems)


class InvalidRequest(JoineryError):
    """The request is malformed."""

    code = "invalid_request"
    http_status = 400


class InvalidInput(InvalidRequest):
    """An input of a run is missing, unknown or of the wrong type."""

    code = "invalid_input"
    http_status = 422


class TooLarge(InvalidRequest):
    """A value is larger than a limit; `details` has `limit` and `actual`."""

    code = "too_large"
    http_status = 413


class Unauthorized(JoineryError):
    """The caller has no valid token."""

    code = "unauthorized"
    http_status = 401


class NotFound(JoineryError):
    """There is no such thing, or the caller does not own it: nobody can tell which."""

    code = "not_found"
    http_status = 404


class Conflict(JoineryError):
    """The thing exists but its state does not allow the request."""

    code = "conflict"
    http_status = 409


class CursorAhead(Conflict):
    """A reader claims to have events that a run does not have; `details.head` is the last one."""

    code = "cursor_ahead"

    def __init__(self, cursor: int, head: int) -> None:
        super().__init__(f"the run has events up to {head}, not up to {cursor}", head=head)


class Unavailable(JoineryError):
    """A part that the request needs does not answer."""

    code = "unavailable"
    http_status = 503
    retryable = True


class NodeError(JoineryError):
    """Base of what a node raises; `asl_name` is what Retry and Catch match on."""

    code = "node_error"

    @classmethod
    def asl_name(cls) -> str:
        """The error name that Step Functions sees: `Transient`, `Permanent` or the class name."""
        return cls.__name__

    def for_machine(self) -> NodeError:
        """Returns the error to leave a Task by: its class is called what `asl_name` says.

        Its message begins with the exact class, as in `PermanentModelAuth: the key was
        refused`: the console shows it as the cause.
        """
        return self


# -- transient: the same node runs again ------------------------------------------


class Transient(NodeError):
    """Base of node errors that a new attempt may cure."""

    code = "transient"
    retryable = True

    @classmethod
    def asl_name(cls) -> str:
        """See `NodeError.asl_name`."""
        return "Transient"

    def for_machine(self) -> NodeError:
        """See `NodeError.for_machine`."""
        return Transient(f"{type(self).__name__}: {self.message}", **self.details)


class TransientClaimed(Transient):
    """Another invocation holds this node; `details.retry_after_s` says for how long at most."""

    code = "claimed"


class TransientOutputInvalid(Transient):
    """The model answered nothing, or its answer does not match the node's output schema."""

    code = "output_invalid"


class TransientChildFailed(Transient):
    """A child run failed, and the node's `retry` asks for another one."""

    code = "workflow.child_failed"


class TransientStore(Transient):
    """A table or bucket was throttled or did not answer."""

    code = "store_unavailable"
    http_status = 503


# -- permanent: a new attempt would end the same ------------------------------------


class Permanent(NodeError):
    """Base of node errors that end the node."""

    code = "permanent"

    @classmethod
    def asl_name(cls) -> str:
        """See `NodeError.asl_name`."""
        return "Permanent"

    def for_machine(self) -> NodeError:
        """See `NodeError.for_machine`."""
        return Permanent(f"{type(self).__name__}: {self.message}", **self.details)


class PermanentOutputInvalid(Permanent):
    """The answer still does not match the output schema after the last attempt."""

    code = "output_invalid"


class PermanentOutputCheck(Permanent):
    """A check of an answer cannot be evaluated; `details` has the node and the check's number."""

    code = "output_check"


class PermanentExpression(Permanent):
    """An expression could not be evaluated, or a value it needs is missing."""

    code = "expression"


class PermanentChildFailed(Permanent):
    """A child run did not complete; `details` has its run id, its status and its error."""

    code = "workflow.child_failed"


class PermanentChildInput(Permanent):
    """A child workflow does not take what it was given; `details.errors` lists everything."""

    code = "invalid_input"


class PermanentChildDepth(Permanent):
    """Too many runs would be nested in each other."""

    code = "workflow.too_deep"


class PermanentNotAList(Permanent):
    """What an iterate node is to take the items from is no list."""

    code = "iterate.not_a_list"


class PermanentTooManyItems(Permanent):
    """An iterate node has more items than its `max_items`; `details` has both numbers."""

    code = "iterate.too_many_items"


class PermanentTimeout(Permanent):
    """The node did not end within its timeout."""

    code = "node_timeout"


class PermanentAttemptsExhausted(Permanent):
    """The last allowed attempt failed; `details.cause` holds the error of that attempt."""

    code = "attempts_exhausted"


class PermanentQuorumNotReached(Permanent):
    """Too few edges into a join can still be taken; `details.lost` says what became of the rest."""

    code = "quorum_not_reached"


class PermanentInternal(Permanent):
    """A defect in Joinery or in a node: an unexpected exception."""

    code = "internal"


# -- control flow ----------------------------------------------------------------------


class RunCancelled(NodeError):
    """The run was cancelled; nothing of this node is stored."""

    code = "run_cancelled"
    http_status = 409


class RunSuspended(NodeError):
    """The run is paused or tripped; the node starts again when it goes on."""

    code = "run_suspended"
    http_status = 409


class DeadlineNear(NodeError):
    """A fused invocation ran short of time and gave its claim back."""

    code = "deadline_near"
    retryable = True


class QuorumDecided(NodeError):
    """A join that does not wait for all is decided: what else runs for it ends here.

    Raised as a subclass named after the join, which the state around catches by name.
    """

    code = "quorum_decided"
    http_status = 409


QUORUM_PREFIX = "Quorum_"


def quorum_decided(join_id: str) -> QuorumDecided:
    """Returns the error whose ASL name carries the join: `Quorum_<join>`."""
    kind: type[QuorumDecided] = type(f"{QUORUM_PREFIX}{join_id}", (QuorumDecided,), {})
    return kind(f"the join '{join_id}' is decided", join=join_id)
