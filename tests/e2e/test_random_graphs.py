"""A sample of random workflows on the local stack: real machines, real Lambdas."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kit.api import Api
from kit.engines import interpreted
from kit.order import check_order
from kit.random_graphs import workflows

from joinery.compiler.compile import compile_workflow
from joinery.compiler.opt import OPT_LEVELS
from joinery.workflow.model import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

EXAMPLES = int(os.environ.get("JOINERY_STACK_EXAMPLES", "4"))


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(stack) as made:
        yield made


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 4,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(workflows(), st.sampled_from(OPT_LEVELS))
def test_the_stack_does_what_the_interpreter_does(
    api: Api,
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[Workflow, dict[str, Any]],
    opt: int,
) -> None:
    graph, inputs = case
    compiled = compile_workflow(graph, opt=opt)
    reference = interpreted(compiled.plan, inputs)
    source = tmp_path_factory.mktemp("random") / "workflow.json"
    source.write_text(json.dumps(graph.model_dump(mode="json", by_alias=True, exclude_unset=True)))

    run_id = api.start(api.publish(Path(source), opt=opt), inputs=inputs)
    api.watch(run_id, after=120)

    run = api.get(run_id)
    assert run["status"] == reference.status
    found = {(n["node_id"], n["path"]): n["status"] for n in run["nodes"]}
    assert found == {place: status for place, (status, _) in reference.nodes().items()}
    events = api.http.get(f"/runs/{run_id}/events", params={"limit": 1000}).json()["events"]
    check_order(compiled.plan, events)
    transitions = api.http.get(f"/runs/{run_id}/cost").json()["transitions"]
    predicted = compiled.report.transitions
    assert predicted.min <= transitions <= predicted.max
