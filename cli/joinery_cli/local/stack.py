"""Starts, stops and describes the local stack."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from joinery_cli.local import emulator, processes
from joinery_cli.local.access import ensure_token, warm_up
from joinery_cli.local.deploy import deploy, package, prepare
from joinery_cli.local.errors import LocalStackDown, LocalStackFailed
from joinery_cli.local.state import LocalStack, forget, load, only_one, save
from joinery_cli.project import find_project

if TYPE_CHECKING:
    from collections.abc import Callable

_EMULATOR_HEALTH: Final = "/_ministack/health"
_MODEL_HEALTH: Final = "/health"
_EMULATOR_START_S: Final = 30.0
_MODEL_START_S: Final = 120.0
_PORT_TRIES: Final = 3
_EMULATOR_MODULE: Final = "joinery_cli.local.serve"
_MODEL_MODULE: Final = "joinery_cli.model_server"
_MODEL_NAME: Final = "smollm2"


@dataclass(frozen=True, slots=True)
class StackStatus:
    """How the local stack is.

    Attributes:
        state: `up`; `down`; or `broken`, when it was started and does not answer.
        stack: What is known of it, unless it is down.
        services: Its processes by name, and whether each answers.
    """

    state: str
    stack: LocalStack | None
    services: dict[str, bool]


def default_home() -> Path:
    """Returns the folder of the project's own stack."""
    return find_project() / ".joinery" / "local"


def up(
    progress: Callable[[str, str], None],
    *,
    model: bool = True,
    home: Path | None = None,
    project: Path | None = None,
    allow_local_code: bool = False,
) -> LocalStack:
    """Brings the local stack up, or up to date; returns at once when there is nothing to do.

    A model of your own is used instead of the built-in one when the environment
    has `JOINERY_MODEL_BASE_URL` (with `JOINERY_MODEL_NAME`, `JOINERY_MODEL_API_KEY`).

    Args:
        progress: Called with the step (`emulator`, `model`, `package`, `deploy`,
            `warm`, `ready`) and a detail to show.
        model: Whether to start the model server.
        home: Where the state and the logs are; default: .joinery/local in the project.
        project: The checkout; default: the one this package runs from.
        allow_local_code: Whether users' code may run where there is no sandbox.

    Raises:
        LocalStackFailed: A part did not start or deploy. What was started anew is stopped.
        PackagingFailed: A function cannot be packaged.
    """
    project = project or find_project()
    home = (home or project / ".joinery" / "local").absolute()
    with only_one(home):
        stack = load(home)
        fresh = stack is None or not _answers(stack, "emulator")
        try:
            if stack is None or fresh:
                _stop_all(home)
                stack = start_emulator(home, progress)
            return _bring_up_to_date(
                project, stack, model, progress, allow_local_code=allow_local_code
            )
        except BaseException:
            if fresh:
                _stop_all(home)
            raise


def down(*, home: Path | None = None) -> bool:
    """Stops the local stack, whatever state it is in; returns whether there was one."""
    home = (home or default_home()).absolute()
    if not home.exists():
        return False
    with only_one(home):
        return _stop_all(home)


def status(*, home: Path | None = None) -> StackStatus:
    """Says how the local stack is, without changing anything."""
    stack = load((home or default_home()).absolute())
    if stack is None:
        return StackStatus("down", None, {})
    services = {service.name: _answers(stack, service.name) for service in stack.services}
    sound = stack.ready and all(services.values())
    return StackStatus("up" if sound else "broken", stack, services)


def current(*, home: Path | None = None) -> LocalStack:
    """Returns the running local stack.

    Raises:
        LocalStackDown: It is not running.
    """
    stack = load((home or default_home()).absolute())
    if stack is None or not stack.ready or not _answers(stack, "emulator"):
        raise LocalStackDown
    return stack


def _bring_up_to_date(
    project: Path,
    stack: LocalStack,
    model: bool,
    progress: Callable[[str, str], None],
    *,
    allow_local_code: bool,
) -> LocalStack:
    stack = _choose_model(stack, model, progress)
    # The model loads while the functions are packaged.
    bundles = package(project, progress)
    release = prepare(
        project,
        stack,
        bundles,
        os.environ.get("JOINERY_MODEL_API_KEY", ""),
        allow_local_code=allow_local_code,
    )
    changed = release.digest != stack.deployed
    if changed:
        progress("deploy", f"template.yaml to {stack.endpoint}")
        stack = deploy(save(replace(stack, ready=False)), release)
    stack = ensure_token(stack)
    if not stack.ready:
        progress("warm", "first calls")
        warm_up(stack)
    model_service = stack.service("model")
    if model_service is not None:
        progress("model", f"{stack.model_name} is loading")
        processes.wait_until_healthy(model_service, _MODEL_HEALTH, _MODEL_START_S)
    progress("ready", stack.http_api_url)
    return save(replace(stack, ready=True))


def start_emulator(home: Path, progress: Callable[[str, str], None]) -> LocalStack:
    """Starts an emulator with nothing deployed to it; `down` stops it.

    Raises:
        LocalStackFailed: It did not start; the message has its last lines.
    """
    stack = LocalStack(home=home, access_key="joinery-local", secret_key=secrets.token_hex(20))
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, _PORT_TRIES + 1):
        port = processes.free_port()
        progress("emulator", f"127.0.0.1:{port}")
        service = processes.start(
            "emulator",
            [sys.executable, "-m", _EMULATOR_MODULE],
            port=port,
            environment=emulator.environment(
                port=port,
                home=str(work),
                access_key=stack.access_key,
                secret_key=stack.secret_key,
            ),
            home=home,
        )
        # Stored before it answers: a command that is killed now leaves a trace to follow.
        stack = save(stack.with_service(service))
        try:
            processes.wait_until_healthy(service, _EMULATOR_HEALTH, _EMULATOR_START_S)
            return stack
        except LocalStackFailed as error:
            processes.stop(service)
            if "already in use" not in error.message or attempt == _PORT_TRIES:
                raise
    raise LocalStackFailed("no port on 127.0.0.1 stayed free")


def _choose_model(
    stack: LocalStack, wanted: bool, progress: Callable[[str, str], None]
) -> LocalStack:
    own = os.environ.get("JOINERY_MODEL_BASE_URL", "")
    if own:
        name = os.environ.get("JOINERY_MODEL_NAME", "")
        progress("model", f"{name or 'default'} at {own}")
        return save(replace(stack, model_base_url=own, model_name=name))
    known = stack.service("model")
    if known is not None and processes.is_alive(known):
        return stack
    if not wanted or importlib.util.find_spec(_MODEL_MODULE) is None:
        return stack
    port = processes.free_port()
    progress("model", f"{_MODEL_NAME} on 127.0.0.1:{port}")
    service = processes.start(
        "model",
        [sys.executable, "-m", _MODEL_MODULE, "--port", str(port)],
        port=port,
        environment=os.environ,
        home=stack.home,
    )
    base_url = f"http://127.0.0.1:{port}/v1"
    return save(
        replace(stack.with_service(service), model_base_url=base_url, model_name=_MODEL_NAME)
    )


def _answers(stack: LocalStack, name: str) -> bool:
    service = stack.service(name)
    if service is None or not processes.is_alive(service):
        return False
    health = _EMULATOR_HEALTH if name == "emulator" else _MODEL_HEALTH
    return processes.is_healthy(service, health)


def _stop_all(home: Path) -> bool:
    stack = load(home)
    if stack is not None:
        for service in stack.services:
            processes.stop(service)
    forget(home)
    shutil.rmtree(home / "work", ignore_errors=True)
    return stack is not None
