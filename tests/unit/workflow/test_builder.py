"""The Python builder gives the model that a file gives, and says everything that is wrong."""

from __future__ import annotations

import enum
import linecache
import operator
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery.compiler.compile import compile_workflow
from joinery.errors import InvalidWorkflow, Problem
from joinery.workflow import Workflow, WorkflowBuilder, escape
from joinery.workflow.expressions import DictScope, parse_template
from joinery.workflow.source import load
from joinery.workflow.validation import load_with_files, load_workflow, validate
from joinery.workflow.yaml_text import dump

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/builder.md").read_text()
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml"))
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    # As if it were a file: functions are asked for their source.
    name = f"<docs/builder.md {hash(code)}>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), names)
    return names


def both_forms(name: str) -> tuple[str, str]:
    section = PAGE.split(f"### {name.capitalize()}\n")[1].split("\n### ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    (text,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    return code, text


def small() -> tuple[WorkflowBuilder, Any]:
    flow = WorkflowBuilder("small")
    node = flow.node.template("a", "hi")
    flow.edge(flow.start, node, flow.end)
    return flow, node


def problems(flow: WorkflowBuilder) -> list[Problem]:
    with pytest.raises(InvalidWorkflow) as caught:
        flow.build()
    return list(caught.value.problems)


def as_any(value: Any) -> Any:
    return value


def the_problem(flow: WorkflowBuilder) -> Problem:
    (problem,) = problems(flow)
    return problem


# -- the page ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_the_same_in_both_forms(name: str) -> None:
    code, text = both_forms(name)
    example = load_with_files(ROOT / f"examples/{name}.yaml")
    flow = run(code)["flow"]
    built = flow.build()
    assert built == example
    assert load_workflow(text) == example
    assert compile_workflow(built).plan.to_dict() == compile_workflow(example).plan.to_dict()
    assert flow.validate().problems == ()


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_the_blocks_of_the_page_build_files_that_are_valid(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = run(code)["flow"]
    text = flow.to_yaml()
    assert validate(load(text)).problems == ()
    assert load_workflow(text) == flow.build()
    assert text == flow.to_yaml()
    assert capsys.readouterr().out in ("", f"{text}\n")


def test_the_page_shows_what_handles_become() -> None:
    flow = WorkflowBuilder("x")
    text = flow.input("text")
    names: dict[str, Any] = {"flow": flow, "text": text}
    for node_id in ("a", "b", "pro", "verdict", "sort", "v"):
        names[node_id] = flow.node.template(node_id, "x")
    names["each"] = flow.node.iterate("each", items=[1])
    names |= {"score": names["v"].output.score, "done": names["v"].output.done}
    table = PAGE.split("## Handles")[1].split("## Nodes")[0]
    rows = re.findall(r"^\| `(.*?)`.*? \| (`.*`) \|$", table, flags=re.MULTILINE)
    assert len(rows) == 12
    for code, shown in rows:
        first = shown.strip("`").strip().split("`, `")[0]
        assert str(eval(code, dict(names))) == first


def test_every_builder_code_is_on_the_page() -> None:
    files = (ROOT / "layers/joinery/joinery/workflow").glob("builder*.py")
    used = {c for file in files for c in re.findall(r'"(builder\.[a-z_]+)"', file.read_text())}
    assert used == set(re.findall(r"^\| `(builder\.[a-z_]+)` \|", PAGE, flags=re.MULTILINE))


# -- handles -----------------------------------------------------------------------------


def test_expressions_mean_what_python_means() -> None:
    flow = WorkflowBuilder("x")
    a, b = flow.input("a", int), flow.input("b", int)
    missing = flow.input("missing")
    scope = DictScope({"inputs": {"a": 3, "b": 5, "odd name": {"default": 1}, "t": "x"}})
    cases = {
        a < b: True,
        a >= 4: False,
        operator.gt(4, a): True,
        a == 3: True,
        a != 3: False,
        (a > 1) & (b > 9): False,
        (a > 1) | (b > 9): True,
        ~(a > 1): False,
        ~(a > 1) | ((a > 1) & (b == 5)): True,
        ((a > 9) | (a > 1)) & (b > 9): False,
        (a == 3) == True: True,  # noqa: E712  # an expression, not a truth
        missing.default(None) == None: True,  # noqa: E711  # the same
        missing.default("") == "": True,
        missing.default(missing).default(7) > 6: True,
        missing.default('a "b" {{ c }}'): 'a "b" {{ c }}',
        missing.default({"x": {"y": [1]}}): {"x": {"y": [1]}},
        flow.expression(f"{a} + {b} * 2"): 13,
        flow.expression(f"{missing.default(2)} * {a}"): 6,
        flow.expression(f"{{'k': {a}}}"): {"k": 3},
        flow.expression(str(a < b)) & True: True,
        flow.expression(f"{a}"): 3,
    }
    for expression, value in cases.items():
        assert parse_template(str(expression)).value(scope) == value, expression


def test_paths() -> None:
    flow = WorkflowBuilder("x")
    node = flow.node.template("n", "x")
    assert str(node.output.a[0]["b c"]["default"]) == "{{ nodes.n.output.a[0].`b c`.default }}"
    assert str(node.error.message) == "{{ nodes.n.error.message }}"
    assert repr(node.text) == "<ValueHandle nodes.n.text>"
    assert repr(node.error) == "<ErrorHandle nodes.n.error>"


@pytest.mark.parametrize(
    "misuse",
    [
        lambda v, n: bool(v > 1),
        lambda v, n: v > 1 and v < 5,
        lambda v, n: 1 < v < 5,
        lambda v, n: not v,
        lambda v, n: v in [n, v.x],
        lambda v, n: list(v),
        lambda v, n: 1 in v,
        lambda v, n: f"{n}",
        lambda v, n: v > n,
        lambda v, n: v > {1},
        lambda v, n: v > [float("inf")],
        lambda v, n: v.default(timedelta(1)),
        lambda v, n: v[1.5],
        lambda v, n: v[True],
        lambda v, n: f"{v:>3}",
    ],
)
def test_what_python_would_get_wrong_is_refused(misuse: Any) -> None:
    flow = WorkflowBuilder("x")
    with pytest.raises(TypeError):
        misuse(flow.input("v"), flow.node.template("n", "x"))


def test_protocols_of_python_find_nothing() -> None:
    value = WorkflowBuilder("x").input("v")
    assert not hasattr(value, "__len__")
    assert not hasattr(value, "_repr_html_")


# -- nodes, edges and options --------------------------------------------------------------


def test_all_options_reach_the_model() -> None:
    flow = WorkflowBuilder("options")
    flow.defaults(retry=2, fit="cut")
    flow.defaults(timeout=timedelta(seconds=90))
    agent = flow.agent("who", description="d", provider="p", model="m", top_p=0.5, stop=["x"])
    a = flow.node.agent(
        "a",
        agent=agent,
        prompt="p",
        output={"n": float, "s": str, "o": {"type": "object"}, "l": list, "d": dict},
        fit="fail",
        seed=3,
        timeouts={"idle": timedelta(seconds=9), "first_token": "1m"},
        limit={"requests": 60},
        name="A",
        retry={"attempts": 4, "backoff": timedelta(milliseconds=1500), "errors": ["X"]},
        on_error={"default": {"n": 1}},
    )
    b = flow.node.llm("b", prompt="p", system="s", on_error="continue", timeout="0.1h")
    c = flow.node.template("c", "t", join=2, description="D")
    flow.edge(flow.start, [a, b], c, flow.end)
    built = flow.build()
    assert isinstance(built, Workflow)
    assert built == load_workflow(
        """
version: 1
name: options
defaults: {retry: {attempts: 2}, fit: cut, timeout: 90s}
agents: {who: {description: d, model: {provider: p, name: m, top_p: 0.5, stop: [x]}}}
nodes:
  a:
    type: agent
    agent: who
    prompt: p
    output:
      {n: {type: number}, s: {type: string}, o: {type: object}, l: {type: array}, d: {type: object}}
    fit: fail
    model: {seed: 3, timeouts: {idle: 9s, first_token: 60s}, limit: {requests: 60}}
    name: A
    retry: {attempts: 4, backoff: 1500ms, errors: [X]}
    on_error: {default: {n: 1}}
  b: {type: llm, prompt: p, system: s, on_error: continue, timeout: 6m}
  c: {type: template, template: t, join: {at_least: 2}, description: D}
edges: ["start -> a, b -> c -> end"]
"""
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (timedelta(days=2), 172_800),
        (timedelta(hours=1.5), 5_400),
        (timedelta(seconds=1), 1),
        (timedelta(milliseconds=250), 0.25),
        (timedelta(microseconds=1500), 0.0015),
        ("1.5h", 5_400),
    ],
)
def test_durations(given: Any, seconds: float) -> None:
    flow = WorkflowBuilder("d")
    node = flow.node.template("a", "x", retry={"backoff": given})
    flow.edge(flow.start, node, flow.end)
    retry = flow.build().nodes["a"].retry
    assert retry is not None
    assert retry.backoff == pytest.approx(seconds)


@pytest.mark.parametrize("given", ["3 minutes", "5", 5, timedelta(0), timedelta(seconds=-5)])
def test_bad_durations(given: Any) -> None:
    flow = WorkflowBuilder("d")
    node = flow.node.template("a", "x", timeout=given, retry={"backoff": given})
    flow.edge(flow.start, node, flow.end)
    found = problems(flow)
    assert {p.pointer for p in found} == {"/nodes/a/timeout", "/nodes/a/retry/backoff"}
    assert {(p.node_id, p.line, p.column) for p in found} == {("a", 0, 0)}


def test_edges_with_conditions_and_ports() -> None:
    flow = WorkflowBuilder("e")
    n = flow.input("n", int, default=1)
    pick = flow.node.switch("pick", cases={"low": n < 3, "high": flow.expression(f"{n} > 8")})
    a, b = flow.node.template("a", "x"), flow.node.template("b", "x")
    flow.edge(flow.start, pick)
    flow.edge(pick.case("low"), [a, b], when=n != 2)
    flow.edge([pick.case("high"), pick.default], b)
    flow.edge([a, b], flow.end)
    edges = [(e.from_, e.port, e.to, e.when) for e in flow.build().expanded_edges()]
    guard = "{{ inputs.n != 2 }}"
    assert edges == [
        ("start", None, "pick", None),
        ("pick", "low", "a", guard),
        ("pick", "low", "b", guard),
        ("pick", "high", "b", None),
        ("pick", "default", "b", None),
        ("a", None, "end", None),
        ("b", None, "end", None),
    ]


def test_escaped_text_stays_text() -> None:
    flow, _ = small()
    flow.output("text", escape("{{ inputs.x }} {"))
    value = parse_template(flow.build().outputs["text"]).value(DictScope({}))
    assert value == "{{ inputs.x }} {"


# -- misuse --------------------------------------------------------------------------------


def test_handles_of_another_flow() -> None:
    other = WorkflowBuilder("other")
    theirs, stranger = other.node.template("a", "x"), other.agent("who")
    value = other.input("v")
    flow, node = small()
    mine = flow.input("v", int, default=1)
    asks = flow.node.agent("b", agent=stranger, prompt=value)
    flow.edge(node, asks, flow.end)
    flow.edge(theirs, asks)
    flow.output("x", {"deep": [value]})
    flow.output("mixed", mine > value)
    flow.output("filled", mine.default(value))
    found = [p for p in problems(flow) if p.code == "builder.foreign_handle"]
    assert [p.pointer for p in found] == [
        "/nodes/b/agent",
        "/nodes/b/prompt",
        "/edges/2",
        "/outputs/x/deep/0",
        "/outputs/mixed",
        "/outputs/filled",
    ]
    assert [p.node_id for p in found[:2]] == ["b", "b"]
    assert all("'other'" in p.message or "other" in p.message for p in found)
    assert "node 'b'" in found[0].message


def test_an_unknown_name_in_a_text_is_found_by_the_check() -> None:
    other = WorkflowBuilder("other")
    flow, _ = small()
    flow.output("x", f"{other.node.template('elsewhere', 'x').text}")
    assert the_problem(flow).code == "reference.unknown_node"


def test_duplicates() -> None:
    flow, _ = small()
    for _ in range(2):
        flow.input("i")
        flow.output("o", "x")
        flow.defaults(timeout="1m")
    flow.node.llm("a", prompt="never seen")
    flow.agent("who")
    flow.agent("who")
    found = problems(flow)
    duplicates = [p for p in found if p.code == "builder.duplicate"]
    assert {p.pointer for p in duplicates} == {
        "/inputs/i", "/outputs/o", "/defaults/timeout", "/nodes/a", "/agents/who",
    }  # fmt: skip
    assert [p.node_id for p in duplicates if p.node_id] == ["a"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (timedelta(1), "timedelta"),
        ({1: 2}, "the key 1"),
        ([float("inf")], "inf"),
        ({"x": {2}}, "set"),
        (b"x", "bytes"),
        (WorkflowBuilder("o").node.template("n", "x"), "NodeHandle n"),
    ],
)
def test_values_that_no_file_can_hold(value: Any, said: str) -> None:
    flow, _ = small()
    flow.output("x", value)
    problem = the_problem(flow)
    assert problem.code == "builder.value"
    assert said in problem.message


