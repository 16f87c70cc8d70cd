"""What code in a sandbox cannot do, tried for real in each kind there is on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joinery import limits
from joinery.code_errors import (
    PermanentCode,
    PermanentCodeEnded,
    PermanentCodeMemory,
    PermanentCodeNotJson,
    PermanentCodeRaised,
    PermanentCodeTimeout,
    PermanentCodeTooLarge,
)
from joinery.errors import RunCancelled
from joinery.sandbox import run as sandbox
from joinery.sandbox.isolation import Isolation
from joinery.sandbox.types import CodeOutcome, CodeRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")

ROOT = Path(__file__).parents[3]
SANDBOXES = [name for name in ("bwrap", "unshare") if shutil.which(name)]
EVERYWHERE = [*SANDBOXES, "function", "none"]
"""The last two filter system calls and bound resources, and leave files readable."""


@pytest.fixture(params=EVERYWHERE)
def way(request: pytest.FixtureRequest) -> Isolation:
    return Isolation(request.param)


@pytest.fixture(params=[(name, on) for name in SANDBOXES for on in (True, False)],
                ids=lambda p: f"{p[0]}-{'filtered' if p[1] else 'bare'}")  # fmt: skip
def shut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Isolation:
    """A sandbox with the filter of system calls, and one that has to do without."""
    name, filtered = request.param
    if not filtered:
        monkeypatch.setattr(sandbox, "filter_program", lambda: "")
    return Isolation(name)


def call(code: str, way: Isolation, timeout_s: float = 10.0, **arguments: Any) -> CodeOutcome:
    request = CodeRequest(code, "main", arguments, timeout_s)
    return sandbox.run_code(request, way, lambda: False)


def fails(kind: type[PermanentCode], code: str, way: Isolation, timeout_s: float = 10.0,
          **arguments: Any) -> PermanentCode:  # fmt: skip
    with pytest.raises(PermanentCode) as raised:
        call(code, way, timeout_s, **arguments)
    assert type(raised.value) is kind, raised.value.to_dict()
    return raised.value


def test_a_call_gives_back_what_it_returns(way: Isolation) -> None:
    value = {"a": [1, 2.5, None, True, "é\u2028\x00"], "b": {"": []}}
    code = "def main(x):\n    print('hello')\n    return x"
    assert call(code, way, x=value) == CodeOutcome(value, "hello\n")


# -- the network -------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


CONNECT = """\
import socket
def main(port):
    for address in ("127.0.0.1", "localhost", "0.0.0.0"):
        try:
            with socket.create_connection((address, port), timeout=2) as s:
                s.sendall(b"secret")
                return "connected"
        except OSError as error:
            last = repr(error)
    return last
"""


def nobody_came(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return True
    return False


def test_a_server_of_this_machine_is_out_of_reach(shut: Isolation, server: socket.socket) -> None:
    assert call(CONNECT, shut, port=server.getsockname()[1]).output != "connected"
    assert nobody_came(server)


def test_without_a_sandbox_the_filter_alone_shuts_the_network(
    way: Isolation, server: socket.socket
) -> None:
    answer = call(CONNECT, way, port=server.getsockname()[1]).output
    assert "Operation not permitted" in answer or "gaierror" in answer
    assert nobody_came(server)


def test_no_system_call_around_the_filter(way: Isolation) -> None:
    code = """
import ctypes
def main(numbers):
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for number in numbers:
        ctypes.set_errno(0)
        result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
        found.append([number, result, ctypes.get_errno()])
    return found
"""
    # socket, io_uring_setup, ptrace, unshare, the same as x32, clone3
    numbers = [41, 425, 101, 272, 0x40000000 + 41, 435]
    if os.uname().machine == "aarch64":
        numbers = [198, 425, 117, 97, 435]
    for number, result, error in call(code, way, numbers=numbers).output:
        assert (result, error) in ((-1, 1), (-1, 38)), number


# -- what there is to read ---------------------------------------------------------------


def test_there_are_no_variables(way: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    code = """
import ctypes, os
def main():
    found = [dict(os.environ), os.getenv("AWS_SECRET_ACCESS_KEY")]
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    found.append(getenv(b"AWS_SECRET_ACCESS_KEY") is None)
    try:
        with open("/proc/self/environ") as file:
            found.append("hunter2" in file.read())
    except OSError:
        found.append(False)
    return found
