"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from kit.probe import Probe, deployed_probe

from joinery_cli import local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack


def pytest_configure() -> None:
    """Gives Ctrl-C its meaning where the tests run in the background of a shell, which takes it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that take longest, so that two processes end together."""
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)


# An example that takes long on a busy machine is no failure.
settings.register_profile("joinery", deadline=None)
settings.load_profile("joinery")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A local stack of its own; mark its tests `stack`.

    Its models are where nobody serves any, until a test does, see `kit.model_server`.
    """
    home = tmp_path_factory.mktemp("stack")
    # Its workers inherit the secrets of tools from whoever starts it.
    os.environ["JOINERY_SECRET_NOTES"] = "Bearer s3cret-of-notes"
    with socket.socket() as free, pytest.MonkeyPatch.context() as patch:
        free.bind(("127.0.0.1", 0))
        patch.setenv("JOINERY_MODEL_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        running = local.up(lambda _step, _detail: None, model=False, home=home)
    yield running
    local.down(home=home)


@pytest.fixture(scope="session")
def probe(stack: LocalStack) -> Iterator[Probe]:
    """A function on that stack that does as its event says, and machines that call it."""
    with deployed_probe(stack) as deployed:
        yield deployed