def test_a_value_that_holds_itself() -> None:
    flow, _ = small()
    value: list[Any] = []
    value.append(value)
    flow.output("x", value)
    assert "builder.value" in {p.code for p in problems(flow)}


@pytest.mark.parametrize("end", ["a", None, 3, []])
def test_edges_join_handles_only(end: Any) -> None:
    flow, node = small()
    flow.edge(node, end)
    found = problems(flow)
    assert {p.pointer for p in found} == {"/edges/1"}


def test_everything_that_is_wrong_is_said_at_once() -> None:
    flow = WorkflowBuilder("Bad Name")
    flow.input("raw", bytes)
    route = flow.node.switch("route", value=flow.loop.round, cases={"a": 1})
    ask: Any = flow.node.llm
    node = ask("my node", prompt="{{ nope }}", timeout="soon", tempo=3, max_tokens=0)
    again = flow.node.loop("again", max_rounds=1000, until="always")
    flow.edge(flow.start, route)
    flow.edge(route.case("b"), node, again)
    flow.edge(again, flow.end)
    found = problems(flow)
    assert {(p.code, p.node_id) for p in found} >= {
        ("schema.value", None),
        ("edge.unknown_port", "route"),
        ("schema.value", "my_node"),
        ("builder.unknown_option", "my_node"),
        ("schema.value", "again"),
        ("edge.missing_port", "again"),
    }
    assert {"/name", "/inputs/raw/type", "/nodes/my_node/timeout"} <= {p.pointer for p in found}
    with pytest.raises(InvalidWorkflow):
        flow.to_yaml()


