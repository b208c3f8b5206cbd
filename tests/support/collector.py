"""A collector of Zipkin JSON and of OTLP protobuf: takes what a tracer posts, chunked or not, and keeps the spans."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

from google.protobuf.message import DecodeError

from proxy.api.pool import new_message
from tests.support.upstream import Request, Script, Upstream, reply

Span = dict[str, Any]
ACCEPTED = reply(202, b"", reason="Accepted")


def otlp_spans(body: bytes) -> list[Span]:
    """The spans of an ExportTraceServiceRequest, flattened into the shape of Zipkin's; resource and scope with each.

    Read with Envoy's own descriptors, not with anything that wrote it. Raises DecodeError.
    """
    request: Any = new_message("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest")
    request.ParseFromString(body)
    found = []
    for resource_spans in request.resource_spans:
        resource = {item.key: any_value(item.value) for item in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for one in scope_spans.spans:
                found.append(
                    {**otlp_span(one), "resource": resource, "scope": {"name": scope_spans.scope.name}}
                )
    return found


def otlp_span(one: Any) -> Span:
    """One OTLP span in the shape of Zipkin's."""
    span: Span = {
        "traceId": one.trace_id.hex(),
        "id": one.span_id.hex(),
        "kind": int(one.kind),
        "name": one.name,
        "timestamp": one.start_time_unix_nano // 1000,
        "duration": (one.end_time_unix_nano - one.start_time_unix_nano) // 1000 or 1,
        "flags": hex(one.flags),
        "traceState": one.trace_state,
        "status": (int(one.status.code), one.status.message),
        "annotations": [{"value": event.name, "timestamp": event.time_unix_nano} for event in one.events],
        "tags": {item.key: any_value(item.value) for item in one.attributes},
    }
    if one.parent_span_id:
        span["parentId"] = one.parent_span_id.hex()
    return span


def any_value(value: Any) -> Any:
    """An AnyValue as plain Python."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [any_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


class Collector(Upstream):
    """Answers 202. ``requests`` holds the posts as they came, ``spans`` what was in them.

    A post that is neither a JSON array of spans nor OTLP is kept in ``refused`` with its reason.
    """

    def __init__(self, script: Script = (ACCEPTED,), port: int = 0, host: str = "127.0.0.1") -> None:
        self.spans: list[Span] = []
        self.refused: list[str] = []
        super().__init__(script, port, host=host)

    def on_request(self, request: Request) -> None:
        body = gzip.decompress(request.body) if request.one("content-encoding") == "gzip" else request.body
        try:
            is_otlp = request.one("content-type") == "application/x-protobuf"
            spans = otlp_spans(body) if is_otlp else json.loads(body)
            self.spans += [span for span in spans if span["traceId"] and span["id"]]
        except (ValueError, KeyError, TypeError, DecodeError) as error:
            self.refused.append(f"{request.start_line}: {error!r}")

    def reset(self, script: Script | None = None) -> None:
        super().reset(script)
        self.spans, self.refused = [], []

    def wait_for_spans(self, count: int, timeout_s: float = 12.0) -> list[Span]:
        """Wait until so many spans have come, oldest first. Raises AssertionError when they do not."""
        deadline = time.monotonic() + timeout_s
        while len(self.spans) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.spans)} spans came, not {count}; refused: {self.refused}")
            time.sleep(0.02)
        return sorted(self.spans, key=lambda span: int(span.get("timestamp", 0)))
