"""ProxySpan: what code in a filter says through OpenTelemetry's API lands in the proxy's own span."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace.status import Status, StatusCode

from proxy.tracing.otel_context import current_span
from proxy.tracing.span import EXTRA_LIMIT
from tests.support.collector import otlp_spans
from tests.support.config import opentelemetry
from tests.unit.tracing.world import World, zipkin

TRACE, PARENT = b"463ac35c9f6413ad48485a3953bb6124", b"a2fb4a1d1a96d312"


def run(config: dict[str, Any], work: Any, sampled: bytes = b"01") -> tuple[World, Any, list[bytes]]:
    world = World()
    tracing = world.compile(config)
    parent = (b"traceparent", b"00-%b-%b-%b" % (TRACE, PARENT, sampled))
    stream = world.stream(parent, (b"tracestate", b"a=1"))
    tracing.start(stream)
    with current_span(stream, world.time.wall) as span:
        assert trace.get_current_span() is span
        work(span)
    assert trace.get_current_span() is trace.INVALID_SPAN
    world.end(tracing, stream)
    tracing.flush()
    return world, stream, [body for _, _, body, _ in world.client.sent]


def say(span: trace.Span) -> None:
    span.set_attribute("tier", "gold")
    span.set_attributes(
        {"count": 3, "low": -1, "share": 0.5, "yes": True, "list": ["a", "b"], "raw": b"\xff"}
    )
    span.set_attribute("bad", object())  # type: ignore[arg-type]
    span.add_event("cache.miss", {"key": "k"}, timestamp=1_000_000_000)
    span.record_exception(ValueError("no such user"))
    span.set_status(Status(StatusCode.ERROR, "denied"))
    span.update_name("checkout")


def test_otlp_keeps_the_types() -> None:
    _, stream, (body,) = run(opentelemetry("zipkin"), say)
    (span,) = otlp_spans(body)
    tags = span["tags"]
    assert (tags["tier"], tags["count"], tags["low"], tags["share"]) == ("gold", 3, -1, 0.5)
    assert (tags["yes"], tags["list"], tags["raw"]) == (True, ["a", "b"], b"\xff")
    assert "bad" not in tags and tags["http.method"] == "GET"
    assert [event["value"] for event in span["annotations"]] == ["cache.miss", "exception"]
    assert span["annotations"][0]["timestamp"] == 1_000_000_000
    assert (span["name"], span["status"]) == ("checkout", (2, "denied"))
    assert span["id"] == stream.trace.span_id_hex.decode()


def test_zipkin_has_them_as_text() -> None:
    _, _, (body,) = run({"provider": zipkin()}, say)
    (span,) = json.loads(body)
    tags = span["tags"]
    assert (tags["tier"], tags["count"], tags["yes"], tags["error"]) == ("gold", "3", "true", "denied")
    assert [note["value"] for note in span["annotations"]] == ["cache.miss", "exception", "ss"]


def test_the_context_is_the_proxys() -> None:
    seen: list[trace.SpanContext] = []
    _, stream, _ = run(opentelemetry("zipkin"), lambda span: seen.append(span.get_span_context()))
    (context,) = seen
    assert (context.trace_id, context.span_id) == (stream.trace.trace_id, stream.trace.span_id)
    assert context.is_valid and context.trace_flags.sampled and context.trace_state.get("a") == "1"


def test_an_unsampled_request_records_nothing_and_carries_its_ids() -> None:
    seen: list[trace.SpanContext] = []

    def work(span: trace.Span) -> None:
        say(span)
        assert not span.is_recording()
        seen.append(span.get_span_context())

    _, stream, bodies = run(opentelemetry("zipkin"), work, sampled=b"00")
    assert bodies == [] and stream.span is None
    assert seen[0].is_valid and not seen[0].trace_flags.sampled


def test_without_tracing_there_is_no_span() -> None:
    world = World()
    with current_span(world.stream(), world.time.wall) as span:
        assert span is trace.get_current_span() is trace.INVALID_SPAN


def test_nothing_follows_ok_and_what_is_too_much_is_counted() -> None:
    def work(span: trace.Span) -> None:
        span.set_status(StatusCode.OK)
        span.set_status(StatusCode.ERROR, "too late")
        for at in range(EXTRA_LIMIT + 5):
            span.set_attribute(f"a{at}", at)
            span.add_event("e")

    _, stream, (body,) = run(opentelemetry("zipkin"), work)
    (span,) = otlp_spans(body)
    assert span["status"] == (1, "") and len(span["annotations"]) == EXTRA_LIMIT
    assert stream.span.extra.dropped == 10


def test_a_span_is_detached_when_the_filter_raises() -> None:
    def work(span: trace.Span) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(opentelemetry("zipkin"), work)
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_nobody_imports_it_who_does_not_use_it() -> None:
    code = (
        "import sys, proxy.tracing.compile, proxy.ext.tracers.opentelemetry;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=30).returncode == 0
