"""A node's name, in whatever script, is told by every event of the node; its text is not."""

from __future__ import annotations

from kit.engines import compiled_run, interpreted
from kit.models import Says
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.workflow.ids import safe_ids

NAMES = ["面试官", "Prüfer", "judge"]
IDS = safe_ids(NAMES)


def test_ids_lead_back_to_names_in_every_event() -> None:
    first, second, third = (IDS[name] for name in NAMES)
    graph = workflow(
        [f"start -> {first} -> {second} -> end", f"{first}.error -> {third} -> end"],
        {
            first: {"type": "llm", "prompt": "x", "name": NAMES[0], "on_error": "route"},
            second: {"type": "template", "template": "y", "name": NAMES[1]},
            third: {"type": "template", "template": "z"},
        },
    )
    compiled = compile_workflow(graph)
    model = Says(lambda *_: "hello")
    for ended in (compiled_run(compiled, {}, model), interpreted(compiled.plan, {}, model)):
        assert ended.status == "completed"
        messages = ended.listener.messages
        told = {(m["event"], m["node_id"]): m.get("node_name") for m in messages if "node_id" in m}
        assert told[("node.started", first)] == told[("node.completed", first)] == "面试官"
        assert told[("usage.recorded", first)] == "面试官"
        assert told[("nodes.skipped", first)] == "面试官"
        assert told[("node.completed", second)] == "Prüfer"
        assert told[("text.delta", first)] is None
        (started,) = ended.listener.named("run.started")
        named = {row["node_id"]: row.get("name") for row in started["data"]["nodes"]}
        assert named == {first: "面试官", second: "Prüfer", third: None}
