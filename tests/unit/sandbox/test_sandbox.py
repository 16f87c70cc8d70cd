"""The choice of a sandbox, the reader of answers, the filter, and the function around it."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.functions import Context, load_function, sample

from joinery.code_errors import PermanentCode, PermanentCodeEnded, PermanentCodeNoSandbox
from joinery.sandbox import child, syscall_filter
from joinery.sandbox import run as sandbox
from joinery.sandbox.answer import outcome_of
from joinery.sandbox.isolation import Isolation
from joinery.sandbox.run import SandboxCodeRunner
from joinery.sandbox.types import CodeOutcome, CodeRequest, NoCodeRunner

ONE = CodeRequest("def main():\n    return 1", "main", {}, 5.0)


def never() -> bool:
    return False


# -- which sandbox -----------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with these programs, of which these sandboxes work."""

    def build(programs: set[str], works: set[str], system: str = "Linux") -> None:
        sandbox._find.cache_clear()
        monkeypatch.setattr(sandbox.shutil, "which", lambda n: n if n in programs else None)
        monkeypatch.setattr(
            sandbox, "_try", lambda way: None if way.name in works else "not permitted"
        )
        monkeypatch.setattr(sandbox.platform, "system", lambda: system)

    yield build
    sandbox._find.cache_clear()


LINUX = {"bwrap", "unshare", "setpriv", "chroot"}


def test_bubblewrap_comes_first_and_namespaces_second(machine: Any) -> None:
    machine(LINUX, {"bwrap", "unshare"})
    assert sandbox.isolation("sandbox") == Isolation("bwrap")
    machine(LINUX - {"bwrap"}, {"bwrap", "unshare"})
    assert sandbox.isolation("sandbox") == Isolation("unshare")
    machine(LINUX, {"unshare"})
    assert sandbox.isolation("allowed") == Isolation("unshare")


@pytest.mark.parametrize(
    ("programs", "system", "said"),
    [
        (LINUX, "Linux", "bwrap: not permitted; unshare: not permitted"),
        (set(), "Linux", "bwrap: bwrap is not installed; unshare: unshare, setpriv, chroot"),
        (LINUX, "Darwin", "there is none for Darwin"),
    ],
)
def test_without_any_code_runs_only_when_that_is_allowed(
    machine: Any, programs: set[str], system: str, said: str
) -> None:
    machine(programs, set(), system)
    with pytest.raises(PermanentCodeNoSandbox) as raised:
        SandboxCodeRunner().run(ONE, never)
    assert said in raised.value.message
    assert "apt install bubblewrap" in raised.value.message
    assert "--allow-local-code" in raised.value.message
    assert sandbox.isolation("allowed") == Isolation("none")
    assert sandbox.isolation("function") == Isolation("function")


@pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")
def test_this_machine_has_a_sandbox() -> None:
    found, _ = sandbox.working()
    assert found is not None
    assert SandboxCodeRunner().run(ONE, never) == CodeOutcome(1)


def test_a_sandbox_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Isolation, "command", lambda *_: ["/nowhere/bwrap"])
    assert sandbox._try(Isolation("bwrap")) == (
        "/nowhere/bwrap does not start: No such file or directory"
    )
    monkeypatch.setattr(Isolation, "command", lambda *_: ["sh", "-c", "echo x; echo No ns; exit 1"])
    assert sandbox._try(Isolation("bwrap")) == "No ns"
    monkeypatch.setattr(Isolation, "command", lambda *_: ["true"])
    assert "without a result" in str(sandbox._try(Isolation("bwrap")))


def test_where_no_code_runs_nothing_does() -> None:
    with pytest.raises(PermanentCodeNoSandbox):
        NoCodeRunner().run(ONE, never)


# -- answers -----------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | JSON.map(lambda v: json.dumps(v).encode()), st.integers(-64, 255), st.text())
def test_whatever_comes_out_is_a_result_or_an_error_of_the_code(
    answer: bytes, status: int, stdout: str
) -> None:
    try:
        outcome_of(answer, status, stdout)
    except PermanentCode as error:
        json.dumps(error.to_dict())


