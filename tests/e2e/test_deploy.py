"""The real `sam build` and `sam deploy` bring up the same stack as `joinery local up`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from joinery_cli import local
from joinery_cli.local.access import ensure_token, warm_up
from joinery_cli.local.deploy import STACK, prepare
from joinery_cli.local.stack import start_emulator
from joinery_cli.packaging import FUNCTIONS
from joinery_cli.project import find_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from joinery_cli.local import LocalStack

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]


def sam(*arguments: str, environment: Mapping[str, str]) -> None:
    project = find_project()
    done = subprocess.run(
        [str(project / ".tools" / "sam" / "bin" / "sam"), *arguments],
        cwd=project,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_DEFAULT_REGION": "us-east-1",
            "SAM_CLI_TELEMETRY": "0",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> LocalStack:
    """An emulator with nothing deployed to it."""
    home = tmp_path / "stack"
    request.addfinalizer(lambda: local.down(home=home))
    return start_emulator(home, lambda _step, _detail: None)


def test_sam_build_and_deploy_bring_up_the_stack(stack: LocalStack, tmp_path: Path) -> None:
    built = tmp_path / "built"
    folders = ("--build-dir", str(built), "--cache-dir", str(tmp_path / "cache"))
    sam("build", *folders, environment={"JOINERY_LOCAL": "1"})
    parameters = prepare(find_project(), stack, {}, "").parameters
    sam(
        *("deploy", "--template-file", str(built / "template.yaml"), "--stack-name", STACK),
        *("--resolve-s3", "--no-confirm-changeset", "--no-progressbar"),
        *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"),
        "--parameter-overrides",
        *(f"ParameterKey={key},ParameterValue={value}" for key, value in parameters.items()),
        environment=stack.credentials(),
    )
    described = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
    warm_up(ensure_token(replace(stack, outputs=outputs)))


def test_sam_build_for_aws_needs_no_python_of_the_target(tmp_path: Path) -> None:
    folders = ("--build-dir", str(tmp_path / "built"), "--cache-dir", str(tmp_path / "cache"))
    sam("build", *folders, environment={})
    for logical_id in FUNCTIONS:
        assert (tmp_path / "built" / logical_id / "joinery" / "__init__.py").is_file()
    assert list((tmp_path / "built" / "RunNodeFunction").rglob("*cpython-313-aarch64*.so"))
