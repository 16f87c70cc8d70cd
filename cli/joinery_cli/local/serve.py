"""Runs ministack with what it does differently from AWS mended where we lean on it.

    python -m joinery_cli.local.serve

The changes reach into the version of ministack that requirements/dev.lock names;
each has a test in tests/integration/test_local_stack.py; task tokens are mended in
`callbacks`, distributed Maps in `map_runs`, cold starts in `starts`, keys and models in
`providers`. Nothing imports this module.
"""

from __future__ import annotations

import copy
import functools
import socketserver
from collections.abc import Callable, Mapping
from typing import Any

from joinery_cli.local.callbacks import mend_task_tokens
from joinery_cli.local.map_runs import mend_map_runs
from joinery_cli.local.providers import mend_providers
from joinery_cli.local.starts import start_few_at_once


def main() -> None:
    """Serves until it is told to stop."""
    _answer_workers_at_once()
    _keep_aborted_executions_aborted()
    _give_branches_their_own_context()
    mend_task_tokens()
    _end_boxes_at_their_first_error()
    _know_repeated_transactions()
    _answer_preflights()
    mend_map_runs()
    start_few_at_once()
    mend_providers()

    from ministack.app import main as serve

    serve()


def _answer_workers_at_once() -> None:
    """Takes 40 ms and up to 50 ms off each invocation.

    The Runtime API server writes head and body apart, which Nagle's algorithm
    delays; and a worker that printed nothing was waited for in case it would.
    """
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True

    from ministack.core import lambda_runtime

    worker = lambda_runtime.ProvidedWorker
    worker._drain_stderr_bounded = functools.partialmethod(
        worker._drain_stderr_bounded, first_line_wait=0.005
    )


def _keep_aborted_executions_aborted() -> None:
    """A Task that fails after StopExecution changed ABORTED to FAILED; and Map items went on."""
    from ministack.services import stepfunctions

    fail, task = stepfunctions._fail_execution, stepfunctions._execute_task

    def fail_if_running(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    def task_if_running(state: Any, given: Any, execution: dict[str, Any], context: Any) -> Any:
        if execution["status"] != "RUNNING":
            raise stepfunctions._ExecutionError("States.Runtime", "the execution was stopped")
        return task(state, given, execution, context)

    stepfunctions._fail_execution = fail_if_running
    stepfunctions._execute_task = task_if_running


def _give_branches_their_own_context() -> None:
    """Branches of a Parallel shared one context, so each saw the other's state and variables.

    And the history told nothing of the states inside a box but what their Tasks did.
    """
    from ministack.services import stepfunctions

    run = stepfunctions._run_sub_machine

    def run_apart(states: Any, start: Any, given: Any, execution: Any, context: Any) -> Any:
        told = _ToldStates(states, functools.partial(stepfunctions._add_event, execution))
        return run(told, start, given, execution, copy.deepcopy(context))

    stepfunctions._run_sub_machine = run_apart


class _ToldStates(dict[str, Any]):
    """The states of a branch; each is looked up once, when it is entered."""

    def __init__(self, states: Mapping[str, Any], add_event: Callable[..., Any]) -> None:
        super().__init__(states)
        self._add_event = add_event

    def get(self, key: str, default: Any = None) -> Any:
        state = super().get(key, default)
        if state:
            details = {"stateEnteredEventDetails": {"name": key}}
            self._add_event(f"{state['Type']}StateEntered", details)
        return state


def _end_boxes_at_their_first_error() -> None:
    """A Map or Parallel with an error waited for its other branches to run to their ends."""
    from joinery_cli.local.boxes import patch

    patch()


def _know_repeated_transactions() -> None:
    """A transaction that was sent again was refused: its numbers had been rewritten meanwhile.

    The SDK sends it again, under the same token, when the answer does not come in time.
    """
    from ministack.services import dynamodb

    write = dynamodb._transact_write_items

    def with_numbers_as_stored(value: Any) -> Any:
        if isinstance(value, list):
            return [with_numbers_as_stored(each) for each in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"N"} and isinstance(value["N"], str):
            return {"N": dynamodb._ddb_canonicalize_number(value["N"]) or value["N"]}
        return {name: with_numbers_as_stored(each) for name, each in value.items()}

    dynamodb._transact_write_items = lambda data: write(with_numbers_as_stored(data))


def _answer_preflights() -> None:
    """CORS did nothing: CloudFormation keeps `AllowOrigins`, answers look for `allowOrigins`."""
    from ministack.services import apigateway

    def reads(answer: Callable[..., Any]) -> Callable[..., Any]:
        def read(config: Mapping[str, Any], origin: str) -> Any:
            return answer({name[0].lower() + name[1:]: config[name] for name in config}, origin)

        return read

    for name in ("_cors_response_headers", "_cors_preflight_response"):
        setattr(apigateway, name, reads(getattr(apigateway, name)))


if __name__ == "__main__":
    main()
