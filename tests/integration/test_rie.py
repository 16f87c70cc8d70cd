"""The handlers under Amazon's own runtime emulator and runtime client, with the sample events.

The emulator is a binary inside the wheel of aws-sam-cli; it needs no Docker.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kit.engines import Listener, NoModels
from kit.functions import ROOT, sample

from joinery.aws.documents import Documents
from joinery.aws.dynamo_catalog import DynamoCatalogStore
from joinery.aws.dynamo_runs import DynamoRunStore
from joinery.compiler.plan import Plan
from joinery.runs.deps import Deps
from joinery.runs.start import create_run

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

Invoke = Callable[[dict[str, Any]], Any]

MACHINES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Amazon's runtime interface emulator for this machine."""
    name = f"aws-lambda-rie-{MACHINES.get(platform.machine(), '?')}"
    found = next((ROOT / ".tools/sam").glob(f"lib/*/site-packages/samcli/local/rapid/{name}"), None)
    if found is None or sys.platform != "linux":
        pytest.skip("no runtime emulator here: make .tools/sam/bin/sam, on Linux")
    # The wheel does not say that it can be executed.
    copy = tmp_path_factory.mktemp("rie") / "aws-lambda-rie"
    shutil.copy(found, copy)
    copy.chmod(0o755)
    return copy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(emulator: Path, function: str, **environ: str) -> Iterator[Invoke]:
    """Runs a function as Lambda would; yields what invokes it."""
    port, runtime_port = free_port(), free_port()
    command = [
        str(emulator),
        "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
        "--runtime-api-address", f"127.0.0.1:{runtime_port}",
        sys.executable, "-m", "awslambdaric", "app.handler",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=ROOT / "functions" / function,
        env={"PATH": os.environ["PATH"], "AWS_LAMBDA_FUNCTION_NAME": function, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(trust_env=False, timeout=60))
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_for_port(port)
        yield lambda event: client.post(url, json=event).json()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the emulator did not start"
            time.sleep(0.02)


def test_the_http_api(emulator: Path) -> None:
    with running(emulator, "http_api") as invoke:
        health = invoke(sample("http_api-health"))
        assert (health["statusCode"], health["body"]) == (200, '{"status":"ok","version":"0.1.0"}')
        refused = invoke(sample("http_api-unauthorised"))
        assert refused["statusCode"] == 401
        assert '"code":"unauthorized"' in refused["body"]


def test_run_node_answers_a_warm_up(emulator: Path) -> None:
    with running(emulator, "run_node") as invoke:
        assert invoke(sample("run_node-warm")) == {"warm": True}


def test_run_code_runs_its_sample(emulator: Path) -> None:
    with running(emulator, "run_code", JOINERY_CODE_ISOLATION="function") as invoke:
        assert invoke({"warm": True}) == {"warm": True}
        for _ in range(2):
            assert invoke(sample("run_code-call")) == {"output": 3, "stdout": "counting\n"}


def test_an_error_goes_out_by_its_class_name(emulator: Path) -> None:
    with running(emulator, "run_node") as invoke:
        answer = invoke(sample("run_node-node"))
        # Nothing is configured here, which is a defect and no reason to try again.
        assert answer["errorType"] == "Permanent"
        assert answer["errorMessage"].startswith("PermanentInternal: ")
        assert "JOINERY_STATE_TABLE" in answer["errorMessage"]


# -- against the local stack -----------------------------------------------------------------------


@pytest.mark.stack
def test_a_real_node_and_the_end_of_its_run(emulator: Path, stack: LocalStack) -> None:
    with httpx.Client(base_url=stack.http_api_url, trust_env=False, timeout=30) as client:
        published = client.post(
            "/workflows",
            content=sample("http_api-publish_workflow")["body"],
            headers={
                "Authorization": f"Bearer {stack.token}",
                "Content-Type": "application/json",
            },
        ).json()
    documents = Documents(stack.client("s3"), stack.outputs["BucketName"])
    dynamodb = stack.client("dynamodb")
    store = DynamoRunStore(dynamodb, stack.outputs["StateTableName"], documents)
    catalog = DynamoCatalogStore(dynamodb, stack.outputs["CatalogTableName"], documents)
    version = catalog.version(published["workflow_id"], published["version"])
    run, _ = create_run(
        Deps(store, Listener(), NoModels()),
        Plan.from_dict(version.plan),
        owner=version.owner,
        workflow_id=version.workflow_id,
        version=version.version,
        given={"who": "RIE"},
    )
    store.mark_started(run.run_id, "arn", time.time())
    address = {"run_id": run.run_id, "plan": run.plan_ref}
    with running(emulator, "run_node", **environment(stack)) as invoke:
        assert invoke({**sample("run_node-node"), **address}) == {"port": "", "path": ""}
        assert invoke({**sample("run_node-end"), **address}) == {"port": "", "path": ""}
    assert store.get_run(run.run_id).status == "completed"
    assert store.outputs(run.run_id) == {"text": "Hello, RIE"}


def environment(stack: LocalStack) -> dict[str, str]:
    """What the deployed function has, with the rights of this test."""
    function = stack.outputs["RunNodeArn"].rsplit(":", 1)[0]
    found = stack.client("lambda").get_function_configuration(FunctionName=function)
    variables: dict[str, str] = found["Environment"]["Variables"]
    return {**variables, **stack.credentials()}
