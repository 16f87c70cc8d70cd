"""What an answer of a model must be: data that matches a schema, and checks that are true.

An answer that is not is rejected: an event tells why, and so is the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery import limits
from joinery.errors import PermanentExpression, PermanentOutputCheck, TransientOutputInvalid
from joinery.nodes.asking import Answer
from joinery.nodes.base import NodeContext
from joinery.nodes.logic import holds
from joinery.workflow.expressions import (
    DictScope,
    Reference,
    Scope,
    build_document,
    parse_template,
)
from joinery.workflow.paths import ANSWER_ROOTS, Path
from joinery.workflow.syntax import SHOWN_CHARS

PROBLEMS_TOLD: Final = 5
"""Most problems of an answer with its schema that are told; of checks all are."""

PROBLEM_CHARS: Final = 300


def result_of(context: NodeContext, answer: Answer, *, checked: bool = False) -> dict[str, Any]:
    """Returns what a node gives with an answer: `{text, output?}`.

    Args:
        context: The attempt.
        answer: The answer.
        checked: Whether its checks were true before: they may read the time.

    Raises:
        TransientOutputInvalid: The answer is not what the node asks for; `details.problems`
            has what the model is told, `details.checks` the checks that are not true.
        PermanentOutputCheck: A check cannot be evaluated.
    """
    spec = context.node.spec
    result: dict[str, Any] = {"text": answer.text}
    if spec["schema"] is not None:
        problems, result["output"] = _problems(answer.text, spec["schema"])
        if problems:
            raise _invalid(answer, "does not match", problems)
    failed = [] if checked else _untrue(context, result)
    if failed:
        problems = [str(check["say"]) for check in failed]
        raise _invalid(answer, "fails a check", problems, checks=failed)
    return result


def rejected(
    context: NodeContext, answer: Answer, error: TransientOutputInvalid, **more: Any
) -> TransientOutputInvalid:
    """Tells viewers that an answer was rejected; returns the error with the attempt in it.

    Args:
        context: The attempt.
        answer: The answer.
        error: What is wrong with it, from `result_of`.
        more: What the event tells besides.
    """
    told = {key: error.details[key] for key in ("problems", "checks") if key in error.details}
    data = {"attempt": context.attempt, **more, **told, "reason": answer.reason}
    context.emit("output.rejected", data)
    return type(error)(error.message, **error.details, attempt=context.attempt)


def correction(problems: Sequence[str], *, formal: bool) -> str:
    """Returns what a model is told of an answer that was rejected.

    Args:
        problems: What is wrong with it.
        formal: Whether it must be data.
    """
    listed = "\n".join(f"- {problem}" for problem in problems)
    only = ", with nothing but JSON that matches the schema" if formal else ""
    return f"Your answer was rejected:\n{listed}\nAnswer again, in full{only}."


def _invalid(
    answer: Answer, what: str, problems: list[str], **details: Any
) -> TransientOutputInvalid:
    hint = " (the answer was cut at max_tokens)" if answer.reason == "length" else ""
    return TransientOutputInvalid(
        f"the answer {what}: {'; '.join(problems)}{hint}", problems=problems, **details
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


# -- checks --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _AnswerScope:
    """Implements `Scope`: what the node's prompt sees, and the answer to it."""

    answer: DictScope
    around: Scope

    def lookup(self, path: Path) -> Any:
        return (self.answer if path[0] in ANSWER_ROOTS else self.around).lookup(path)

    def document(self, references: Iterable[Reference]) -> dict[str, Any]:
        return build_document(self, references)


def _untrue(context: NodeContext, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the checks that are not true, as events and errors tell them."""
    scope = _AnswerScope(DictScope(result), context.scope)
    failed: list[dict[str, Any]] = []
    for number, check in enumerate(context.node.spec.get("checks", ()), 1):
        try:
            if not holds(check["that"], scope):
                shown = _shown(check["that"])
                say = parse_template(check.get("say", "")).render(scope).strip()
                say = say or f"This must be true of it: {shown}"
                failed.append({"check": number, "that": shown, "say": _cut(say)})
        except PermanentExpression as error:
            # What went wrong may tell of the value, which is as long as the answer.
            details = {key: value for key, value in error.details.items() if key != "reason"}
            raise PermanentOutputCheck(
                f"check {number} of node '{context.node.id}' cannot be evaluated: "
                f"{_cut(error.message)}",
                **{**details, "node": context.node.id, "check": number},
            ) from error
    return failed


def _shown(that: str) -> str:
    """Returns the expression of a check on one line."""
    inner = " ".join(that.strip().removeprefix("{{").removesuffix("}}").split())
    return inner if len(inner) <= SHOWN_CHARS else inner[: SHOWN_CHARS - 1] + "…"


def _cut(text: str) -> str:
    most = limits.CHECK_SAY_CHARS
    return text if len(text) <= most else text[: most - 1] + "…"
