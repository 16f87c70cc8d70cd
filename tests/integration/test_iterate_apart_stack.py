"""Iterate nodes whose items are executions of their own, on the local stack."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from kit.api import Api
from kit.probe import wait_for

from joinery.compiler.compile import compile_workflow
from joinery.workflow.validation import load_workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

SOURCE = """\
version: 1
name: wide
inputs: {xs: {type: array, required: true}}
defaults: {model: {provider: local, name: any}, retry: {attempts: 1}}
nodes:
  each:
    type: iterate
    items: "{{ inputs.xs }}"
    concurrency: 50
    max_items: 50
    expected_items: 6
    on_item_error: continue
  ask: {type: llm, prompt: "{{ item.name }}"}
  odd: {type: condition, if: "{{ item.n % 2 = 1 }}"}
  more: {type: llm, prompt: "{{ nodes.ask.text }}, number {{ nodes.each.index }}"}
  all:
    type: transform
    value: {asked: "{{ nodes.ask.text }}", more: "{{ nodes.more }}", odd: "{{ nodes.odd.output }}"}
edges:
  - start -> each
  - each.item -> ask -> odd
  - odd.true -> more
  - each.done -> all -> end
outputs: {all: "{{ nodes.all.output }}"}
"""

PLAIN = SOURCE.replace("ask -> odd", "ask -> more").replace("  - odd.true -> more\n", "").replace(
    '  odd: {type: condition, if: "{{ item.n % 2 = 1 }}"}\n', ""
).replace(', odd: "{{ nodes.odd.output }}"', "")  # fmt: skip

FAILS = SOURCE.replace("on_item_error: continue", "on_item_error: fail")


class Wide:
    """Runs a workflow whose items are apart, and looks at their executions."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.sfn = api.stack.client("stepfunctions")

    def start(self, source: str, count: int, *tape: dict[str, Any], **odd: Any) -> str:
        path = self.folder / f"{uuid.uuid4().hex}.yaml"
        path.write_text(source)
        items = [{"name": f"item {n}", "n": odd.get(f"n{n}", n)} for n in range(count)]
        asked = [{"node": "ask", "path": str(n), "text": f"answer {n}"} for n in range(count)]
        rest = {"node": "more", "text": "more"}
        cassette = [*tape, *asked, rest]
        workflow_id = self.api.publish(path)
        return self.api.start(workflow_id, inputs={"xs": items}, cassette=cassette)

    def ended(self, run_id: str) -> dict[str, Any]:
        resting = ("completed", "failed", "cancelled", "timed_out")
        wait_for(lambda: self.api.get(run_id)["status"] in resting, 60)
        return self.api.get(run_id)

    def post(self, run_id: str, action: str) -> None:
        answer = self.api.http.post(f"/runs/{run_id}/{action}")
        assert answer.status_code == 200, answer.text

    def cost(self, run_id: str) -> dict[str, Any]:
        answer = self.api.http.get(f"/runs/{run_id}/cost")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def items(self, run_id: str) -> list[dict[str, Any]]:
        """Returns the executions of the items of a run that has one execution."""
        workflow = self.api.get(run_id)["workflow"]
        version = self.api.http.get(
            f"/workflows/{workflow['workflow_id']}", params={"version": workflow["version"]}
        ).json()
        arn = f"{version['machine'].replace(':stateMachine:', ':execution:')}:{run_id}"
        history = self.sfn.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        (started,) = (e for e in history if e["type"] == "MapRunStarted")
        map_run = started["mapRunStartedEventDetails"]["mapRunArn"]
        found: list[dict[str, Any]] = self.sfn.list_executions(mapRunArn=map_run)["executions"]
        return found


@pytest.fixture(scope="module")
def wide(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wide]:
    with Api(stack) as api:
        yield Wide(api, tmp_path_factory.mktemp("wide"))


def statuses(items: list[dict[str, Any]]) -> Counter[str]:
    return Counter(item["status"] for item in items)


