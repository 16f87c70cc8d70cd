"""Code nodes and tools on the local stack: the real function, called by the real node."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from joinery.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]

LOOK = """
import os, socket
def main(path, port):
    print("looking")
    found = {"variables": dict(os.environ), "files": [], "network": "closed"}
    for one in (path, "/proc/1/environ", "/proc/self/environ", os.path.expanduser("~/.bashrc")):
        try:
            with open(one) as file:
                file.read(1)
            found["files"].append(one)
        except OSError:
            pass
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        found["network"] = "open"
    except OSError:
        pass
    return found
"""


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.http_api_url, stack.websocket_url, stack.token) as found:
        yield found


def run(client: Client, nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    source = {
        "version": 1, "name": "code", "nodes": nodes,
        "edges": [" -> ".join(("start", *nodes, "end"))], **more,
    }  # fmt: skip
    published = client.publish(json.dumps(source))
    run_id = client.start(published["workflow_id"], {})["run_id"]
    deadline = time.monotonic() + 60
    while (view := client.get(run_id))["status"] in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return view


def code(text: str, **inputs: Any) -> dict[str, Any]:
    return {"type": "code", "code": text, "inputs": inputs}


def test_the_example_runs(client: Client) -> None:
    source = (ROOT / "examples/words.yaml").read_text()
    run_id = client.start(client.publish(source)["workflow_id"], {})["run_id"]
    for _ in client.follow(run_id):
        pass
    outputs = client.get(run_id)["outputs"]
    assert outputs["words"][0] == {"word": "the", "times": 3}
    assert outputs["report"] == "Most often: the (3 times).\nIt takes 0 min 4 s to read.\n"


def test_code_sees_neither_the_stack_nor_the_laptop(client: Client, stack: LocalStack) -> None:
    port = int(stack.address.rpartition(":")[2])
    look = code(LOOK, path=str(ROOT / "template.yaml"), port=port)
    view = run(client, {"look": look}, outputs={"found": "{{ nodes.look.output }}"})
    found = view["outputs"]["found"]
    assert found == {"variables": {}, "files": [], "network": "closed"}
    [node] = [node for node in view["nodes"] if node["node_id"] == "look"]
    assert node["result"]["stdout"] == "looking\n"


def test_an_error_says_where_in_the_code(client: Client) -> None:
    view = run(client, {"a": code("def main():\n    raise ValueError('no')")})
    assert view["status"] == "failed"
    assert view["error"]["code"] == "code.raised"
    assert view["error"]["message"] == "ValueError: no (line 2: raise ValueError('no'))"


def test_calls_are_counted_apart(client: Client) -> None:
    view = run(
        client, {"a": code("def main():\n    return 1"), "b": code("def main():\n    return 2")}
    )
    deadline = time.monotonic() + 10
    while (cost := client.cost(view["run_id"]))["aws_calls"].get("run_code.Invoke") != 2:
        assert time.monotonic() < deadline, cost
        time.sleep(0.1)


def test_a_warm_call_is_quick(client: Client) -> None:
    nodes = {f"n{i}": code("def main():\n    return 1") for i in range(6)}
    run(client, nodes)
    view = run(client, nodes)
    events = client.events(view["run_id"])
    took = sorted(e["data"]["duration_ms"] for e in events if e["event"] == "node.completed")
    # Two invocations and a fresh process in its sandbox, on two busy cores.
    assert took[len(took) // 2] < 1_000, took


def test_the_function_has_no_rights(stack: LocalStack) -> None:
    name = stack.outputs["PublisherFunctionName"].replace("publisher", "run-code")
    configuration = stack.client("lambda").get_function_configuration(FunctionName=name)
    variables = configuration["Environment"]["Variables"]
    assert {key: value for key, value in variables.items() if value} == {
        "JOINERY_STAGE": "local",
        "JOINERY_CODE_ISOLATION": "sandbox",
    }
    role = configuration["Role"].rpartition("/")[2]
    iam = stack.client("iam")
    [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    actions = [a for s in document["Statement"] for a in s["Action"]]
    assert actions == ["logs:CreateLogStream", "logs:PutLogEvents"]
    credentials = stack.client("sts").assume_role(
        RoleArn=configuration["Role"], RoleSessionName="test"
    )["Credentials"]
    import boto3

    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=f"http://{stack.address}",
        region_name="us-east-1",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        dynamodb.scan(TableName=stack.outputs["StateTableName"])
