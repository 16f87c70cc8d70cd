"""Child processes that outlive the command that started them.

Each runs in a session of its own, so that it and whatever it starts are one
process group. A process is known by its number and its start time: a number
that the system has given to somebody else is never signalled.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from joinery_cli.local.errors import LocalStackFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POLL_S: Final = 0.05
_LAST_LINES: Final = 15

# Kept, so that a command which starts and stops a service reaps it.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Service:
    """A running process of the local stack.

    Attributes:
        name: `emulator` or `model`.
        pid: Its process number, which is also that of its group.
        started: When it started, as the system tells; opaque.
        port: Its port on 127.0.0.1.
        log: File with what it prints.
    """

    name: str
    pid: int
    started: str
    port: int
    log: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON-ready form that `from_dict` reads."""
        return {
            "name": self.name,
            "pid": self.pid,
            "started": self.started,
            "port": self.port,
            "log": self.log,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Service:
        """Reads what `to_dict` gave."""
        return cls(**{key: data[key] for key in ("name", "pid", "started", "port", "log")})


def free_port() -> int:
    """Returns a port on 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    name: str, command: Sequence[str], *, port: int, environment: Mapping[str, str], home: Path
) -> Service:
    """Starts a process in its own session, with its output in `<home>/<name>.log`."""
    log = home / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    return Service(name, process.pid, _start_time(process.pid) or "", port, str(log))


def is_alive(service: Service) -> bool:
    """Whether the very process that was started still runs."""
    child = _children.get(service.pid)
    if child is not None and child.poll() is not None:
        return False
    return bool(service.started) and _start_time(service.pid) == service.started


def wait_until_healthy(service: Service, path: str, timeout_s: float) -> None:
    """Waits until `GET path` answers 200.

    Raises:
        LocalStackFailed: The process ended or did not answer in time; the
            message has its last lines.
    """
    deadline = time.monotonic() + timeout_s
    while not is_healthy(service, path):
        if not is_alive(service):
            raise LocalStackFailed(f"the {service.name} ended at its start.{last_lines(service)}")
        if time.monotonic() > deadline:
            raise LocalStackFailed(
                f"the {service.name} did not answer within {timeout_s:g} s.{last_lines(service)}"
            )
        time.sleep(_POLL_S)


def is_healthy(service: Service, path: str) -> bool:
    """Whether `GET path` answers 200 within a second."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_lines(service: Service) -> str:
    """Returns the end of a service's log for an error message; empty when it printed nothing."""
    with suppress(OSError):
        lines = Path(service.log).read_text(errors="replace").strip().splitlines()
        if lines:
            shown = "\n  ".join(lines[-_LAST_LINES:])
            return f" Last lines of {service.log}:\n  {shown}"
    return ""


def stop(service: Service, grace_s: float = 0.5) -> None:
    """Ends a service and everything it started; does nothing when it is gone already.

    The grace is short, since no service here keeps anything worth saving.
    """
    if not is_alive(service) and _start_time(service.pid) is not None:
        return  # the number belongs to another process now
    # With the leader gone, its number is not given away while its group has members.
    _signal_group(service.pid, signal.SIGTERM)
    if not _wait_gone(service, grace_s):
        _signal_group(service.pid, signal.SIGKILL)
        _wait_gone(service, 2.0)
    _signal_group(service.pid, signal.SIGKILL)
    child = _children.pop(service.pid, None)
    if child is not None:
        child.wait()


def _wait_gone(service: Service, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_alive(service):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _start_time(pid: int) -> str | None:
    """Returns when a process started, or None when there is no such process (or only a zombie)."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The second field is the name in parentheses, which may hold anything.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    text = shown.stdout.strip()
    return None if not text or text.startswith("Z") else text.partition(" ")[2].strip()