"""
    assert call(code, way).output == [{}, None, True, False]


READ = """
def main(paths):
    found = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                found.append(len(file.read(100)) > 0)
        except OSError as error:
            found.append(type(error).__name__)
    return found
"""


def test_files_of_this_machine_are_not_there(shut: Isolation, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    paths = [
        str(ROOT / "pyproject.toml"), str(tmp_path / "secret"), __file__, "/etc/passwd",
        "/etc/hostname", f"/proc/{os.getpid()}/environ", "/proc/1/environ", "/var/log",
        str(Path.home() / ".bashrc"), sys.prefix + "/pyvenv.cfg",
    ]  # fmt: skip
    assert set(call(READ, shut, paths=paths).output) == {"FileNotFoundError"}


def test_nothing_can_be_written_but_in_the_folder(shut: Isolation) -> None:
    code = """
import os
def main(folder):
    found = []
    for path in ("/usr/x", folder + "/x", "/x/y", "/dev/null/x"):
        try:
            with open(path, "w") as file:
                file.write("x")
            found.append(path)
        except OSError:
            pass
    with open("mine", "w") as file:
        file.write("x")
    return [found, os.listdir(".")]
"""
    assert call(code, shut, folder=sys.base_prefix).output == [[], ["mine"]]


def test_nothing_stays_from_one_call_to_the_next(way: Isolation) -> None:
    code = """
import os, tempfile
def main():
    before = os.listdir(".")
    with open("left", "w") as file:
        file.write("x")
    return [before, os.getcwd()]
"""
    folders = set()
    for _ in range(2):
        before, folder = call(code, way).output
        assert before == []
        folders.add(folder)
        assert way.namespaces or not Path(folder).exists()


def test_only_the_channel_is_open(way: Isolation) -> None:
    code = """
import os
def main():
    found = []
    for number in range(3, 64):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return [len(found), os.read(0, 10) == b""]
"""
    with Path(__file__).open() as held:
        os.set_inheritable(held.fileno(), True)
        assert call(code, way).output == [1, True]


def test_no_rights_even_as_root(shut: Isolation) -> None:
    code = """
import os
def main():
    found = []
    for attempt in (lambda: os.chroot("/"), lambda: os.setuid(1), lambda: os.nice(-5),
                    lambda: os.mknod("d", 0o20600, 259), lambda: os.setns(0, 0)):
        try:
            attempt()
            found.append("done")
        except OSError as error:
            found.append(type(error).__name__)
        except AttributeError:  # setns came with Python 3.12
            pass
    return found
"""
    assert set(call(code, shut).output) <= {"PermissionError", "OSError"}


# -- what goes too far -------------------------------------------------------------------


def children() -> set[str]:
    """Child processes that run; orphans that have ended may be here where others reap them."""
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return {child for child in text.split() if not ended(child)}


def ended(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def left_running(before: set[str]) -> set[str]:
    """Child processes that are new and stay; what was killed may take a moment to end."""
    deadline = time.monotonic() + 5
    while (new := children() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return new


@pytest.mark.parametrize(
    "code",
    [
        "import os\ndef main():\n    while True:\n        os.fork()",
        "import subprocess\ndef main():\n    return subprocess.run(['/bin/true']).returncode",
        "import os\ndef main():\n    return os.spawnl(os.P_WAIT, '/bin/true', 'true')",
        "import os\ndef main():\n    os.execv('/bin/true', ['true'])",
        "from multiprocessing import Process\ndef main():\n    Process(target=abs).start()",
    ],
    ids=["fork-bomb", "subprocess", "spawn", "exec", "process"],
)
def test_no_other_processes(code: str, way: Isolation) -> None:
    before = children()
    error = fails(PermanentCodeRaised, code, way)
    assert error.details["type"] in ("PermissionError", "OSError")
    assert not left_running(before)


def test_os_system_starts_nothing(way: Isolation) -> None:
    assert call("import os\ndef main():\n    return os.system('exit 0')", way).output != 0


def test_threads_work_and_end_with_the_memory(way: Isolation) -> None:
    code = """
