"""When a failed call of a model is worth another one, and after how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from joinery.errors import NodeError
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelTimeout,
    TransientModelUnavailable,
)

DOWN_WAITS_S: Final = (1.2, 3.0, 6.0, 12.0, 20.0)
"""Longest waits before the second to sixth call of a model that is down or busy."""

BROKEN_WAITS_S: Final = (1.0,)
"""The same for an answer that broke off before its first token: two calls in all."""

SHORT_TRIES: Final = 2
"""Calls of a model that another one can stand in for, and is asked after that."""

PATIENCE_S: Final = 3.0
"""Longest wait for such a model."""

ROOM_S: Final = 2.0
"""A wait that leaves the call less time than this is not begun."""

ALL_WAIT_S: Final = 1.0
"""What is added to a wait that the server asks for, so that not all come back together."""


def waits_after(error: NodeError) -> tuple[float, ...]:
    """Returns the longest waits before further calls; empty when none is worth it.

    A model that sent no token in time has used that time up: it is not asked again
    in the same attempt.
    """
    if isinstance(error, TransientModelUnavailable | TransientModelRateLimited):
        return DOWN_WAITS_S
    return BROKEN_WAITS_S if isinstance(error, TransientModelStream) else ()


def is_allowed(error: NodeError, allowed: Sequence[str] | None) -> bool:
    """Whether a node's `retry.errors`, codes or class names, allow to try again; None for all."""
    return allowed is None or bool({error.code, type(error).__name__} & set(allowed))


def was_patient(code: str) -> bool:
    """Whether an attempt that ended with an error of this code has waited for its model."""
    return code in _WAITED_FOR


def wait_s(longest: float, asked: float | None, random: float) -> float:
    """Returns how long to wait before another call, with full jitter.

    Args:
        longest: Of the schedule.
        asked: What the server asks for, or None.
        random: From 0 to 1.
    """
    if asked is None:
        return longest * random
    return asked + min(longest, ALL_WAIT_S) * random


def asked_wait(error: NodeError) -> float | None:
    """Returns the seconds that the server of a model asks to be left alone for, or None."""
    said = error.details.get("retry_after_s")
    return float(said) if isinstance(said, int | float) else None


def another_helps(error: NodeError) -> bool:
    """Whether another model may answer where one has failed with this error.

    What the model refused, and what does not fit its window, another one is not asked
    for: see `nodes.asking` for windows.
    """
    return isinstance(
        error,
        TransientModelUnavailable
        | TransientModelRateLimited
        | TransientModelTimeout
        | TransientModelStream
        | PermanentModelAuth
        | PermanentModelQuota
        | PermanentModelUnknown,
    )


def counts_as_down(error: NodeError, *, own_timeouts: bool) -> bool:
    """Whether a failure says that a model's server is down, for its breaker.

    A timeout that a workflow has set itself says nothing about the server: else one
    workflow could shut a model off for all others.
    """
    if isinstance(error, TransientModelTimeout):
        return error.details.get("phase") == "first_token" and not own_timeouts
    return isinstance(error, TransientModelUnavailable | TransientModelStream)


def is_too_long(error: NodeError) -> bool:
    """Whether the prompt does not fit: only a model with a larger window may."""
    return isinstance(error, PermanentContextTooLong)


_WAITED_FOR: Final = frozenset(
    {
        TransientModelUnavailable.code,
        TransientModelRateLimited.code,
        TransientModelStream.code,
    }
)
