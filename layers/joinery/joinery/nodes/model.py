"""Nodes that ask a model: `agent` (a persona answers, maybe with tools) and `llm`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joinery import limits
from joinery.errors import TransientOutputInvalid
from joinery.llm.types import Media, Message
from joinery.model_errors import PermanentContextTooLong, PermanentMediaInvalid
from joinery.nodes.asking import Answer, Question, ask_model
from joinery.nodes.base import NodeContext, NodeResult
from joinery.workflow.expressions import parse_template

PROBLEMS_TOLD = 5
"""Most problems of an answer that are told."""

PROBLEM_CHARS = 300


def ask(context: NodeContext) -> NodeResult:
    """Sends persona and prompt to the model, streams the answer, parses it by its schema.

    Where the attempt before got an answer that does not match, the model is shown it and
    told what is wrong with it.
    """
    spec = context.node.spec
    asked = _messages(spec, context)
    if spec.get("tools"):
        from joinery.nodes.agent import Agent

        return Agent(context, asked).work()  # it tells its model itself what is wrong
    again = (*asked, *correction(context)) if spec["schema"] is not None else asked
    try:
        answer = ask_model(context, Question(spec["model"], again, spec["fit"], spec["schema"]))
    except PermanentContextTooLong:
        if again == asked:
            raise
        # The wrong answer takes the room: the model is asked as it was at first.
        answer = ask_model(context, Question(spec["model"], asked, spec["fit"], spec["schema"]))
    result: dict[str, Any] = {"text": answer.text}
    if spec["schema"] is not None:
        result["output"] = parse_output(context, answer, spec["schema"])
    return NodeResult(result)


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


def correction(context: NodeContext) -> tuple[Message, ...]:
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
    listed = "\n".join(f"- {problem}" for problem in problems)
    told = (
        f"Your answer was rejected:\n{listed}\n"
        "Answer again, in full, with nothing but JSON that matches the schema."
    )
    return Message("assistant", text), Message("user", told)


def parse_output(context: NodeContext, answer: Answer, schema: Mapping[str, Any]) -> Any:
    """Returns the data of an answer; an event tells what is wrong with it.

    Raises:
        TransientOutputInvalid: As `parse_answer` does.
    """
    try:
        return parse_answer(answer, schema)
    except TransientOutputInvalid as error:
        problems = error.details["problems"]
        data = {"attempt": context.attempt, "problems": problems, "reason": answer.reason}
        context.emit("output.rejected", data)
        raise type(error)(error.message, **error.details, attempt=context.attempt) from None


def parse_answer(answer: Answer, schema: Mapping[str, Any]) -> Any:
    """Returns the data of an answer that must be JSON and match a schema.

    Raises:
        TransientOutputInvalid: It is not, or does not: `details.problems`.
    """
    problems, value = _problems(answer.text, schema)
    if not problems:
        return value
    hint = " (the answer was cut at max_tokens)" if answer.reason == "length" else ""
    raise TransientOutputInvalid(
        f"the answer does not match: {'; '.join(problems)}{hint}", problems=problems
    )


def _problems(text: str, schema: Mapping[str, Any]) -> tuple[list[str], Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [f"the answer is not JSON: {error}"], None
    from jsonschema import Draft202012Validator

    wrong = []
    for one in Draft202012Validator(dict(schema)).iter_errors(value):
        place = "/".join(str(part) for part in one.absolute_path) or "answer"
        wrong.append(f"{place}: {one.message}"[:PROBLEM_CHARS])
        if len(wrong) == PROBLEMS_TOLD:
            break
    return wrong, value
