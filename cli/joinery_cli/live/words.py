"""The same words for the same things, live and in plain lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joinery_cli.live.state import RunState, Visit


def footer_parts(state: RunState, now: float) -> list[str]:
    """Returns elapsed time, tokens and calls, as far as they are known."""
    end = state.ended_at or now
    parts = [seconds(max(0.0, end - state.started_at) if state.started_at else 0.0)]
    if state.usage["model_calls"]:
        parts.append(f"{count(state.usage['input_tokens'], 'token')} in")
        parts.append(f"{state.usage['output_tokens']:,} out")
        parts.append(count(state.usage["model_calls"], "model call"))
    return parts


def count(number: int, noun: str) -> str:
    """Returns a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def label(visit: Visit) -> str:
    """Returns a node's name with its round and attempt, where those say something."""
    parts = [visit.title]
    if visit.path:
        parts.append(f"#{visit.path}")
    if visit.attempt > 1:
        parts.append(f"(attempt {visit.attempt})")
    return " ".join(parts)


def seconds(value: float) -> str:
    """Returns a duration for a person."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def trouble(name: str, data: Mapping[str, Any]) -> str:
    """Returns what an event tells of a model's bad day; `""` for other events."""
    said = str((data.get("error") or {}).get("message") or "it said nothing")
    who = f"{data.get('provider')}/{data.get('model')}"
    wait = seconds(int(data.get("wait_ms", 0)) / 1000)
    match name:
        case "model.retrying":
            return f"{who} is called again in {wait}: {said}"
        case "model.waiting":
            return f"waits {wait} for {who}"
        case "model.fallback":
            return f"{data['next']} is asked in place of {data['model']}: {said}"
        case "output.rejected":
            return f"the answer was rejected: {data['problems'][0]}"
    return ""
