"""Errors of the local stack."""

from __future__ import annotations

from typing import ClassVar

from joinery.errors import Unavailable


class LocalStackFailed(Unavailable):
    """The local stack did not start, did not deploy, or does not answer."""

    code: ClassVar[str] = "local_stack_failed"


class LocalStackDown(Unavailable):
    """The local stack is not running."""

    code: ClassVar[str] = "local_stack_down"

    def __init__(self) -> None:
        super().__init__("the local stack is not running: start it with joinery local up")
