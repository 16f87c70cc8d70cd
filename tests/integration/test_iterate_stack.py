"""Iterate nodes on the local stack: real Maps, real Lambdas, the real table."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from joinery.compiler.compile import compile_workflow
from joinery.workflow.validation import load_workflow

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

SOURCE = """\
version: 1
name: nested
inputs: {groups: {type: array, required: true}}
nodes:
  each: {type: iterate, items: "{{ inputs.groups }}", concurrency: 3, max_items: 5}
  inner: {type: iterate, items: "{{ item }}", concurrency: 2, max_items: 5}
  step:
    type: template
    template: "{{ loop.previous.step.text ?? item }}{{ nodes.each.index }}{{ nodes.inner.index }}"
  again: {type: loop, max_rounds: 2}
  tail: {type: template, template: "{{ nodes.step.text }}!"}
  odd: {type: transform, value: "{{ nodes.each.item.missing }}"}
  sum: {type: transform, value: "{{ nodes.tail.text }}"}
  all:
    type: transform
    value:
      sums: "{{ nodes.sum.output }}"
      odd: "{{ nodes.odd.status }}"
      tails: "{{ nodes.tail }}"
      rounds: "{{ nodes.again.output.rounds }}"
edges:
  - start -> each
  - each.item -> inner
  - each.item -> odd
  - inner.item -> step -> again
  - again.repeat -> step
  - again.done -> tail
  - inner.done -> sum
  - each.done -> all -> end
outputs: {all: "{{ nodes.all.output }}", items: "{{ nodes.each.output }}"}
"""


def _call(stack: LocalStack, method: str, path: str, body: Any = None) -> Any:
    answer = httpx.request(
        method,
        stack.http_api_url + path,
        headers={"Authorization": f"Bearer {stack.token}"},
        json=body,
        timeout=30,
        trust_env=False,
    )
    assert answer.status_code < 300, answer.text
    return answer.json()


def _run(stack: LocalStack, source: str, inputs: Any) -> Any:
    workflow = _call(stack, "POST", "/workflows", {"source": source})["workflow_id"]
    run = _call(stack, "POST", "/runs", {"workflow_id": workflow, "inputs": inputs})["run_id"]
    end = time.monotonic() + 60
    while True:
        view = _call(stack, "GET", f"/runs/{run}")
        if view["status"] not in ("queued", "running"):
            return view
        assert time.monotonic() < end, view
        time.sleep(0.1)


def test_nested_items_run_side_by_side_and_come_back_in_order(stack: LocalStack) -> None:
    source = SOURCE.replace("max_items: 5}", "max_items: 5, on_item_error: continue}", 1)
    view = _run(stack, source, {"groups": [["a", "b", "c"], [], ["d"]]})
    assert view["status"] == "completed", view
    tails = [["a0000!", "b0101!", "c0202!"], [], ["d2020!"]]
    found = view["outputs"]["all"]
    assert [[one["text"] for one in group] for group in found["tails"]] == tails
    assert found["sums"] == [text for group in tails for text in group]
    assert found["odd"] == ["failed"] * 3
    assert found["rounds"] == [2, 2, 2, 2]
    assert view["outputs"]["items"] == [["a", "b", "c"], [], ["d"]]
    states = json.dumps(compile_workflow(load_workflow(source)).definition)
    assert states.count('"Type": "Map"') == 2


def test_no_items_and_one(stack: LocalStack) -> None:
    source = SOURCE.replace('"{{ nodes.each.item.missing }}"', '"{{ item }}"')
    empty = _run(stack, source, {"groups": []})
    assert (empty["status"], empty["outputs"]["items"]) == ("completed", [])
    assert empty["outputs"]["all"] == {"sums": [], "odd": [], "tails": [], "rounds": []}
    one = _run(stack, source, {"groups": [["x"]]})
    assert (one["status"], one["outputs"]["all"]["sums"]) == ("completed", ["x0000!"])


def test_what_is_no_list_fails_the_run_by_name(stack: LocalStack) -> None:
    source = SOURCE.replace('"{{ nodes.each.item.missing }}"', '"{{ item }}"')
    view = _run(stack, source, {"groups": [3]})
    assert (view["status"], view["error"]["node_id"]) == ("failed", "inner")
    assert view["error"]["code"] == "iterate.not_a_list"
