"""A Lambda function that does as its event says, beside the real ones on the local stack."""

from __future__ import annotations

import io
import json
import shlex
import sys
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joinery_cli.local.deploy import STAGE
from joinery_cli.packaging import Target, build
from joinery_cli.project import find_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from joinery_cli.local import LocalStack

INVOKE = "arn:aws:states:::lambda:invoke"
PREFIX = f"joinery-{STAGE}-"

PROBE = """
import json, os, time

def handler(event, context):
    print(json.dumps({"probe": event}))
    time.sleep(event.get("sleep", 0))
    if "raise" in event:
        raise type(event["raise"], (Exception,), {})("as asked")
    if "kill" in event:
        os.kill(os.getpid(), 9)
    if "call" in event:
        import boto3
        service, operation, arguments = event["call"]
        getattr(boto3.client(service), operation)(**arguments)
    left = context.get_remaining_time_in_millis()
    return {"port": "done", "left_ms": left, "pid": os.getpid()}
"""


@dataclass(frozen=True)
class Probe:
    """A function that does as its event says, and the machines that call it."""

    stack: LocalStack
    arn: str

    def task(self, payload: Any, **fields: Any) -> dict[str, Any]:
        ending = {} if "Next" in fields else {"End": True}
        return {
            "Type": "Task",
            "Resource": INVOKE,
            "Arguments": {"FunctionName": self.arn, "Payload": payload},
            "Output": "{% {'port': $states.result.Payload.port} %}",
            **ending,
            **fields,
        }

    def start(self, states: dict[str, Any], first: str, given: Any = None) -> str:
        """Creates a machine and starts it; returns the execution's ARN."""
        client = self.stack.client("stepfunctions")
        machine = client.create_state_machine(
            name=f"{PREFIX}{time.time_ns()}",
            roleArn=self.stack.outputs["MachineRoleArn"],
            definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": first, "States": states}),
        )["stateMachineArn"]
        # Named as runs are, so that what listens to the end of runs hears of it.
        name = f"run_{time.time_ns()}"
        said = json.dumps(given or {})
        started = client.start_execution(stateMachineArn=machine, name=name, input=said)
        return str(started["executionArn"])

    def run(self, states: dict[str, Any], first: str, given: Any = None) -> dict[str, Any]:
        """Runs a machine to its end; returns the described execution."""
        return self.end_of(self.start(states, first, given))

    def logged(self, text: str) -> bool:
        """Whether the function printed a text."""
        client = self.stack.client("logs")
        try:
            found = client.filter_log_events(logGroupName=self.log_group, filterPattern=f'"{text}"')
        except client.exceptions.ResourceNotFoundException:  # it was not called yet
            return False
        return bool(found["events"])

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{PREFIX}probe"

    def end_of(self, execution: str) -> dict[str, Any]:
        client = self.stack.client("stepfunctions")
        found: dict[str, Any] = {}

        def ended() -> bool:
            found.update(client.describe_execution(executionArn=execution))
            return bool(found["status"] != "RUNNING")

        wait_for(ended, timeout_s=20)
        return found


def wait_for(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.03)


@contextmanager
def deployed_probe(stack: LocalStack) -> Iterator[Probe]:
    """Deploys the probe function; its role may read the state table and nothing else."""
    packages = build(find_project(), "publisher", Target.for_this_machine()).path
    bootstrap = (
        "#!/bin/sh\n"
        f'PYTHONPATH="$LAMBDA_TASK_ROOT":{shlex.quote(str(packages))} '
        f'exec {shlex.quote(sys.executable)} -S -u -m awslambdaric "$_HANDLER"\n'
    )
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("bootstrap", bootstrap)
        archive.writestr("probe.py", PROBE)
    role = _role(stack)
    client = stack.client("lambda")
    arn = client.create_function(
        FunctionName=f"{PREFIX}probe",
        Runtime="provided.al2023",
        Handler="probe.handler",
        Role=role,
        Timeout=3,
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    yield Probe(stack, arn)
    client.delete_function(FunctionName=arn)


def _role(stack: LocalStack) -> str:
    iam = stack.client("iam")
    table = stack.outputs["StateTableName"]
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda"}}
    allow = {
        "Effect": "Allow",
        "Action": "dynamodb:GetItem",
        "Resource": f"arn:aws:dynamodb:*:*:table/{table}",
    }
    role = iam.create_role(
        RoleName="probe", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    iam.put_role_policy(
        RoleName="probe",
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    return str(role)
