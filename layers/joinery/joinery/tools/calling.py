"""Makes the calls that one answer of a model asks for.

Calls that only read run side by side, others alone, all in the order of the answer.
A call that does not end in its time is left behind: its thread goes on, and what it
gives nobody hears.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

from joinery.errors import NodeError, Permanent, RunCancelled, RunSuspended, Transient
from joinery.tools.base import Tool, ToolResult, ToolUse
from joinery.tracing import ToolSpan

log = logging.getLogger(__name__)

SIDE_BY_SIDE: Final = 4
"""Most calls that run at the same time."""

POLL_S: Final = 0.2
"""How often a cancel is looked for while calls run."""

GRACE_S: Final = 0.5
"""A tool that keeps to its deadline itself says more than we can: it is given this much more."""

PAUSES_S: Final = (0.5, 1.0)
"""Waits before a call that failed for a moment is made again under its key."""


@dataclass(slots=True)
class Pending:
    """A call to be made.

    Attributes:
        index: Which of the answer's calls.
        tool: What is called.
        arguments: With what, checked.
        key: Its idempotency key.
        timeout_s: Longest time, in seconds.
    """

    index: int
    tool: Tool
    arguments: dict[str, Any]
    key: str
    timeout_s: float
    left: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0
    span: ExitStack = field(default_factory=ExitStack)
    failed: Callable[[str], None] = field(default=lambda _: None)

    @property
    def alone(self) -> bool:
        """Whether nothing may run beside it."""
        return not self.tool.read_only


@dataclass(frozen=True, slots=True)
class Made:
    """How a call ended.

    Attributes:
        pending: The call.
        result: What the tool gave; its `content` says why where it failed.
        code: Stable name of the failure, `""` where there is none.
        seconds: How long it took.
    """

    pending: Pending
    result: ToolResult
    code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose calls they are.

    Attributes:
        run_id: The run.
        owner: Whose run it is.
        session_id: Its session, where it has one.
        cancelled: Whether the run was cancelled meanwhile.
        begins: Told of each call right before it is made.
        spans: Opens the span of a call.
        deadline: `time.monotonic()` by which all of them must have ended.
        check: Raises `RunSuspended` when the run's time is over.
    """

    run_id: str
    owner: str
    session_id: str | None
    cancelled: Callable[[], bool]
    begins: Callable[[Pending], None]
    spans: Callable[[Pending], AbstractContextManager[ToolSpan]]
    deadline: float
    check: Callable[[], None] = field(default=lambda: None)


def make_calls(caller: Caller, calls: Sequence[Pending]) -> Iterator[Made]:
    """Makes calls and yields each as it ends.

    Raises:
        RunCancelled: The run was cancelled meanwhile.
        RunSuspended: Its time was over meanwhile.
        NodeError: A tool says that the run cannot go on now.
    """
    for batch in _batches(calls):
        yield from _make(caller, batch)


def _batches(calls: Sequence[Pending]) -> Iterator[list[Pending]]:
    batch: list[Pending] = []
    for call in calls:
        if batch and (call.alone or batch[-1].alone):
            yield batch
            batch = []
        batch.append(call)
    if batch:
        yield batch


def _make(caller: Caller, batch: Sequence[Pending]) -> Iterator[Made]:
    waiting = deque(batch)
    running: dict[int, Pending] = {}
    ended: SimpleQueue[Made | NodeError] = SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < SIDE_BY_SIDE:
                call = waiting.popleft()
                caller.begins(call)
                call.began = time.monotonic()
                call.timeout_s = max(0.0, min(call.timeout_s, caller.deadline - call.began))
                running[call.index] = call
                call.failed = call.span.enter_context(caller.spans(call)).failed
                threading.Thread(target=_call, args=(caller, call, ended), daemon=True).start()
            try:
                made = ended.get(timeout=POLL_S)
            except Empty:
                if caller.cancelled():
                    raise RunCancelled("the run was cancelled while tools worked") from None
                caller.check()
                for call in [c for c in running.values() if _overdue(c)]:
                    call.left.set()
                    yield _ended(_timed_out(running.pop(call.index)))
                continue
            if isinstance(made, NodeError):
                raise made
            if running.pop(made.pending.index, None) is not None:
                yield _ended(made)
    except RunSuspended:
        for call in running.values():
            call.held.set()
        raise
    finally:
        for call in running.values():
            call.left.set()
            call.span.close()


def _ended(made: Made) -> Made:
    """Ends the span of a call."""
    if made.code:
        made.pending.failed(made.code)
    made.pending.span.close()
    return made


def _overdue(call: Pending) -> bool:
    return time.monotonic() > call.began + call.timeout_s + GRACE_S


def _timed_out(call: Pending) -> Made:
    message = f"The tool did not end within {call.timeout_s:g} s."
    result = ToolResult(message, is_error=True)
    return Made(call, result, "agent.tool_timeout", time.monotonic() - call.began)


# -- in a thread of its own -----------------------------------------------------------------


def _call(caller: Caller, call: Pending, ended: SimpleQueue[Made | NodeError]) -> None:
    use = ToolUse(
        arguments=call.arguments,
        key=call.key,
        deadline=call.began + call.timeout_s,
        cancelled=lambda: call.left.is_set() or caller.cancelled(),
        run_id=caller.run_id,
        owner=caller.owner,
        session_id=caller.session_id,
        held=call.held.is_set,
    )
    try:
        result, code = _patiently(call, use)
    except (Transient, Permanent) as error:
        result, code = ToolResult(error.message, is_error=True), error.code
    except NodeError as error:  # not a failure of the tool: the run is to stop
        if not call.left.is_set():
            ended.put(error)
        return
    except Exception as error:
        log.exception("tool %s of run %s", call.tool.spec.name, caller.run_id)
        message = f"The tool failed: {type(error).__name__}."
        result, code = ToolResult(message, is_error=True), "agent.tool_raised"
    ended.put(Made(call, result, code, time.monotonic() - call.began))


def _patiently(call: Pending, use: ToolUse) -> tuple[ToolResult, str]:
    for pause in (*PAUSES_S, None):
        try:
            result = call.tool.call(use)
        except Transient:
            over = pause is None or time.monotonic() + pause >= use.deadline
            if over or call.tool.at_most_once or call.left.wait(pause):
                raise
        else:
            return result, "agent.tool_error" if result.is_error else ""
    raise AssertionError("the last pause is None")
