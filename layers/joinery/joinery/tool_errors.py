"""What goes wrong when a tool outside is called, part of the tree in `errors.py`.

This module imports nothing but the standard library.
"""

from __future__ import annotations

from joinery.errors import Permanent, Transient


class TransientToolUnreachable(Transient):
    """The tool's server has no address, refuses, is busy (429, 502, 503, 504) or hangs up."""

    code = "tool.unreachable"


class TransientToolTimeout(Transient):
    """The tool's server did not answer in the tool's time."""

    code = "tool.timeout"


class PermanentToolAddress(Permanent):
    """The tool's server stands at an address that tools may not reach."""

    code = "tool.address"


class PermanentToolAnswer(Permanent):
    """The tool's server answered what it must not: not its protocol, not JSON, too much."""

    code = "tool.bad_answer"


class PermanentToolSecret(Permanent):
    """A secret that a tool needs is missing, or may not be sent to the tool's server."""

    code = "tool.secret"


class PermanentToolUnknown(Permanent):
    """The tool's server has no tool of that name, or one that no model can be shown."""

    code = "tool.unknown"
