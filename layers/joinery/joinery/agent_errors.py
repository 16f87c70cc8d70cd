"""What ends an agent with tools, part of the tree in `errors.py`.

This module imports nothing but the standard library.
"""

from __future__ import annotations

from joinery.errors import Permanent


class PermanentToolUnusable(Permanent):
    """A tool cannot be offered to a model: its parameters are no JSON Schema."""

    code = "agent.tool_unusable"


class PermanentToolCallsInvalid(Permanent):
    """The model was told twice in a row why no call of its answer could be made, and went on so."""

    code = "agent.invalid_calls"


class PermanentToolFailures(Permanent):
    """The same call failed in the same way too often; `details` has the tool and the failure."""

    code = "agent.same_failure"


class PermanentNoAnswer(Permanent):
    """The model asked for more tools where it could only answer."""

    code = "agent.no_answer"


class PermanentNoSuchResult(Permanent):
    """A model asks for a result that this agent does not have."""

    code = "agent.no_such_result"