def test_results_are_in_order_and_the_run_takes_what_its_plan_says(wide: Wide) -> None:
    compiled = compile_workflow(load_workflow(PLAIN))
    assert compiled.plan.iterate_of["each"].distributed
    run_id = wide.start(PLAIN, 6)
    run = wide.ended(run_id)
    assert run["status"] == "completed", run
    assert run["outputs"]["all"]["asked"] == [f"answer {n}" for n in range(6)]
    assert [one["text"] for one in run["outputs"]["all"]["more"]] == ["more"] * 6
    items = wide.items(run_id)
    assert statuses(items) == {"SUCCEEDED": 6}
    cost = wide.cost(run_id)
    assert cost["transitions_counted"] is True
    assert cost["transitions"] == cost["transitions_predicted"]
    assert cost["transitions"] == compiled.report.transitions.expected
    inputs = [wide.sfn.describe_execution(executionArn=i["executionArn"])["input"] for i in items]
    given = [json.loads(text) for text in inputs]
    assert {one["run_id"] for one in given} == {run_id}
    assert sorted(one["path"] for one in given) == [str(n) for n in range(6)]


def test_an_item_that_fails_stays_alone_where_items_go_on(wide: Wide) -> None:
    compiled = compile_workflow(load_workflow(SOURCE))
    fails = {"node": "ask", "path": "2", "error": {"name": "PermanentModelRejected"}}
    run_id = wide.start(SOURCE, 6, fails, n3="three")
    run = wide.ended(run_id)
    assert run["status"] == "completed", run
    found = run["outputs"]["all"]
    assert found["asked"] == [f"answer {n}" for n in (0, 1, 3, 4, 5)]
    # Of item 2 the model failed, of item 3 the condition.
    expected = ["skipped", "completed", "skipped", "skipped", "skipped", "completed"]
    assert [one["status"] for one in found["more"]] == expected
    assert found["odd"] == [False, True, False, True]
    failed = {(n["node_id"], n["path"]) for n in run["nodes"] if n["status"] == "failed"}
    assert failed == {("ask", "2"), ("odd", "3")}
    assert statuses(wide.items(run_id)) == {"SUCCEEDED": 6}
    cost = wide.cost(run_id)
    assert cost["transitions"] == cost["transitions_predicted"]
    assert compiled.report.transitions.min <= cost["transitions"] <= compiled.report.transitions.max


def test_an_item_that_fails_ends_the_run_by_its_own_error(wide: Wide) -> None:
    fails = {"node": "ask", "path": "1", "error": {"name": "PermanentModelRejected"}}
    run_id = wide.start(FAILS, 4, fails)
    run = wide.ended(run_id)
    assert run["status"] == "failed"
    assert (run["error"]["node_id"], run["error"]["path"]) == ("ask", "1")
    assert run["error"]["code"] == "model_rejected"
    items = statuses(wide.items(run_id))
    assert items["FAILED"] == 1
    assert not items["RUNNING"]
    # Of what the failure stopped the plan cannot know how far it had come.
    assert "started" not in {n["status"] for n in run["nodes"]}


def slow(count: int) -> list[dict[str, Any]]:
    words = " ".join(["word"] * 10)
    return [
        {"node": "ask", "path": str(n), "text": f"{n} {words}", "tokens_per_second": 8}
        for n in range(count)
    ]


def asked(wide: Wide, run_id: str, status: str) -> int:
    nodes = wide.api.get(run_id)["nodes"]
    return sum(n["node_id"] == "ask" and n["status"] == status for n in nodes)


def test_a_paused_run_goes_on_with_the_items_that_are_left(wide: Wide) -> None:
    run_id = wide.start(PLAIN, 3, *slow(3))
    wait_for(lambda: asked(wide, run_id, "running") == 3, 30)
    wide.post(run_id, "pause")
    wait_for(lambda: asked(wide, run_id, "completed") == 3, 30)
    assert wide.api.get(run_id)["status"] == "paused"
    wide.post(run_id, "resume")
    run = wide.ended(run_id)
    assert run["status"] == "completed", run
    assert {n["attempts"] for n in run["nodes"]} == {1}
    assert [text[0] for text in run["outputs"]["all"]["asked"]] == ["0", "1", "2"]


def test_a_cancelled_run_stops_its_items(wide: Wide) -> None:
    run_id = wide.start(PLAIN, 3, *slow(3))
    wait_for(lambda: asked(wide, run_id, "running") == 3, 30)
    wide.post(run_id, "cancel")
    assert wide.ended(run_id)["status"] == "cancelled"
    wait_for(lambda: not statuses(wide.items(run_id))["RUNNING"], 10)
    assert not statuses(wide.items(run_id))["SUCCEEDED"]
    assert "more" not in {n["node_id"] for n in wide.api.get(run_id)["nodes"]}
