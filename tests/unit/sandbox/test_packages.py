"""Packages in a sandbox: read-only, where the code looks for them, and fetched by the function."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kit.wheels import greeter, only_from

from joinery.code_errors import PermanentCodePackage
from joinery.packages.build import Builder, Built
from joinery.packages.requirements import Needed, set_key
from joinery.packages.target import PackageTarget
from joinery.sandbox import function
from joinery.sandbox import run as sandbox
from joinery.sandbox.isolation import Isolation
from joinery.sandbox.run import SandboxCodeRunner
from joinery.sandbox.types import CodeRequest, PackageRef

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are Linux's")

WAYS = [*(name for name in ("bwrap", "unshare") if shutil.which(name)), "function", "none"]
GREET = "from greeter import hello\ndef main(who):\n    return hello(who)"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("packages")
    greeter(folder / "wheels")
    with pytest.MonkeyPatch.context() as patch:
        only_from(folder / "wheels", folder / "home", patch)
        needed = Needed(set_key(["greeter"]), ("greeter",), ())
        yield Builder(PackageTarget.here()).build(needed)


@pytest.fixture
def folder(built: Built) -> Iterator[Path]:
    ref = PackageRef("me", built.package.sha256, built.package.bytes)
    with Builder(PackageTarget.here(), folder=built.file.parent.parent).folder(ref) as found:
        yield found


@pytest.mark.parametrize("way", WAYS)
def test_code_imports_what_it_was_given(way: str, folder: Path, tmp_path: Path) -> None:
    own = shutil.copytree(folder, tmp_path / "own")
    code = """
import json, sys
import greeter, manners
from importlib.metadata import version
from importlib.resources import files
def main():
    try:
        with open(greeter.__file__, "a") as file:
            file.write("x = 1")
        written = True
    except OSError:
        written = False
    data = files("greeter").joinpath("data/words.txt").read_text()
    return [greeter.hello("you"), data, version("greeter"), written, json.__file__.startswith(
        manners.__file__.rpartition("/")[0])]
