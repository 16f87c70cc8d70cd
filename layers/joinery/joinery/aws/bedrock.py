"""Models behind Amazon Bedrock's Converse API, with the rights of the account."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from joinery.aws.bedrock_answer import BedrockReader
from joinery.aws.bedrock_errors import model_error
from joinery.aws.bedrock_request import converse, schema_by
from joinery.llm.embedding import batches, joined, vector
from joinery.llm.http_errors import Classifier
from joinery.llm.timeouts import CANCEL_POLL_S, Timeouts, TokenClock
from joinery.llm.tool_calls import answer_tool
from joinery.llm.types import CallContext, Chunk, Embeddings, Finished, ModelRequest, Usage
from joinery.llm.window import estimate_tokens
from joinery.llm.windows import known_window
from joinery.model_errors import TransientModelStream

COHERE_BATCH = 96
"""https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html"""

_END = "end"


class Bedrock:
    """Implements `Provider` and `Embedder`.

    The SDK waits for bytes without end, so a thread of its own reads each answer: the
    caller notices a cancel and a limit of time within `CANCEL_POLL_S`.

    Args:
        client: boto3's client of `bedrock-runtime`, which repeats no call.
        name: The provider's name, for messages.
        timeouts: Limits in seconds.
    """

    def __init__(
        self, client: Any, *, name: str = "bedrock", timeouts: Timeouts | None = None
    ) -> None:
        self.name = name
        self._client = client
        self._timeouts = timeouts or Timeouts()

    def context_window(self, model: str) -> int | None:
        """See `Provider.context_window`."""
        return known_window(model)

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        """Calls the model and yields its answer as it arrives.

        After a cancel nothing more is yielded, not even `Finished`.

        Raises:
            NodeError: As `HttpProvider.stream` does; a right that is missing is
                PermanentModelAuth.
        """
        classifier = self._classifier(request.model)
        tool = answer_tool(request) if schema_by(request) == "tool" else ""
        reader = BedrockReader(request, classifier, answer_tool=tool)
        clock = TokenClock(self._timeouts.with_(call.timeouts), call.deadline)
        asked = converse(self.name, request)
        events = _Events(self._client, asked)
        events.start()
        try:
            while not call.cancelled():
                if time.monotonic() >= clock.at:
                    if reader.complete:
                        break
                    raise clock.error(self.name)
                event = events.next(clock.at)
                if event is None:
                    continue
                if event == _END:
                    break
                if isinstance(event, Exception):
                    if reader.complete:
                        break
                    raise model_error(event, classifier, started=reader.started) from event
                yield from self._take(reader, clock, event)
            else:
                return
            yield from reader.finish()
        finally:
            events.close()

    def _take(
        self, reader: BedrockReader, clock: TokenClock, event: Mapping[str, Any]
    ) -> Iterator[Chunk]:
        before = reader.tokens
        for name, body in event.items():
            try:
                chunks = reader.take(name, body)
            except (AttributeError, KeyError, TypeError, ValueError):
                raise TransientModelStream(f"{self.name} sent a chunk of no known form") from None
            yield from (chunk for chunk in chunks if not isinstance(chunk, Finished))
        if reader.complete:
            clock.ending()
        elif reader.tokens > before:
            clock.token()

    def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        """See `Embedder.embed`, for the Titan and Cohere models."""
        cohere = "cohere." in model
        parts: list[Embeddings] = []
        for batch in batches(texts, COHERE_BATCH if cohere else 1):
            if cohere:
                body: dict[str, Any] = {"texts": list(batch), "input_type": "search_document"}
            else:
                body = {"inputText": batch[0]}
            told = self._invoke(model, body)
            if cohere:
                rows = told.get("embeddings") or ()
                usage = Usage(sum(map(estimate_tokens, batch)), 0, estimated=True)
            else:
                rows = [told.get("embedding")]
                usage = Usage(int(told.get("inputTextTokenCount") or 0), 0)
            vectors = tuple(vector(self.name, row) for row in rows)
            if len(vectors) != len(batch):
                vectors = (vector(self.name, None),)  # raises: some are missing
            parts.append(Embeddings(vectors, usage))
        return joined(parts)

    def _invoke(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.invoke_model(modelId=model, body=json.dumps(body))
            told = json.loads(answer["body"].read())
        except (BotoCoreError, ClientError) as error:
            raise model_error(error, self._classifier(model)) from error
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise TransientModelStream(f"{self.name} answered with something that is not JSON")
        return told

    def _classifier(self, model: str) -> Classifier:
        return Classifier(self.name, model, "https://bedrock-runtime")


class _Events:
    """The events of one call, read by a thread."""

    def __init__(self, client: Any, asked: Mapping[str, Any]) -> None:
        self._client, self._asked = client, asked
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._closed = threading.Event()
        self._stream: Any = None

    def start(self) -> None:
        """Begins the call."""
        threading.Thread(target=self._read, name="joinery-bedrock", daemon=True).start()

    def next(self, until: float) -> Any:
        """Returns an event, `"end"`, an exception, or None when none came for a moment."""
        wait = min(CANCEL_POLL_S / 2, max(0.001, until - time.monotonic()))
        try:
            return self._inbox.get(timeout=wait)
        except Empty:
            return None

    def close(self) -> None:
        """Has the connection closed, so that the model does not write for nobody."""
        self._closed.set()
        # The reading thread may be waiting for bytes: closing would wait for it.
        raw = getattr(self._stream, "_raw_stream", None)
        wake = getattr(raw, "shutdown", None)
        if wake is not None:
            with suppress(OSError, RuntimeError, ValueError):
                wake()

    def _read(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.converse_stream(**self._asked)
            self._stream = answer["stream"]
            try:
                for event in self._stream:
                    if self._closed.is_set():
                        return
                    self._inbox.put(event)
            finally:
                self._stream.close()
            self._inbox.put(_END)
        except (BotoCoreError, ClientError) as error:
            self._inbox.put(error)
        except Exception as error:
            # A broken connection shows as whatever the HTTP library raises.
            self._inbox.put(_Broken(type(error).__name__))


class _Broken(Exception):
    """The connection ended, or what came over it was no event."""
