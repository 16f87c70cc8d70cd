"""What all providers behind HTTP share: one client, cancellable streams, measured time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from joinery.llm.answer import AnswerReader, whole_characters
from joinery.llm.background import BackgroundLoop
from joinery.llm.http_errors import Classifier, parse_error_text, server_address
from joinery.llm.keys import NO_KEY, ProviderKey
from joinery.llm.sse import SseEvent, SseParser
from joinery.llm.timeouts import CANCEL_POLL_S, KEEPALIVE_S, Timeouts, TokenClock
from joinery.llm.types import CallContext, Chunk, Embeddings, Finished, ModelRequest
from joinery.model_errors import (
    PermanentEmbeddingsUnsupported,
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

_MAX_ERROR_BYTES = 65_536


class HttpProvider(ABC):
    """Streams answers of an HTTP API that speaks server-sent events.

    One HTTP client serves all calls and threads. It is made at the first call
    and lives until `close`, so warm invocations find it, and often a connection, ready.

    A subclass says what a request looks like (`chat`, `headers`) and how an answer is
    read (`reader`).
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        key: ProviderKey = NO_KEY,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Describes the endpoint; nothing is opened yet.

        Args:
            name: The provider's name, for messages.
            base_url: Where its API is.
            key: Its key, read at each call.
            timeouts: Limits in seconds.

        Raises:
            PermanentModelUnknown: `base_url` is not an HTTP address.
        """
        base_url = base_url.strip().rstrip("/")
        if not _is_address(base_url):
            raise PermanentModelUnknown(
                f"The address of provider {name!r} must be of the form http://host:port/v1, "
                "with http or https"
            )
        self.name = name
        self.base_url = base_url
        self.timeouts = timeouts or Timeouts()
        self._key = key
        self._lock = threading.Lock()
        self._open: tuple[BackgroundLoop, httpx.AsyncClient] | None = None

    # -- for the subclasses ------------------------------------------------------------

    @abstractmethod
    def chat(self, request: ModelRequest) -> tuple[str, Mapping[str, Any]]:
        """Returns the path, below `base_url`, and the body of a call.

        Raises:
            NodeError: The provider cannot take the request.
        """

    def headers(self, key: str) -> Mapping[str, str]:
        """Returns the headers that carry the key, which may be empty."""
        return {"authorization": f"Bearer {key}"} if key else {}

    @abstractmethod
    def reader(self, request: ModelRequest, classifier: Classifier) -> AnswerReader:
        """Returns what reads the answer of a call."""

    def context_window(self, model: str) -> int | None:
        """See `Provider.context_window`."""
        return None

    def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`; a provider that has embeddings has its own."""
        raise PermanentEmbeddingsUnsupported(
            f"provider '{self.name}' has no embeddings; choose another one for '{model}'",
            provider=self.name,
        )

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
            PermanentModelAuth: There is no key, or HTTP 401 or 403.
            PermanentModelQuota: Nothing is left on the account.
            PermanentModelUnknown: No such model.
            PermanentMediaUnsupported: The provider cannot take a file of the prompt.
            PermanentContextTooLong: The prompt does not fit the window.
            PermanentModelRejected: Any other 4xx, or a refusal of the model or a filter.
        """
        key = self._key.read()
        path, body = self.chat(request)
        try:
            yield from self._stream(request, call, path, body, key)
        except PermanentModelAuth:
            # A key that is refused before any token may have been replaced meanwhile.
            fresh = self._key.renew()
            if fresh == key:
                raise
            yield from self._stream(request, call, path, body, fresh)

    def _stream(
        self,
        request: ModelRequest,
        call: CallContext,
        path: str,
        body: Mapping[str, Any],
        key: str,
    ) -> Iterator[Chunk]:
        inbox: SimpleQueue[Chunk | Exception | None] = SimpleQueue()
        loop, client = self._opened()
        clock = TokenClock(self.timeouts.with_(call.timeouts), call.deadline)
        exchange = _Exchange(self, client, request, clock, key=key, emit=inbox.put)
        work = loop.submit(exchange.run(path, encode(body)))
        work.add_done_callback(lambda _: inbox.put(None))
        finished = False
        try:
            while not call.cancelled():
                try:
                    item = inbox.get(timeout=CANCEL_POLL_S / 2)
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

    def ask(self, model: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Posts a body and returns the JSON object that is answered.

        Raises:
            NodeError: As `stream` does.
        """
        key = self._key.read()
        try:
            return self._ask(model, path, body, key)
        except PermanentModelAuth:
            fresh = self._key.renew()
            if fresh == key:
                raise
            return self._ask(model, path, body, fresh)

    def _ask(self, model: str, path: str, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        loop, client = self._opened()
        request = ModelRequest(model, ())
        clock = TokenClock(self.timeouts, time.monotonic() + self.timeouts.first_token)
        exchange = _Exchange(self, client, request, clock, key=key, emit=lambda _: None)
        return loop.submit(exchange.ask(path, encode(body))).result()

    def close(self) -> None:
        """Ends running calls and closes all connections. A later call opens new ones."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            loop, client = opened
            loop.submit(client.aclose()).result()
            loop.close()

    def classifier(self, model: str, key: str = "") -> Classifier:
        """Returns what names the errors of a call."""
        return Classifier(self.name, model, self.base_url, key, self._key.hint)

    def _opened(self) -> tuple[BackgroundLoop, httpx.AsyncClient]:
        with self._lock:
            if self._open is None:
                client = self._client()
                self._open = (BackgroundLoop(f"joinery-{self.name}"), client)
            return self._open

    def _client(self) -> httpx.AsyncClient:
        import httpx

        from joinery import __version__

        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        headers = {
            "accept": "text/event-stream",
            # Compression would hold tokens back until a block is full.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"joinery/{__version__}",
        }
        return httpx.AsyncClient(
            headers=headers,
            # Time is measured in tokens, so by us: a read may end with a keep-alive comment.
            timeout=httpx.Timeout(None, connect=self.timeouts.connect),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_S),
            # Loading the certificates takes 80 ms; plain HTTP does without.
            verify=parts.scheme == "https",
            # A proxy from the environment cannot reach this machine's own servers.
            trust_env=host not in ("localhost", "::1") and not host.startswith("127."),
        )


class _Exchange:
    """One call, on the event loop."""

    def __init__(
        self,
        provider: HttpProvider,
        client: httpx.AsyncClient,
        request: ModelRequest,
        clock: TokenClock,
        *,
        key: str,
        emit: Emit,
    ) -> None:
        self._provider, self._client, self._emit = provider, client, emit
        self._headers = provider.headers(key)
        self._classifier = provider.classifier(request.model, key)
        self._reader = provider.reader(request, self._classifier)
        self._clock = clock

    async def run(self, path: str, body: bytes) -> None:
        """Makes the call and emits its chunks, or the error that ended it."""
        reader, clock = self._reader, self._clock
        try:
            try:
                async with asyncio.timeout_at(clock.at) as limit:
                    clock.moved = limit.reschedule
                    await self._exchange(path, body)
            except TimeoutError:
                if not reader.complete:
                    raise clock.error(self._provider.name) from None
            for chunk in reader.finish():
                self._emit(chunk)
        except Exception as exc:
            self._emit(exc)

    async def ask(self, path: str, body: bytes) -> dict[str, Any]:
        """Makes a call that is answered at once, and returns the answer."""
        who = self._provider.name
        try:
            async with asyncio.timeout_at(self._clock.at):
                response = await self._post(path, body)
        except TimeoutError:
            raise TransientModelTimeout(f"{who} did not answer in time", phase="deadline") from None
        if response.status_code != 200:
            raise self._refusal(response, response.content)
        try:
            told = response.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise TransientModelStream(f"{who} answered with something that is not JSON")
        return told

    async def _post(self, path: str, body: bytes) -> httpx.Response:
        import httpx

        headers = {**self._headers, "accept": "application/json"}
        try:
            return await self._client.post(
                f"{self._provider.base_url}{path}", content=body, headers=headers
            )
        except (httpx.TransportError, httpx.DecodingError) as exc:
            raise self._unreached(exc) from exc

    async def _exchange(self, path: str, body: bytes) -> None:
        import httpx

        reader, answering = self._reader, False
        try:
            async with self._client.stream(
                "POST",
                f"{self._provider.base_url}{path}",
                content=body,
                headers=self._headers,
                timeout=httpx.Timeout(None, connect=self._clock.timeouts.connect),
            ) as response:
                answering = True
                await self._check(response)
                await self._read(response)
        except (httpx.TransportError, httpx.DecodingError) as exc:
            if reader.complete:
                return
            if answering:
                where = server_address(self._provider.base_url)
                raise TransientModelStream(
                    f"{self._provider.name} at {where} broke its answer off ({type(exc).__name__})"
                ) from exc
            raise self._unreached(exc) from exc

    def _unreached(self, exc: Exception) -> Exception:
        import httpx

        who = f"{self._provider.name} at {server_address(self._provider.base_url)}"
        if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            reason = str(exc) or "no answer"
            return TransientModelUnavailable(f"Cannot connect to {who} ({reason[:200]})")
        return TransientModelUnavailable(f"{who} closed the connection without an answer")

    async def _check(self, response: httpx.Response) -> None:
        """Raises what a response says that is not the stream that was asked for."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == 200 and kind != "application/json":
            return
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MAX_ERROR_BYTES:
                break
        if response.status_code != 200:
            raise self._refusal(response, body)
        told = parse_error_text(body[:_MAX_ERROR_BYTES].decode("utf-8", "replace"))
        if told.codes:
            raise self._classifier.in_stream(told, started=False)
        raise PermanentModelRejected(f"{self._provider.name} answered without streaming")

    def _refusal(self, response: httpx.Response, body: bytes) -> Exception:
        told = parse_error_text(body[:_MAX_ERROR_BYTES].decode("utf-8", "replace"))
        return self._classifier.from_response(response.status_code, response.headers, told)

    async def _read(self, response: httpx.Response) -> None:
        parser = SseParser()
        async for raw in response.aiter_bytes():
            for event in parser.feed(raw):
                self._take(event)
        for event in parser.close():
            self._take(event)

    def _take(self, event: SseEvent) -> None:
        """Emits the chunks of an event, and moves the moment by which the next must come."""
        reader = self._reader
        before = reader.tokens
        for chunk in reader.read(event):
            self._emit(chunk)
        if reader.complete:
            self._clock.ending()
        elif reader.tokens > before:
            self._clock.token()


def encode(body: Mapping[str, Any]) -> bytes:
    """Returns a body as JSON, half characters replaced."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return whole_characters(text).encode()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
