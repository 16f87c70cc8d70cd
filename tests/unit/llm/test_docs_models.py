"""docs/models.md names every provider, key and error, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from joinery import model_errors
from joinery.errors import NodeError
from joinery.llm.keys import VARIABLES
from joinery.llm.presets import PRESETS
from joinery.llm.registry import PROVIDERS
from joinery.llm.scripted import load_cassette
from joinery.workflow.source import load
from joinery.workflow.validation import validate

PAGE = (Path(__file__).parents[3] / "docs/models.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ROWS: dict[str, str] = {}
for line in PAGE.splitlines():
    if line.startswith("| `"):
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            ROWS.setdefault(name, line)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_its_row(provider: str) -> None:
    row = ROWS[provider]
    for variable in VARIABLES.get(provider, ()):
        assert f"`{variable}`" in row
    if provider in PRESETS:
        assert f"`{PRESETS[provider].base_url}`" in row


def test_every_error_has_its_row() -> None:
    errors = [
        cls
        for cls in vars(model_errors).values()
        if isinstance(cls, type)
        and issubclass(cls, NodeError)
        and cls.__module__.endswith("model_errors")
    ]
    assert len(errors) > 10
    for cls in errors:
        assert f"`{cls.__name__}`" in ROWS[cls.code]


def test_the_workflows_are_valid_and_the_cassette_loads() -> None:
    workflows = [text for text in EXAMPLES if text.startswith("version:")]
    cassettes = [text for text in EXAMPLES if text.startswith("- {node")]
    assert workflows
    assert [len(load_cassette(text).entries) for text in cassettes] == [13]
    for text in workflows:
        report = validate(load(text))
        assert not report.problems, report.problems
