"""Executions and machines of Step Functions."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from moto import mock_aws
from unit.aws.faults import refusal

from joinery import limits
from joinery.aws.executions import StepFunctionsExecutions
from joinery.aws.machines import PublisherClient, StepFunctionsMachines, answer_publisher
from joinery.errors import InvalidRequest, PermanentInternal, TooLarge, Unavailable

ROLE = "arn:aws:iam::123456789012:role/machines"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:joinery-dev-0f"
DEFINITION = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})


class FakeStates:
    """Answers as it is told to, and keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []
        self.meta = type("Meta", (), {"region_name": "eu-west-1"})

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.asked.append((name, parameters))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


# -- executions ----------------------------------------------------------------------------


def test_an_execution_is_started_with_its_name() -> None:
    client = FakeStates(start_execution={"executionArn": "arn:e"})
    assert StepFunctionsExecutions(client).start(MACHINE, "run_1", {"run_id": "é"}) == "arn:e"
    assert client.asked == [
        (
            "start_execution",
            {"stateMachineArn": MACHINE, "name": "run_1", "input": '{"run_id":"é"}'},
        )
    ]


def test_a_used_name_gives_the_same_execution() -> None:
    client = FakeStates(start_execution=refusal("ExecutionAlreadyExists"))
    started = StepFunctionsExecutions(client).start(MACHINE, "run_1", {})
    assert started == "arn:aws:states:us-east-1:123456789012:execution:joinery-dev-0f:run_1"


def test_an_input_above_256_kib_is_refused() -> None:
    with pytest.raises(TooLarge):
        StepFunctionsExecutions(FakeStates()).start(
            MACHINE, "run_1", {"text": "漢" * (limits.SFN_PAYLOAD_BYTES // 3)}
        )


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 400, Unavailable),
        ("Anything", 503, Unavailable),
        ("StateMachineDoesNotExist", 400, PermanentInternal),
    ],
)
def test_errors_of_step_functions(code: str, status: int, kind: type[Exception]) -> None:
    refuse = refusal(code, status)
    executions = StepFunctionsExecutions(
        FakeStates(start_execution=refuse, stop_execution=refuse, get_execution_history=refuse)
    )
    with pytest.raises(kind):
        executions.start(MACHINE, "run_1", {})
    with pytest.raises(kind):
        executions.stop("arn:e", "why")
    with pytest.raises(kind):
        executions.transitions("arn:e")


def test_an_execution_is_stopped_with_its_cause() -> None:
    client = FakeStates(stop_execution={})
    StepFunctionsExecutions(client).stop("arn:e", "x" * 40_000)
    assert client.asked[0][1] == {
        "executionArn": "arn:e", "error": "RunCancelled", "cause": "x" * 32_768
    }  # fmt: skip


@pytest.mark.parametrize("code", ["ExecutionDoesNotExist", "ValidationException"])
def test_stopping_what_has_ended_is_no_error(code: str) -> None:
    client = FakeStates(stop_execution=refusal(code))
    StepFunctionsExecutions(client).stop("arn:e", "why")


def _page(*types: str, more: str | None = None) -> dict[str, Any]:
    page: dict[str, Any] = {"events": [{"type": kind} for kind in types]}
    return {**page, "nextToken": more} if more else page


def test_transitions_are_counted_as_they_are_billed() -> None:
    pages = [
        _page("ExecutionStarted", "PassStateEntered", "PassStateExited", "TaskStateEntered",
              "TaskScheduled", "TaskStarted", "TaskFailed", more="t1"),
        _page("TaskScheduled", "TaskSucceeded", "TaskStateExited", "MapStateEntered",
              "MapIterationStarted", "TaskScheduled", "LambdaFunctionScheduled", more="t2"),
        _page("ChoiceStateEntered", "SucceedStateEntered", "ExecutionSucceeded"),
    ]  # fmt: skip
    client = FakeStates(get_execution_history=pages)
    assert StepFunctionsExecutions(client).transitions("arn:e") == 8
    assert [asked.get("nextToken") for _, asked in client.asked] == [None, "t1", "t2"]
    assert all(asked["includeExecutionData"] is False for _, asked in client.asked)


ITEM_STATES = ("ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskSucceeded")


class MapRuns(FakeStates):
    """An execution of one Map Run, whose items have executions of their own."""

    def __init__(self, items: int, inner: bool = False) -> None:
        super().__init__()
        self.items, self.inner = items, inner

    def get_execution_history(self, **asked: Any) -> Any:
        arn = asked["executionArn"]
        started = {"type": "MapRunStarted", "mapRunStartedEventDetails": {"mapRunArn": f"{arn}/m"}}
        if arn == "arn:e" or (self.inner and arn == "arn:e/m/0"):
            return {"events": [*_page("MapStateEntered")["events"], started]}
        return _page(*ITEM_STATES)

    def list_executions(self, **asked: Any) -> Any:
        places = [f"{asked['mapRunArn']}/{n}" for n in range(self.items)]
        begin = int(asked.get("nextToken", 0))
        page = {"executions": [{"executionArn": arn} for arn in places[begin : begin + 40]]}
        more = begin + 40
        return {**page, "nextToken": str(more)} if more < self.items else page


