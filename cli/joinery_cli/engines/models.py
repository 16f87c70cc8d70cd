"""Which models answer: the flag, the script, and where the inline engine finds the rest."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from joinery.compiler.plan import MODEL_TYPES
from joinery.errors import InvalidRequest
from joinery.model_errors import PermanentModelUnknown
from joinery_cli.output import say

if TYPE_CHECKING:
    from joinery.compiler.plan import Plan
    from joinery.llm.registry import ModelFlag, ModelSettings
    from joinery.llm.scripted import Cassette
    from joinery.llm.types import Provider
    from joinery.nodes.base import Models

CASSETTE_BYTES: Final = 1_048_576

_SERVER: Final = "joinery_cli.model_server"
_SERVER_START_S: Final = 120.0


def read_flag(text: str) -> ModelFlag:
    """Returns what `--model` names. Raises: InvalidRequest."""
    from joinery.llm.registry import parse_model_flag

    try:
        return parse_model_flag(text)
    except PermanentModelUnknown as error:
        raise InvalidRequest(f"--model {text}: {error.message}") from None


def read_cassette(path: Path) -> Cassette:
    """Returns the script of `--scripted`.

    Raises:
        InvalidRequest: It cannot be read, or everything that is wrong in it.
    """
    from joinery.llm.scripted import load_cassette

    try:
        with path.open("rb") as file:
            data = file.read(CASSETTE_BYTES + 1)
        if len(data) > CASSETTE_BYTES:
            raise InvalidRequest(f"'{path}' has more than {CASSETTE_BYTES:,} bytes")
        return load_cassette(data.decode("utf-8-sig"))
    except RecursionError:
        raise InvalidRequest(f"{path}: it is nested too deeply") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"'{path}' is not UTF-8 text") from None
    except OSError as error:
        raise InvalidRequest(f"cannot read '{path}': {error.strerror}") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}: {error.message}") from None


def inline_models(
    plan: Plan,
    cassette: Cassette | None,
    flag: ModelFlag | None,
    held: ExitStack,
    *,
    children: Iterable[Plan] = (),
    tell: Callable[[str], None] = say,
) -> Models:
    """Returns the models of an inline run.

    The provider `local` is what the environment says, else the model of the local
    stack, else the built-in one, started for this run.

    Args:
        plan: What is to run.
        cassette: Answers in place of every model.
        flag: The model in place of every model.
        held: Closes what was opened.
        children: What it runs in turn.
        tell: Is told what takes its time.

    Raises:
        LocalStackFailed: The built-in model did not start.
    """
    from joinery.llm.registry import ModelSettings, Registry

    settings = ModelSettings.from_env(os.environ)
    if (
        cassette is None
        and not settings.base_url
        and any(_asks_local(p, flag) for p in (plan, *children))
    ):
        settings = _nearest_model(settings, held, tell)
    registry = Registry(settings, cassette=cassette, override=flag, makers={"bedrock": _bedrock})
    held.callback(registry.close)
    return registry


def _bedrock() -> Provider:
    """Returns Bedrock with the rights of this machine's AWS profile."""
    from joinery.aws.bedrock import Bedrock
    from joinery.aws.clients import Clients

    return Bedrock(Clients().bedrock)


def _asks_local(plan: Plan, flag: ModelFlag | None) -> bool:
    """Whether any node asks for the model of this machine."""
    from joinery.llm.registry import DEFAULT_PROVIDER, provider_of

    asked: set[Any] = {
        provider_of(node.spec["model"]) for node in plan.nodes if node.type in MODEL_TYPES
    }
    if asked and flag is not None:
        asked = {flag.provider}
    return DEFAULT_PROVIDER in asked


def _nearest_model(
    settings: ModelSettings, held: ExitStack, tell: Callable[[str], None]
) -> ModelSettings:
    from joinery_cli.commands.local import running_stack

    stack = running_stack()
    if stack is not None and stack.model_base_url:
        return replace(settings, base_url=stack.model_base_url, name=stack.model_name)
    if importlib.util.find_spec(_SERVER) is None:
        return settings
    from joinery_cli.model_server import MODEL_NAME

    tell("the built-in model is loading …")
    # As on the local stack: there is one model, whatever a workflow calls it.
    return replace(settings, base_url=_serve(held), name=MODEL_NAME)


def _serve(held: ExitStack) -> str:
    """Starts the built-in model for as long as `held` is open; returns its address."""
    from joinery_cli.local import processes

    home = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="joinery-model-")))
    port = processes.free_port()
    server = processes.start(
        "model",
        [sys.executable, "-m", _SERVER, "--port", str(port)],
        port=port,
        environment=os.environ,
        home=home,
    )
    held.callback(processes.stop, server)
    processes.wait_until_healthy(server, "/health", _SERVER_START_S)
    return f"http://127.0.0.1:{port}/v1"
