"""How long a call of a model may take, step by step. All values are seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from joinery.model_errors import TransientModelTimeout

# A host that does not accept a connection in this time is down, not busy.
CONNECT_TIMEOUT_S = 5.0

# A local model on two cores reads a long prompt at about 40 tokens/s, so this
# covers a prompt of 4,800 tokens before the first token of the answer.
FIRST_TOKEN_TIMEOUT_S = 120.0

# A model that has begun to answer and then says nothing for this long is stuck.
IDLE_TIMEOUT_S = 30.0

# After `finish_reason` the answer is complete; only its usage is still to come.
ENDING_TIMEOUT_S = 5.0

# How often `CallContext.cancelled` is asked while no token arrives.
CANCEL_POLL_S = 0.25

# One question about a model, such as the size of its window.
QUESTION_TIMEOUT_S = 5.0

# A connection that lay idle for longer is not used again: a frozen Lambda or a
# NAT may have lost it without either end being told.
KEEPALIVE_S = 20.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The limits of one provider, in seconds.

    Attributes:
        connect: Until the connection stands.
        first_token: From the start of the call to the first token. Keep-alive
            comments, empty chunks and headers are not tokens.
        idle: Between two tokens.
        ending: From `finish_reason` to the end of the stream.
        question: For a question about a model that is not a call of it.
    """

    connect: float = CONNECT_TIMEOUT_S
    first_token: float = FIRST_TOKEN_TIMEOUT_S
    idle: float = IDLE_TIMEOUT_S
    ending: float = ENDING_TIMEOUT_S
    question: float = QUESTION_TIMEOUT_S

    def with_(self, said: Mapping[str, float]) -> Timeouts:
        """Returns the limits with those of a call in place of these."""
        return replace(self, **said) if said else self


class TokenClock:
    """The moment by which the next token must have come; `time.monotonic()` throughout.

    Args:
        timeouts: The limits.
        deadline: When the call must have ended, whatever comes.

    Attributes:
        timeouts: The limits.
        at: That moment.
        moved: Is told when it changes.
    """

    def __init__(self, timeouts: Timeouts, deadline: float) -> None:
        self.timeouts = timeouts
        self._deadline = deadline
        self._started = False
        self.at = min(deadline, time.monotonic() + timeouts.first_token)
        self.moved: Callable[[float], None] = lambda _: None

    def token(self) -> None:
        """A token has come: the time for the next one begins."""
        self._started = True
        self._move(self.timeouts.idle)

    def ending(self) -> None:
        """The answer is complete: only the end of the stream is awaited."""
        self._move(self.timeouts.ending)

    def error(self, provider: str) -> TransientModelTimeout:
        """Returns the error for the limit that was passed."""
        if time.monotonic() >= self._deadline:
            phase, text = "deadline", "did not end its answer in the time that the node has"
        elif self._started:
            phase, text = "idle", f"sent no further token for {self.timeouts.idle:g} s"
        else:
            phase, text = "first_token", f"sent no token within {self.timeouts.first_token:g} s"
        return TransientModelTimeout(f"{provider} {text}", phase=phase)

    def _move(self, seconds: float) -> None:
        self.at = min(self._deadline, time.monotonic() + seconds)
        self.moved(self.at)
