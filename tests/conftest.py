"""Fixtures that all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kit.probe import Probe, deployed_probe

from joinery_cli import local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A local stack of its own, without a model server; mark its tests `stack`."""
    home = tmp_path_factory.mktemp("stack")
    running = local.up(lambda _step, _detail: None, model=False, home=home)
    yield running
    local.down(home=home)


@pytest.fixture(scope="session")
def probe(stack: LocalStack) -> Iterator[Probe]:
    """A function on that stack that does as its event says, and machines that call it."""
    with deployed_probe(stack) as deployed:
        yield deployed
