"""What ends a user's code, part of the tree in `errors.py`.

This module imports nothing but the standard library.
"""

from __future__ import annotations

from joinery.errors import Permanent, Transient


class TransientCodeRunner(Transient):
    """The place where users' code runs is busy or did not answer."""

    code = "code_runner_unavailable"


class PermanentCode(Permanent):
    """Base of what ends a user's code; `details.stdout` is the end of what it printed."""

    code = "code.failed"


class PermanentCodeRaised(PermanentCode):
    """The code raised; `details` has `type`, and `line` and `source` of the user's code."""

    code = "code.raised"


class PermanentCodeTimeout(PermanentCode):
    """The code did not end in its time."""

    code = "code.timeout"


class PermanentCodeMemory(PermanentCode):
    """The code needed more memory than it may have."""

    code = "code.memory"


class PermanentCodeNotJson(PermanentCode):
    """The code returned what JSON has no form for."""

    code = "code.not_json"


class PermanentCodeTooLarge(PermanentCode):
    """Arguments or result pass their limit."""

    code = "code.too_large"


class PermanentCodeEnded(PermanentCode):
    """The code ended its process."""

    code = "code.ended"


class PermanentCodeArguments(PermanentCode):
    """The arguments of a tool do not match its parameters."""

    code = "code.arguments"


class PermanentCodePackage(PermanentCode):
    """The packages that the code needs are not there, or are not what they should be."""

    code = "code.package"


class PermanentCodeNoSandbox(PermanentCode):
    """There is nothing on this machine that could shut code off."""

    code = "code.no_sandbox"
