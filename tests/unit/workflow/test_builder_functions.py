"""Python functions as code nodes and tools."""

from __future__ import annotations

import json
import posixpath
import re
import string as letters
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from kit.engines import interpreted

from joinery.compiler.compile import compile_workflow
from joinery.errors import InvalidWorkflow
from joinery.workflow import NodeHandle, WorkflowBuilder
from joinery.workflow.builder_source import schema_of

LIMIT = 3


def helper() -> int:
    return 1


def outputs(flow: WorkflowBuilder, **inputs: Any) -> Any:
    ended = interpreted(compile_workflow(flow.build()).plan, inputs)
    assert ended.status == "completed", ended.run.error
    return ended.outputs


def reasons(error: pytest.ExceptionInfo[InvalidWorkflow]) -> list[str]:
    assert {p.code for p in error.value.problems} == {"builder.function"}
    return [problem.message for problem in error.value.problems]


def test_functions_run_as_they_were_written() -> None:
    flow = WorkflowBuilder("words")
    text = flow.input("text", default="b a b {{ nodes.x }}")

    @flow.code(timeout="20s")
    def count(text: str, most: Optional[int] = None) -> dict[str, int]:  # noqa: UP045 - this form too
        """Counts words."""
        words = re.findall(r"[a-z]+", text)
        found: dict[str, int] = {}

        class Local:
            first = letters.ascii_lowercase[0]

        for word, times in Counter(words).most_common(most):
            found[word] = times
        return {Local.first: found.get(Local.first, 0), **{k: found[k] for k in found}}

    @flow.tool
    def shown(counts: dict[str, int], sign: Literal["=", ":"] = "=") -> str:
        "Shows counts"
        return json.dumps({posixpath.basename(k): f"{sign}{v}" for k, v in counts.items()})

    counts = count(text, most=2)
    told = shown(counts=counts.output)
    assert isinstance(counts, NodeHandle)
    flow.edge(flow.start, counts, told, flow.end)
    flow.output("counts", counts.output)
    flow.output("told", told.text)
    assert outputs(flow) == {"counts": {"a": 1, "b": 2}, "told": '{"a": "=1", "b": "=2"}'}
    # And as plain Python.
    assert count("b a b", most=2) == {"a": 1, "b": 2}
    assert shown({"a": 1}) == '{"a": "=1"}'
    assert (count.__name__, count.__doc__) == ("count", "Counts words.")


def test_what_is_taken() -> None:
    flow = WorkflowBuilder("x")

    @flow.tool(retry=2)
    def find(text: str, pattern: str = "a", *, most: int | None = None) -> list[str]:
        """Finds things.

        Many of them.
        """
        return re.findall(pattern, text)[:most]

    data = flow._draft.data
    assert data["tools"]["find"] == {
        "description": "Finds things.\n\nMany of them.",
        "parameters": {
            "text": {"type": "string"},
            "pattern": {"type": "string", "default": "a"},
            "most": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        },
        "code": 'import re\n\n\ndef find(text: str, pattern: str = "a", *, most: int | None = None)'
        ' -> list[str]:\n    """Finds things.\n\n    Many of them.\n    """\n'
        "    return re.findall(pattern, text)[:most]\n",
    }
    find.options(timeout="5s").node("other", text="x")
    node = {"type": "tool", "tool": "find", "arguments": {"text": "x"}, "timeout": "5s"}
    assert data["nodes"]["other"] == {**node, "retry": {"attempts": 2}}


def test_a_node_is_added_where_an_argument_comes_later() -> None:
    flow = WorkflowBuilder("x")
    text = flow.input("text", default="hi")

    @flow.code
    def same(value: Any) -> Any:
        return value

    assert same([1, "{{ not one"]) == [1, "{{ not one"]
    handles = [same(text), same(value=[{"a": text}]), same(f"so {text}"), same(text == "hi")]
    assert [handle.id for handle in handles] == ["same", "same_2", "same_3", "same_4"]
    assert same.node(value=5).id == "same_5"
    assert same.node("mine", value=5).id == "mine"
    with pytest.raises(TypeError):
        same(text, text)
    flow.edge(flow.start, *handles, flow.end)
    same(handles[0])  # which part of it?
    with pytest.raises(InvalidWorkflow) as caught:
        flow.build()
    [problem] = [p for p in caught.value.problems if p.code == "builder.value"]
    assert "say which part" in problem.hint
    assert problem.node_id == "same_6"


