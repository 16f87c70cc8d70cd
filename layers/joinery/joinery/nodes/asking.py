"""One question to a model by a node, and to those that stand in for it.

Every node that asks a model does it here, so that limits, budgets and fallbacks hold
for all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joinery.errors import NodeError, Permanent, Transient
from joinery.llm import retrying
from joinery.nodes.base import NodeContext
from joinery.nodes.calling import OUTPUT_TOKENS_RESERVE, OneModel, tell_wait
from joinery.nodes.one_call import Answer, Question, pause

__all__ = ["OUTPUT_TOKENS_RESERVE", "Answer", "Question", "ask_model"]


def ask_model(context: NodeContext, question: Question) -> Answer:
    """Asks a model, streams its text to the viewers of the node, and returns the answer.

    Where the model fails in a way that another one may not, the next of its `fallback`
    is asked, as long as nothing was shown.

    Raises:
        RunCancelled: The run was cancelled meanwhile.
        RunSuspended: The run may call no model now, or its time was over meanwhile.
        NodeError: What went wrong at the model, see `joinery.model_errors`. Of several
            models, that of the first which a later attempt may find well again, else of
            the first; `details.tried` tells of all.
    """
    refs = [question.model, *(question.model.get("fallback") or ())]
    _sit_out(context, refs)
    failures: list[tuple[Mapping[str, Any], NodeError]] = []
    at = 0
    while True:
        asked = OneModel(context, question, refs[at], stand_in=at + 1 < len(refs))
        try:
            return asked.answer()
        except (Transient, Permanent) as error:
            failures.append((refs[at], error))
            if asked.shown:
                raise _dated(context, error) from error
            following = _following(context, refs, at, asked, error)
            if following is None:
                raise _dated(context, _told(failures)) from error
            _tell(context, refs[at], refs[following], error)
            at = following


def _sit_out(context: NodeContext, refs: Sequence[Mapping[str, Any]]) -> None:
    """Waits until the time that a server named in the attempt before, as far as there is time.

    A Retry of Step Functions comes after its own backoff, whatever a server asks for.
    """
    if len(refs) > 1 or context.meter.model_calls > context.meter.recovered:
        return
    wait = float(context.before.details.get("retry_at") or 0.0) - context.calls.clock()
    if not 0 < wait < context.deadline - context.calls.now() - retrying.ROOM_S:
        return
    provider, name = context.models.resolve(refs[0])
    tell_wait(context, provider.name, name, wait, "asked")
    pause(context, wait)


def _following(
    context: NodeContext,
    refs: Sequence[Mapping[str, Any]],
    at: int,
    asked: OneModel,
    error: NodeError,
) -> int | None:
    """Returns which model is asked next; None when no other would help."""
    if retrying.another_helps(error):
        return at + 1 if at + 1 < len(refs) else None
    if not retrying.is_too_long(error):
        return None
    window = error.details.get("window_tokens") or asked.window
    for later in range(at + 1, len(refs)):
        larger = _window(context, refs[later])
        if window and larger and larger > window:
            return later
    return None


def _window(context: NodeContext, ref: Mapping[str, Any]) -> int | None:
    try:
        provider, name = context.models.resolve(ref)
    except NodeError:
        return None
    return provider.context_window(name)


def _told(failures: Sequence[tuple[Mapping[str, Any], NodeError]]) -> NodeError:
    """Returns the error that stands for all."""
    errors = [error for _, error in failures]
    chosen = next((error for error in errors if isinstance(error, Transient)), errors[0])
    if len(failures) == 1:
        return chosen
    tried = [
        {"model": _label(ref), "code": error.code, "message": error.message}
        for ref, error in failures
    ]
    return type(chosen)(chosen.message, **{**chosen.details, "tried": tried})


def _dated(context: NodeContext, error: NodeError) -> NodeError:
    """Returns the error as the next attempt needs it, and a person who reads it.

    It has the moment at which its server may be asked again, and where nobody was asked
    at all, because a breaker was open, what had gone wrong before.
    """
    asked = retrying.asked_wait(error)
    if asked is None or not isinstance(error, Transient):
        return error
    details = {**error.details, "retry_at": round(context.calls.clock() + asked, 3)}
    message = error.message
    before = context.before.details.get("before") or (context.before.error or {}).get("message")
    if error.details.get("breaker") and before:
        details["before"] = before
        message = f"{message}. Before: {before}"
    return type(error)(message, **details)


def _tell(
    context: NodeContext, ref: Mapping[str, Any], other: Mapping[str, Any], error: NodeError
) -> None:
    data = {
        "attempt": context.attempt,
        "model": _label(ref),
        "next": _label(other),
        "reason": error.code,
        "error": error.to_dict(),
    }
    context.emit("model.fallback", data)


def _label(ref: Mapping[str, Any]) -> str:
    """Returns `provider/name` as far as the workflow says them."""
    return "/".join(str(ref[part]) for part in ("provider", "name") if ref.get(part)) or "default"