import asyncio, threading, time
from concurrent.futures import ThreadPoolExecutor
async def later():
    return 3
def main(bomb):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(abs, [-1, -2])) + [asyncio.run(later())]
    while bomb:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return found
"""
    assert call(code, way, bomb=False).output == [1, 2, 3]
    begun = time.monotonic()
    assert "thread" in fails(PermanentCodeRaised, code, way, bomb=True).message
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    "line",
    [
        "x = 'a' * 10**9",
        "x = [0] * 10**9",
        "x = []\n    while True:\n        x.append(bytes(10**6))",
    ],
)
def test_memory_is_bounded(line: str, way: Isolation) -> None:
    fails(PermanentCodeMemory, f"def main():\n    {line}\n    return len(x)", way)


CATCHES = """
def main():
    while True:
        try:
            1 / 0
        except BaseException:
            pass
"""
IGNORES = """
import signal
for number in (1, 2, 13, 14, 15, 24):
    signal.signal(number, signal.SIG_IGN)
def main():
    while True:
        pass
"""


@pytest.mark.parametrize(
    "code",
    [
        "def main():\n    while True:\n        pass",
        "import time\ndef main():\n    time.sleep(60)",
        "import re\ndef main():\n    re.match('(a+)+$', 'a' * 64 + 'b')",
        CATCHES,
        IGNORES,
        "import os\nos.close(1)\nos.close(2)\ndef main():\n    while True:\n        pass",
        "while True:\n    pass",
    ],
    ids=["loop", "sleep", "regex", "catches", "ignores", "closes", "import"],
)
def test_time_is_bounded(code: str, way: Isolation) -> None:
    before, begun = children(), time.monotonic()
    error = fails(PermanentCodeTimeout, code, way, 0.5)
    assert 0.5 <= time.monotonic() - begun < 5
    assert "0.5 s" in error.message
    assert not left_running(before)


def test_printing_is_bounded(way: Isolation) -> None:
    code = "def main():\n    for _ in range(100):\n        print('x' * 10**6)\n    print('end')"
    outcome = call(code, way, 30.0)
    assert len(outcome.stdout) == limits.CODE_STDOUT_BYTES
    assert outcome.stdout.endswith("x\nend\n")
    endless = "def main():\n    while True:\n        print('x' * 10**6)"
    error = fails(PermanentCodeTimeout, endless, way, 0.5)
    assert len(error.details["stdout"]) <= limits.CODE_STDOUT_BYTES


def test_files_are_bounded(shut: Isolation) -> None:
    one = """
def main():
    with open('f', 'wb') as f:
        while True:
            f.write(bytes(10**6))
"""
    fails(PermanentCodeRaised, one, shut)
    many = """
def main():
    written = 0
    for number in range(1000):
        with open(str(number), 'wb') as f:
            f.write(bytes(10**6))
"""
    assert "No space left" in fails(PermanentCodeRaised, many, shut).message


def test_limits_cannot_be_raised_again(way: Isolation) -> None:
    code = """
import resource
def main():
    try:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
    return len('a' * 10**9)
