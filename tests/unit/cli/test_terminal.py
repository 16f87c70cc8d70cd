"""The live view on a real terminal: a pseudo-terminal, read as a terminal would."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from .conftest import plain_environment

ROOT = Path(__file__).parents[3]
SCRIPT = str(Path(__file__).parent / "slow_run.py")
LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes it the controlling terminal, so that Ctrl-C is a signal."""

ENTER, LEAVE, SHOW_CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, tmp_path, columns=100, lines=30):
        self.main, side = pty.openpty()
        self.resize(columns, lines)
        environment = plain_environment(tmp_path) | {
            "TERM": "xterm-256color",
            "PYTHONPATH": str(ROOT / "tests"),
        }
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, sys.executable, SCRIPT, "examples/debate.yaml"],
            cwd=ROOT,
            env=environment,
            stdin=side,
            stdout=side,
            stderr=side,
        )
        os.close(side)
        self.seen = b""

    def resize(self, columns, lines):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, size)

    def read(self, until, timeout=20.0):
        """Reads until some bytes are seen after those read before; returns what was read."""
        begun, start = time.monotonic(), len(self.seen)
        while until not in self.seen[start:]:
            assert time.monotonic() - begun < timeout, self.seen[start:][-2000:]
            if select.select([self.main], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.main, 65536)
                except OSError:
                    break
        return self.seen[start:]

    def rest(self):
        start = len(self.seen)
        while True:
            try:
                data = os.read(self.main, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        return self.seen[start:]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.main)


@pytest.fixture
def terminal(tmp_path):
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_the_live_view_leaves_a_clean_summary(terminal):
    terminal.read(LEAVE)
    terminal.rest()
    live, after = terminal.seen.split(LEAVE)
    assert live.count(ENTER) == 1
    assert b"pro speaks." in live
    assert b"con speaks." in live
    assert terminal.process.wait(10) == 0
    assert SHOW_CURSOR in live + after
    assert ENTER not in after
    text = after.decode()
    assert "completed" in text
    assert "score" in text
    assert "3 model calls" in text


def test_it_is_drawn_at_most_fifteen_times_a_second(terminal):
    terminal.read(ENTER)
    begun = time.monotonic()
    live = terminal.read(LEAVE)
    # Each frame begins at the first line of the screen.
    frames = live.count(b"\x1b[H")
    assert 5 < frames < 15 * (time.monotonic() - begun) + 2


def test_another_size_is_drawn_at_once(terminal):
    terminal.read(b"pro speaks.")
    terminal.resize(60, 16)
    time.sleep(0.3)
    terminal.read(LEAVE)
    frames = terminal.seen.split(b"\x1b[H")[2:-1]
    assert frames[0].count(b"\n") == 29
    assert frames[-1].count(b"\n") == 15
    terminal.rest()
    assert terminal.process.wait(10) == 0


def test_ctrl_c_twice_cancels_and_leaves_the_terminal_as_it_was(terminal):
    terminal.read(b"pro speaks.")
    os.write(terminal.main, b"\x03")
    terminal.read(b"Ctrl-C again cancels it")
    os.write(terminal.main, b"\x03")
    terminal.read(LEAVE)
    terminal.rest()
    live, after = terminal.seen.rsplit(LEAVE, 1)
    assert terminal.process.wait(10) == 130
    assert SHOW_CURSOR in live + after
    assert b"cancelled" in after
    assert b"Traceback" not in terminal.seen
