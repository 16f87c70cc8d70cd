"""Code nodes and tools in runs: the same by both engines."""

from __future__ import annotations

from typing import Any

import pytest
from kit.engines import compiled_run, interpreted
from kit.workflows import workflow

from joinery.code_errors import PermanentCode
from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan

TOOLS = {
    "join": {
        "description": "Joins words.",
        "parameters": {
            "words": {"type": "array", "items": {"type": "string"}},
            "sign": {"type": "string", "default": "-"},
        },
        "code": "def join(words, sign):\n    return sign.join(words)",
    }
}


def code(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "code", "code": text, **more}


def both(flow: Any, **inputs: Any) -> list[Any]:
    compiled = compile_workflow(flow)
    return [interpreted(compiled.plan, inputs), compiled_run(compiled, inputs)]


def test_values_keep_their_types_and_text_is_text() -> None:
    flow = workflow(
        ["start -> sort -> join -> end"],
        {
            "sort": code(
                "def by_length(rows, least):\n"
                "    print('sorting')\n"
                "    return sorted((r for r in rows if len(r) >= least), key=len)",
                function="by_length",
                inputs={"rows": "{{ inputs.rows }}", "least": 2},
            ),
            "join": {
                "type": "tool",
                "tool": "join",
                "arguments": {"words": "{{ nodes.sort.output }}"},
            },
        },
        inputs={"rows": {"type": "array"}},
        tools=TOOLS,
        outputs={"text": "{{ nodes.join.text }}", "rows": "{{ nodes.sort.output }}"},
    )  # fmt: skip
    for ended in both(flow, rows=["ccc", "bb", "a"]):
        assert ended.status == "completed"
        assert ended.outputs == {"text": "bb-ccc", "rows": ["bb", "ccc"]}
        record = next(r for r in ended.store.nodes(ended.run.run_id) if r.node_id == "sort")
        assert ended.store.result(ended.run.run_id, record)["stdout"] == "sorting\n"


RAISED = "LookupError: no such row (line 3: raise LookupError('no such row'))"
FAILS = "def main():\n    print('so far')\n    raise LookupError('no such row')"


@pytest.mark.parametrize(
    ("on_error", "status", "text"),
    [
        ("fail", "failed", None),
        ("continue", "completed", "went on"),
        ({"default": "none"}, "completed", "none"),
        ("route", "completed", RAISED),
    ],
)
def test_what_raises_follows_on_error(on_error: Any, status: str, text: str | None) -> None:
    edges = ["start -> a", "a -> b -> end"]
    nodes = {
        "a": code(FAILS, on_error=on_error),
        "b": {"type": "template", "template": "{{ nodes.a.text ?? 'went on' }}"},
    }
    if on_error == "route":
        edges = ["start -> a", "a -> c -> end", "a.error -> b -> end"]
        nodes["b"]["template"] = "{{ nodes.a.error.message }}"
    flow = workflow(edges, nodes, outputs={"text": "{{ nodes.b.text ?? '' }}"})
    for ended in both(flow):
        assert ended.status == status
        assert ended.outputs == (None if text is None else {"text": text})
        [event] = ended.listener.named("node.failed")
        error = event["data"]["error"]
        assert error["code"] == "code.raised"
        assert error["details"] == {
            "type": "LookupError", "line": 3, "source": "raise LookupError('no such row')",
            "stdout": "so far\n",
        }  # fmt: skip
        assert event["data"]["attempt"] == 1


def test_arguments_of_a_tool_are_checked_before_it_is_called() -> None:
    node = {"type": "tool", "tool": "join", "arguments": {"words": "{{ inputs.words }}"}}
    flow = workflow(
        ["start -> a -> end"], {"a": node}, tools=TOOLS, inputs={"words": {"type": "array"}}
    )
    for ended in both(flow, words=["a", 1]):
        assert ended.status == "failed"
        [event] = ended.listener.named("node.failed")
        assert event["data"]["error"]["code"] == "code.arguments"
        assert "words/1: 1 is not of type 'string'" in event["data"]["error"]["message"]


def test_a_timeout_is_the_nodes_own() -> None:
    node = code("def main():\n    while True:\n        pass", timeout="300ms")
    for ended in both(workflow(["start -> a -> end"], {"a": node})):
        [event] = ended.listener.named("node.failed")
        assert event["data"]["error"]["code"] == "code.timeout"


def test_large_arguments_are_refused() -> None:
    node = code("def main(x):\n    return 1", inputs={"x": "{{ inputs.x & inputs.x }}"})
    inputs = {"x": {"type": "string"}}
    flow = workflow(["start -> a -> end"], {"a": node}, inputs=inputs)
    [ended] = both(flow, x="é" * 400_000)[:1]
    assert ended.status == "completed"
    node["inputs"] = dict.fromkeys(("a", "b", "c", "d", "e"), "{{ inputs.x }}")
    node["code"] = "def main(**x):\n    return 1"
    [ended] = both(workflow(["start -> a -> end"], {"a": node}, inputs=inputs), x="x" * 1_000_000)[
        :1
    ]
    [event] = ended.listener.named("node.failed")
    assert event["data"]["error"]["code"] == "code.too_large"


def test_code_shares_its_task_with_pure_nodes_only() -> None:
    nodes = {
        "a": code("def main():\n    return 1"),
        "c": {"type": "tool", "tool": "join", "arguments": {"words": []}},
    }
    plan = compile_workflow(workflow(["start -> a -> b -> c -> end"], nodes, tools=TOOLS)).plan
    assert plan.groups == {"a": ("a", "b"), "c": ("c", "end")}
    assert Plan.from_dict(plan.to_dict()) == plan


def test_a_call_is_priced_as_a_second_invocation() -> None:
    def price(node: dict[str, Any]) -> float:
        flow = workflow(["start -> a -> end"], {"a": node})
        return compile_workflow(flow).report.price_by_service["lambda"].expected

    plain = price({"type": "template", "template": "x"})
    assert price(code("def main():\n    return 1")) > plain + 0.2e-6


def test_all_errors_of_code_are_permanent() -> None:
    for kind in PermanentCode.__subclasses__():
        assert kind.asl_name().startswith("Permanent")
        assert kind.code.startswith("code.")
