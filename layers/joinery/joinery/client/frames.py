"""Looks at what a socket has brought before anything relies on it."""

from __future__ import annotations

from typing import Any, TypeGuard

from joinery.events.make import Event


def readable(message: Any) -> TypeGuard[Event]:
    """Whether a message has what the client itself reads of it.

    What a gateway says of itself has no `event`. Names and fields that a later version
    adds are no reason to refuse a message.
    """
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        return False
    if not isinstance(message.get("run_id", ""), str):
        return False
    if not isinstance(message.get("data", {}), dict):
        return False
    if message["event"] == "text.delta":
        return _is_delta(message)
    return "seq" not in message or _is_event(message)


def is_page(answer: Any) -> bool:
    """Whether an answer is a page of events."""
    return (
        isinstance(answer, dict)
        and isinstance(answer.get("events"), list)
        and all(readable(event) and "seq" in event for event in answer["events"])
    )


def is_texts(answer: Any) -> bool:
    """Whether an answer is the rows of stored text."""
    return isinstance(answer, list) and all(
        isinstance(row, dict) and _is_delta({"event": "text.delta", **row, "data": row})
        for row in answer
    )


def _is_event(message: Event) -> bool:
    if not _is_count(message["seq"]) or message["seq"] < 1 or not _of_node(message):
        return False
    streams = message.get("data", {}).get("streams", {})
    return isinstance(streams, dict) and all(
        isinstance(summary, dict) and _is_count(summary.get("length"))
        for summary in streams.values()
    )


def _is_delta(message: Event) -> bool:
    data = message.get("data", {})
    return (
        "node_id" in message
        and _of_node(message)
        and _is_count(data.get("attempt"))
        and _is_count(data.get("offset"))
        and isinstance(data.get("stream"), str)
        and isinstance(data.get("text"), str)
    )


def _of_node(message: Event) -> bool:
    if "node_id" not in message:
        return message["event"] not in ("node.started", "node.completed", "node.failed")
    return isinstance(message["node_id"], str) and isinstance(message.get("path"), str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def unavailable(request_id: str, message: str) -> Event:
    """Returns the `error` that a client makes itself when a command got no answer."""
    error = {"code": "unavailable", "message": message, "retryable": True}
    return {"event": "error", "data": {"request_id": request_id, **error}}
