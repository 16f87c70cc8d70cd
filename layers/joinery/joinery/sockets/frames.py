"""Makes the frames that answer commands, and reads the commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from joinery import limits
from joinery.catalog.launch import BECAUSE_CHARS, Order, read_order
from joinery.errors import InvalidRequest, JoineryError, TooLarge
from joinery.events.make import PROTOCOL_VERSION, Event, timestamp
from joinery.events.types import ACTIONS
from joinery.runs.terms import CHECKS, checked_budget
from joinery.strictjson import parse_json

if TYPE_CHECKING:
    from joinery.runs.answers import Given

REQUEST_ID_CHARS: Final = 64
START_ID_CHARS: Final = 8
SEQ_MAX: Final = 9_999_999_999

_PATH: Final = r"(\d{1,5}(\.\d{1,5})*)?"


class UnknownAction(InvalidRequest):
    """There is no such command."""

    code = "unknown_action"


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it was sent.

    Attributes:
        action: One of `ACTIONS`.
        request_id: Comes back in the answer.
        run_id: The run; empty with a `ping` that names none, and with `start`.
        after_seq: With `subscribe`: the client's cursor.
        offsets: With `subscribe`: what the client has of each stream, in code points,
            by `<node_id>|<path>|<attempt>|<stream>`.
        order: With `start`: what to start.
        subscribe: With `start`: whether to watch the run from its first event on.
        budget: With `resume`: what the run may use from now on.
        because: With `unlock`: why it may go on.
        checks: With `unlock`: what was checked.
        given: With `input`: what is said, and to which node.
    """

    action: str
    request_id: str
    run_id: str = ""
    after_seq: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)
    order: Order | None = None
    subscribe: bool = True
    budget: Mapping[str, Any] | None = None
    because: str = ""
    checks: tuple[str, ...] = ()
    given: Given | None = None


def read_message(body: str) -> Mapping[str, Any]:
    """Returns the object that a message holds.

    Raises:
        TooLarge: It passes what API Gateway takes.
        InvalidRequest: It is not a JSON object.
    """
    data = body.encode("utf-8", "surrogatepass")
    if len(data) > limits.WEBSOCKET_MESSAGE_BYTES:
        raise TooLarge(
            f"the message has {len(data):,} bytes; the limit is {limits.WEBSOCKET_MESSAGE_BYTES:,}",
            limit=limits.WEBSOCKET_MESSAGE_BYTES,
            actual=len(data),
        )
    value = parse_json(data, "the message")
    if not isinstance(value, dict):
        raise InvalidRequest("a message is a JSON object: {action, request_id, ...}")
    return value


def request_id_of(message: Mapping[str, Any]) -> str | None:
    """Returns the request id of a message, None when it has no usable one."""
    found = message.get("request_id")
    if isinstance(found, str) and 0 < len(found) <= REQUEST_ID_CHARS:
        return found
    return None


def read_command(message: Mapping[str, Any]) -> Command:
    """Returns the command that a message holds.

    Raises:
        InvalidRequest: A field is missing or wrong.
        UnknownAction: There is no such command.
    """
    request_id, action = request_id_of(message), message.get("action")
    if request_id is None:
        raise InvalidRequest(f"a request_id of 1 to {REQUEST_ID_CHARS} characters is needed")
    if not isinstance(action, str) or action not in ACTIONS:
        raise UnknownAction(f"there is no such action; known: {', '.join(ACTIONS)}")
    if action == "start":
        return _start(message, request_id)
    run_id = message.get("run_id")
    if run_id is None and action == "ping":
        return Command(action, request_id)
    if not isinstance(run_id, str):
        raise InvalidRequest("run_id is needed: a text")
    if action == "resume" and message.get("budget") is not None:
        return Command(action, request_id, run_id, budget=checked_budget(message["budget"]))
    if action == "unlock":
        return _unlock(message, request_id, run_id)
    if action == "input":
        return Command(action, request_id, run_id, given=_given(message, request_id))
    if action != "subscribe":
        return Command(action, request_id, run_id)
    after_seq = message.get("after_seq", 0)
    if not _is_count(after_seq) or after_seq > SEQ_MAX:
        raise InvalidRequest("after_seq must be a whole number from 0 on")
    return Command(action, request_id, run_id, after_seq, _offsets(message.get("offsets")))