def test_the_transitions_of_items_and_their_starts_are_counted() -> None:
    count = StepFunctionsExecutions(MapRuns(90)).transitions("arn:e")
    assert count == 1 + 90 * (1 + 1)


def test_so_are_those_of_items_in_items() -> None:
    count = StepFunctionsExecutions(MapRuns(3, inner=True)).transitions("arn:e")
    # The Map; three items, of which two are one Task and one is a Map over three more.
    assert count == 1 + 3 + 2 + 1 + 3 * (1 + 1)


def test_more_items_than_can_be_asked_for_are_not_counted() -> None:
    assert StepFunctionsExecutions(MapRuns(100)).transitions("arn:e") == 1 + 100 * 2
    assert StepFunctionsExecutions(MapRuns(101)).transitions("arn:e") is None


def test_against_an_engine() -> None:
    import boto3

    with mock_aws():
        session = boto3.session.Session(region_name="us-east-1")
        client = session.client("stepfunctions")
        machines = StepFunctionsMachines(client, ROLE)
        machine = machines.ensure("joinery-dev-0f", DEFINITION)
        assert machine == MACHINE
        assert machines.ensure("joinery-dev-0f", DEFINITION) == machine
        executions = StepFunctionsExecutions(client)
        execution = executions.start(machine, "run_1", {"run_id": "run_1"})
        assert executions.start(machine, "run_1", {"run_id": "run_1"}) == execution
        executions.stop(execution, "cancelled")
        executions.stop(execution, "cancelled")
        client.close()


# -- machines ------------------------------------------------------------------------------


def test_a_machine_that_exists_is_used() -> None:
    client = FakeStates(create_state_machine=refusal("StateMachineAlreadyExists"))
    made = StepFunctionsMachines(client, ROLE).ensure("joinery-dev-0f", DEFINITION)
    assert made == "arn:aws:states:eu-west-1:123456789012:stateMachine:joinery-dev-0f"


def test_a_definition_above_1_mb_is_refused() -> None:
    with pytest.raises(TooLarge):
        StepFunctionsMachines(FakeStates(), ROLE).ensure("m", "x" * 1_048_577)


class FakePublisher:
    """A Lambda client whose function is `answer_publisher`."""

    def __init__(self, states: FakeStates) -> None:
        self.machines = StepFunctionsMachines(states, ROLE)
        self.asked: list[str] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> Any:
        self.asked.append(FunctionName)
        answer = answer_publisher(self.machines, json.loads(Payload))
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def test_the_publisher_makes_machines_for_others() -> None:
    lambda_ = FakePublisher(FakeStates(create_state_machine={"stateMachineArn": MACHINE}))
    client = PublisherClient(lambda_, "joinery-dev-publisher")
    assert client.ensure("joinery-dev-0f", DEFINITION) == MACHINE
    assert lambda_.asked == ["joinery-dev-publisher"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("TooManyRequestsException", Unavailable),
        ("StateMachineDeleting", Unavailable),
        ("InvalidDefinition", PermanentInternal),
    ],
)
def test_errors_come_back_from_the_publisher(code: str, kind: type[Exception]) -> None:
    lambda_ = FakePublisher(FakeStates(create_state_machine=refusal(code)))
    with pytest.raises(kind) as raised:
        PublisherClient(lambda_, "p").ensure("m", DEFINITION)
    assert raised.value.details["aws_code"] == code  # type: ignore[attr-defined]  # JoineryErrors


def test_a_machine_that_is_too_large_is_told() -> None:
    with pytest.raises(TooLarge) as raised:
        PublisherClient(FakePublisher(FakeStates()), "p").ensure("m", "x" * 1_048_577)
    assert raised.value.details == {"limit": limits.SFN_DEFINITION_BYTES, "actual": 1_048_577}


@pytest.mark.parametrize(
    ("kind", "error"),
    [("Sandbox.Timedout", Unavailable), ("ImportError", PermanentInternal)],
)
def test_a_publisher_that_fails(kind: str, error: type[Exception]) -> None:
    body = json.dumps({"errorType": kind, "errorMessage": "secret"}).encode()
    lambda_ = FakeStates(invoke={"FunctionError": "Unhandled", "Payload": io.BytesIO(body)})
    with pytest.raises(error) as raised:
        PublisherClient(lambda_, "p").ensure("m", DEFINITION)
    assert "secret" not in str(raised.value)


def test_a_publisher_that_is_throttled() -> None:
    lambda_ = FakeStates(invoke=refusal("TooManyRequestsException", 429))
    with pytest.raises(Unavailable):
        PublisherClient(lambda_, "p").ensure("m", DEFINITION)


@pytest.mark.parametrize("event", [{}, {"name": "m"}, {"name": 1, "definition": "x"}])
def test_a_request_that_makes_no_sense(event: dict[str, Any]) -> None:
    answer = answer_publisher(StepFunctionsMachines(FakeStates(), ROLE), event)
    assert answer["error"]["code"] == InvalidRequest.code
