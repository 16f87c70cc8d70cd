"""Spans by OpenTelemetry, sent by OTLP over HTTP.

Imported only where the environment names a collector. What prompts and answers say is in
no span, unless the installation asks for that.

Every process that works on a run makes spans of the same trace: its id and that of the
run's own span follow from the run's id, so nothing has to travel between Tasks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision

from joinery import __version__
from joinery.errors import NodeError, Permanent, Transient

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from joinery.compiler.plan import PlanNode
    from joinery.llm.types import Finished, Message, ModelRequest
    from joinery.runs.model import RunRecord

log = logging.getLogger(__name__)

HELD_SPANS: Final = 2_048
"""Spans that wait to be sent; beyond that the oldest are lost."""

BATCH_SPANS: Final = 512

EXPORT_S: Final = 2.0
"""Longest time that sending takes, where the environment sets none."""

REST_S: Final = 30.0
"""A collector that did not answer is left alone for so long."""

_PROVIDERS: Final[Mapping[str, str]] = {
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""What the semantic conventions call providers that have another name here."""


class OtelTracer:
    """Implements `Tracer`.

    Args:
        exporter: Sends spans.
        stage: Name of the installation.
        content: Whether spans hold what prompts and answers say.
    """

    def __init__(self, exporter: SpanExporter, *, stage: str = "", content: bool = False) -> None:
        self._outbox = _Outbox(exporter)
        self._ids = _Ids()
        self._content = content
        facts = {"service.name": "joinery", "service.version": __version__}
        if stage:
            facts["deployment.environment.name"] = stage
        # What the environment says of the resource wins, as far as it says anything.
        said = dict(Resource.create().attributes)
        if str(said.get("service.name", "")).startswith("unknown_service"):
            del said["service.name"]
        resource = Resource({**facts, **said})
        self._provider = TracerProvider(
            resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(self._outbox)
        self._tracer = self._provider.get_tracer("joinery", __version__)

    def attempt(self, run: RunRecord, node: PlanNode, path: str, attempt: int) -> OtelTrace:
        """See `Tracer.attempt`."""
        facts = {
            **_of_run(run),
            "joinery.node.id": node.id,
            "joinery.node.type": node.type,
            "joinery.node.path": path,
            "joinery.attempt": attempt,
        }
        name = f"{node.type} {node.id}"
        if node.type == "agent":
            name = f"invoke_agent {node.id}"
            facts["gen_ai.operation.name"] = "invoke_agent"
            facts["gen_ai.agent.name"] = node.id
        span = self._tracer.start_span(name, context=self._below(run), attributes=facts)
        return OtelTrace(self._tracer, span, _of_run(run), self._content)

    def ended(
        self, run: RunRecord, status: str, at: float, error: Mapping[str, Any] | None = None
    ) -> None:
        """See `Tracer.ended`."""
        began = run.started_at or run.created_at
        facts = {
            **_of_run(run),
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": run.name,
            "joinery.workflow.id": run.workflow_id,
            "joinery.workflow.version": run.version,
            "joinery.run.status": status,
        }
        links = []
        if run.parent is not None:
            parent = (trace_id(run.parent.run_id), span_id(run.parent.run_id, 1))
            links = [api.Link(_context(*parent, sampled=True))]
        with self._ids.forced(trace_id(run.run_id), span_id(run.run_id, run.incarnation)):
            span = self._tracer.start_span(
                f"invoke_workflow {run.name}",
                context=api.set_span_in_context(api.INVALID_SPAN),
                attributes=facts,
                links=links,
                start_time=_ns(began),
            )
        if status not in ("completed", "cancelled"):
            _fail(span, str((error or {}).get("code") or status))
        span.end(_ns(max(at, began)))

    def flush(self, timeout_s: float) -> None:
        """See `Tracer.flush`; how long sending takes is the exporter's own limit."""
        self._outbox.force_flush(round(timeout_s * 1_000))

    def _below(self, run: RunRecord) -> Context:
        """Returns the context of a run's own span, which some process makes when it ends."""
        whole = trace_id(run.run_id)
        decided = self._provider.sampler.should_sample(None, whole, "run").decision
        sampled = decided is Decision.RECORD_AND_SAMPLE
        context = _context(whole, span_id(run.run_id, run.incarnation), sampled=sampled)
        return api.set_span_in_context(api.NonRecordingSpan(context))


class OtelTrace:
    """Implements `Trace`."""

    def __init__(
        self, tracer: api.Tracer, span: api.Span, facts: Mapping[str, Any], content: bool
    ) -> None:
        self._tracer, self._span, self._facts, self._content = tracer, span, facts, content
        self._context = api.set_span_in_context(span)

    @contextmanager
    def call(self, provider: str, request: ModelRequest, number: int) -> Iterator[OtelCall]:
        """See `Trace.call`."""
        facts = {
            **self._facts,
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": request.model,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "json" if request.schema is not None else "text",
            "joinery.call": number,
        }
        for name in ("temperature", "top_p", "max_tokens", "seed"):
            if getattr(request, name) is not None:
                facts[f"gen_ai.request.{name}"] = getattr(request, name)
        if request.stop:
            facts["gen_ai.request.stop_sequences"] = list(request.stop)
        if self._content:
            facts["gen_ai.input.messages"] = json.dumps([_message(m) for m in request.messages])
        with self._span_of(f"chat {request.model}", facts, api.SpanKind.CLIENT) as span:
            yield OtelCall(span, self._content)

    @contextmanager
    def tool(self, name: str, call_id: str = "") -> Iterator[OtelTool]:
        """See `Trace.tool`."""
        facts = {
            **self._facts,
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
        }
        if call_id:
            facts["gen_ai.tool.call.id"] = call_id
        with self._span_of(f"execute_tool {name}", facts, api.SpanKind.INTERNAL) as span:
            yield OtelTool(span)

    def end(self, error: NodeError | None) -> None:
        """See `Trace.end`."""
        if isinstance(error, Transient | Permanent):
            _fail(self._span, error.code)
        self._span.end()

    @contextmanager
    def _span_of(
        self, name: str, facts: Mapping[str, Any], kind: api.SpanKind
    ) -> Iterator[api.Span]:
        span = self._tracer.start_span(name, context=self._context, kind=kind, attributes=facts)
        try:
            yield span
        except (Transient, Permanent) as error:
            _fail(span, error.code)
            raise
        except NodeError:
            raise  # a cancel is no failure
        except Exception as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            span.end()


class OtelCall:
    """Implements `CallSpan`."""

    def __init__(self, span: api.Span, content: bool) -> None:
        self._span, self._content = span, content
        self._asked = time.monotonic()
        self._began = False

    def began(self) -> None:
        """See `CallSpan.began`."""
        if not self._began:
            self._began = True
            took = time.monotonic() - self._asked
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", took)

    def answered(self, text: str, finished: Finished) -> None:
        """See `CallSpan.answered`."""
        usage = finished.usage
        facts: dict[str, Any] = {
            "gen_ai.response.finish_reasons": [finished.reason],
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
        }
        if usage.cached_tokens:
            facts["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        if usage.reasoning_tokens:
            facts["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
        if self._content:
            parts: list[dict[str, Any]] = [{"type": "text", "content": text}] if text else []
            parts += [
                {"type": "tool_call", "id": c.id, "name": c.name, "arguments": c.arguments}
                for c in finished.tool_calls
            ]
            said = {"role": "assistant", "parts": parts, "finish_reason": finished.reason}
            facts["gen_ai.output.messages"] = json.dumps([said])
        self._span.set_attributes(facts)


class OtelTool:
    """Implements `ToolSpan`."""

    def __init__(self, span: api.Span) -> None:
        self._span = span

    def failed(self, code: str) -> None:
        """See `ToolSpan.failed`."""
        _fail(self._span, code)


# -- ids -----------------------------------------------------------------------------------


def trace_id(run_id: str) -> int:
    """Returns the trace of a run: 16 bytes that follow from its id."""
    return int.from_bytes(hashlib.sha256(f"trace {run_id}".encode()).digest()[:16], "big")


def span_id(run_id: str, incarnation: int) -> int:
    """Returns the id of the run's own span, one for each time that it was begun."""
    named = f"span {run_id} {incarnation}"
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big")


class _Ids(IdGenerator):
    """Ids at random, but for a span that is to have a certain one."""

    def __init__(self) -> None:
        self._own = threading.local()

    @contextmanager
    def forced(self, trace: int, span: int) -> Iterator[None]:
        self._own.ids = (trace, span)
        try:
            yield
        finally:
            self._own.ids = None

    def generate_trace_id(self) -> int:
        ids = getattr(self._own, "ids", None)
        return ids[0] if ids else random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        ids = getattr(self._own, "ids", None)
        return ids[1] if ids else random.getrandbits(64) or 1


def _context(trace: int, span: int, *, sampled: bool) -> api.SpanContext:
    flags = api.TraceFlags(api.TraceFlags.SAMPLED if sampled else api.TraceFlags.DEFAULT)
    return api.SpanContext(trace, span, is_remote=True, trace_flags=flags)


# -- the way out ---------------------------------------------------------------------------


class _Outbox(SpanProcessor):
    """Holds spans until somebody flushes: a thread would sleep while Lambda has us frozen."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._held: deque[ReadableSpan] = deque(maxlen=HELD_SPANS)
        self._sending = threading.Lock()
        self._not_before = 0.0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing is to be done."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._held.append(span)
            if len(self._held) >= BATCH_SPANS:
                self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        end = time.monotonic() + timeout_millis / 1_000
        with self._sending:
            while self._held and self._not_before <= time.monotonic() < end:
                batch = [self._held.popleft() for _ in range(min(BATCH_SPANS, len(self._held)))]
                try:
                    sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
                except Exception:
                    log.exception("spans were not sent")
                    sent = False
                if not sent:
                    self._not_before = time.monotonic() + REST_S
        return not self._held

    def shutdown(self) -> None:
        self.force_flush()
        self._exporter.shutdown()


def exporter(environ: Mapping[str, str]) -> OTLPSpanExporter:
    """Returns what sends spans to where the environment says."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
    own = any(environ.get(name) for name in names)
    return OTLPSpanExporter(timeout=None if own else EXPORT_S)


# -- attributes ----------------------------------------------------------------------------


def _of_run(run: RunRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {"joinery.run.id": run.run_id}
    if run.session_id:
        facts["gen_ai.conversation.id"] = run.session_id
    return facts


def _fail(span: api.Span, code: str) -> None:
    # The code alone: a message may hold what a prompt or an answer says.
    span.set_attribute("error.type", code)
    span.set_status(api.StatusCode.ERROR)


def _message(message: Message) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if message.tool_call_id:
        parts.append(
            {
                "type": "tool_call_response",
                "id": message.tool_call_id,
                "response": message.content,
            }
        )
    elif message.content:
        parts.append({"type": "text", "content": message.content})
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]
    return {"role": message.role, "parts": parts}


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000_000)
