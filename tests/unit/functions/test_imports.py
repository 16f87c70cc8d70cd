"""What a function imports is what every cold start of it pays for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from kit.functions import ROOT

CODE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import app
assert app.handler({"warm": True}, None) == {"warm": True}
print(json.dumps(sorted(sys.modules)))
"""

HEAVY = {
    "fastapi", "httpx", "jsonata", "jsonschema", "mangum", "pydantic", "rich", "ruamel",
    "starlette", "typer", "websockets",
}  # fmt: skip


def imported(function: str) -> set[str]:
    command = [sys.executable, "-c", CODE, str(ROOT / "functions" / function)]
    # Without an installation's environment, and so without the AWS SDK as well.
    done = subprocess.run(command, capture_output=True, check=True, env={}, timeout=60)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "function", ["authorizer", "lifecycle", "publisher", "run_code", "run_node", "websocket"]
)
def test_nothing_heavy_is_imported(function: str) -> None:
    assert not imported(function) & {*HEAVY, "boto3"}


def test_run_code_imports_next_to_nothing() -> None:
    modules = {name for name in imported("run_code") if name.startswith("joinery")}
    assert modules <= {
        "joinery", "joinery.code_errors", "joinery.errors", "joinery.jsonlog",
        "joinery.limits", "joinery.sandbox",
        "joinery.sandbox.answer", "joinery.sandbox.function", "joinery.sandbox.isolation",
        "joinery.sandbox.process", "joinery.sandbox.run", "joinery.sandbox.types",
        "joinery.strictjson",
    }  # fmt: skip


def test_the_api_imports_neither_compiler_nor_yaml_before_something_is_published() -> None:
    modules = imported("http_api")
    assert "fastapi" in modules
    assert not modules & {"boto3", "httpx", "jsonata", "jsonschema", "ruamel", "rich", "typer"}
    assert not modules & {"joinery.compiler.compile", "joinery.workflow.validation"}
