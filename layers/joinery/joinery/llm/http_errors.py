"""What went wrong at a model's server, told as Joinery's errors.

No message holds a key: keys are cut out of what a server says, and of an
address only scheme, host and port are named.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from joinery.errors import JoineryError
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentModelAuth,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelUnavailable,
)

MAX_SERVER_MESSAGE_CHARS = 500

_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CONTEXT_TEXT = re.compile(
    r"maximum context length|context (length|size|window)|(prompt|input) is too long"
    r"|too many (input |prompt )?tokens|(input|prompt) tokens? (limit|count)\b.{0,40}exceed",
    re.IGNORECASE,
)
_MODEL_CODES = frozenset({"model_not_found", "model_not_exist", "invalid_model"})
_MODEL_TEXT = re.compile(
    r"not found|not exist|unknown|not supported|no such|invalid model|not available|not loaded"
    r"|not a valid model",
    re.IGNORECASE,
)
# A token count has three digits at least; smaller numbers in a message are something else.
_COUNT = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+|\d{3,9})(?![\d.,]*\d)")
_WHITESPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class ServerError:
    """What a server says of an error, in whichever shape it says it.

    Attributes:
        message: For people; empty when it says nothing.
        codes: Its values of `code` and `type`, as texts.
        status: Its `code` when that is an HTTP status, else 0.
        param: The field of the request that it objects to.
        sizes: Tokens of the prompt and of the window, when it names them.
    """

    message: str
    codes: frozenset[str] = frozenset()
    status: int = 0
    param: str = ""
    sizes: tuple[int, int] | None = None


def server_address(base_url: str) -> str:
    """Returns scheme, host and port of an address, without user, path and query."""
    parts = urlsplit(base_url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"


def parse_error(body: Any) -> ServerError:
    """Reads the error object of a response or of a chunk.

    Args:
        body: Parsed JSON, or the text itself when it is no JSON.
    """
    told = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(told, dict):
        return ServerError(message=str(told or ""))
    message = told.get("message") or told.get("detail") or told.get("msg") or ""
    code = told.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 0
    return ServerError(
        message=message if isinstance(message, str) else json.dumps(message),
        codes=frozenset(str(v) for v in (code, told.get("type")) if isinstance(v, (str, int))),
        status=status,
        param=str(told.get("param") or ""),
        sizes=_sizes(told, str(message)),
    )


def parse_error_text(text: str) -> ServerError:
    """Reads the body of a failed response, JSON or not."""
    try:
        return parse_error(json.loads(text))
    except (ValueError, RecursionError):
        return ServerError(message=text)


@dataclass(frozen=True, slots=True)
class Classifier:
    """Turns what one provider's server says into errors that name the provider.

    Attributes:
        provider: Its name, for messages.
        model: The model that was asked for, for messages.
        base_url: Where the server is.
        secret: The key, which no message may hold.
    """

    provider: str
    model: str
    base_url: str
    secret: str = ""

    def from_response(
        self, status: int, headers: Mapping[str, str], told: ServerError
    ) -> JoineryError:
        """Returns the error for a response that is not 200.

        Args:
            status: The HTTP status.
            headers: With lower-case names.
            told: What the body says.
        """
        who = f"{self.provider} at {server_address(self.base_url)}"
        said = self._said(told)
        if status in (401, 403):
            return PermanentModelAuth(
                f"{who} refused the key (HTTP {status}): set the key of this provider",
                status=status,
            )
        if status == 429:
            wait = _facts(status, retry_after_s=retry_after(headers))
            return TransientModelRateLimited(f"{who} answered HTTP 429{said}", **wait)
        if status in (408, 425) or (status >= 500 and status != 501):
            facts = _facts(status, retry_after_s=retry_after(headers))
            return TransientModelUnavailable(f"{who} answered HTTP {status}{said}", **facts)
        if _is_context(told):
            return self._too_long(told, status)
        if status == 404 or _is_model(told, self.model):
            return PermanentModelUnknown(
                f"{who} has no model {self.model!r}, or no such address (HTTP {status}){said}",
                status=status,
            )
        if 300 <= status < 400:
            said = ": it redirects; use the address it redirects to"
        return PermanentModelRejected(
            f"{who} refused the request (HTTP {status}){said}", status=status
        )

    def in_stream(self, told: ServerError, *, started: bool) -> JoineryError:
        """Returns the error for an error object inside a stream.

        Args:
            told: The error object.
            started: Whether a token came before it. If not, the status that the
                object names counts as that of a response would.
        """
        if _is_context(told):
            return self._too_long(told, told.status or 400)
        if told.status and not started:
            return self.from_response(told.status, {}, told)
        return TransientModelStream(f"{self.provider} broke its answer off{self._said(told)}")

    def _too_long(self, told: ServerError, status: int) -> PermanentContextTooLong:
        if told.sizes is None:
            return PermanentContextTooLong(
                f"The prompt does not fit the window of {self.model!r}{self._said(told)}",
                status=status,
            )
        prompt, window = told.sizes
        return PermanentContextTooLong(
            f"The prompt has {prompt} tokens; the window of {self.model!r} has {window}",
            status=status,
            prompt_tokens=prompt,
            window_tokens=window,
        )

    def _said(self, told: ServerError) -> str:
        text = told.message
        if self.secret:
            text = text.replace(self.secret, "[key]")
        text = _WHITESPACE.sub(" ", text).strip()
        if len(text) > MAX_SERVER_MESSAGE_CHARS:
            text = text[: MAX_SERVER_MESSAGE_CHARS - 1] + "…"
        return f": {text}" if text else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of a `Retry-After` header (a number or an HTTP date), or None."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return round(max(0.0, seconds), 3) if seconds < float("inf") else None


def _facts(status: int, *, retry_after_s: float | None) -> dict[str, Any]:
    if retry_after_s is None:
        return {"status": status}
    return {"status": status, "retry_after_s": retry_after_s}


def _is_context(told: ServerError) -> bool:
    return bool(told.codes & _CONTEXT_CODES) or bool(_CONTEXT_TEXT.search(told.message))


def _is_model(told: ServerError, model: str) -> bool:
    if told.codes & _MODEL_CODES or told.param:
        return bool(told.codes & _MODEL_CODES) or told.param == "model"
    return bool(model) and model in told.message and bool(_MODEL_TEXT.search(told.message))


def _sizes(told: Mapping[str, Any], message: str) -> tuple[int, int] | None:
    prompt, window = told.get("n_prompt_tokens"), told.get("n_ctx")
    if isinstance(prompt, int) and isinstance(window, int):
        return prompt, window
    if not _CONTEXT_TEXT.search(message):
        return None
    # Providers word it differently, but always give the window and the larger
    # size that was asked for, before any other number.
    counts = [int(c.replace(",", "")) for c in _COUNT.findall(message)][:2]
    return (max(counts), min(counts)) if len(counts) == 2 else None