@given(
    st.dictionaries(
        st.sampled_from(["output", "error", "type", "message", "line", "source"]),
        st.sampled_from(["raised", "memory", "not_json", "ended"]) | JSON,
    )
)
def test_answers_that_look_right_are_no_exception(found: dict[str, Any]) -> None:
    try:
        assert outcome_of(json.dumps(found).encode(), 0, "").output == found["output"]
    except PermanentCode as error:
        assert len(json.dumps(error.to_dict())) < 30_000


@given(JSON)
def test_json_goes_through_as_it_is(value: Any) -> None:
    try:
        plain = child.plain(value, "the result")
    except child.NotJson:
        return  # half of a surrogate pair
    assert plain == value
    assert outcome_of(json.dumps({"output": plain}).encode(), 0, "").output == value


# -- the filter --------------------------------------------------------------------------


def decide(processor: str, architecture: int, number: int, first: int = 0) -> int:
    """What the filter answers, computed as the kernel does."""
    data = struct.pack("<IIQQ", number, architecture, 0, first)
    rows = syscall_filter.program(processor, 7)
    assert len(rows) < 4_096
    at = loaded = 0
    while True:
        operation, true, false, operand = rows[at]
        at += 1
        if operation == 0x20:
            (loaded,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}
            at += true if holds[operation] else false


ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_the_filter_on_each_processor(processor: str) -> None:
    architecture, numbers = syscall_filter.PROCESSORS[processor]
    call = dict(zip(syscall_filter.NAMES, numbers, strict=True))
    special = {"clone", "clone3", "kill", "tgkill"}
    for name, number in call.items():
        if name not in special and number >= 0:
            assert decide(processor, architecture, number) == EPERM, name
    assert decide(processor, architecture, call["clone3"]) == ENOSYS
    assert decide(processor, architecture, call["clone"], 0x10000 | 17) == ALLOW  # a thread
    assert decide(processor, architecture, call["clone"], 17) == EPERM  # a process
    for name in ("kill", "tgkill"):
        assert decide(processor, architecture, call[name], 7) == ALLOW  # itself
        assert decide(processor, architecture, call[name], 8) == EPERM
    read = {"x86_64": 0, "aarch64": 63}[processor]
    assert decide(processor, architecture, read) == ALLOW
    assert decide(processor, 0x40000003, read) == KILL  # calls of another processor
    assert decide(processor, architecture, 0x40000000 | read) == EPERM


# -- the function ------------------------------------------------------------------------


def test_the_function_runs_its_sample_and_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = load_function("run_code").handler
    monkeypatch.setenv("JOINERY_CODE_ISOLATION", "function")
    assert handler(sample("run_code-call"), Context()) == {"output": 3, "stdout": "counting\n"}
    raised = handler({**sample("run_code-call"), "code": "main = None"}, Context())["error"]
    assert (raised["code"], raised["details"]["type"]) == ("code.raised", "TypeError")
    assert handler(sample("run_code-call"), Context(1_000))["error"]["code"] == "code.timeout"
    for wrong in ({}, {"code": 1}, {**sample("run_code-call"), "arguments": []}):
        assert handler(wrong, Context())["error"]["code"] == "invalid_request"


def run_python(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="Lambda is Linux")
def test_the_function_hides_itself_and_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import os, subprocess, time
from joinery.sandbox.function import clean, harden, _children
harden()
# An orphan, as code would leave one that could start processes.
subprocess.run(["sh", "-c", "sleep 60 & sleep 60 &"], check=True)
open({str(tmp_path / "left")!r}, "w").close()
os.makedirs({str(tmp_path / "folder/deep")!r})
os.symlink("/etc", {str(tmp_path / "link")!r})
time.sleep(0.1)
before = len(_children())
clean({str(tmp_path)!r})
print(before, len(_children()), os.listdir({str(tmp_path)!r}), os.stat("/proc/self/environ").st_uid)
"""
    assert run_python(code) == f"2 0 [] {0}"
    assert Path("/etc/hostname").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Lambda is Linux")
def test_code_ends_but_itself() -> None:
    kills = "import os\ndef main():\n    os.kill(os.getppid(), 9)"
    with pytest.raises(PermanentCode) as raised:
        sandbox.run_code(CodeRequest(kills, "main", {}, 5.0), Isolation("function"), never)
    assert raised.value.code == "code.raised"
    alone = "import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGTERM)"
    with pytest.raises(PermanentCodeEnded):
        sandbox.run_code(CodeRequest(alone, "main", {}, 5.0), Isolation("function"), never)
