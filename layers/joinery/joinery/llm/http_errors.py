"""What went wrong at a model's server, told as Joinery's errors.

No message holds a key: keys are cut out of what a server says, and of an
address only scheme, host and port are named.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from joinery.errors import JoineryError
from joinery.model_errors import (
    PermanentContextTooLong,
    PermanentEmbeddingsUnsupported,
    PermanentMediaUnsupported,
    PermanentModelAuth,
    PermanentModelQuota,
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
    r"|too many (input |prompt )?tokens|(input|prompt) tokens? (limit|count)\b.{0,40}exceed"
    r"|range of input length|too many total text bytes",
    re.IGNORECASE,
)
_MODEL_CODES = frozenset({"model_not_found", "model_not_exist", "invalid_model"})
_MODEL_TEXT = re.compile(
    r"not found|not exist|unknown|not supported|no such|invalid model|not available|not loaded"
    r"|not a valid model",
    re.IGNORECASE,
)
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_error", "Arrearage", "arrearage"})
_QUOTA_TEXT = re.compile(
    r"insufficient (quota|balance|credit|funds)|credit balance is too low|exceeded your current"
    r" quota, please check your plan|account .{0,20}(overdue|in arrears)|balance is insufficient",
    re.IGNORECASE,
)
_MEDIA_TEXT = re.compile(
    r"(image|audio|file|pdf|document|vision)s?( input)?s? (is|are) not supported"
    r"|(does not|doesn't) support (image|vision|file|document|pdf)"
    r"|support(s)? image input|invalid content type.{0,20}image_url|not a multimodal model",
    re.IGNORECASE,
)
_EMBEDDINGS_TEXT = re.compile(
    r"(does not|doesn't|not) support embeddings?|embeddings? (is|are) not supported",
    re.IGNORECASE,
)
_KEY_CODES = frozenset({"API_KEY_INVALID", "invalid_api_key", "InvalidApiKey"})
# Errors inside a stream have no status; these names stand for one.
_STATUS_OF = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402,
    "permission_error": 403, "not_found_error": 404, "request_too_large": 413,
    "rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip
_DELAY = re.compile(r"^(\d+(?:\.\d+)?)s$")
# A token count has three digits at least; smaller numbers in a message are something else.
_COUNT = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+|\d{3,9})(?![\d.,]*\d)")
_WHITESPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class ServerError:
    """What a server says of an error, in whichever shape it says it.

    Attributes:
        message: For people; empty when it says nothing.
        codes: Its values of `code`, `type`, `status` and of reasons in `details`, as texts.
        status: The HTTP status that its `code` or `type` stands for, else 0.
        param: The field of the request that it objects to.
        sizes: Tokens of the prompt and of the window, when it names them.
        retry_after_s: When to come back, where the body says so.
    """

    message: str
    codes: frozenset[str] = frozenset()
    status: int = 0
    param: str = ""
    sizes: tuple[int, int] | None = None
    retry_after_s: float | None = None


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
    if isinstance(body, list) and body:
        body = body[0]
    told = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(told, dict):
        return ServerError(message=str(told or ""))
    message = told.get("message") or told.get("detail") or told.get("msg") or ""
    code, details = told.get("code"), told.get("details")
    rows = [row for row in details if isinstance(row, dict)] if isinstance(details, list) else []
    named = (code, told.get("type"), told.get("status"), *(row.get("reason") for row in rows))
    codes = frozenset(str(v) for v in named if isinstance(v, (str, int)))
    status = code if isinstance(code, int) and 400 <= code <= 599 else 0
    return ServerError(
        message=message if isinstance(message, str) else json.dumps(message),
        codes=codes,
        status=status or next((_STATUS_OF[c] for c in codes if c in _STATUS_OF), 0),
        param=str(told.get("param") or ""),
        sizes=_sizes(told, str(message)),
        retry_after_s=_delay(rows),
    )


def _delay(rows: list[dict[str, Any]]) -> float | None:
    """Returns the seconds of a `retryDelay` such as `34.5s`."""
    for row in rows:
        if match := _DELAY.match(str(row.get("retryDelay", ""))):
            return float(match.group(1))
    return None


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
        hint: Where the key of this provider is put.
    """

    provider: str
    model: str
    base_url: str
    secret: str = field(default="", repr=False)
    hint: str = ""

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
        wait_s = retry_after(headers)
        wait_s = told.retry_after_s if wait_s is None else wait_s
        if status == 402 or _is_quota(told, comes_back=status == 429 and wait_s is not None):
            return PermanentModelQuota(
                f"the account at {who} has no quota or no money left (HTTP {status}){said}",
                status=status,
            )
        if status in (401, 403) or told.codes & _KEY_CODES:
            hint = self.hint or "set the key of this provider"
            return PermanentModelAuth(
                f"{who} refused the key (HTTP {status}): {hint}", status=status
            )
        if status not in (401, 403, 429) and _MEDIA_TEXT.search(told.message):
            return PermanentMediaUnsupported(
                f"the model {self.model!r} of {who} takes no such file{said}", status=status
            )
        if _EMBEDDINGS_TEXT.search(told.message):
            return PermanentEmbeddingsUnsupported(
                f"{who} has no embeddings of {self.model!r}{said}", status=status
            )
        if status == 429:
            wait = _facts(status, retry_after_s=wait_s)
            return TransientModelRateLimited(f"{who} answered HTTP 429{said}", **wait)
        if status in (408, 425) or (status >= 500 and status != 501):
            facts = _facts(status, retry_after_s=wait_s)
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


def _is_quota(told: ServerError, *, comes_back: bool) -> bool:
    if told.codes & _QUOTA_CODES:
        return True
    # Gemini says the same of a limit by the minute, but then also when to come back.
    return not comes_back and bool(_QUOTA_TEXT.search(told.message))


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
