"""A stack whose functions fail where they are told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kit.faulty import Faulty, faulty_functions
from kit.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack


@pytest.fixture(scope="package")
def faulty(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """The functions, until the last test of this folder has ended."""
    with faulty_functions(stack, tmp_path_factory.mktemp("faults")) as faulty:
        yield faulty


@pytest.fixture(scope="package")
def lab(stack: LocalStack, faulty: Faulty) -> Lab:
    """Somebody with runs on that stack."""
    return Lab(stack, faulty)