def test_what_stands_outside_is_refused_by_name() -> None:
    flow = WorkflowBuilder("x")
    outer = 5
    with pytest.raises(InvalidWorkflow) as caught:

        @flow.code
        def bad() -> Any:
            inner = [x * 2 for x in range(3)]
            return inner, LIMIT, outer, helper(), pytest, nowhere  # noqa: F821 - that is the point

    assert reasons(caught) == [
        f"function 'bad': it uses {what}"
        for what in (
            "'LIMIT', which is defined outside of it",
            "'outer', which is defined outside of it",
            "'helper', which is defined outside of it",
            "'pytest', which is not in the standard library",
            "'nowhere', which is not defined",
        )
    ]
    assert "nodes" not in flow._draft.data


def test_types_that_json_does_not_know_are_refused_by_name() -> None:
    flow = WorkflowBuilder("x")
    with pytest.raises(InvalidWorkflow) as caught:

        @flow.tool
        def bad(a, b: date, c: list[date], d: Any, e: object = object(), *r: str, **m: str) -> int:
            return 1

    assert [reason.removeprefix("function 'bad': ") for reason in reasons(caught)] == [
        "the parameter 'a' has no type",
        "the parameter 'b' has the type date",
        "the parameter 'c' has the type list[datetime.date]",
        "the parameter 'd' has the type Any",
        "the parameter 'e' has the type object",
        "the parameter '*r: 'str'' has no name of its own",
        "the parameter '**m: 'str'' has no name of its own",
    ]
    assert "tools" not in flow._draft.data


def test_what_is_no_plain_function() -> None:
    flow = WorkflowBuilder("x")

    async def later() -> int:
        return 1

    made: dict[str, Any] = {}
    exec("def made(): return 1", made)
    for wrong, said in (
        (lambda: 1, "no function written with 'def'"),
        (len, "no function written with 'def'"),
        (Path, "no function written with 'def'"),
        (later, "it is async"),
        (made["made"], "its source cannot be read"),
    ):
        for take in (flow.code, flow.tool):
            with pytest.raises(InvalidWorkflow, match=said):
                take(wrong)


def test_annotations_need_nothing() -> None:
    flow = WorkflowBuilder("x")

    class Row(dict[str, Any]):
        pass

    @flow.code
    def first(rows: list[Row]) -> Row:
        found: Row = rows[0]
        return found

    node = first.node(rows=[{"a": 1}])
    flow.edge(flow.start, node, flow.end)
    flow.output("row", node.output)
    code = flow._draft.data["nodes"]["first"]["code"]
    assert code.startswith("from __future__ import annotations\n\ndef first(")
    assert outputs(flow) == {"row": {"a": 1}}


def test_recursion_and_names_of_builtins() -> None:
    flow = WorkflowBuilder("x")

    @flow.code
    def power(base: int, times: int) -> int:
        global seen  # noqa: PLW0603 - its own
        seen = max(base, 0)
        return 1 if times == 0 else seen * power(base, times - 1)

    node = power.node(base=2, times=5)
    flow.edge(flow.start, node, flow.end)
    flow.output("n", node.output)
    assert outputs(flow) == {"n": 32}


def test_a_tool_twice_and_options_that_there_are_not() -> None:
    flow = WorkflowBuilder("x")

    def tool(text: str) -> str:
        return text

    first = flow.tool(tool)
    flow.tool(tool)
    flow.edge(flow.start, first.options(tiemout="5s").node("a", text="x"), flow.end)
    with pytest.raises(InvalidWorkflow) as caught:
        flow.build()
    assert [p.code for p in caught.value.problems] == [
        "builder.duplicate",
        "builder.unknown_option",
    ]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (list, {"type": "array"}),
        (list[dict[str, float]], {"type": "array", "items": {
            "type": "object", "additionalProperties": {"type": "number"}}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1, True], {"enum": ["a", 1, True]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045 - this form
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (dict[int, str], None),
        (list[Path], None),
        (Path | None, None),
        (set, None),
        (tuple[int, int], None),
        (Any, None),
        ("later", None),
    ],
)  # fmt: skip
def test_schemas(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema
