"""Spans to an exporter of the OpenTelemetry SDK, any of them, in place of our own reports
(outrider.tracers.python.v1.SpanExporter; docs/tracing.md).

The reporter is the same: a request only appends its span. Batches become the SDK's spans and are exported by a thread,
because exporters block; one batch at a time, and no more wait than reports may be under way.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from proxy import __version__
from proxy.api.reader import Reader, reads
from proxy.http.operator_class import find_class, guarded
from proxy.tracing.destination import REFUSED, TAKEN
from proxy.tracing.otlp import status_code
from proxy.tracing.reporter import Reporter
from proxy.tracing.span_tags import span_tags
from proxy.tracing.tracer import APART

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext, HttpClient
    from proxy.tracing.destination import OnDone
    from proxy.tracing.span import Span
    from proxy.tracing.tracer import TraceSampler

SPAN_EXPORTER = "outrider.tracers.python.v1.SpanExporter"
NANOSECONDS = 1_000_000_000
DEFAULT_CACHE = 1024
#: how long the end of the process waits for the last batches
LAST_S = 2.0
CODES = {0: StatusCode.UNSET, 1: StatusCode.OK, 2: StatusCode.ERROR}

log = logging.getLogger("tracing")


class SpanExporterTracer:
    """The tracer of one configuration. As OpenTelemetry's, but for whom spans go to."""

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.formats: tuple[str, ...] = ("w3c",)
        self.shared_span_context = False
        self.root_ids = APART
        self.names_direction = True
        self.always_server = False
        self.tries_are_clients = True
        self.sampler: TraceSampler | None = None
        exporter = build(reader, context.folder)
        attributes = {"service.name": "unknown_service:outrider", **context.resource_attributes}
        service_name = reader.text("service_name")
        if service_name:
            attributes["service.name"] = service_name
        base = {"node_id": context.node.id, "zone": context.node.zone, "component": "proxy"}
        limit = reader.wrapped("max_cache_size", DEFAULT_CACHE) or DEFAULT_CACHE
        self.destination = ExporterDestination(exporter, context)
        scope = context.stats.scope("tracing.opentelemetry")
        encoder = SdkEncoder(Resource.create(attributes), base)
        self.reporter = Reporter(encoder, self.destination, context, scope, limit)
        self.report = self.reporter.report

    def flush(self) -> None:
        """See Tracer.flush."""
        self.reporter.flush()
        self.destination.end()


@reads(SPAN_EXPORTER)
def build(reader: Reader, folder: str) -> SpanExporter | None:
    """The exporter, made with ``config`` as keyword arguments; None with a finding."""
    target, file, name = reader.text("exporter"), reader.text("file"), reader.text("class")
    config = reader.struct("config")
    found = find_class(reader, "exporter", target, file, name, folder)
    if found is None:
        return None
    field = "config" if config else "class" if file else "exporter"
    if not issubclass(found, SpanExporter):
        reader.fail(
            "class" if file else "exporter", f"{found.__name__} is no SpanExporter of OpenTelemetry's SDK"
        )
        return None
    made: SpanExporter | None = guarded(reader, field, partial(found, **config))
    return made


class ExporterDestination:
    """See ``proxy.tracing.destination.Destination``."""

    cluster = ""

    def __init__(self, exporter: SpanExporter | None, context: FactoryContext) -> None:
        self.exporter = exporter
        self.tasks = context.tasks
        self.running: set[Future[Any]] = set()
        self.ended = False
        self._thread: ThreadPoolExecutor | None = None

    def send(self, client: HttpClient, body: Any, on_done: OnDone) -> None:
        """Export a list of the SDK's spans."""
        if self.exporter is None or self.tasks is None or self.ended:
            on_done(REFUSED)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "span-exporter")
        future = self._thread.submit(self.exporter.export, body)
        self.running.add(future)
        self.tasks.start(self._wait(future), partial(self._settle, future, on_done))

    @staticmethod
    async def _wait(future: Future[Any]) -> Any:
        return await asyncio.wrap_future(future)

    def _settle(self, future: Future[Any], on_done: OnDone, result: Any, error: BaseException | None) -> None:
        self.running.discard(future)
        if error is not None:
            log.warning("the span exporter raised %s: %s", type(error).__name__, error)
        on_done(TAKEN if error is None and result is SpanExportResult.SUCCESS else REFUSED)

    def end(self) -> None:
        """The process is about to end: the last batches are waited for, for a while."""
        if self.ended:
            return
        wait(self.running, LAST_S)
        self.ended = True
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            if self.exporter is not None:
                try:
                    self.exporter.shutdown()
                except Exception as error:
                    log.warning("the span exporter raised %s at its end: %s", type(error).__name__, error)


class SdkEncoder:
    """Our spans as the SDK's (the Encoder of a Reporter)."""

    def __init__(self, resource: Resource, base_tags: dict[str, str]) -> None:
        self.resource = resource
        self.base_tags = base_tags
        self.scope = InstrumentationScope("outrider", __version__)

    def encode_spans(self, spans: list[Span]) -> list[Any]:
        """See Encoder.encode_spans."""
        return [self.encode(span) for span in spans]

    def body(self, spans: list[Any]) -> Any:
        """See Encoder.body."""
        return spans

    def encode(self, span: Span) -> ReadableSpan:
        """One span."""
        context, extra = span.context, span.extra
        start = round(span.start_time * NANOSECONDS)
        tags = span_tags(span, self.base_tags)
        attributes: dict[str, Any] = {**tags, **(extra.attributes if extra is not None else {})}
        state = TraceState.from_header([context.tracestate.decode()]) if context.tracestate else None
        own = SpanContext(context.trace_id, context.span_id, False, TraceFlags(1), state)
        parent = None
        if context.parent_id_hex:
            is_remote = span.request_headers is not None
            parent = SpanContext(
                context.trace_id, int(context.parent_id_hex, 16), is_remote, TraceFlags(1), state
            )
        events = [Event(words, None, round(at * NANOSECONDS)) for at, words in span.annotations or ()]
        if extra is not None:
            events += [Event(words, more, round(at * NANOSECONDS)) for at, words, more in extra.events]
        code = CODES[status_code(span, tags)]
        words = extra.status_text if extra is not None and code is StatusCode.ERROR else ""
        return ReadableSpan(
            span.name.decode("utf-8", "replace"),
            own,
            parent,
            self.resource,
            attributes,
            events,
            (),
            SpanKind.SERVER if span.is_server else SpanKind.CLIENT,
            status=Status(code, words or None),
            start_time=start,
            end_time=start + (round(span.duration_s * NANOSECONDS) or 1),
            instrumentation_scope=self.scope,
        )
