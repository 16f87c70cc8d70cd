"""Nodes that ask a model: `agent` (a persona answers, maybe with tools) and `llm`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joinery import limits
from joinery.errors import TransientOutputInvalid
from joinery.llm.types import Media, Message
from joinery.model_errors import PermanentContextTooLong, PermanentMediaInvalid
from joinery.nodes.answers import correction, rejected, result_of
from joinery.nodes.asking import Question, ask_model
from joinery.nodes.base import NodeContext, NodeResult
from joinery.workflow.expressions import parse_template


def ask(context: NodeContext) -> NodeResult:
    """Sends persona and prompt to the model, streams the answer, and sees whether it will do.

    Where the answer of the attempt before was rejected, the model is shown it and told
    what is wrong with it.
    """
    spec = context.node.spec
    asked = _messages(spec, context)
    if spec.get("tools"):
        from joinery.nodes.agent import Agent

        return Agent(context, asked).work()  # it tells its model itself what is wrong
    again = (*asked, *_correction(context))
    try:
        answer = ask_model(context, Question(spec["model"], again, spec["fit"], spec["schema"]))
    except PermanentContextTooLong:
        if again == asked:
            raise
        # The wrong answer takes the room: the model is asked as it was at first.
        answer = ask_model(context, Question(spec["model"], asked, spec["fit"], spec["schema"]))
    try:
        return NodeResult(result_of(context, answer))
    except TransientOutputInvalid as error:
        raise rejected(context, answer, error) from None


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


def _correction(context: NodeContext) -> tuple[Message, ...]:
    """Returns what a model is told after an answer of the attempt before was rejected.

    Returns:
        Its answer, and what was wrong with it; nothing where none was rejected.
    """
    before = context.before
    if before.code != TransientOutputInvalid.code:
        return ()
    problems = before.details.get("problems")
    text = before.texts(int(before.details.get("attempt") or 0))
    if not problems or not text.strip():
        return ()
    told = correction(problems, formal=context.node.spec["schema"] is not None)
    return Message("assistant", text), Message("user", told)
