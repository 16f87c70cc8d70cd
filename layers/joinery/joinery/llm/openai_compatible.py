"""Models behind an OpenAI-compatible endpoint: OpenAI, Ollama, vLLM, llama.cpp and many more."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from joinery.llm.answer import AnswerReader, whole_characters
from joinery.llm.background import BackgroundLoop
from joinery.llm.http_errors import Classifier, parse_error_text, server_address
from joinery.llm.model_facts import ask_window
from joinery.llm.sse import SseEvent, SseParser
from joinery.llm.timeouts import CANCEL_POLL_S, KEEPALIVE_S, Timeouts
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest
from joinery.model_errors import (
    PermanentModelAuth,
    PermanentModelRejected,
    PermanentModelUnknown,
    TransientModelStream,
    TransientModelTimeout,
    TransientModelUnavailable,
)

if TYPE_CHECKING:
    import httpx

Emit = Callable[[Chunk | Exception | None], None]

# A failed question about a window is asked again after this time, not at every call.
_ASK_AGAIN_S = 60.0
_MAX_ERROR_BYTES = 65_536


class OpenAICompatible:
    """Streams answers of `POST {base_url}/chat/completions`.

    One HTTP client serves all calls and threads. It is made at the first call
    and lives until `close`, so warm invocations find it, and often a connection, ready.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: str = "",
        max_tokens_field: str = "max_tokens",
        context_window: int | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Describes the endpoint; nothing is opened yet.

        Args:
            name: The provider's name, for messages.
            base_url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8080/v1`.
            api_key: Sent as a bearer token when not empty.
            max_tokens_field: What the endpoint calls the limit of the answer.
            context_window: Tokens of the window when it is known beforehand; the
                server is not asked then.
            timeouts: Limits in seconds.

        Raises:
            PermanentModelUnknown: `base_url` is not an HTTP address.
            PermanentModelAuth: The key has characters that no HTTP header can carry.
        """
        base_url, api_key = base_url.strip().rstrip("/"), api_key.strip()
        if not _is_address(base_url):
            raise PermanentModelUnknown(
                f"The address of provider {name!r} must be of the form http://host:port/v1, "
                "with http or https"
            )
        if not (api_key.isascii() and api_key.isprintable()):
            raise PermanentModelAuth(f"The key of provider {name!r} has characters it cannot have")
        self.name = name
        self._base_url = base_url
        self._api_key = api_key
        self._max_tokens_field = max_tokens_field
        self._timeouts = timeouts or Timeouts()
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._open: tuple[BackgroundLoop, httpx.AsyncClient] | None = None
        self._configured_window = context_window
        self._windows: dict[str, int | None] = {}
        self._ask_after = 0.0

    # -- the calling thread -----------------------------------------------------

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Calls the model and yields its answer as it arrives.

        The connection is closed as soon as the caller stops iterating or
        `call.cancelled` turns true, which is noticed within `CANCEL_POLL_S` even
        while no byte arrives; after a cancel nothing more is yielded, not even `Finished`.

        Raises:
            TransientModelUnavailable: No connection, or HTTP 5xx.
            TransientModelRateLimited: HTTP 429; `details.retry_after_s` when the server says so.
            TransientModelTimeout: No token, or no further token, in time or before the deadline.
            TransientModelStream: The stream broke or made no sense before the answer was complete.
            PermanentModelAuth: HTTP 401 or 403.
            PermanentModelUnknown: No such model.
            PermanentContextTooLong: The prompt does not fit the window.
            PermanentModelRejected: Any other 4xx, or a refusal of the model or a filter.
        """
        inbox: SimpleQueue[Chunk | Exception | None] = SimpleQueue()
        loop, client = self._opened()
        work = loop.submit(self._call(client, request, call, inbox.put))
        work.add_done_callback(lambda _: inbox.put(None))
        finished = False
        try:
            while not call.cancelled():
                try:
                    item = inbox.get(timeout=CANCEL_POLL_S)
                except Empty:
                    continue
                if item is None:
                    raise TransientModelUnavailable(f"{self.name} was closed during the call")
                if isinstance(item, Exception):
                    raise item
                finished = isinstance(item, Finished)
                yield item
                if finished:
                    return
        finally:
            if not finished:
                work.cancel()

    def context_window(self, model: str) -> int | None:
        """Returns the model's window in tokens, or None when nobody tells.

        It is taken from the configuration, else asked of the server once.
        """
        if self._configured_window is not None:
            return self._configured_window
        with self._asking:
            if model in self._windows:
                return self._windows[model]
            if time.monotonic() < self._ask_after:
                return None
            loop, client = self._opened()
            question = ask_window(client, self._base_url, model, self._timeouts.question)
            try:
                known, window = loop.submit(question).result()
            except Exception:
                # A window is a convenience: without it a prompt is just not checked beforehand.
                known, window = False, None
            if known:
                self._windows[model] = window
            else:
                self._ask_after = time.monotonic() + _ASK_AGAIN_S
            return window

    def close(self) -> None:
        """Ends running calls and closes all connections. A later call opens new ones."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            loop, client = opened
            loop.submit(client.aclose()).result()
            loop.close()

    def _opened(self) -> tuple[BackgroundLoop, httpx.AsyncClient]:
        with self._lock:
            if self._open is None:
                client = self._client()
                self._open = (BackgroundLoop(f"joinery-{self.name}"), client)
            return self._open

    def _client(self) -> httpx.AsyncClient:
        import httpx

        from joinery import __version__

        parts = urlsplit(self._base_url)
        host = parts.hostname or ""
        headers = {
            "accept": "text/event-stream",
            # Compression would hold tokens back until a block is full.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"joinery/{__version__}",
        }
        if self._api_key:
            headers["authorization"] = f"Bearer {self._api_key}"
        return httpx.AsyncClient(
            headers=headers,
            # Time is measured in tokens, so by us: a read may end with a keep-alive comment.
            timeout=httpx.Timeout(None, connect=self._timeouts.connect),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_S),
            # Loading the certificates takes 80 ms; plain HTTP does without.
            verify=parts.scheme == "https",
            # A proxy from the environment cannot reach this machine's own servers.
            trust_env=host not in ("localhost", "::1") and not host.startswith("127."),
        )

    # -- the event loop ------------------------------------------------------------

    async def _call(
        self, client: httpx.AsyncClient, request: ModelRequest, call: CallContext, emit: Emit
    ) -> None:
        """Makes one call and emits its chunks, or the error that ended it."""
        classifier = Classifier(self.name, request.model, self._base_url, self._api_key)
        reader = AnswerReader(request, classifier)
        limits = _Limits(self._timeouts.with_(call.timeouts), call.deadline)
        try:
            try:
                async with asyncio.timeout_at(limits.at) as clock:
                    limits.clock = clock
                    await self._exchange(client, request, reader, limits, emit)
            except TimeoutError:
                if not reader.complete:
                    raise limits.error(self.name) from None
            for chunk in reader.finish():
                emit(chunk)
        except Exception as exc:
            emit(exc)

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        request: ModelRequest,
        reader: AnswerReader,
        limits: _Limits,
        emit: Emit,
    ) -> None:
        import httpx

        address = server_address(self._base_url)
        answering = False
        try:
            async with client.stream(
                "POST",
                f"{self._base_url}/chat/completions",
                content=self._body(request),
                timeout=httpx.Timeout(None, connect=limits.timeouts.connect),
            ) as response:
                answering = True
                await self._check(response, reader)
                await _read(response, reader, limits, emit)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as exc:
            reason = str(exc) or "no answer"
            raise TransientModelUnavailable(
                f"Cannot connect to {self.name} at {address} ({reason[:200]})"
            ) from exc
        except (httpx.TransportError, httpx.DecodingError) as exc:
            if reader.complete:
                return
            if answering:
                raise TransientModelStream(
                    f"{self.name} at {address} broke its answer off ({type(exc).__name__})"
                ) from exc
            raise TransientModelUnavailable(
                f"{self.name} at {address} closed the connection without an answer"
            ) from exc

    async def _check(self, response: httpx.Response, reader: AnswerReader) -> None:
        """Raises what a response says that is not the stream that was asked for."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == 200 and kind != "application/json":
            return
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MAX_ERROR_BYTES:
                break
        told = parse_error_text(body[:_MAX_ERROR_BYTES].decode("utf-8", "replace"))
        if response.status_code != 200:
            raise reader.classifier.from_response(response.status_code, response.headers, told)
        if told.codes:
            raise reader.classifier.in_stream(told, started=False)
        raise PermanentModelRejected(f"{self.name} answered without streaming")

    def _body(self, request: ModelRequest) -> bytes:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        optional = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            self._max_tokens_field: request.max_tokens,
            "stop": list(request.stop) or None,
            "seed": request.seed,
        }
        body.update((key, value) for key, value in optional.items() if value is not None)
        if request.schema is not None:
            form = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        return whole_characters(text).encode()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _Limits:
    """The moment by which the next token must have come; `time.monotonic()` throughout."""

    clock: asyncio.Timeout

    def __init__(self, timeouts: Timeouts, deadline: float) -> None:
        self.timeouts = timeouts
        self._deadline = deadline
        self._started = False
        self.at = min(deadline, time.monotonic() + timeouts.first_token)

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
        self.clock.reschedule(self.at)


async def _read(
    response: httpx.Response, reader: AnswerReader, limits: _Limits, emit: Emit
) -> None:
    parser = SseParser()
    async for raw in response.aiter_bytes():
        for event in parser.feed(raw):
            _take(event, reader, limits, emit)
    for event in parser.close():
        _take(event, reader, limits, emit)


def _take(event: SseEvent, reader: AnswerReader, limits: _Limits, emit: Emit) -> None:
    """Emits the text of one event, and moves the moment by which the next must come."""
    chunks = reader.read(event)
    for chunk in chunks:
        emit(chunk)
    if reader.complete:
        limits.ending()
    elif chunks:
        limits.token()
