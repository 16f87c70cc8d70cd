"""What we lean on in the emulator's tables, sockets and permissions, and in the stack itself."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from kit.probe import Probe, wait_for
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from joinery_cli import local
from joinery_cli.local.emulator import REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

# -- permissions ----------------------------------------------------------------------------


def test_a_role_may_do_what_its_policy_says_and_nothing_else(probe: Probe) -> None:
    def calling(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        payload = {"call": ["dynamodb", operation, arguments]}
        return probe.run({"a": probe.task(payload)}, "a")

    key = {"pk": {"S": "probe"}, "sk": {"S": "probe"}}
    table = probe.stack.outputs["StateTableName"]
    other = probe.stack.outputs["CatalogTableName"]
    assert calling("get_item", {"TableName": table, "Key": key})["status"] == "SUCCEEDED"
    for refused in (
        calling("get_item", {"TableName": other, "Key": key}),
        calling("put_item", {"TableName": table, "Item": key}),
    ):
        assert refused["error"] == "ClientError"
        assert "AccessDenied" in refused["cause"]


def somebody(stack: LocalStack, action: str, resource: str) -> Callable[[str], Any]:
    """Returns what makes clients of a user who may do this alone."""
    import boto3

    iam, name = stack.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}],
    }
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    session: Any = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
    return lambda service: session.client(service, endpoint_url=stack.endpoint)


def test_the_right_to_a_path_of_parameters_is_one_to_that_path(stack: LocalStack) -> None:
    arn = f"arn:aws:ssm:{REGION}:000000000000:parameter/services/mine"
    for path in ("mine", "theirs"):
        stack.client("ssm").put_parameter(
            Name=f"/services/{path}/key", Value=f"of {path}", Type="SecureString"
        )
    ssm = somebody(stack, "ssm:GetParametersByPath", arn)("ssm")
    found = ssm.get_parameters_by_path(Path="/services/mine", WithDecryption=True)
    assert [row["Value"] for row in found["Parameters"]] == ["of mine"]
    for path in ("/services/theirs", "/services", "/"):
        with pytest.raises(ClientError, match="AccessDenied"):
            ssm.get_parameters_by_path(Path=path)


def test_a_model_is_a_resource_and_one_that_cannot_be_is_refused(stack: LocalStack) -> None:
    arn = f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova-micro-v1:0"
    bedrock = somebody(stack, "bedrock:InvokeModelWithResponseStream", arn)("bedrock-runtime")

    def ask(client: Any, model: str) -> list[Any]:
        said: list[Any] = [{"role": "user", "content": [{"text": "hi"}]}]
        return list(client.converse_stream(modelId=model, messages=said)["stream"])

    assert len(ask(bedrock, "amazon.nova-micro-v1:0")) > 3
    with pytest.raises(ClientError, match="AccessDenied"):
        ask(bedrock, "amazon.nova-pro-v1:0")
    with pytest.raises(ClientError, match="model identifier is invalid"):
        ask(stack.client("bedrock-runtime"), "nova-of-nobody")


# -- tables -------------------------------------------------------------------------------------


def test_a_failed_condition_gives_the_item_also_in_a_transaction(stack: LocalStack) -> None:
    client = stack.client("dynamodb")
    table = stack.outputs["StateTableName"]
    item = {"pk": {"S": "tx"}, "sk": {"S": "META"}, "attempt": {"N": "2"}}
    client.put_item(TableName=table, Item=item)
    update = {
        "TableName": table,
        "Key": {"pk": {"S": "tx"}, "sk": {"S": "META"}},
        "UpdateExpression": "SET done = :true",
        "ConditionExpression": "attempt = :mine",
        "ExpressionAttributeValues": {":true": {"BOOL": True}, ":mine": {"N": "1"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(ClientError) as alone:
        client.update_item(**update)
    assert alone.value.response["Item"] == item

    event = {"TableName": table, "Item": {"pk": {"S": "tx"}, "sk": {"S": "E#1"}}}
    with pytest.raises(ClientError) as together:
        client.transact_write_items(TransactItems=[{"Put": event}, {"Update": update}])
    reasons = together.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"] == item
    key = {"pk": {"S": "tx"}, "sk": {"S": "E#1"}}
    assert "Item" not in client.get_item(TableName=table, Key=key, ConsistentRead=True)


def test_a_transaction_that_is_sent_again_is_done_once(stack: LocalStack) -> None:
    client, table = stack.client("dynamodb"), stack.outputs["StateTableName"]
    key = {"pk": {"S": "again"}, "sk": {"S": "META"}}
    put = {
        "TableName": table,
        "Item": {**key, "until": {"N": "0.0"}},
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    for _ in range(2):
        client.transact_write_items(TransactItems=[{"Put": put}], ClientRequestToken="again")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.transact_write_items(TransactItems=[{"Put": put}], ClientRequestToken="another")


def test_a_counter_gives_each_caller_its_own_number(stack: LocalStack) -> None:
    client = stack.client("dynamodb")

    def draw(count: int) -> int:
        answer = client.update_item(
            TableName=stack.outputs["StateTableName"],
            Key={"pk": {"S": "counter"}, "sk": {"S": "CTRL"}},
            UpdateExpression="ADD seq :n",
            ExpressionAttributeValues={":n": {"N": str(count)}},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["seq"]["N"])

    assert [draw(1), draw(3), draw(1)] == [1, 4, 5]


def test_the_last_item_of_a_partition_is_one_read(stack: LocalStack) -> None:
    client = stack.client("dynamodb")
    table = stack.outputs["StateTableName"]
    for number in range(3):
        item = {"pk": {"S": "log"}, "sk": {"S": f"E#{number:010d}"}}
        client.put_item(TableName=table, Item=item)
    found = client.query(
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :e)",
        ExpressionAttributeValues={":pk": {"S": "log"}, ":e": {"S": "E#"}},
        ScanIndexForward=False,
        Limit=1,
        ConsistentRead=True,
    )
    assert [item["sk"]["S"] for item in found["Items"]] == ["E#0000000002"]


# -- sockets ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def socket_api(probe: Probe) -> str:
    """`<api id>/<stage>` of a WebSocket API whose one route is the probe."""
    client = probe.stack.client("apigatewayv2")
    api = client.create_api(
        Name="probe", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    path = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{probe.arn}/invocations"
    integration = client.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=path
    )["IntegrationId"]
    for key in ("$connect", "$default"):
        client.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}")
    client.create_stage(ApiId=api, StageName="test", AutoDeploy=True)
    return f"{api}/test"


def connections(probe: Probe) -> list[str]:
    """The ids of the connections, oldest first, from what the probe printed."""
    events = probe.stack.client("logs").filter_log_events(
        logGroupName=probe.log_group, filterPattern='"connectionId"'
    )["events"]
    lines = sorted(events, key=lambda event: event["timestamp"])
    contexts = [json.loads(line["message"])["probe"]["requestContext"] for line in lines]
    return list(dict.fromkeys(str(context["connectionId"]) for context in contexts))


def connection_id(probe: Probe) -> str:
    """The id of the connection that was just made; its line may come a moment later."""
    wait_for(lambda: bool(connections(probe)))
    return connections(probe)[-1]


def test_posts_arrive_in_order_and_a_closed_socket_is_gone(probe: Probe, socket_api: str) -> None:
    path = f"/_aws/execute-api/{socket_api}"
    client = probe.stack.client("apigatewaymanagementapi", probe.stack.endpoint + path)
    with connect(f"ws://{probe.stack.address}{path}", proxy=None) as socket:
        connection = connection_id(probe)
        for number in range(50):
            client.post_to_connection(ConnectionId=connection, Data=str(number).encode())
        assert [socket.recv(timeout=5) for _ in range(50)] == [str(n) for n in range(50)]

    def gone() -> bool:
        try:
            client.post_to_connection(ConnectionId=connection, Data=b"late")
        except client.exceptions.GoneException:
            return True
        return False

    wait_for(gone)


def test_a_socket_without_a_token_is_refused(stack: LocalStack) -> None:
    with pytest.raises(InvalidStatus, match="403"), connect(stack.websocket_url, proxy=None):
        pass


# -- the stack itself --------------------------------------------------------------------------


def test_up_again_changes_nothing(stack: LocalStack) -> None:
    steps: list[str] = []
    again = local.up(lambda step, _detail: steps.append(step), model=False, home=stack.home)
    assert again == stack
    assert not {"emulator", "deploy", "warm"} & set(steps)
    assert local.status(home=stack.home).state == "up"
    assert local.current(home=stack.home) == stack


def test_the_token_is_stored_by_its_hash_and_expires(stack: LocalStack) -> None:
    digest = hashlib.sha256(stack.token.encode()).hexdigest()
    item = stack.client("dynamodb").get_item(
        TableName=stack.outputs["CatalogTableName"],
        Key={"pk": {"S": f"TOKEN#{digest}"}, "sk": {"S": "TOKEN"}},
    )["Item"]
    assert item["owner"] == {"S": "dev"}
    assert int(item["expires_at"]["N"]) == stack.token_expires_at > time.time()
