"""Expressions that explode: refused when read, or stopped in time wherever they stand."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kit.engines import Ended, compiled_run, interpreted
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.workflow.model import Workflow
from joinery.workflow.source import load
from joinery.workflow.validation import validate

IN_TIME_S = 6.0
"""An evaluation has one second and its process may start slowly; this machine has two cores."""

LONG = "a" * 40 + "!"

RUNNING = {
    "a regular expression that backtracks": "$contains(inputs.long, /(a+)+$/)",
    "endless recursion": "($f := function($n){$f($n + 1)}; $f(0) = 1)",
    "endless recursion in the tail": "($f := function($n){$n < 0 ? 1 : $f($n + 1)}; $f(0) = 1)",
    "two functions that call each other": (
        "($f := function($n){$g($n)}; $g := function($n){$f($n)}; $f(0) = 1)"
    ),
    "a list that fills memory": "$count([1..100000].([1..100000])) = 1",
    "a text that doubles": (
        "($f := function($s, $n){$n = 0 ? $s : $f($s & $s, $n - 1)}; $length($f('x', 60)) = 1)"
    ),
}

REFUSED = {
    "$eval": ("$eval('1 = 1')", "expression.not_allowed"),
    "$eval by another name": ("($e := $eval; $e('1 = 1'))", "expression.not_allowed"),
    "deep nesting": ("(" * 4_000 + "1" + ")" * 4_000, "limit.expression"),
    "deep lists": ("[" * 2_000 + "]" * 2_000, "limit.expression"),
    "a million letters": ("'" + "x" * 1_000_000 + "' = 'y'", "limit.expression"),
    "a million terms": ("1" + " + 1" * 250_000 + " = 1", "limit.expression"),
}

NODES = {
    "a": {"type": "template", "template": "a"},
    "b": {"type": "template", "template": "b"},
}


def condition(bomb: str) -> Workflow:
    ask = {"type": "condition", "if": "{{ " + bomb + " }}"}
    edges = ["start -> a -> ask", "ask.true -> b -> end", "ask.false -> end"]
    return workflow(edges, {**NODES, "ask": ask}, inputs={"long": {"type": "string"}})


def when(bomb: str) -> Workflow:
    return workflow(
        ["start -> a", "b -> end"],
        NODES,
        more=[{"from": "a", "to": "b", "when": "{{ " + bomb + " }}"}],
        inputs={"long": {"type": "string"}},
    )


def output(bomb: str) -> Workflow:
    return workflow(
        ["start -> a -> b -> end"],
        NODES,
        inputs={"long": {"type": "string"}},
        outputs={"x": "{{ " + bomb + " }}"},
    )


SITES = {"condition": condition, "when": when, "output": output}
FAILS_AT = {"condition": "ask", "when": "a", "output": "end"}


EVERYWHERE = ("a regular expression that backtracks", "endless recursion")


@pytest.mark.parametrize(
    ("name", "site"),
    [(n, "condition") for n in RUNNING] + [(n, s) for n in EVERYWHERE for s in ("when", "output")],
)
def test_what_explodes_is_stopped_and_named(name: str, site: str) -> None:
    compiled = compile_workflow(SITES[site](RUNNING[name]))
    begun = time.perf_counter()
    ended: Ended = interpreted(compiled.plan, {"long": LONG})
    assert time.perf_counter() - begun < IN_TIME_S
    error: Any = ended.run.error
    assert (ended.status, error["code"]) == ("failed", "expression")
    assert error["node_id"] == FAILS_AT[site]
    assert error["message"]


def test_the_machine_stops_as_the_interpreter_does() -> None:
    compiled = compile_workflow(condition(RUNNING["a regular expression that backtracks"]))
    ended = compiled_run(compiled, {"long": LONG})
    assert ended.status == "failed"
    assert ended.nodes() == interpreted(compiled.plan, {"long": LONG}).nodes()


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_bounded_is_refused_when_it_is_read(name: str, site: str) -> None:
    bomb, code = REFUSED[name]
    text = json.dumps(SITES[site](bomb).model_dump(mode="json", by_alias=True, exclude_unset=True))
    begun = time.perf_counter()
    report = validate(load(text))
    assert time.perf_counter() - begun < IN_TIME_S
    codes = {problem.code for problem in report.errors}
    assert codes in ({code}, {"limit.source"})
    assert len(str(report.errors[0].message)) < 1_000
