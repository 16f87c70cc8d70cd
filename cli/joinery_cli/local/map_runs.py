"""Distributed Maps on ministack, mended where they differ from AWS.

Part of `joinery_cli.local.serve`; each change has a test in
tests/integration/test_local_stack_map_runs.py.
"""

from __future__ import annotations

import contextvars
import copy
import threading
from collections.abc import Iterator
from typing import Any, Final

from joinery_cli.local.boxes import Aborted, box

AT_ONCE: Final = 40
"""Items at once: each takes a process here, and a laptop has room for so many."""

_MAP_RUN: contextvars.ContextVar[_MapRun] = contextvars.ContextVar("map run")


class _MapRun:
    """A Map Run under way: the execution around it, and whether that was told of it."""

    def __init__(self, execution: dict[str, Any]) -> None:
        self.execution = execution
        self._told = False
        self._lock = threading.Lock()

    def begins(self) -> bool:
        """Whether the caller is the first of its items."""
        with self._lock:
            first, self._told = not self._told, True
            return first


def mend_map_runs() -> None:
    """JSONata was ignored, items saw what is outside, and a stop or an error did not end them.

    And nobody with rights to a Map Run alone could list its executions. Call it when the
    boxes are patched.
    """
    from ministack.services import stepfunctions as service

    distribute, run = service._run_distributed_map, service._run_sub_machine
    stop = service._stop_execution

    def run_map(state: dict[str, Any], raw: Any, *rest: Any) -> Any:
        _effective, body, execution, context = rest
        if service._state_query_language(state, context) != "JSONata":
            return distribute(state, raw, *rest)
        inputs = list(_inputs(service, state, raw, context))
        plain = {"QueryLanguage": "JSONPath", "MaxConcurrency": AT_ONCE, "End": True}
        if state.get("MaxConcurrency"):
            plain["MaxConcurrency"] = min(AT_ONCE, state["MaxConcurrency"])
        token = _MAP_RUN.set(_MapRun(execution))
        try:
            # In a box of its own, so that the error is the Map's and not an item's.
            with box():
                results, _ = distribute(plain, inputs, inputs, body, execution, context)
        finally:
            _MAP_RUN.reset(token)
            _keep_stopped(service, execution)
        more = {"result": results}
        output = service._apply_jsonata_output(state, raw, context, default=results, **more)
        service._apply_state_assign(state, raw, context, **more)
        return output, service._next_or_end(state)

    def run_item(states: Any, start: Any, given: Any, execution: Any, context: Any) -> Any:
        if context["Execution"]["Id"] == execution["executionArn"]:
            return run(states, start, given, execution, context)
        _tell(service, _MAP_RUN.get(), execution["mapRunArn"])
        own = {
            **context,
            "Execution": {
                "Id": execution["executionArn"],
                "Input": given,
                "Name": execution["name"],
                "StartTime": execution["startDate"],
            },
            "variables": {},
        }
        own.pop("Map", None)
        try:
            return run(states, start, given, execution, own)
        except Aborted:
            execution["_stopped"] = True
            raise

    def stop_all(data: dict[str, Any]) -> Any:
        answer = stop(data)
        _stop_items(service, str(data.get("executionArn")))
        return answer

    service._run_distributed_map = run_map
    service._run_sub_machine = run_item
    service._stop_execution = stop_all
    _say_what_a_list_is_of()


def _say_what_a_list_is_of() -> None:
    """AWS allows `ListExecutions` of a Map Run by the Map Run."""
    from ministack.core import iam_actions

    resource = iam_actions.extract_resource_arn

    def resource_of(service: str, *request: Any) -> Any:
        found = resource(service, *request)
        if service == "states" and found == "*":
            return iam_actions._safe_json_field(request[3], "mapRunArn") or found
        return found

    iam_actions.extract_resource_arn = resource_of


def _inputs(service: Any, state: dict[str, Any], raw: Any, context: Any) -> Iterator[Any]:
    """Yields the inputs of the items' executions."""
    selector = state.get("ItemSelector")
    items = service._jsonata_state_field(state, "Items", "array", raw, context)
    for index, item in enumerate(items):
        here = copy.deepcopy(context)
        here["Map"] = {"Item": {"Index": index, "Value": item}}
        yield service._apply_jsonata_template(selector, raw, here) if selector else item


def _tell(service: Any, map_run: _MapRun, arn: str) -> None:
    """Writes into the history around the items that they have begun."""
    if map_run.begins():
        details = {"mapRunStartedEventDetails": {"mapRunArn": arn}}
        service._add_event(map_run.execution, "MapRunStarted", details)


def _items_of(service: Any, execution_arn: str) -> Iterator[dict[str, Any]]:
    """Yields the executions that an execution has started, at every depth."""
    runs = {
        r["mapRunArn"] for r in service._map_runs.values() if r["executionArn"] == execution_arn
    }
    for execution in list(service._executions.values()):
        if execution.get("mapRunArn") in runs:
            yield execution
            yield from _items_of(service, execution["executionArn"])


def _stop_items(service: Any, execution_arn: str) -> None:
    stopped = service._executions.get(execution_arn) or {}
    if stopped.get("status") != "ABORTED":
        return
    for item in list(_items_of(service, execution_arn)):
        if item["status"] == "RUNNING":
            item.update(status="ABORTED", _stopped=True)


def _keep_stopped(service: Any, execution: dict[str, Any]) -> None:
    """Items that were stopped had been called failed."""
    for item in _items_of(service, execution["executionArn"]):
        if item.get("_stopped"):
            item["status"] = "ABORTED"
