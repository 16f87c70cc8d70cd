"""Nodes that ask a model once: `agent` (a persona answers) and `llm`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joinery.errors import RunCancelled, TransientOutputInvalid
from joinery.llm.types import CallContext, Finished, Message, ModelRequest, TextChunk
from joinery.model_errors import TransientModelStream
from joinery.nodes.base import NodeContext, NodeResult
from joinery.workflow.expressions import parse_template

OUTPUT_TOKENS_RESERVE = 512
"""Room left for the answer when a prompt is fitted and `max_tokens` is not set."""


def ask(context: NodeContext) -> NodeResult:
    """Sends persona and prompt to the model, streams the answer, parses it by its schema."""
    spec = context.node.spec
    provider, name = context.models.resolve(spec["model"])
    messages = _messages(spec, context)
    messages = _fit(context, provider.context_window(name), messages)
    settings = spec["model"]
    request = ModelRequest(
        model=name,
        messages=messages,
        temperature=settings.get("temperature"),
        top_p=settings.get("top_p"),
        max_tokens=settings.get("max_tokens"),
        stop=tuple(settings.get("stop") or ()),
        seed=settings.get("seed"),
        schema=spec["schema"],
    )
    call = CallContext(
        node_id=context.node.id,
        path=context.path,
        call=context.attempt,
        deadline=context.deadline,
        cancelled=context.cancelled,
    )
    finished: Finished | None = None
    context.meter.model_calls += 1
    for chunk in provider.stream(request, call):
        if isinstance(chunk, TextChunk):
            context.streams.add(chunk.stream, chunk.text)
        else:
            finished = chunk
            context.meter.usage += chunk.usage
    if context.cancelled():
        raise RunCancelled("the run was cancelled while the model answered")
    if finished is None:
        raise TransientModelStream("the model's answer ended without an end")
    return _result(context, finished, spec["schema"])


def _messages(spec: Mapping[str, Any], context: NodeContext) -> tuple[Message, ...]:
    prompt = parse_template(spec["prompt"]).render(context.scope)
    user = Message("user", prompt)
    return (Message("system", spec["system"]), user) if spec["system"] else (user,)


def _fit(
    context: NodeContext, window: int | None, messages: tuple[Message, ...]
) -> tuple[Message, ...]:
    if window is None:
        return messages
    from joinery.llm.window import fit_messages

    reserve = context.node.spec["model"].get("max_tokens") or OUTPUT_TOKENS_RESERVE
    fitted, cut = fit_messages(messages, window, reserve, context.node.spec["fit"])
    if cut is not None:
        context.emit("input.cut", {"kept_chars": cut.kept_chars, "total_chars": cut.total_chars})
    return tuple(fitted)


def _result(
    context: NodeContext, finished: Finished, schema: Mapping[str, Any] | None
) -> NodeResult:
    text = context.streams.text()
    result: dict[str, Any] = {"text": text}
    if schema is not None:
        result["output"] = _parse(text, schema, finished)
    return NodeResult(result)


def _parse(text: str, schema: Mapping[str, Any], finished: Finished) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = " (the answer was cut at max_tokens)" if finished.reason == "length" else ""
        raise TransientOutputInvalid(f"the answer is not JSON: {error}{hint}") from error
    from jsonschema import Draft202012Validator

    wrong = [
        f"{'/'.join(str(part) for part in error.absolute_path) or 'answer'}: {error.message}"
        for error in Draft202012Validator(dict(schema)).iter_errors(value)
    ]
    if wrong:
        raise TransientOutputInvalid(f"the answer does not match: {'; '.join(wrong[:5])}")
    return value
