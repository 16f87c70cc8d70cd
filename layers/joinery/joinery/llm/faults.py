"""Faults that a script can play: what a provider's server does on a bad day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from joinery.llm.http_errors import Classifier, ServerError
from joinery.llm.timeouts import FIRST_TOKEN_TIMEOUT_S, IDLE_TIMEOUT_S
from joinery.model_errors import TransientModelStream, TransientModelTimeout

Kind = Literal["status", "hang", "cut", "malformed"]

_KEYS: Final = {
    "status": {"status", "message", "retry_after_s", "code"},
    "hang": {"after_tokens", "seconds"},
    "cut": {"after_tokens"},
    "malformed": {"after_tokens"},
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a call.

    Attributes:
        kind: `status` (the server refuses), `hang` (it says no more), `cut` (the connection
            ends) or `malformed` (a chunk makes no sense).
        after_tokens: Tokens of the answer that come before it.
        status: The HTTP status.
        message: What the server says with it.
        code: The error code that it gives, such as `insufficient_quota`.
        retry_after_s: When it asks to come back, or None.
        seconds: How long nobody minds the silence; None for as long as real providers
            are given.
    """

    kind: Kind
    after_tokens: int = 0
    status: int = 0
    message: str = ""
    code: str = ""
    retry_after_s: float | None = None
    seconds: float | None = None

    @property
    def silence_s(self) -> float:
        """How long the silence of a hang lasts."""
        if self.seconds is not None:
            return self.seconds
        return IDLE_TIMEOUT_S if self.after_tokens else FIRST_TOKEN_TIMEOUT_S

    def error(self, provider: str, model: str) -> Exception:
        """Returns the error that the fault ends in: the one that a real server would cause."""
        match self.kind:
            case "status":
                told = ServerError(
                    self.message,
                    frozenset({self.code} if self.code else ()),
                    retry_after_s=self.retry_after_s,
                )
                classifier = Classifier(provider, model, "http://scripted")
                return classifier.from_response(self.status, {}, told)
            case "hang":
                phase = "idle" if self.after_tokens else "first_token"
                said = "sent no further token for" if self.after_tokens else "sent no token within"
                return TransientModelTimeout(f"{provider} {said} {self.silence_s:g} s", phase=phase)
            case "cut":
                return TransientModelStream(f"{provider} broke its answer off")
            case "malformed":
                return TransientModelStream(f"{provider} sent a chunk that is not JSON")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fault as it stands in a cassette."""
        shown: dict[str, Any] = {"kind": self.kind}
        for name in ("status", "message", "code", "retry_after_s", "after_tokens", "seconds"):
            if value := getattr(self, name):
                shown[name] = value
        return shown


def read_fault(said: Any) -> Fault | str:
    """Returns the fault that `503`, `hang` or `{kind, …}` stands for, or what is wrong with it."""
    if isinstance(said, int) and not isinstance(said, bool):
        said = {"kind": "status", "status": said}
    elif isinstance(said, str):
        said = {"kind": said}
    if isinstance(said, dict) and "kind" not in said and "status" in said:
        said = {"kind": "status", **said}
    kind = said.get("kind") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        return "fault must be a status or one of status, hang, cut, malformed"
    if unknown := sorted(str(key) for key in said.keys() - _KEYS[kind] - {"kind"}):
        return f"a fault '{kind}' has no '{unknown[0]}'"
    status, after = said.get("status", 0), said.get("after_tokens", 0)
    if kind == "status" and not (_whole(status) and 400 <= status <= 599):
        return "the status of a fault must be from 400 to 599"
    if not (_whole(after) and after >= 0):
        return "after_tokens must be a number from 0"
    for name in ("retry_after_s", "seconds"):
        value = said.get(name, 0)
        if isinstance(value, bool) or not (
            isinstance(value, int | float) and 0 <= value < math.inf
        ):
            return f"{name} must be a number of seconds"
    if not all(isinstance(said.get(name, ""), str) for name in ("message", "code")):
        return "message and code must be text"
    return Fault(**{**said, "kind": cast("Kind", kind)})


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