"""
    fails(PermanentCodeMemory, code, way)


def test_a_cancelled_call_ends_at_once() -> None:
    request = CodeRequest("def main():\n    while True:\n        pass", "main", {}, 60.0)
    begun = time.monotonic()
    with pytest.raises(RunCancelled):
        sandbox.run_code(request, Isolation("none"), lambda: True)
    assert time.monotonic() - begun < 5


# -- what comes out ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("os._exit(0)", PermanentCodeEnded, "exit status 0"),
        ("os._exit(3)", PermanentCodeEnded, "exit status 3"),
        ("sys.exit(3)", PermanentCodeEnded, "SystemExit(3) (line 3: "),
        ("os.kill(os.getpid(), 15)", PermanentCodeEnded, "SIGTERM"),
        ("os.abort()", PermanentCodeMemory, "the system"),
        ("ctypes.string_at(0)", PermanentCodeEnded, "SIGSEGV"),
        ("raise KeyboardInterrupt", PermanentCodeRaised, "KeyboardInterrupt (line 3"),
        ("raise ValueError('x' * 10**6)", PermanentCodeRaised, "ValueError: xxx"),
        ("raise type('E' * 1000, (Exception,), {})()", PermanentCodeRaised, "E" * 100),
        ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", PermanentCodeRaised, "E"),
        ("return main()", PermanentCodeRaised, "RecursionError"),
        ("builtins.__dict__.clear()", PermanentCodeEnded, "exit status 70"),
        ("json.JSONEncoder.encode = None; return float('nan')", PermanentCodeNotJson, "nan"),
        ("sys.modules.clear(); return {1, 2}", PermanentCodeNotJson, "type set"),
        ("return {'a': [1, float('inf')]}", PermanentCodeNotJson, "the result['a'][1] is inf"),
        ("return {1: 2}", PermanentCodeNotJson, "keys must be text"),
        ("return '\\ud800'", PermanentCodeNotJson, "surrogate"),
        ("return 2 ** 100_000", PermanentCodeNotJson, "100,001 bits"),
        ("return loop", PermanentCodeNotJson, "nested deeper"),
        ("return (n for n in [1])", PermanentCodeNotJson, "type generator"),
        ("return 'x' * 5_000_000", PermanentCodeTooLarge, "4,194,304"),
    ],
)
def test_strange_ends(line: str, kind: Any, said: str, way: Isolation) -> None:
    code = (
        "import builtins, ctypes, json, os, sys; loop = []; loop.append(loop)\n"
        f"def main():\n    {line}"
    )
    error = fails(kind, code, way)
    assert said in error.message
    assert len(error.message) < 2_400
    assert "Traceback" not in error.details.get("stdout", "")


@pytest.mark.parametrize(
    "bytes_",
    [
        "b'garbage'",
        "b'{}'",
        "b'[1]'",
        "b'{\"output\": NaN}'",
        "b'{\"output\": 1}'",
        "b'\\xff' * 100",
        "b'[' * 100_000",
        'b\'{"error": "raised", "type": [], "line": -1}\'',
        'b\'{"output": "\\\\ud800"}\'',
        "b'x' * 10_000_000",
    ],
)
def test_a_forged_answer_is_read_strictly(bytes_: str, way: Isolation) -> None:
    code = f"""
import os
def main(leave):
    for number in range(3, 64):
        try:
            left = {bytes_}
            while left:
                left = left[os.write(number, left):]
        except OSError:
            pass
    if leave:
        os._exit(0)
    return 1
"""
    for leave in (True, False):
        try:
            outcome = call(code, way, leave=leave)
        except PermanentCode as error:
            assert len(error.message) < 2_400
        else:  # it said itself what it returns
            assert outcome.output == 1


def test_the_line_that_raised_is_the_authors(way: Isolation) -> None:
    code = """import json

def helper(text):
    return json.loads(text)

def main():
    print('before')
    return helper('{')
"""
    error = fails(PermanentCodeRaised, code, way)
    assert error.details["type"] == "JSONDecodeError"
    assert (error.details["line"], error.details["source"]) == (4, "return json.loads(text)")
    assert error.details["stdout"] == "before\n"
    assert "Traceback" not in str(error.to_dict())


def test_classes_of_the_code_can_be_used(way: Isolation) -> None:
    code = """
from __future__ import annotations
import collections, dataclasses, enum, typing
@dataclasses.dataclass
class Point:
    x: int
    y: typing.Optional[int] = None
class Kind(enum.IntEnum):
    A = 1
class Name(str):
    pass
def main():
    return [dataclasses.asdict(Point(1)), Kind.A, Name("n"), collections.OrderedDict(a=(1, 2))]
"""
    assert call(code, way).output == [{"x": 1, "y": None}, 1, "n", {"a": [1, 2]}]
