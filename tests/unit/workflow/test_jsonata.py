"""JSONata: what it reads, what it may do, and that it ends."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from joinery.errors import PermanentExpression
from joinery.workflow.expressions import DictScope, ExpressionSyntax, parse_template
from joinery.workflow.jsonata_eval import evaluate_here, parse

SCOPE = DictScope(
    {
        "inputs": {
            "n": 5, "text": "hello", "list": [3, 1, 2], "none": None,
            "long": "a" * 40 + "!", "spaces": " " * 30_000,
            "big": {"items": [{"k": i} for i in range(1000)]},
        },
        "nodes": {
            "a": {"text": "A", "output": {"items": [{"n": "x", "v": 1}, {"n": "y", "v": 7}]}},
            "one": {"output": {"items": ["only"]}},
        },
        "loop": {"round": 1, "previous": {}},
    }
)  # fmt: skip


def value(expression: str) -> Any:
    return parse_template(f"{{{{ {expression} }}}}").value(SCOPE)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("inputs.n + 1", 6),
        ("inputs.n > 3 and inputs.text = 'hello'", True),
        ("inputs.n in [1, 5]", True),
        ("inputs.text & '!'", "hello!"),
        ("$uppercase(inputs.text)", "HELLO"),
        ("$sum(nodes.a.output.items.v)", 8),
        ("nodes.a.output.items.n", ["x", "y"]),
        ("nodes.a.output.items[v > 3].n", "y"),
        ("nodes.a.output.items[v > $$.inputs.n].n", "y"),
        ("nodes.one.output.items", ["only"]),
        ("nodes.one.output.items[]", ["only"]),
        ("$map(inputs.list, function($i) { $i * 2 })", [6, 2, 4]),
        ("$sort(inputs.list)", [1, 2, 3]),
        ("nodes.a.output.items^(>v).n", ["y", "x"]),
        ("nodes.a.output.items.{'name': n}", [{"name": "x"}, {"name": "y"}]),
        ("[1..3]", [1, 2, 3]),
        ("($x := inputs.n; $x * $x)", 25),
        ("inputs.list ~> $sum()", 6),
        ("$contains(inputs.text, /ELL/i)", True),
        ("$replace(inputs.text, /l+/, 'L')", "heLo"),
        ("$match(inputs.text, /l+/).match", "ll"),
        ("$split('a, b', ', ')", ["a", "b"]),
        ("inputs.none = null", True),
        ("{'none': null, 'n': inputs.n}", {"none": None, "n": 5}),
        ("inputs.n > 3 ? 'big' : 'small'", "big"),
        ("$exists(nodes.gone) ? nodes.gone.text : 'none'", "none"),
        ("nodes.gone.text ?? nodes.a.text ?? ''", "A"),
        ("nodes.gone.text ?? nodes.also.text ?? 'none'", "none"),
        ("nodes.gone.text ?: 'none'", "none"),
        ("inputs.text ?: 'none'", "hello"),
        ("$count(nodes.gone.output.items) ?? 0", 0),
        ("loop.previous.a.text ?? 'first'", "first"),
    ],
)
def test_evaluates(expression: str, result: Any) -> None:
    assert value(expression) == result


def test_results_are_plain_data() -> None:
    assert type(value("nodes.a.output.items.n")) is list
    assert type(value("[1..3]")) is list
    assert type(value("inputs.list ~> $sum()")) is int


@pytest.mark.parametrize("index", [0, 1, -1])
def test_a_filter_before_a_default_applies_once(index: int) -> None:
    # jsonata-python 0.7 applies it twice: `list[1] ?? 0` would be 0.
    wanted = [3, 1, 2][index]
    assert value(f"(inputs.list[{index}] ?? 0) + 0") == wanted
    assert value(f"(inputs.list[{index}] ?: 0) + 0") == wanted
    assert value("nodes.a.output.items[v=7].n ?? 'none'") == "y"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / 0", "division by zero"),
        ("inputs.text + 1", "must evaluate to a number"),
        ("$error('no good')", "no good"),
        ("$assert(false, 'no good')", "no good"),
        ("function($x) { $x }", "is a function"),
        ("$sum(inputs.text)", r"function \$sum"),
    ],
)
def test_failures_name_expression_and_reason(expression: str, reason: str) -> None:
    with pytest.raises(PermanentExpression, match=reason) as caught:
        value(expression)
    assert f"{{{{ {expression} }}}}" in caught.value.message
    assert caught.value.details["expression"] == expression


# -- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("$contains(inputs.long, /(a+)+$/)", "longer than 1 s"),
        ("$replace(inputs.spaces & '!', /(\\s+)+$/, '')", "longer than 1 s"),
        ("$match(inputs.long, /(a|aa)+$/)", "longer than 1 s"),
        ("($f := function($n) { $f($n + 1) }; $f(1))", "longer than 1 s"),
        ("($f := function($n) { 1 + $f($n + 1) }; $f(1))", "without end"),
        ("$reduce([1..60], function($a, $i) { {'l': $a, 'r': $a} }, {'l': 1})", "longer than"),
        ("$string($reduce([1..60], function($a, $i) { {'l': $a, 'r': $a} }, {'l': 1}))", "it "),
        ("$pad('x', 10000000000)", "memory"),
        ("[1..10000000]", "larger than"),
        ("($g := function($s) { $g($s & $s) }; $g('aaaaaaaaaa'))", "larger than"),
        ("$map([1..100000], function($i) { $map([1..100000], function($j) { $j }) })", "it "),
        ("$join($map([1..5000], function($i) { inputs.spaces }), inputs.spaces)", "it "),
    ],
)
def test_nothing_runs_away(expression: str, reason: str) -> None:
    begun = time.monotonic()
    with pytest.raises(PermanentExpression, match=reason):
        value(expression)
    assert time.monotonic() - begun < 10


def test_the_time_limit_can_be_set() -> None:
    template = parse_template("{{ $contains(inputs.long, /(a+)+$/) }}")
    begun = time.monotonic()
    with pytest.raises(PermanentExpression, match=r"longer than 0\.1 s"):
        template.value(SCOPE, timeout_s=0.1)
    assert time.monotonic() - begun < 8


class _Waits(dict[str, Any]):
    """Data that takes its time, as everything does where others have the processor."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += 1
        time.sleep(0.3)
        return super().get(key, default)


