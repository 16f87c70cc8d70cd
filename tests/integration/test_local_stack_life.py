"""Starting, stopping and failing of the local stack's processes and deployment."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from joinery_cli import local
from joinery_cli.local import emulator, processes
from joinery_cli.local import stack as stack_module
from joinery_cli.local.deploy import deploy, prepare
from joinery_cli.local.errors import LocalStackDown, LocalStackFailed
from joinery_cli.local.processes import Service
from joinery_cli.local.state import LocalStack, load, save
from joinery_cli.project import find_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def start(name: str, home: Path, command: list[str], port: int = 1) -> Service:
    return processes.start(name, command, port=port, environment=os.environ, home=home)


def quiet(_step: str, _detail: str) -> None:
    pass


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = start("sleeper", tmp_path, SLEEPER)
    yield running
    processes.stop(running)


# -- processes -----------------------------------------------------------------------


def test_a_service_is_known_by_number_and_start_time(service: Service) -> None:
    assert processes.is_alive(service)
    stranger = replace(service, started="1")
    assert not processes.is_alive(stranger)
    processes.stop(stranger)
    assert processes.is_alive(service)
    processes.stop(service)
    assert not processes.is_alive(service)


def test_stop_ends_what_the_service_started(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({SLEEPER!r})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = start("parent", tmp_path, [sys.executable, "-c", program])
    log = tmp_path / "parent.log"
    deadline = time.monotonic() + 5
    while not log.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int(log.read_text())
    processes.stop(parent)
    while processes._start_time(child) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_service_that_ends_at_its_start_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys; sys.exit('no such model file')"]
    failing = start("model", tmp_path, program)
    with pytest.raises(LocalStackFailed, match="no such model file"):
        processes.wait_until_healthy(failing, "/health", 5)
    processes.stop(failing)


def test_a_silent_service_is_reported(service: Service) -> None:
    with pytest.raises(LocalStackFailed, match=r"did not answer within 0\.2 s"):
        processes.wait_until_healthy(service, "/health", 0.2)


# -- state -----------------------------------------------------------------------------


def test_the_state_is_kept_for_its_owner_alone(tmp_path: Path, service: Service) -> None:
    stored = save(
        LocalStack(home=tmp_path, services=(service,), secret_key="s", token="t", ready=True)
    )
    file = tmp_path / "stack.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load(tmp_path) == stored
    assert "'s'" not in repr(stored)
    file.write_text("{")
    assert load(tmp_path) is None


def test_nothing_is_running_where_nothing_was_started(tmp_path: Path) -> None:
    home = tmp_path / "none"
    assert local.status(home=home).state == "down"
    assert not local.down(home=home)
    with pytest.raises(LocalStackDown):
        local.current(home=home)


# -- the model ---------------------------------------------------------------------------

MODEL_SERVER = """
import http.server, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Health).serve_forever()
"""


def test_the_model_server_is_started_once_and_its_address_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "model_for_tests.py").write_text(MODEL_SERVER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("JOINERY_MODEL_BASE_URL", raising=False)
    monkeypatch.setattr(stack_module, "_MODEL_MODULE", "model_for_tests")
    request.addfinalizer(lambda: local.down(home=tmp_path))
    stack = stack_module._choose_model(LocalStack(home=tmp_path), True, quiet)
    service = stack.service("model")
    assert service is not None
    assert stack.model_base_url == f"http://127.0.0.1:{service.port}/v1"
    processes.wait_until_healthy(service, "/health", 10)
    assert stack_module._choose_model(stack, True, quiet) == stack
    local.down(home=tmp_path)
    assert not processes.is_alive(service)


def test_a_model_of_one_s_own_is_used_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOINERY_MODEL_BASE_URL", "https://models.example/v1")
    monkeypatch.setenv("JOINERY_MODEL_NAME", "large")
    stack = stack_module._choose_model(LocalStack(home=tmp_path), True, quiet)
    assert (stack.model_base_url, stack.model_name) == ("https://models.example/v1", "large")
    assert stack.services == ()


# -- the emulator -----------------------------------------------------------------------


@pytest.mark.stack
def test_a_taken_port_is_left_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], processes.free_port()])
        monkeypatch.setattr(processes, "free_port", lambda: next(ports))
        request.addfinalizer(lambda: local.down(home=tmp_path))
        stack = stack_module.start_emulator(tmp_path, quiet)
        assert stack_module._answers(stack, "emulator")


@pytest.mark.stack
def test_a_failed_resource_is_named_with_its_reason(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: local.down(home=tmp_path))
    stack = stack_module.start_emulator(tmp_path, quiet)
    release = prepare(find_project(), stack, {}, "")
    template = """
Resources:
  Broken:
    Type: AWS::Lambda::Url
    Properties: {TargetFunctionArn: nobody, AuthType: NONE}
"""
    with pytest.raises(LocalStackFailed, match=r"Broken: .*not found"):
        deploy(stack, replace(release, template=template, parameters={}))


@pytest.mark.stack
def test_an_interrupted_up_is_cleaned_up_by_down(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from joinery_cli import local\n"
        "def progress(step, detail):\n"
        "    if step == 'package':\n"
        "        print('packaging', flush=True); time.sleep(60)\n"
        f"local.up(progress, model=False, home=pathlib.Path({str(tmp_path)!r}))\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    )
    with command:
        assert command.stdout is not None
        command.stdout.readline()
        os.killpg(command.pid, signal.SIGKILL)
    left = load(tmp_path)
    assert left is not None
    assert processes.is_alive(left.services[0])
    assert local.status(home=tmp_path).state == "broken"
    assert local.down(home=tmp_path)
    assert not processes.is_alive(left.services[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emulator.log", "lock"]


def test_the_emulator_s_environment_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    # What nodes need of it: keys of models, and secrets of tools.
    needed = {"OPENAI_API_KEY": "1", "TAVILY_API_KEY": "2", "JOINERY_SECRET_NOTES": "3"}
    for name, value in needed.items():
        monkeypatch.setenv(name, value)
    given = emulator.environment(port=1, home="/tmp/x", access_key="a", secret_key="b")
    assert not {"AWS_PROFILE", "GITHUB_TOKEN"} & set(given)
    assert needed.items() <= given.items()
    assert given["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"


def test_the_state_is_json_that_other_tools_can_read(tmp_path: Path, service: Service) -> None:
    emulated = replace(service, name="emulator", port=8123)
    save(LocalStack(home=tmp_path, services=(emulated,), token="t"))
    data = json.loads((tmp_path / "stack.json").read_text())
    assert data["endpoint"] == "http://127.0.0.1:8123"
    assert data["token"] == "t"


def test_this_machine_can_run_joinery() -> None:
    checks = {check.name: check for check in local.doctor()}
    assert set(checks) == {
        *("python", "checkout", "local stack", "local model", "disk", "ports", "stack", "sandbox"),
    }
    assert all(check.ok for name, check in checks.items() if name != "stack")
    assert all(check.hint for check in checks.values() if not check.ok)