def test_unknown_options() -> None:
    flow, _ = small()
    node, agent, defaults = map(as_any, (flow.node.template, flow.agent, flow.defaults))
    node("b", "x", on_eror="fail")
    agent("who", temprature=1)
    defaults(time_out="3m")
    found = [p for p in problems(flow) if p.code == "builder.unknown_option"]
    assert [(p.pointer, p.hint) for p in found] == [
        ("/nodes/b", "did you mean 'on_error'?"),
        ("/agents/who", "did you mean 'temperature'?"),
        ("/defaults", "did you mean 'timeout'?"),
    ]


def test_a_second_edge_and_an_edge_into_a_port() -> None:
    flow, node = small()
    flow.edge(flow.start, node)
    again = flow.node.loop("again", max_rounds=2)
    flow.edge(node, again.done, when="{{ true }}")
    flow.edge(node, again.done)
    found = {p.pointer: p for p in problems(flow)}
    assert found["/edges/1"].hint == "remove one of the two"
    assert [found[f"/edges/{i}"].code for i in (2, 3)] == ["builder.value"] * 2


class Kind(str, enum.Enum):  # noqa: UP042  # one that shows itself as Kind.A
    A = "money"


class Level(enum.IntEnum):
    LOW = 3


def test_members_of_enumerations_are_their_values() -> None:
    flow, _ = small()
    flow.output("x", [Kind.A, Level.LOW])
    assert flow.build().outputs["x"] == ["money", 3]