def test_waiting_for_the_processor_is_not_held_against_an_expression() -> None:
    document = _Waits(inputs={"n": 5})
    assert evaluate_here(parse("inputs.n > 3 and inputs.n < 9").program, document, 0.2) is True
    assert document.asked


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 400 + "1" + ")" * 400,
        " & ".join(["inputs.n"] * 900),
        "(" * 30 + "inputs.n" + " ?? 1)" * 30,
    ],
)
def test_deep_expressions_are_refused_when_parsed(expression: str) -> None:
    with pytest.raises(ExpressionSyntax) as caught:
        parse(expression)
    assert caught.value.code == "limit.expression"


def test_what_is_accepted_can_be_evaluated() -> None:
    assert value(" & ".join(["inputs.n"] * 250)) == "5" * 250


def test_long_expressions_are_refused() -> None:
    with pytest.raises(ExpressionSyntax) as caught:
        parse_template("{{ " + "inputs.n +" * 2000 + " 1 }}")
    assert caught.value.code == "limit.expression"


@pytest.mark.parametrize(
    ("expression", "linear"),
    [
        ("inputs.n > 3", True),
        ("nodes.a.output.items[v > 3].n", True),
        ("$contains(inputs.text, /yes|no/i)", True),
        ("$join(inputs.list, ', ')", True),
        ("nodes.gone.text ?? nodes.a.text", True),
        ("$contains(inputs.text, /a+/)", False),
        ("$contains(inputs.text, /a{2,}/)", False),
        ("$contains(inputs.text, /a?a?a?a?a?a?a?/)", False),
        ("$split(inputs.text, /,/)", False),
        ("$join(inputs.list, inputs.text)", False),
        ("$map(inputs.list, $string)", False),
        ("[1..3]", False),
        ("($x := 1; $x)", False),
        ("inputs.list.{'all': $$.inputs.big}", False),
        ("$replace(inputs.text, 'l', inputs.text)", False),
        ("inputs.**", False),
    ],
)
def test_only_linear_expressions_run_in_this_process(expression: str, linear: bool) -> None:
    assert parse(expression).analysis.linear is linear


def test_jsonata_leaves_the_interpreter_as_it_was() -> None:
    limit = sys.getrecursionlimit()
    value("inputs.n + 1")
    assert sys.getrecursionlimit() == limit


def test_evaluations_do_not_leak_into_each_other() -> None:
    template = parse_template("{{ $now() }}")
    first = template.value(SCOPE)
    time.sleep(0.01)
    assert template.value(SCOPE) > first, "the time is that of the evaluation"
    with pytest.raises(ExpressionSyntax):
        parse("$x")


