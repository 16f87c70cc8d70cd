"""What goes wrong when a person answers a run or speaks to it, part of the tree in `errors.py`.

This module imports nothing but the standard library.
"""

from __future__ import annotations

from joinery.errors import Conflict, JoineryError, Permanent


class NotWaiting(Conflict):
    """No answer is awaited there; `details` has the status of the node, or of the run."""

    code = "not_waiting"


class AlreadyAnswered(Conflict):
    """The question has its answer; `details` says since when, and by whom: `input` or `default`."""

    code = "already_answered"


class QuestionOver(Conflict):
    """The time to answer is over; `details.expired_at` says since when."""

    code = "question_expired"


class NoAgent(Conflict):
    """No agent of the run can take a message; `details.waiting` names questions that are open."""

    code = "no_agent"


class InboxFull(JoineryError):
    """The run's agents have too many messages; `details` has the limit and whether any can go."""

    code = "inbox_full"
    http_status = 429


class PermanentQuestionExpired(Permanent):
    """Nobody answered the question within the node's timeout, and it has no default."""

    code = "question.expired"


class PermanentQuestionTooLarge(Permanent):
    """A question, its expressions filled in, is larger than a socket's frame."""

    code = "question.too_large"
