"""What is run, what it gives, and the port behind which it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from joinery.code_errors import PermanentCodeNoSandbox

Cancelled = Callable[[], bool]
"""Whether nobody waits for the result any more."""


@dataclass(frozen=True, slots=True)
class PackageRef:
    """Which packages a call may import.

    Attributes:
        owner: Whose they are.
        sha256: The hash of the zip that has them.
        bytes: Its size.
    """

    owner: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """One call of a function that a user wrote.

    Attributes:
        code: Python source, run as a module of its own.
        function: Which of its functions is called.
        arguments: Its keyword arguments, JSON values.
        timeout_s: Longest time for all of it, in seconds.
        package: What it may import besides the standard library.
    """

    code: str
    function: str
    arguments: Mapping[str, Any]
    timeout_s: float
    package: PackageRef | None = None


@dataclass(frozen=True, slots=True)
class CodeOutcome:
    """What a call gave.

    Attributes:
        output: What the function returned, as JSON data.
        stdout: The end of what it printed.
    """

    output: Any
    stdout: str = ""


class CodeRunner(Protocol):
    """Runs code somewhere it can do no harm."""

    def run(self, request: CodeRequest, cancelled: Cancelled) -> CodeOutcome:
        """Calls the function and returns what it gave.

        Raises:
            PermanentCode: It gave nothing; the subclass says why.
            TransientCodeRunner: The place where it runs does not answer.
        """
        ...


class NoCodeRunner:
    """For processes that run no code."""

    def run(self, request: CodeRequest, cancelled: Cancelled) -> CodeOutcome:
        """See `CodeRunner.run`."""
        raise PermanentCodeNoSandbox("nothing here runs code")
