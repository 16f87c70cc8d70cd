"""Starts a process, takes what it says up to a limit, and sees that it ends."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from joinery.sandbox.types import Cancelled

POLL_S = 0.2
"""A running process is looked at this often: cancel, and its end where the system does
not tell of it."""

_PIECE = 65_536


@dataclass(slots=True)
class Ran:
    """How a process went.

    Attributes:
        answer: What came over the channel; one byte more than allowed when there was more.
        printed: The end of what it printed.
        status: Exit status, below 0 the signal that ended it.
        timed_out: It was ended because its time was up.
        cancelled: It was ended because nobody waits for it.
    """

    answer: bytearray = field(default_factory=bytearray)
    printed: bytearray = field(default_factory=bytearray)
    status: int = 0
    timed_out: bool = False
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is taken from a process at most.

    Attributes:
        answer: Bytes over the channel; more end the process.
        printed: Bytes kept of what it prints, the last ones.
        timeout_s: Longest time from its first byte on the channel.
        start_s: Longest time until then.
    """

    answer: int
    printed: int
    timeout_s: float
    start_s: float


def run(
    command: Sequence[str],
    request: bytes,
    ends: tuple[int, int],
    bounds: Bounds,
    *,
    environment: dict[str, str],
    cancelled: Cancelled,
) -> Ran:
    """Runs a command to its end, one way or another.

    Args:
        command: The command.
        request: Its standard input.
        ends: A pipe for its answer: our end, and the one to pass on; both are closed.
        bounds: What is taken from it.
        environment: Its whole environment.
        cancelled: Asked now and then.

    Raises:
        OSError: It cannot be started.
    """
    reading, writing = ends
    with ExitStack() as held:
        held.callback(os.close, reading)
        try:
            # A file and no pipe: nothing waits for a process that does not read.
            given = held.enter_context(tempfile.TemporaryFile())
            given.write(request)
            given.seek(0)
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        held.callback(_end, process)
        assert process.stdout is not None
        held.callback(process.stdout.close)
        ran = Ran()
        _watch(process, (reading, process.stdout.fileno()), ran, bounds, cancelled)
        _end(process)
        ran.status = process.returncode
        # What was under way when it ended.
        _take(reading, ran.answer, bounds.answer + 1)
        _keep(process.stdout.fileno(), ran.printed, bounds.printed)
        return ran


def _watch(
    process: subprocess.Popen[bytes],
    sources: tuple[int, int],
    ran: Ran,
    bounds: Bounds,
    cancelled: Cancelled,
) -> None:
    """Reads until the process ends, its time is up, or it says too much."""
    deadline = time.monotonic() + bounds.start_s + bounds.timeout_s
    with selectors.DefaultSelector() as selector:
        reading, printing = sources
        for number in sources:
            os.set_blocking(number, False)
            selector.register(number, selectors.EVENT_READ)
        look = time.monotonic() + POLL_S
        pause = 0.001
        while not _has_ended(process):
            now = time.monotonic()
            if now >= deadline:
                ran.timed_out = True
                return
            if now >= look:
                look = now + POLL_S
                if cancelled():
                    ran.cancelled = True
                    return
            if not selector.get_map():  # both closed: nothing left but to wait for its end
                time.sleep(min(pause, deadline - now))
                pause = min(2 * pause, POLL_S)
                continue
            for key, _ in selector.select(min(POLL_S, deadline - now)):
                number = key.fd
                if number == reading:
                    if not ran.answer:
                        deadline = min(deadline, time.monotonic() + bounds.timeout_s)
                    more = _take(reading, ran.answer, bounds.answer + 1)
                    if len(ran.answer) > bounds.answer:
                        return
                else:
                    more = _keep(printing, ran.printed, bounds.printed)
                if not more:
                    selector.unregister(number)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; where the system can tell, its number stays its own."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    how = os.WEXITED | os.WNOWAIT | os.WNOHANG
    return os.waitid(os.P_PID, process.pid, how) is not None


def _take(number: int, into: bytearray, most: int) -> bool:
    """Reads what is there, up to a size; returns whether there may be more later."""
    while len(into) < most:
        piece = _read(number, min(_PIECE, most - len(into)))
        if not piece:
            return piece is None
        into += piece
    return True


def _keep(number: int, into: bytearray, most: int) -> bool:
    """Reads some of what is there and keeps the end; returns whether there may be more later."""
    for _ in range(64):  # then look at the clock again: it may print without end
        piece = _read(number, _PIECE)
        if not piece:
            return piece is None
        into += piece
        del into[:-most]
    return True


def _read(number: int, size: int) -> bytes | None:
    """Returns what is there: nothing at the end, None when there is nothing yet."""
    try:
        return os.read(number, size)
    except BlockingIOError:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and what it left behind in its group."""
    if process.returncode is not None:
        return
    # Before it is waited for: until then its number is nobody else's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
