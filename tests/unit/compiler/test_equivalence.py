"""Random workflows: the compiled machine does what the interpreter does, at every level."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from kit.engines import compiled_run, interpreted
from kit.models import Says
from kit.order import check_order
from kit.random_graphs import answer, workflows
from statelint.config import Config
from statelint.linter import Linter

from joinery import limits
from joinery.compiler.compile import OPT_LEVELS, compile_workflow
from joinery.compiler.one_task import ALL_NODES
from joinery.compiler.predict import history_events_of, states_of_run, transitions_of
from joinery.workflow.model import Workflow

EXAMPLES = int(os.environ.get("JOINERY_EXAMPLES", "60"))


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
@given(workflows(models=True))
def test_machine_equals_interpreter(case: tuple[Workflow, dict[str, Any]]) -> None:
    graph, given_inputs = case
    reference = None
    before = None
    for opt in OPT_LEVELS:
        compiled = compile_workflow(graph, opt=opt)
        reference = reference or interpreted(compiled.plan, given_inputs, Says(answer))
        machine = compiled_run(compiled, given_inputs, Says(answer))

        assert machine.status == reference.status == "completed"
        assert machine.nodes() == reference.nodes()
        check_order(compiled.plan, machine.store.events(machine.run.run_id, 0, 10_000))
        check_order(compiled.plan, reference.store.events(reference.run.run_id, 0, 10_000))
        assert machine.outputs == reference.outputs
        records = machine.store.nodes(machine.run.run_id)
        assert sorted(states_of_run(compiled.plan, compiled.emitted, records)) == sorted(
            machine.states
        )
        assert machine.transitions == transitions_of(compiled.plan, compiled.emitted, records)
        report = compiled.report.transitions
        assert report.min <= machine.transitions <= report.max
        assert before is None or report.max <= before.max, f"level {opt} costs more"
        before = report
        assert report.min <= round(report.expected, 9) <= report.max
        events = history_events_of(compiled.plan, compiled.emitted, records)
        history = compiled.report.history_events
        assert history.min <= events + limits.SFN_EVENTS_EXECUTION <= history.max
        assert Linter.validate(compiled.definition_json(), Config([], False, True)) == []


@settings(
    max_examples=max(20, EXAMPLES // 4),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(workflows(models=True))
def test_one_task_for_all_nodes_equals_interpreter(case: tuple[Workflow, dict[str, Any]]) -> None:
    graph, given_inputs = case
    compiled = compile_workflow(graph.model_copy(update={"run_on": "inline"}))
    assert compiled.plan.run_on == "inline"
    reference = interpreted(compiled.plan, given_inputs, Says(answer))
    machine = compiled_run(compiled, given_inputs, Says(answer))

    assert machine.status == reference.status == "completed"
    assert machine.nodes() == reference.nodes()
    assert machine.states == (ALL_NODES,)
    records = machine.store.nodes(machine.run.run_id)
    assert transitions_of(compiled.plan, compiled.emitted, records) == 1
    check_order(compiled.plan, machine.store.events(machine.run.run_id, 0, 10_000))
    assert Linter.validate(compiled.definition_json(), Config([], False, True)) == []
