"""Clients, their counts, and what an import pulls in."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from unit.aws.faults import refusal

from joinery.aws.clients import CallCounter, Clients
from joinery.aws.logs import CallLogs, calls_line
from joinery.errors import Unavailable

if TYPE_CHECKING:
    from contract.backends import Backend

UNITS = {"read": 0.5, "write": 3.0}
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


def body(data: Any) -> Any:
    """Returns the only part of an answer that botocore reads of one without a file."""

    class Body:
        def stream(self, **_: Any) -> list[bytes]:
            return [json.dumps(data).encode()]

    return Body()


def test_nothing_heavy_is_imported_before_a_client_is_made() -> None:
    code = (
        "import sys\n"
        "import joinery.aws.clients, joinery.aws.dynamo_runs, joinery.aws.sockets\n"
        "import joinery.aws.dynamo_catalog, joinery.aws.machines, joinery.aws.logs\n"
        "from joinery.aws.clients import Clients\n"
        "Clients()\n"
        "heavy = {'boto3', 'botocore', 'pydantic', 'fastapi', 'ruamel', 'rich', 'jsonschema'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_calls_are_counted_by_name(moto: Backend) -> None:
    clients = Clients(region="us-east-1", **KEYS)
    clients.counter.reset()
    clients.dynamodb.list_tables()
    clients.dynamodb.list_tables()
    clients.s3.put_object(Bucket=moto.bucket, Key="a", Body=b"")
    clients.states.list_state_machines()
    assert clients.counter.snapshot() == {
        "dynamodb.ListTables": 2,
        "s3.PutObject": 1,
        "states.ListStateMachines": 1,
    }
    clients.counter.reset()
    assert clients.counter.snapshot() == {}


def test_every_attempt_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.awsrequest import AWSResponse

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    clients = Clients(
        region="us-east-1", endpoint_url="http://127.0.0.1:9",
        websocket_endpoint="http://127.0.0.1:9/dev", **KEYS,
    )  # fmt: skip

    def fail(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 500, {}, body({}))

    for client in (clients.dynamodb, clients.sockets):
        client.meta.events.register("before-send", fail)
    with pytest.raises(Exception, match="500"):
        clients.dynamodb.list_tables()
    with pytest.raises(Exception, match="500"):
        clients.sockets.post_to_connection(ConnectionId="c", Data=b"")
    assert clients.counter.snapshot() == {
        "apigatewaymanagementapi.PostToConnection": 2,
        "dynamodb.ListTables": 3,
    }


def test_a_client_is_made_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients(region="us-east-1", **KEYS)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(clients.logs.meta)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(meta) for meta in found}) == 1
    config = found[0].config
    assert (config.connect_timeout, config.read_timeout) == (1.0, 10.0)


def test_timeouts_are_tight() -> None:
    clients = Clients(region="us-east-1", websocket_endpoint="http://127.0.0.1:9/dev", **KEYS)
    read = {
        name: getattr(clients, name).meta.config.read_timeout
        for name in ("dynamodb", "states", "sockets")
    }
    assert read == {"dynamodb": 3.0, "states": 5.0, "sockets": 2.0}
    assert clients.sockets.meta.endpoint_url == "http://127.0.0.1:9/dev"


# -- what a run called ------------------------------------------------------------------------


def test_units_are_those_that_dynamodb_tells() -> None:
    from botocore.awsrequest import AWSResponse

    clients = Clients(region="us-east-1", **KEYS)
    one, asked = {"TableName": "t", "CapacityUnits": 2.0}, []
    refused = {"__type": "ConditionalCheckFailedException", "message": "no"}
    answers: dict[str, tuple[int, Any]] = {
        "GetItem": (200, {"ConsumedCapacity": {**one, "CapacityUnits": 0.5}}),
        "BatchGetItem": (200, {"Responses": {}, "ConsumedCapacity": [one, one]}),
        "TransactWriteItems": (200, {"ConsumedCapacity": [{**one, "CapacityUnits": 12.0}]}),
        "UpdateItem": (400, refused),
        "ListTables": (200, {}),
    }

    def answer(request: Any, event_name: str, **_: Any) -> AWSResponse:
        status, data = answers[event_name.rsplit(".", 1)[1]]
        asked.append(json.loads(request.body).get("ReturnConsumedCapacity"))
        return AWSResponse(request.url, status, {}, body(data))

    table = clients.dynamodb
    table.meta.events.register_first("before-send", answer)
    place = {"TableName": "t", "Key": {"pk": {"S": "a"}}}
    table.get_item(**place)
    table.batch_get_item(RequestItems={"t": {"Keys": [place["Key"]]}})
    table.transact_write_items(TransactItems=[{"Delete": place}])
    with pytest.raises(table.exceptions.ConditionalCheckFailedException):
        table.update_item(**place)
    table.list_tables()
    # What was refused tells none: it counts as what such a call usually takes.
    assert clients.counter.units() == {"read": 4.5, "write": 13.0}
    assert asked == ["TOTAL"] * 4 + [None]
    clients.counter.reset()
    assert clients.counter.units() == {"read": 0.0, "write": 0.0}


class FakeLogs:
    """Log groups with messages, two a page."""

    def __init__(self, groups: dict[str, list[str]]) -> None:
        self.groups, self.asked = groups, []

    def filter_log_events(self, **parameters: Any) -> Any:
        self.asked.append(parameters)
        if parameters["logGroupName"] not in self.groups:
            raise refusal("ResourceNotFoundException")
        found = [
            message
            for message in self.groups[parameters["logGroupName"]]
            if parameters["filterPattern"].strip('"') in message
        ]
        first = int(parameters.get("nextToken", 0))
        page = {"events": [{"message": m} for m in found[first : first + 2]]}
        return {**page, "nextToken": str(first + 2)} if len(found) > first + 2 else page


def test_the_calls_of_a_run_are_summed_over_pages_and_groups() -> None:
    counter = CallCounter()
    counter.add("dynamodb.UpdateItem")
    counter.add("dynamodb.UpdateItem")
    line = calls_line("run_1", counter.snapshot(), node_id="judge")
    wrapped = json.dumps({"level": "INFO", "message": calls_line("run_1", {"s3.PutObject": 1})})
    logs = FakeLogs(
        {
            "a": [line, "not JSON run_1", line, json.dumps({"run_id": "run_1"}), line],
            "b": [
                wrapped,
                calls_line("run_2", {"s3.PutObject": 9}, took_ms=9),
                '"run_1"',
                "[1]",
                *(calls_line("run_1", {}, took_ms=ms, units=UNITS) for ms in (40, 2)),
            ],
        }
    )
    calls = CallLogs(logs, ["a", "b", "never-ran"]).calls_of_run("run_1", since=1.5)
    assert calls == {
        "dynamodb.UpdateItem": 6,
        "s3.PutObject": 1,
        "lambda.Milliseconds": 42,
        "dynamodb.ReadUnits": 1.0,
        "dynamodb.WriteUnits": 6.0,
    }
    assert logs.asked[0]["startTime"] == 1500
    asked_of = [asked["logGroupName"] for asked in logs.asked]
    assert asked_of == ["a", "a", "a", "b", "b", "never-ran"]


def test_logs_that_do_not_answer() -> None:
    class Busy:
        def filter_log_events(self, **_: Any) -> Any:
            raise refusal("ThrottlingException")

    with pytest.raises(Unavailable):
        CallLogs(Busy(), ["a"]).calls_of_run("run_1", since=0)