"""
    request = CodeRequest(code, "main", {}, 10.0)
    outcome = sandbox.run_code(request, Isolation(way), lambda: False, str(own))
    # Without namespaces only the modes of files are in the way, and not of root's.
    written = outcome.output[3] if way in ("function", "none") else False
    assert outcome.output == ["Hello, you!", "hello\n", "1.0", written, False]
    without = sandbox.run_code(
        CodeRequest("def main():\n    import sys\n    return sys.path", "main", {}, 10.0),
        Isolation(way),
        lambda: False,
    )
    assert not any("packages" in place for place in without.output)


def test_a_runner_without_the_package_says_so() -> None:
    ref = PackageRef("me", "0" * 64, 1)
    request = CodeRequest(GREET, "main", {"who": "you"}, 10.0, ref)
    with pytest.raises(PermanentCodePackage, match="not built"):
        SandboxCodeRunner(allow=True).run(request, lambda: False)


def test_a_runner_takes_what_was_built(folder: Path) -> None:
    ref = PackageRef("me", "0" * 64, 1)
    runner = SandboxCodeRunner(allow=True, packages=lambda _: nullcontext(folder))
    request = CodeRequest(GREET, "main", {"who": "you"}, 10.0, ref)
    assert runner.run(request, lambda: False).output == "Hello, you!"


# -- the function, which fetches them ----------------------------------------------------------


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers with what `bodies` has, or with the status that the path says."""

    bodies: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        body = self.bodies.get(path, b"")
        self.send_response(200 if path in self.bodies else int(path.strip("/")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def shop(built: Built) -> Iterator[str]:
    Shop.bodies = {"/good": built.file.read_bytes()}
    Shop.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the function's own, in a process that has other children."""
    (tmp_path / "tmp").mkdir()
    others, children = set(function._children()), function._children
    monkeypatch.setattr(
        function, "_children", lambda: [pid for pid in children() if pid not in others]
    )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    function._kept.cache_clear()
    yield tmp_path / "tmp"
    function._kept.cache_clear()


ON_AWS = {"JOINERY_CODE_ISOLATION": "function", "LAMBDA_TASK_ROOT": function.AWS_TASK_ROOT}


def event(built: Built, url: str, **more: Any) -> dict[str, Any]:
    package = {"sha256": built.package.sha256, "bytes": built.package.bytes, "url": url + "?key=1",
               "addresses": [], **more}  # fmt: skip
    return {"code": GREET, "function": "main", "arguments": {"who": "you"}, "timeout_s": 10,
            "package": package}  # fmt: skip


def test_the_function_fetches_once_and_answers(built: Built, shop: str, place: Path) -> None:
    environ = {"JOINERY_CODE_ISOLATION": "allowed"}
    for _ in range(3):
        answer = function.answer(event(built, f"{shop}/good"), 30, environ)
        assert answer == {"output": "Hello, you!", "stdout": ""}
    assert Shop.asked == ["/good"]


def test_it_asks_the_addresses_that_it_is_told(built: Built, shop: str, place: Path) -> None:
    there = shop.replace("127.0.0.1", "bucket.without.a.name.invalid")
    told = event(built, f"{there}/good", addresses=["127.0.0.2", "127.0.0.1"])
    environ = {"JOINERY_CODE_ISOLATION": "allowed"}
    assert function.answer(told, 30, environ)["output"] == "Hello, you!"
    nobody = event(built, f"{there}/good")
    nobody["package"]["sha256"] = "0" * 64
    assert function.answer(nobody, 30, environ)["error"]["retryable"]


@pytest.mark.parametrize(
    ("path", "more", "code", "retryable"),
    [
        ("/404", {}, "code.package", False),
        ("/403", {}, "code.package", False),
        ("/503", {}, "code_runner_unavailable", True),
        ("/429", {}, "code_runner_unavailable", True),
        ("/good", {"sha256": "0" * 64}, "code.package", False),
        ("/good", {"bytes": 10}, "code.package", False),
        ("/good", {"bytes": 10_000_000}, "code.package", False),
    ],
)
def test_what_goes_wrong_is_told_without_the_address(
    path: str, more: Any, code: str, retryable: bool, built: Built, shop: str, place: Path
) -> None:
    error = function.answer(event(built, shop + path, **more), 30, ON_AWS)["error"]
    assert (error["code"], error["retryable"]) == (code, retryable)
    assert "127.0.0.1" not in str(error)
    assert "key=1" not in str(error)


def test_a_damaged_zip_is_refused(built: Built, shop: str, place: Path) -> None:
    good = Shop.bodies["/good"]
    body = good[:60] + bytes(20) + good[80:]
    Shop.bodies["/bad"] = body
    said = {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    error = function.answer(event(built, f"{shop}/bad", **said), 30, ON_AWS)["error"]
    assert error["code"] == "code.package"


def test_a_place_that_is_silent_takes_no_longer_than_the_code_may(
    built: Built, place: Path
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = event(built, f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        begun = time.monotonic()
        error = function.answer({**told, "timeout_s": 0.5}, 30, ON_AWS)["error"]
    assert error["code"] == "code_runner_unavailable"
    assert time.monotonic() - begun < 5


def test_on_aws_nothing_stays_that_code_could_see_or_change(
    built: Built, shop: str, place: Path
) -> None:
    told = event(built, f"{shop}/good")
    assert function.answer(told, 30, ON_AWS)["output"] == "Hello, you!"
    assert function.answer(told, 30, ON_AWS)["output"] == "Hello, you!"
    assert Shop.asked == ["/good"]
    [kept] = place.iterdir()
    forge = (
        "import os, greeter\ndef main(who):\n    os.chmod(greeter.__file__, 0o644)\n"
        "    open(greeter.__file__, 'w').write('def hello(who): return 666')\n    return 1"
    )
    assert function.answer({**told, "code": forge}, 30, ON_AWS)["output"] == 1
    assert function.answer(told, 30, ON_AWS)["output"] == "Hello, you!"
    assert Shop.asked == ["/good"] * 2
    # Code of somebody else, who has other packages or none, does not even see these.
    look = "import os\ndef main(who):\n    return os.listdir(who)"
    other = {**told, "code": look, "arguments": {"who": str(kept)}}
    del other["package"]
    assert function.answer(other, 30, ON_AWS)["output"] == []
    swap = "import os\ndef main(who):\n    os.rmdir(who)\n    os.symlink('/etc', who)"
    assert function.answer({**other, "code": swap}, 30, ON_AWS)["output"] is None
    assert Path("/etc/passwd").exists()
    assert list(place.iterdir()) == []
    assert function.answer(told, 30, ON_AWS)["output"] == "Hello, you!"
