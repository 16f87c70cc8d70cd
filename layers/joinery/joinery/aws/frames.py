"""Messages as they go over a socket: encoded, bounded, and deltas merged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from joinery import limits
from joinery.aws.items import dump
from joinery.events.make import PROTOCOL_VERSION, Event, timestamp


@dataclass(frozen=True, slots=True)
class Frame:
    """A message ready to be posted."""

    message: Event
    data: bytes


def resync(run_id: str, head: int, at: float) -> Event:
    """Returns the hint that what a client has is behind `head`: it is to pull the rest."""
    return {
        "v": PROTOCOL_VERSION,
        "event": "resync",
        "run_id": run_id,
        "head": head,
        "timestamp": timestamp(at),
        "data": {},
    }


def hint(run_id: str, head: int, at: float) -> Event:
    """Returns the word to a viewer for whom there is no room that the run has come to `head`."""
    return {**resync(run_id, head, at), "event": "hint"}


def frame_of(message: Event) -> Frame:
    """Returns a message as a frame, a `resync` in its place where it passes 128 KB."""
    frame = Frame(message, dump(message).encode())
    if len(frame.data) <= limits.WEBSOCKET_MESSAGE_BYTES:
        return frame
    hint = resync(str(message.get("run_id", "")), int(message.get("head", 0)), time.time())
    return Frame(hint, dump(hint).encode())


def merged(first: Frame, second: Frame) -> Frame | None:
    """Returns two deltas as one, or None where they do not adjoin or get too large."""
    if not _adjoin(first.message, second.message):
        return None
    if len(first.data) + len(second.data) > limits.WEBSOCKET_FRAME_BYTES:
        return None
    text = first.message["data"]["text"] + second.message["data"]["text"]
    message = {**second.message, "data": {**first.message["data"], "text": text}}
    return Frame(message, dump(message).encode())


def stream_of(message: Event) -> tuple[Any, ...] | None:
    """Returns what a delta is part of, None when the message is no delta."""
    if message["event"] != "text.delta":
        return None
    data = message["data"]
    place = (message["run_id"], message.get("node_id"), message.get("path"))
    return (*place, data["attempt"], data["stream"])


def _adjoin(first: Event, second: Event) -> bool:
    end = first["data"]["offset"] + len(first["data"]["text"])
    return stream_of(first) == stream_of(second) and bool(end == second["data"]["offset"])
