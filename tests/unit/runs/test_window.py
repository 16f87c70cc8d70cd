"""Prompts that do not fit the model's window: refused with both sizes, or cut and said so."""

from __future__ import annotations

import pytest
from kit.engines import interpreted
from kit.models import Says
from kit.workflows import workflow

from joinery.compiler.compile import compile_workflow
from joinery.compiler.plan import Plan

DOCUMENT = "start " + "middle " * 20_000 + "finish"


def plan(fit: str) -> Plan:
    graph = workflow(
        ["start -> a -> end"],
        {"a": {"type": "llm", "prompt": "{{ inputs.d }}", "fit": fit, "model": {"max_tokens": 50}}},
        inputs={"d": {"type": "string", "required": True}},
        outputs={"x": "{{ nodes.a.text }}"},
    )
    return compile_workflow(graph).plan


def test_fail_names_both_sizes_before_any_call() -> None:
    says = Says(lambda r, c: "never", window=1000)
    ended = interpreted(plan("fail"), {"d": DOCUMENT}, says)
    assert ended.status == "failed"
    assert says.calls == []
    assert ended.run.error is not None
    assert ended.run.error["code"] == "context_too_long"
    message = ended.run.error["message"]
    assert "1,000" in message or "1000" in message
    assert any(size in message for size in ("35,0", "350")), message


def test_cut_keeps_head_and_tail_and_says_how_much() -> None:
    says = Says(lambda r, c: "fine", window=1000)
    ended = interpreted(plan("cut"), {"d": DOCUMENT}, says)
    assert ended.status == "completed"
    (prompt,) = says.prompts
    assert prompt.startswith("start ")
    assert prompt.endswith("finish")
    assert len(prompt) < 4000
    (event,) = ended.listener.named("input.cut")
    assert event["node_id"] == "a"
    assert 0 < event["data"]["kept_chars"] < event["data"]["total_chars"] == len(DOCUMENT)


@pytest.mark.parametrize("fit", ["fail", "cut"])
def test_what_fits_is_sent_word_for_word(fit: str) -> None:
    says = Says(lambda r, c: "fine", window=1000)
    ended = interpreted(plan(fit), {"d": "kurz 🙂"}, says)
    assert ended.status == "completed"
    assert says.prompts == ["kurz 🙂"]
    assert ended.listener.named("input.cut") == []


def test_a_mebibyte_goes_to_a_model_whose_window_nobody_knows() -> None:
    document = "é" * 524_288
    says = Says(lambda r, c: "fine")
    ended = interpreted(plan("fail"), {"d": document}, says)
    assert ended.status == "completed"
    assert says.prompts == [document]