def test_an_empty_builder_says_what_it_needs() -> None:
    assert {p.code for p in problems(WorkflowBuilder("empty"))} == {"schema.missing_key"}


def test_an_expression_that_does_not_end() -> None:
    flow, _ = small()
    flow.output("x", flow.expression("{{ inputs.x"))
    assert the_problem(flow).pointer == "/outputs/x"


def test_warnings_do_not_stop_a_build() -> None:
    flow, _ = small()
    flow.agent("nobody")
    flow.build()
    assert [p.code for p in flow.validate().warnings] == ["agent.unused"]


# -- the text --------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(alphabet="ab \n:#-'\"{}[],?&*!|>%@`\\t~=0.e\t", max_size=12),
    st.sampled_from(["true", "null", "~", "no", "0x1F", ".5", "1e3", "-", "---", "\ufeffa", "a\r"]),
)
KEYS = TEXTS.filter(lambda text: text != "\0")  # which the reader keeps for keys it cannot use
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_the_text_reads_back_as_the_same_data(data: dict[str, Any]) -> None:
    text = dump(data)
    source = load(text)
    assert source.problems == ()
    assert source.data == data
    assert dump(source.data) == text


def test_the_text_is_readable() -> None:
    _, text = both_forms("debate")
    data = load(text).data
    assert dump(data).splitlines()[:6] == [
        "version: 1",
        "name: debate",
        "description: A debate over a document, with a scored verdict.",
        "inputs:",
        "  document: {type: string, required: true, description: The text to argue about.}",
        "  objective: {type: string, default: Is it convincing?}",
    ]
    assert "    prompt: |\n      {{ inputs.document }}\n\n      For:" in dump(data)
    assert "  - start -> pro, con\n" in dump(data)


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, joinery.workflow as w; from joinery.workflow import graph, escape; "
        "print([m for m in ('pydantic', 'ruamel.yaml') if m in sys.modules], hasattr(w, 'nope'), "
        "all(hasattr(w, name) for name in w.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False True"
