"""docs/cli.md shows what the command really prints: its samples have the same shapes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from joinery_cli import exits

from .messages import RUN

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text()
SAMPLES = dict(re.findall(r"<!-- sample: (.*?) -->\n```json\n(.*?)```", PAGE, re.DOTALL))
FREE = {"outputs", "nodes", "aws_calls", "services", "price_by_service"}
"""Objects whose keys are names of the user's or of services."""


def shape(value, name=""):
    """Returns a value with every scalar replaced by its kind."""
    if isinstance(value, dict):
        if name in FREE:
            return {"*": sorted({json.dumps(shape(v)) for v in value.values()})[:1]}
        return {key: shape(v, key) for key, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_there_is_a_sample_of_each():
    assert set(SAMPLES) == {
        "validate",
        "plan",
        "run",
        "watch",
        "local status",
        "doctor",
        "detached",
    }


def test_validate(joinery, broken):
    sample = json.loads(SAMPLES["validate"])
    real = json.loads(joinery("validate", broken, "--json").stdout)
    real["errors"] = [row for row in real["errors"] if row["code"] == sample["errors"][0]["code"]]
    assert real == sample


def test_plan(joinery):
    sample = json.loads(SAMPLES["plan"])
    real = json.loads(joinery("plan", ROOT / "examples" / "debate.yaml", "--json").stdout)
    assert shape(real) == shape(sample)
    assert set(real["price_by_service"]) == set(sample["price_by_service"])


def test_run_inline_and_local(joinery, pure, api):
    sample = shape(json.loads(SAMPLES["run"]))
    local = shape(json.loads(joinery("run", pure, "-i", "number=1", "--json").stdout))
    assert list(local) == list(sample)
    assert local | {"outputs": 0} == sample | {"outputs": 0}
    inline = joinery("run", pure, "-i", "number=1", "--json", "--engine", "inline").stdout
    assert shape(json.loads(inline)) | {"outputs": 0, "aws_calls": 0} == sample | {
        "outputs": 0,
        "aws_calls": 0,
    }


def test_a_detached_run(joinery, pure, api):
    real = json.loads(joinery("run", pure, "-i", "number=1", "--detach", "--json").stdout)
    assert shape(real) == shape(json.loads(SAMPLES["detached"]))


def test_watch(joinery, api):
    samples = [json.loads(line) for line in SAMPLES["watch"].splitlines()]
    real = [json.loads(line) for line in joinery("watch", RUN, "--json").stdout.splitlines()]
    for sample in samples:
        same = next(line for line in real if line["event"] == sample["event"])
        assert shape(same) == shape(sample)


def test_local_status(joinery):
    sample = json.loads(SAMPLES["local status"])
    real = json.loads(joinery("local", "status", "--json").stdout)
    assert list(real) == list(sample)


def test_doctor(joinery):
    real = json.loads(joinery("doctor", "--json").stdout)
    assert shape(real) == shape(json.loads(SAMPLES["doctor"]))


@pytest.mark.parametrize(
    "code",
    [
        exits.OK,
        exits.FAILED,
        exits.INVALID,
        exits.WAITING,
        exits.DETACHED,
        exits.UNFORMATTED,
        exits.CANCELLED,
    ],
)
def test_every_exit_code_is_explained(code):
    assert f"\n| {code} | " in PAGE


def test_every_command_is_on_the_page(joinery):
    from joinery_cli.main import app, local_app

    for command in app.registered_commands:
        name = (command.name or command.callback.__name__).rstrip("_")
        assert f"joinery {name}" in PAGE
    for command in local_app.registered_commands:
        assert f"`{command.name}`" in PAGE or f"joinery local {command.name}" in PAGE
