from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from joinery_cli.main import app

from .stack_api import stack_api

PURE = """\
version: 1
name: pure
inputs:
  number: {type: integer, required: true}
  who: {type: string, default: world}
nodes:
  hello: {type: template, template: "Hello {{ inputs.who }}!"}
  big: {type: condition, if: "{{ inputs.number > 10 }}"}
  yes: {type: template, template: "big"}
  no: {type: template, template: "small"}
edges:
  - start -> hello -> big
  - big.true -> yes -> end
  - big.false -> no -> end
outputs:
  text: "{{ nodes.hello.text }}"
  size: "{{ nodes.yes.text ?? 'not big' }}"
"""

BROKEN = """\
version: 1
name: broken
nodes:
  a: {type: template, template: "{{ inputs.nope }}"}
  b: {type: tempalte, template: "x"}
edges:
  - start -> a -> c
outputs: {}
"""


@pytest.fixture
def pure(tmp_path):
    """A valid workflow without models."""
    file = tmp_path / "pure.yaml"
    file.write_text(PURE)
    return file


@pytest.fixture
def broken(tmp_path):
    """A workflow with several errors."""
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    return file


@pytest.fixture
def joinery(monkeypatch, tmp_path):
    """Runs the command in this process: `joinery("validate", file)`; there is no local stack."""
    monkeypatch.setenv("JOINERY_LOCAL_HOME", str(tmp_path / "no-stack"))

    def invoke(*arguments, **options):
        return CliRunner().invoke(app, [str(a) for a in arguments], **options)

    return invoke


@pytest.fixture
def api(monkeypatch):
    """An API in place of the local stack."""
    with stack_api(monkeypatch) as made:
        yield made


@pytest.fixture
def process(tmp_path):
    """Runs the command as a process of its own, without a terminal."""

    def run(*arguments, environment=(), cwd=None, **options):
        return subprocess.run(
            command(*arguments),
            env=plain_environment(tmp_path) | dict(environment),
            cwd=cwd or tmp_path,
            capture_output=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )

    return run


def command(*arguments):
    return [sys.executable, "-m", "joinery_cli", *(str(a) for a in arguments)]


def plain_environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JOINERY_")}
    return kept | {"JOINERY_LOCAL_HOME": str(tmp_path / "no-stack")}
