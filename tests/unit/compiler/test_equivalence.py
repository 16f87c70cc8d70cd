"""Random workflows: the compiled machine does what the interpreter does, at every level."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from kit.engines import Ended, compiled_run, interpreted
from kit.models import Says
from kit.order import check_order
from kit.random_children import children_of, without_ids
from kit.random_graphs import answer, workflows
from statelint.config import Config
from statelint.linter import Linter

from joinery import limits
from joinery.compiler.compile import Compiled, compile_workflow
from joinery.compiler.cost import Report, analyse_cost
from joinery.compiler.one_task import ALL_NODES
from joinery.compiler.opt import OPT_LEVELS
from joinery.compiler.plan import Plan
from joinery.compiler.predict import history_events_of, states_of_run, transitions_of
from joinery.runs.joins import MISSED, REACHED, JoinState
from joinery.runs.model import NodeRecord
from joinery.runs.races import races_of
from joinery.workflow.model import Workflow

EXAMPLES = int(os.environ.get("JOINERY_EXAMPLES", "60"))

LEVELS = [int(n) for n in os.environ.get("JOINERY_LEVELS", "").split()] or list(OPT_LEVELS)

PHASES = [p for p in Phase if p is not Phase.shrink or EXAMPLES <= 60]
"""A long search says what failed at once; a short run afterwards makes it small."""

Graph = tuple[Workflow, dict[str, Any]]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(workflows(models=True, calls=True))
def test_machine_equals_interpreter(case: Graph) -> None:
    graph, given_inputs = case
    reference = None
    before = None
    for opt in LEVELS:
        compiled = compile_workflow(graph, opt=opt, children=children_of(graph))
        reference = reference or interpreted(compiled.plan, given_inputs, Says(answer), calls=True)
        machine = compiled_run(compiled, given_inputs, Says(answer), calls=True)

        assert machine.status == reference.status == "completed", (
            machine.run.error or reference.run.error
        )
        assert machine.nodes() == reference.nodes()
        check_order(compiled.plan, machine.store.events(machine.run.run_id, 0, 10_000))
        check_order(compiled.plan, reference.store.events(reference.run.run_id, 0, 10_000))
        assert without_ids(machine.outputs) == without_ids(reference.outputs)
        _is_as_predicted(compiled, machine)
        _is_sound(compiled, machine)
        report = own_figures(compiled).transitions
        assert before is None or report.max <= before.max, f"level {opt} costs more"
        before = report


def own_figures(compiled: Compiled) -> Report:
    """Returns what a run takes without the runs below it."""
    return analyse_cost(compiled.plan, compiled.emitted)


def _is_as_predicted(compiled: Compiled, machine: Ended) -> None:
    records = machine.store.nodes(machine.run.run_id)
    states = states_of_run(compiled.plan, compiled.emitted, records)
    assert sorted(states) == sorted(machine.states)
    assert machine.transitions == transitions_of(compiled.plan, compiled.emitted, records)
    report = own_figures(compiled)
    assert report.transitions.min <= round(report.transitions.expected, 9) <= report.transitions.max
    events = history_events_of(compiled.plan, compiled.emitted, records)
    history = report.history_events
    assert history.min <= events + limits.SFN_EVENTS_EXECUTION <= history.max


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(workflows(quorums=True, calls=True))
def test_joins_that_do_not_wait_for_all_keep_their_rules_on_every_engine(case: Graph) -> None:
    """Who wins depends on who is faster; everything else must not."""
    graph, given_inputs = case
    children = children_of(graph)
    compiled = compile_workflow(graph, opt=0, children=children)
    reference = interpreted(compiled.plan, given_inputs, calls=True)
    _keeps_the_rules(compiled.plan, reference)
    for opt in LEVELS:
        compiled = compile_workflow(graph, opt=opt, children=children)
        machine = compiled_run(compiled, given_inputs, calls=True)
        _keeps_the_rules(compiled.plan, machine)
        assert machine.status == reference.status
        if machine.status == "completed":
            _differs_by_who_was_faster(compiled.plan, machine, reference)
            _is_sound(compiled, machine)


def _is_sound(compiled: Compiled, machine: Ended) -> None:
    report = own_figures(compiled).transitions
    assert report.min <= machine.transitions <= report.max
    assert Linter.validate(compiled.definition_json(), Config([], False, True)) == []


def _keeps_the_rules(plan: Plan, ended: Ended) -> None:
    races = races_of(plan)
    records = {r.key: r for r in ended.store.nodes(ended.run.run_id)}
    own = {key for key in records if plan.by_ord[key.ord].join}
    # A join that begins a loop is decided before its first round alone.
    own = {key for key in own if key == races.key(plan.by_ord[key.ord], key.path)}
    around = {
        key: [races.key(join, key.path) for join in races.around.get(record.node_id, ())]
        for key, record in records.items()
    }
    keys = own.union(*around.values())
    loaded = ended.store.load(ended.run.run_id, [], joins=keys).joins
    states = {key: races.state(plan.by_ord[key.ord], key, loaded) for key in keys}

    for key in own:
        _ended_as_decided(plan, records[key], states[key])
    for key, record in records.items():
        assert record.attempt <= _most_attempts(plan, record)
        assert record.terminal or ended.status == "failed"
        assert record.status != "cancelled" or any(states[join].over for join in around[key])
    if ended.status == "completed":
        heard = {record.node_id for record in records.values()} | {"end"}
        # What runs for items is not heard of where there are none.
        assert {node.id for node in plan.nodes if not node.iterates} <= heard


def _most_attempts(plan: Plan, record: NodeRecord) -> int:
    """Only a node whose child run failed is tried again; models are left out here."""
    return 2 if plan.by_ord[record.key.ord].type == "workflow" else 1


def _ended_as_decided(plan: Plan, record: NodeRecord, state: JoinState) -> None:
    needed = plan.by_ord[record.key.ord].join
    if record.status == "cancelled":
        return
    if state.outcome == REACHED:
        assert len(state.winners) == needed
        assert set(state.winners) <= set(state.taken)
        assert 1 <= record.attempt <= _most_attempts(plan, record)
    elif state.outcome == MISSED:
        assert record.status == "failed"
    else:
        assert record.status == "skipped"
        assert record.attempt == 0


def _differs_by_who_was_faster(plan: Plan, one: Ended, other: Ended) -> None:
    races = races_of(plan)
    first, second = one.nodes(), other.nodes()
    for place in {*first, *second}:
        a, b = first.get(place), second.get(place)
        if a == b:
            continue
        assert races.around.get(place[0])
        assert a is None or b is None or "cancelled" in (a[0], b[0])


@settings(
    max_examples=max(20, EXAMPLES // 4),
    deadline=None,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(workflows(models=True, wide=False, calls=True))
def test_one_task_for_all_nodes_equals_interpreter(case: Graph) -> None:
    graph, given_inputs = case
    compiled = compile_workflow(graph.model_copy(update={"run_on": "inline"}))
    assert compiled.plan.run_on == "inline"
    reference = interpreted(compiled.plan, given_inputs, Says(answer), calls=True)
    machine = compiled_run(compiled, given_inputs, Says(answer), calls=True)

    assert machine.status == reference.status == "completed", (
        machine.run.error or reference.run.error
    )
    assert machine.nodes() == reference.nodes()
    assert machine.states == (ALL_NODES,)
    records = machine.store.nodes(machine.run.run_id)
    assert transitions_of(compiled.plan, compiled.emitted, records) == 1
    check_order(compiled.plan, machine.store.events(machine.run.run_id, 0, 10_000))
    assert Linter.validate(compiled.definition_json(), Config([], False, True)) == []
