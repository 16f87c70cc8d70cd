"""Users' code, run by the `run_code` function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from joinery.aws.errors import aws_errors
from joinery.code_errors import (
    PermanentCode,
    PermanentCodeEnded,
    PermanentCodeMemory,
    PermanentCodePackage,
    PermanentCodeTimeout,
    TransientCodeRunner,
)
from joinery.errors import PermanentInternal
from joinery.packages.ports import PackageStore
from joinery.runs.cost import RUN_CODE
from joinery.sandbox.types import Cancelled, CodeOutcome, CodeRequest, PackageRef
from joinery.strictjson import to_json

_ALL: Final[tuple[type[PermanentCode | TransientCodeRunner], ...]] = (
    PermanentCode,
    *PermanentCode.__subclasses__(),
    TransientCodeRunner,
)
_KINDS: Final = {kind.code: kind for kind in _ALL}


class LambdaCodeRunner:
    """Implements `CodeRunner` by asking the `run_code` function.

    Args:
        client: Lambda client that waits as long as a node may take.
        function: Returns the function's ARN; asked when there is code to run.
        count: Is told of each call.
        packages: Where the packages of code are.
    """

    def __init__(
        self,
        client: Any,
        function: Callable[[], str],
        count: Callable[[str], None],
        packages: PackageStore | None = None,
    ) -> None:
        self._client, self._function, self._count = client, function, count
        self._packages = packages

    def run(self, request: CodeRequest, cancelled: Cancelled) -> CodeOutcome:
        """See `CodeRunner.run`; a call that is under way is not cut short."""
        event = {
            "code": request.code,
            "function": request.function,
            "arguments": dict(request.arguments),
            "timeout_s": round(request.timeout_s, 3),
            **self._package(request.package),
        }
        payload = to_json(event)
        self._count(RUN_CODE)
        with aws_errors("Invoke", TransientCodeRunner):
            answer = self._client.invoke(FunctionName=self._function(), Payload=payload)
            body = answer["Payload"].read()
        shown = json.loads(body)
        if "FunctionError" in answer:
            raise _crash(shown, request)
        if "error" in shown:
            raise _error(shown["error"])
        return CodeOutcome(shown["output"], str(shown.get("stdout", "")))

    def _package(self, ref: PackageRef | None) -> dict[str, Any]:
        """Returns what the function needs to fetch a package: it has no rights of its own."""
        if ref is None:
            return {}
        if self._packages is None:
            raise PermanentCodePackage("nothing here keeps packages")
        place = self._packages.download(ref.owner, ref.sha256)
        package = {
            "sha256": ref.sha256,
            "bytes": ref.bytes,
            "url": place.url,
            "addresses": list(place.addresses),
        }
        return {"package": package}


def _crash(shown: Mapping[str, Any], request: CodeRequest) -> Exception:
    """Returns what a function that gave no answer amounts to."""
    kind, said = str(shown.get("errorType", "")), str(shown.get("errorMessage", ""))
    if "imed" in kind or "imed out" in said:  # Sandbox.Timedout, "Task timed out after"
        return PermanentCodeTimeout(
            f"the code did not end within {round(request.timeout_s, 1):g} s"
        )
    if "OutOfMemory" in kind or "signal: killed" in said:
        return PermanentCodeMemory("the function ran out of memory")
    if kind.startswith("Runtime."):
        return PermanentCodeEnded("the code ended the function that it ran in", error_type=kind)
    return PermanentInternal("the run_code function failed", error_type=kind)


def _error(shown: Mapping[str, Any]) -> Exception:
    kind = _KINDS.get(str(shown.get("code")))
    message, details = str(shown.get("message", "")), dict(shown.get("details") or {})
    return kind(message, **details) if kind else PermanentInternal(message, **details)
