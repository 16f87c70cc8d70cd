"""Where spans go: one for a run, one for each attempt of a node, one for each call in it.

`joinery.telemetry` sends them to an OpenTelemetry collector where the environment names
one. Nowhere else is anything of OpenTelemetry imported.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from joinery.compiler.plan import PlanNode
    from joinery.errors import NodeError
    from joinery.llm.types import Finished, ModelRequest
    from joinery.runs.model import RunRecord

log = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""`true` puts prompts and answers into spans."""


class CallSpan(Protocol):
    """The span of one call of a model."""

    def began(self) -> None:
        """The first piece of the answer has come; later ones change nothing."""
        ...

    def answered(self, text: str, finished: Finished) -> None:
        """The answer is whole."""
        ...


class ToolSpan(Protocol):
    """The span of one call of a tool."""

    def failed(self, code: str) -> None:
        """The call gave no result; an exception that leaves the span says so too."""
        ...


class Trace(Protocol):
    """The span of one attempt of a node. An exception ends a call's span as failed."""

    def call(
        self, provider: str, request: ModelRequest, number: int
    ) -> AbstractContextManager[CallSpan]:
        """Opens the span of one call of a model.

        Args:
            provider: Who is asked.
            request: What is asked.
            number: Which call of the node this is, over all attempts, from 1.
        """
        ...

    def tool(self, name: str, call_id: str = "") -> AbstractContextManager[ToolSpan]:
        """Opens the span of one call of a tool."""
        ...

    def end(self, error: NodeError | None) -> None:
        """Ends the attempt's span."""
        ...


class Tracer(Protocol):
    """Makes spans. All spans of a run are one trace, whichever process makes them."""

    def attempt(self, run: RunRecord, node: PlanNode, path: str, attempt: int) -> Trace:
        """Begins the span of one attempt of a node."""
        ...

    def ended(
        self, run: RunRecord, status: str, at: float, error: Mapping[str, Any] | None = None
    ) -> None:
        """Makes the span of a run, which all others are below, when it ends.

        Args:
            run: The run, as it was before it ended.
            status: How it ended.
            at: When, in epoch seconds.
            error: What stopped it.
        """
        ...

    def flush(self, timeout_s: float) -> None:
        """Sends what was made; gives up after so many seconds."""
        ...


class _NoSpan:
    def began(self) -> None:
        pass

    def answered(self, text: str, finished: Finished) -> None:
        pass

    def failed(self, code: str) -> None:
        pass


class NoTrace:
    """Implements `Trace`: goes nowhere."""

    def call(
        self, provider: str, request: ModelRequest, number: int
    ) -> AbstractContextManager[CallSpan]:
        """See `Trace.call`."""
        return nullcontext(_NO_SPAN)

    def tool(self, name: str, call_id: str = "") -> AbstractContextManager[ToolSpan]:
        """See `Trace.tool`."""
        return nullcontext(_NO_SPAN)

    def end(self, error: NodeError | None) -> None:
        """See `Trace.end`."""


class NoTracer:
    """Implements `Tracer`: goes nowhere."""

    def attempt(self, run: RunRecord, node: PlanNode, path: str, attempt: int) -> Trace:
        """See `Tracer.attempt`."""
        return NO_TRACE

    def ended(
        self, run: RunRecord, status: str, at: float, error: Mapping[str, Any] | None = None
    ) -> None:
        """See `Tracer.ended`."""

    def flush(self, timeout_s: float) -> None:
        """See `Tracer.flush`."""


def tracer_of(environ: Mapping[str, str], stage: str = "") -> Tracer:
    """Returns what makes spans: for the collector that the environment names, else for nobody.

    The variables are those of OpenTelemetry. A tracer that cannot be made stops no run.

    Args:
        environ: Environment variables.
        stage: Name of the installation.
    """
    if not any(environ.get(name, "").strip() for name in ENDPOINTS):
        return NO_TRACER
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return NO_TRACER
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() not in ("", "otlp"):
        return NO_TRACER
    try:
        from joinery import telemetry

        content = environ.get(CONTENT, "").strip().lower() == "true"
        return telemetry.OtelTracer(telemetry.exporter(environ), stage=stage, content=content)
    except Exception as error:
        log.warning("no spans are made: %s: %s", type(error).__name__, error)
        return NO_TRACER


_NO_SPAN = _NoSpan()
NO_TRACE = NoTrace()
NO_TRACER = NoTracer()
