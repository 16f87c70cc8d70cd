"""Nodes that ask a model: `agent` (a persona answers, maybe with tools) and `llm`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joinery import limits
from joinery.errors import TransientOutputInvalid
from joinery.llm.types import Media, Message
from joinery.model_errors import PermanentMediaInvalid
from joinery.nodes.asking import Answer, Question, ask_model
from joinery.nodes.base import NodeContext, NodeResult
from joinery.workflow.expressions import parse_template


def ask(context: NodeContext) -> NodeResult:
    """Sends persona and prompt to the model, streams the answer, parses it by its schema."""
    spec = context.node.spec
    if spec.get("tools"):
        from joinery.nodes.agent import Agent

        return Agent(context, _messages(spec, context)).work()
    question = Question(spec["model"], _messages(spec, context), spec["fit"], spec["schema"])
    return _result(ask_model(context, question), spec["schema"])


def _messages(spec: Mapping[str, Any], context: NodeContext) -> tuple[Message, ...]:
    prompt = parse_template(spec["prompt"]).render(context.scope)
    user = Message("user", prompt, media=_media(spec, context))
    return (Message("system", spec["system"]), user) if spec["system"] else (user,)


def _media(spec: Mapping[str, Any], context: NodeContext) -> tuple[Media, ...]:
    """Returns the files that a prompt carries; an expression that gives nothing adds none."""
    found: list[Media] = []
    for key in ("images", "files"):
        for text in spec.get(key, ()):
            from joinery.llm.media import from_data_url

            value = parse_template(text).value(context.scope)
            urls = value if isinstance(value, list) else [value]
            found.extend(
                from_data_url(url if isinstance(url, str) else "", image=key == "images")
                for url in urls
                if url not in (None, "")
            )
    if len(found) > limits.MEDIA_COUNT:
        raise PermanentMediaInvalid(
            f"a prompt carries {limits.MEDIA_COUNT} files at most, not {len(found)}",
            limit=limits.MEDIA_COUNT,
            actual=len(found),
        )
    return tuple(found)


def _result(answer: Answer, schema: Mapping[str, Any] | None) -> NodeResult:
    result: dict[str, Any] = {"text": answer.text}
    if schema is not None:
        result["output"] = parse_answer(answer, schema)
    return NodeResult(result)


def parse_answer(answer: Answer, schema: Mapping[str, Any]) -> Any:
    """Returns the data of an answer. Raises: TransientOutputInvalid."""
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError) as error:
        hint = " (the answer was cut at max_tokens)" if answer.reason == "length" else ""
        raise TransientOutputInvalid(f"the answer is not JSON: {error}{hint}") from error
    from jsonschema import Draft202012Validator

    wrong = [
        f"{'/'.join(str(part) for part in error.absolute_path) or 'answer'}: {error.message}"
        for error in Draft202012Validator(dict(schema)).iter_errors(value)
    ]
    if wrong:
        raise TransientOutputInvalid(f"the answer does not match: {'; '.join(wrong[:5])}")
    return value
