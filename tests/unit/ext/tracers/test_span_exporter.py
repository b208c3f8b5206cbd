"""Any SpanExporter of OpenTelemetry's SDK: what it is given, and what happens when it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from proxy.base.errors import ConfigError
from proxy.tracing.otel_context import current_span
from proxy.tracing.tracing import HttpTracing
from tests.unit.tracing.world import World

TRACE, PARENT = b"463ac35c9f6413ad48485a3953bb6124", b"a2fb4a1d1a96d312"
HERE = "tests.unit.ext.tracers.test_span_exporter"


class Keeping(SpanExporter):
    """Keeps what it gets. result: what it answers, or raises."""

    spans: ClassVar[list[ReadableSpan]] = []
    result: ClassVar[Any] = SpanExportResult.SUCCESS
    ended: ClassVar[int] = 0

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def export(self, spans: Any) -> SpanExportResult:
        Keeping.spans += spans
        if isinstance(Keeping.result, Exception):
            raise Keeping.result
        answer: SpanExportResult = Keeping.result
        return answer

    def shutdown(self) -> None:
        Keeping.ended += 1


class Tasks:
    """Runs coroutines when ``settle`` is called."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def start(self, work: Any, on_done: Any) -> None:
        self.waiting.append((work, on_done))

    def settle(self) -> None:
        async def run() -> None:
            for work, on_done in self.waiting:
                try:
                    result, error = await work, None
                except Exception as failure:
                    result, error = None, failure
                on_done(result, error)

        asyncio.run(run())
        self.waiting = []


@pytest.fixture(autouse=True)
def forget() -> None:
    Keeping.spans, Keeping.result, Keeping.ended = [], SpanExportResult.SUCCESS, 0


def compiled(world: World, **more: Any) -> HttpTracing:
    typed = {
        "@type": "type.googleapis.com/outrider.tracers.python.v1.SpanExporter",
        **(more or {"exporter": f"{HERE}:Keeping"}),
    }
    config = {"provider": {"name": "outrider.tracers.python", "typed_config": typed}}
    return world.compile(config)


def traced(world: World, tracing: HttpTracing, *fields: tuple[bytes, bytes], status: int = 200) -> None:
    stream = world.stream(*fields)
    tracing.start(stream)
    with current_span(stream, world.time.wall) as span:
        span.set_attribute("user.tier", 7)
        span.add_event("looked up", {"hits": 2})
    world.end(tracing, stream, status)


def test_what_an_exporter_is_given() -> None:
    tasks = Tasks()
    world = World(tasks=tasks, resource_attributes={"deployment": "test"})
    tracing = compiled(
        world, exporter=f"{HERE}:Keeping", service_name="front", config={"prefix": "x"}, max_cache_size=50
    )
    assert not world.findings
    parent = (b"traceparent", b"00-%b-%b-01" % (TRACE, PARENT))
    traced(world, tracing, parent, (b"tracestate", b"a=1"), (b"user-agent", b"ua"), status=503)
    world.pass_time(1)
    tasks.settle()
    (span,) = Keeping.spans
    assert span.context is not None and span.parent is not None
    assert f"{span.context.trace_id:032x}".encode() == TRACE
    assert f"{span.parent.span_id:016x}".encode() == PARENT and span.parent.is_remote
    assert span.context.trace_state["a"] == "1"
    assert (span.name, span.kind) == ("ingress", SpanKind.SERVER)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None and span.attributes["user.tier"] == 7
    assert span.attributes["http.url"] == "http://ex.com:80/hello"
    assert span.attributes["user_agent"] == "ua"
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        ("looked up", {"hits": 2})
    ]
    assert span.resource.attributes["service.name"] == "front"
    assert span.resource.attributes["deployment"] == "test"
    assert span.start_time is not None and span.end_time == span.start_time + 5_000_000
    assert world.counter("tracing.opentelemetry.reports_sent") == 1
    assert '"name": "ingress"' in span.to_json()


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, ValueError("no disk")])
def test_an_exporter_that_fails_loses_the_batch_and_nothing_else(result: Any) -> None:
    Keeping.result = result
    tasks = Tasks()
    world = World(tasks=tasks)
    tracing = compiled(world)
    traced(world, tracing)
    world.pass_time(1)
    tasks.settle()
    assert world.counter("tracing.opentelemetry.reports_dropped") == 1
    Keeping.result = SpanExportResult.SUCCESS
    traced(world, tracing)
    world.pass_time(1)
    tasks.settle()
    assert world.counter("tracing.opentelemetry.reports_sent") == 1


def test_the_end_waits_for_the_last_spans() -> None:
    tasks = Tasks()
    world = World(tasks=tasks)
    tracing = compiled(world)
    traced(world, tracing)
    tracing.flush()
    assert len(Keeping.spans) == 1 and Keeping.ended == 1
    tracing.flush()
    assert Keeping.ended == 1
    tasks.settle()


def test_a_class_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"from {HERE} import Keeping\nclass Mine(Keeping): pass\n")
    tasks = Tasks()
    world = World(tasks=tasks, folder=str(tmp_path))
    tracing = compiled(world, file="mine.py", **{"class": "Mine"})
    assert not world.findings
    traced(world, tracing)
    tracing.flush()
    assert len(Keeping.spans) == 1
    tasks.settle()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"exporter": "no.such.module:X"}, "ModuleNotFoundError"),
        ({"exporter": f"{HERE}:Nothing"}, "has no class Nothing"),
        ({"exporter": f"{HERE}:Tasks"}, "is no SpanExporter"),
        ({"exporter": f"{HERE}:Keeping", "config": {"wrong": 1}}, "unexpected keyword argument"),
        ({"service_name": "x"}, "exactly one of exporter and file"),
    ],
)
def test_what_is_refused(config: dict[str, Any], said: str) -> None:
    world = World()
    compiled(world, **config)
    messages = [finding.message for finding in world.findings if isinstance(finding, ConfigError)]
    assert any(said in message for message in messages), messages
