"""An OpenTelemetry collector on loopback: keeps the spans that it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """A span as it came over the wire."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    failed: bool
    message: str
    facts: dict[str, Any]
    links: tuple[str, ...]
    seconds: float


@dataclass
class Collector:
    """Where the collector is, and what it was sent."""

    endpoint: str = ""
    status: int = 200
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def named(self, start: str) -> list[Span]:
        return [span for span in self.spans if span.name.startswith(start)]


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _span(told: Any) -> Span:
    return Span(
        told.name,
        told.trace_id.hex(),
        told.span_id.hex(),
        told.parent_span_id.hex(),
        told.kind,
        told.status.code == 2,
        told.status.message,
        _facts(told.attributes),
        tuple(link.trace_id.hex() for link in told.links),
        (told.end_time_unix_nano - told.start_time_unix_nano) / 1e9,
    )


@contextmanager
def collector(host: str = "127.0.0.1") -> Iterator[Collector]:
    """Serves until the block ends."""
    state = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.bodies.append(body)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path == "/v1/traces" and state.status == 200:
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    state.resources.append(_facts(resource.resource.attributes))
                    for scope in resource.scope_spans:
                        state.spans.extend(_span(span) for span in scope.spans)
            self.send_response(state.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
