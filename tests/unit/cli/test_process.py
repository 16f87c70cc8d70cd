"""The command as scripts and shells see it: processes, pipes, signals, terminals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from joinery_cli import exits

from .conftest import command, plain_environment

# typer itself brings pydantic in for some options
HEAVY = ("rich", "boto3", "httpx", "websockets", "ruamel", "ministack", "jsonschema")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom joinery_cli.main import run\n"
        f"sys.argv = ['joinery', *{arguments!r}]\nassert run() == 0\n"
        f"sys.stderr.write(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_validate_imports_only_what_it_needs(pure):
    code = (
        "import sys\nfrom joinery_cli.main import run\n"
        f"sys.argv = ['joinery', 'validate', {str(pure)!r}]\nassert run() == 0\n"
        "names = ('rich', 'boto3', 'httpx', 'websockets', 'ministack')\n"
        "sys.stderr.write(','.join(m for m in names if m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_stdout_is_pure_json(process, pure):
    result = process("run", pure, "-i", "number=12", "--json")
    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads(result.stdout)["status"] == "completed"


def test_nothing_is_drawn_where_there_is_no_terminal(process, pure):
    result = process("run", pure, "-i", "number=12", environment={"TERM": "xterm-256color"})
    assert result.returncode == 0
    assert b"\x1b" not in result.stdout + result.stderr
    assert b"\r" not in result.stdout + result.stderr


def test_an_inline_run_takes_less_than_a_second(process, pure):
    process("run", pure, "-i", "number=12", "--json")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = process("run", pure, "-i", "number=12", "--engine", "inline", "--json")
    assert result.returncode == 0
    # What it computes, since other tests may run on this machine.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_a_reader_that_leaves_is_no_error(pure, tmp_path):
    process = subprocess.Popen(
        command("compile", pure),
        env=plain_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(30)
    assert errors == b""


def test_an_encoding_that_cannot_hold_the_text(process, pure):
    for arguments in (["run", pure, "-i", "number=1", "-i", "who=日本"], ["validate", pure]):
        result = process(*arguments, environment={"PYTHONIOENCODING": "ascii"})
        assert result.returncode == 0
        assert b"Traceback" not in result.stderr
    result = process(
        *["run", pure, "-i", "number=1", "-i", "who=日本", "--json"],
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert json.loads(result.stdout)["outputs"]["text"] == "Hello 日本!"


def test_bytes_that_are_no_text_on_the_command_line(process, pure):
    arguments = [*command("run", pure, "-i", "number=1", "-i"), b"who=\xff"]
    result = subprocess.run(arguments, capture_output=True, timeout=60, check=False)
    assert result.returncode == exits.INVALID
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr


def test_a_defect_is_called_one_and_leaves_a_log(tmp_path, pure):
    code = (
        "import sys, joinery_cli.commands.validate as v\n"
        "v.read_report = lambda path: 1 / 0\n"
        "from joinery_cli.main import run\n"
        f"sys.argv = ['joinery', 'validate', {str(pure)!r}]\nsys.exit(run())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=plain_environment(tmp_path) | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == exits.FAILED
    assert result.stdout == ""
    assert result.stderr.startswith("error: this is a defect in Joinery (ZeroDivisionError")
    assert result.stderr.count("\n") == 2
    (log,) = tmp_path.glob("joinery-defect-*.log")
    assert result.stderr.endswith(f"\ndetails are in {log}\n")
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_before_a_run_begins_is_quiet(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        command("validate", fifo),
        env=plain_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == exits.CANCELLED
    assert out == b""
    assert b"Traceback" not in errors