def _start(message: Mapping[str, Any], request_id: str) -> Command:
    if len(request_id) < START_ID_CHARS:
        # A counter from 1 would find yesterday's runs.
        raise InvalidRequest(
            "a start's request_id is its idempotency key: choose it at random, "
            f"{START_ID_CHARS} to {REQUEST_ID_CHARS} characters"
        )
    watch = message.get("subscribe", True)
    if not isinstance(watch, bool):
        raise InvalidRequest("subscribe must be true or false")
    return Command("start", request_id, order=read_order(message), subscribe=watch)


def _unlock(message: Mapping[str, Any], request_id: str, run_id: str) -> Command:
    because, checks = message.get("because", ""), message.get("checks", [])
    if not isinstance(because, str) or len(because) > BECAUSE_CHARS:
        raise InvalidRequest(f"because must be a text of at most {BECAUSE_CHARS} characters")
    if not isinstance(checks, list) or not all(check in CHECKS for check in checks):
        raise InvalidRequest(f"checks must be a list of {', '.join(CHECKS)}")
    return Command("unlock", request_id, run_id, because=because, checks=tuple(checks))


def _given(message: Mapping[str, Any], request_id: str) -> Given:
    from joinery.runs.answers import Given

    if len(request_id) < START_ID_CHARS:
        raise InvalidRequest(
            "an input's request_id is its idempotency key: choose it at random, "
            f"{START_ID_CHARS} to {REQUEST_ID_CHARS} characters"
        )
    if "value" not in message:
        raise InvalidRequest("value is needed: what is said")
    node_id, path = message.get("node_id"), message.get("path")
    if node_id is not None and (not isinstance(node_id, str) or not 0 < len(node_id) <= 64):
        raise InvalidRequest("node_id must be a node's id, or be left out")
    if path is not None and not (isinstance(path, str) and re.fullmatch(_PATH, path)):
        raise InvalidRequest("path must be loop rounds and item indexes such as '2.0'")
    return Given(request_id, message["value"], node_id, path)


def _offsets(given: Any) -> dict[str, int]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(_is_count(value) for value in given.values()):
        raise InvalidRequest(
            "offsets must be {'<node_id>|<path>|<attempt>|<stream>': length}, lengths from 0 on"
        )
    return given


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# -- frames --------------------------------------------------------------------------------


def answer(
    event: str, command: Command, data: Mapping[str, Any], *, at: float, head: int | None = None
) -> Event:
    """Returns `ack` or `pong`."""
    frame: Event = {"v": PROTOCOL_VERSION, "event": event, "timestamp": timestamp(at)}
    if command.run_id:
        frame["run_id"] = command.run_id
    if head is not None:
        frame["head"] = head
    frame["data"] = {"request_id": command.request_id, **data}
    return frame


def error_frame(error: JoineryError, request_id: str | None, *, at: float) -> Event:
    """Returns `error`."""
    return {
        "v": PROTOCOL_VERSION,
        "event": "error",
        "timestamp": timestamp(at),
        "data": {"request_id": request_id, **error.to_dict()},
    }


def hint_frame(run_id: str, *, at: float, head: int) -> Event:
    """Returns `hint`: there are too many viewers, so this one pulls by HTTP."""
    return {**resync_frame(run_id, at=at, head=head), "event": "hint"}


def resync_frame(run_id: str, *, at: float, head: int) -> Event:
    """Returns `resync`: the client gets the rest by HTTP."""
    return {
        "v": PROTOCOL_VERSION,
        "event": "resync",
        "timestamp": timestamp(at),
        "run_id": run_id,
        "head": head,
        "data": {},
    }
