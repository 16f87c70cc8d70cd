"""Code runs the same in this process's sandbox and behind the `run_code` function."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from kit.functions import Context, load_function

from joinery.aws.code import LambdaCodeRunner
from joinery.code_errors import (
    PermanentCode,
    PermanentCodeEnded,
    PermanentCodeMemory,
    PermanentCodeNotJson,
    PermanentCodeRaised,
    PermanentCodeTimeout,
    TransientCodeRunner,
)
from joinery.errors import PermanentInternal
from joinery.sandbox.run import SandboxCodeRunner
from joinery.sandbox.types import CodeOutcome, CodeRequest, CodeRunner


class Functions:
    """A Lambda client in front of the real handler."""

    def __init__(self) -> None:
        self.handler = load_function("run_code").handler
        self.crash: dict[str, Any] | None = None

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "arn:code"
        if self.crash is not None:
            body = json.dumps(self.crash).encode()
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(body)}
        answer = json.dumps(self.handler(json.loads(Payload), Context()))
        return {"Payload": io.BytesIO(answer.encode())}


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Functions:
    monkeypatch.setenv("JOINERY_CODE_ISOLATION", "allowed")
    return Functions()


@pytest.fixture(params=["sandbox", "function"])
def runner(request: pytest.FixtureRequest, functions: Functions) -> CodeRunner:
    if request.param == "sandbox":
        return SandboxCodeRunner(allow=True)
    return LambdaCodeRunner(functions, lambda: "arn:code", lambda _: None)


def run(runner: CodeRunner, body: str, timeout_s: float = 10.0, **arguments: Any) -> CodeOutcome:
    names = ", ".join(arguments)
    code = f"import os\ndef go({names}):\n    {body}"
    return runner.run(CodeRequest(code, "go", arguments, timeout_s), lambda: False)


def test_results(runner: CodeRunner) -> None:
    value = {"é\U0001f600": [1, 0.5, None, True, "\x00"]}
    assert run(runner, "print('x'); return a", a=value) == CodeOutcome(value, "x\n")
    assert run(runner, "return len(a)", a="\ud800").output == 1  # no UTF-8, and no matter
    assert run(runner, "return None") == CodeOutcome(None, "")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("return 1 / 0", PermanentCodeRaised),
        ("return {1}", PermanentCodeNotJson),
        ("os._exit(1)", PermanentCodeEnded),
        ("return 'a' * 10**10", PermanentCodeMemory),
    ],
)
def test_errors(runner: CodeRunner, body: str, kind: type[PermanentCode]) -> None:
    with pytest.raises(PermanentCode) as raised:
        run(runner, f"print('x'); {body}")
    assert type(raised.value) is kind
    assert raised.value.details.get("stdout", "x\n") == "x\n"
    if kind is PermanentCodeRaised:
        assert (raised.value.details["type"], raised.value.details["line"]) == (
            "ZeroDivisionError",
            3,
        )


def test_time(runner: CodeRunner) -> None:
    with pytest.raises(PermanentCodeTimeout, match=r"0\.3 s"):
        run(runner, "while True: pass", 0.3)


# -- what only a function can do ---------------------------------------------------------


@pytest.mark.parametrize(
    ("crash", "kind"),
    [
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}, PermanentCodeTimeout),
        ({"errorMessage": "2026-01-01 Task timed out after 840.00 seconds"}, PermanentCodeTimeout),
        ({"errorType": "Runtime.OutOfMemory", "errorMessage": "killed"}, PermanentCodeMemory),
        ({"errorType": "Runtime.ExitError", "errorMessage": "signal: killed"}, PermanentCodeMemory),
        ({"errorType": "Runtime.ExitError", "errorMessage": "exit status 1"}, PermanentCodeEnded),
        ({"errorType": "KeyError", "errorMessage": "'x'"}, PermanentInternal),
    ],
)
def test_a_function_that_breaks(functions: Functions, crash: Any, kind: Any) -> None:
    functions.crash = crash
    counted: list[str] = []
    runner = LambdaCodeRunner(functions, lambda: "arn:code", counted.append)
    with pytest.raises(kind):
        run(runner, "return 1")
    assert counted == ["run_code.Invoke"]


def test_a_function_that_is_busy_is_asked_again_later() -> None:
    from botocore.exceptions import ClientError, ReadTimeoutError

    class Busy:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def invoke(self, **_: Any) -> Any:
            raise self.error

    busy = ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
    refused = ClientError({"Error": {"Code": "AccessDeniedException"}}, "Invoke")
    for error, kind in (
        (busy, TransientCodeRunner),
        (ReadTimeoutError(endpoint_url="x"), TransientCodeRunner),
        (refused, PermanentInternal),
    ):
        runner = LambdaCodeRunner(Busy(error), lambda: "arn:code", lambda _: None)
        with pytest.raises(kind):
            run(runner, "return 1")