def test_one_template_in_many_threads() -> None:
    template = parse_template("{{ inputs.a & '-' & inputs.b }}")
    wrong: list[str] = []

    def run(name: str) -> None:
        scope = DictScope({"inputs": {"a": name, "b": name}})
        for _ in range(50):
            if template.value(scope) != f"{name}-{name}":
                wrong.append(name)

    threads = [threading.Thread(target=run, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- what it reads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("nodes.a.output.score >= 70", "nodes.a.output.score"),
        ("$uppercase(nodes.a.text) & inputs.x", "inputs.x nodes.a.text"),
        ("nodes.a.output.items[0].name & ''", "nodes.a.output.items[0].name"),
        ("nodes.a.output.items[v > 1].name", "nodes.a.output.items"),
        ("nodes.a.output.items[v > $$.inputs.n]", "inputs.n nodes.a.output.items"),
        ("nodes.a.output.(x & y)", "nodes.a.output"),
        ("nodes.a.output.* ", "nodes.a.output"),
        ("nodes.a", "nodes.a"),
        ("nodes.`a b`.text & ''", "nodes.`a b`.text"),
        ("$$.nodes.a.text", "nodes.a.text"),
        ("$.inputs.x & ''", "inputs.x"),
        ("$map(inputs.list, function($i) { $i & nodes.a.text })", "inputs.list nodes.a.text"),
        ("($f := nodes.a.output; $f.score)", "nodes.a.output"),
        ("{'a': nodes.a.text, 'b': [nodes.b.text]}", "nodes.a.text nodes.b.text"),
        ("inputs.x ? nodes.a.text : nodes.b.text", "inputs.x nodes.a.text nodes.b.text"),
        ("nodes.a.output.items^(v)", "nodes.a.output.items"),
        ("nodes.a.output.items{n: v}", "nodes.a.output.items"),
        ("nodes.a.output ~> |items|{'w': v}|", "nodes.a.output"),
        ("loop.previous.a.text & loop.round", "loop.previous.a.text loop.round"),
        # With a default.
        ("nodes.a.text ?? ''", "nodes.a.text?"),
        ("$uppercase(nodes.a.text) ?? ''", "nodes.a.text?"),
        ("nodes.a.text ?? nodes.b.text", "nodes.a.text? nodes.b.text"),
        ("nodes.a.text ?: ''", "nodes.a.text?"),
        ("$exists(nodes.a) ? nodes.a.text : ''", "nodes.a.text? nodes.a?"),
        ("$exists(nodes.a.text) and nodes.a.output.ok", "nodes.a.output.ok? nodes.a.text?"),
        ("$exists(nodes.a) ? nodes.b.text : ''", "nodes.a? nodes.b.text"),
        ("(nodes.a.text ?? '') & nodes.a.text", "nodes.a.text"),
        ("nodes.a.output.items[v > $$.inputs.n] ?? []", "inputs.n nodes.a.output.items?"),
    ],
)
def test_references(expression: str, read: str) -> None:
    found = parse_template(f"{{{{ {expression} }}}}").references
    assert " ".join(sorted(r.text + "?" * r.optional for r in found)) == read


@pytest.mark.parametrize(
    "expression",
    [
        "nodes", "nodes[0]", "nodes['a']", "nodes[inputs.x]", "$lookup(nodes, 'a')", "nodes.*",
        "nodes.**", "$$.nodes", "$$", "$", "$$.*", "**", "*", "$keys(nodes)",
        "$each(nodes, $string)",
        "($n := nodes; $n.a)", "nodes.(a)", "(nodes).a", "[nodes]", "{'n': nodes}",
        "nodes ~> $keys()",
        "$map([1], function($x) { nodes })", "inputs.x ? nodes : 1", "nodes ?? 1", "$keys()",
        "$lookup('nodes')", "$string()", "loop", "loop.previous", "loop.previous.*",
        "$lookup(loop.previous, 'a')", "loop.previous[0]", "$spread($$)", "nodes^(text)",
        "nodes{a: b}",
    ],
)  # fmt: skip
def test_nodes_are_named_literally(expression: str) -> None:
    with pytest.raises(ExpressionSyntax) as caught:
        parse_template(f"{{{{ {expression} }}}}")
    assert caught.value.code == "expression.dynamic_node"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("$eval('1')", "expression.not_allowed"),
        ("($e := $eval; $e('1'))", "expression.not_allowed"),
        ("inputs.x ~> $eval()", "expression.not_allowed"),
        ("$map(['1'], $eval)", "expression.not_allowed"),
        ("inputs.x.%", "expression.not_allowed"),
        ("$__evaluate_entry := null", "expression.not_allowed"),
        ("function($__evaluate_entry) { 1 }", "expression.not_allowed"),
        ("inputs.x@$__evaluate_exit.y", "expression.not_allowed"),
        ("inputs.x#$__evaluate_exit.y", "expression.not_allowed"),
        ("foo.bar", "expression.unknown_name"),
        ("$upper('x')", "expression.unknown_name"),
        ("$nothing", "expression.unknown_name"),
        ("uppercase('x')", "expression.syntax"),
        ("1 +", "expression.syntax"),
        ("inputs.x ?? NaN", "expression.unknown_name"),
    ],
)
def test_refused(expression: str, code: str) -> None:
    with pytest.raises(ExpressionSyntax) as caught:
        parse_template(f"{{{{ {expression} }}}}")
    assert caught.value.code == code


def test_the_closest_name_is_suggested() -> None:
    for expression, hint in [("$upercase('x')", "$uppercase"), ("input.x & ''", "inputs")]:
        with pytest.raises(ExpressionSyntax) as caught:
            parse(expression)
        assert hint in caught.value.hint
