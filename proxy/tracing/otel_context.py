"""The proxy's span as the current OpenTelemetry span, for Python code that runs inside a filter.

    with current_span(stream, clock.wall):
        trace.get_current_span().set_attribute("user.tier", "gold")

Costs nothing until somebody asks: imported only by who activates it. What is set lands in the proxy's own record
(span.py) and leaves with it, typed in OTLP, as text in Zipkin. An unsampled request has a span that records nothing and
still carries the ids, so that what the filter calls continues the trace. Spans that an SDK starts below it are the
SDK's own; they become children of the proxy's span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from proxy.tracing.context import RANDOM
from proxy.tracing.span import SpanExtra

if TYPE_CHECKING:
    from proxy.base.stream_info import StreamInfo
    from proxy.tracing.context import TraceContext
    from proxy.tracing.span import Attribute, Span

NANOSECONDS = 1e9
STATUS_CODES = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}


class ProxySpan(trace.Span):
    """OpenTelemetry's view of the span of one request.

    span: None when the request is not sampled: then nothing is recorded. wall: asked for the time of an event.
    """

    def __init__(self, context: TraceContext, span: Span | None, wall: Callable[[], float]) -> None:
        self._context = span_context(context)
        self._span = span
        self._wall = wall

    def get_span_context(self) -> SpanContext:
        """The ids that travel on."""
        return self._context

    def is_recording(self) -> bool:
        """Whether what is set will be seen."""
        return self._span is not None

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; a value that OpenTelemetry does not allow is dropped."""
        span = self._span
        allowed = attribute(value)
        if span is not None and key and allowed is not None:
            extra_of(span).set_attribute(key, allowed)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
    ) -> None:
        """Something happened. timestamp: nanoseconds of the epoch; now when there is none."""
        if self._span is None:
            return
        at = timestamp / NANOSECONDS if timestamp is not None else self._wall()
        extra_of(self._span).add_event(at, name, allowed_attributes(attributes))

    def update_name(self, name: str) -> None:
        """Another name; a configured ``operation`` has the last word."""
        if self._span is not None:
            self._span.name = name.encode("utf-8", "replace")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Overrules the status that the response would give. Unset says nothing; nothing follows Ok."""
        if self._span is None:
            return
        whole = status if isinstance(status, Status) else Status(status, description)
        extra = extra_of(self._span)
        if not whole.is_unset and extra.status_code != STATUS_CODES[StatusCode.OK]:
            extra.status_code = STATUS_CODES[whole.status_code]
            extra.status_text = whole.description or ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """An event "exception" with its type and message; not its traceback, which may hold what must not leave."""
        kind = type(exception)
        module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
        facts = {"exception.type": module + kind.__qualname__, "exception.message": str(exception)}
        self.add_event("exception", {**facts, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """Nothing: the proxy ends its span when the request is over."""


def span_context(context: TraceContext) -> SpanContext:
    """The proxy's context as OpenTelemetry's."""
    flags = (1 if context.sampled else 0) | context.flags & RANDOM
    state = TraceState.from_header([context.tracestate.decode()]) if context.tracestate else None
    return SpanContext(context.trace_id, context.span_id, False, TraceFlags(flags), state)


def extra_of(span: Span) -> SpanExtra:
    """The place of what a filter says, made when it is first needed."""
    if span.extra is None:
        span.extra = SpanExtra()
    return span.extra


def attribute(value: Any) -> Attribute | None:
    """An attribute's value; None when OpenTelemetry does not allow it."""
    if isinstance(value, (str, bool, int, float, bytes)):
        return value
    if isinstance(value, Sequence) and all(isinstance(one, (str, bool, int, float)) for one in value):
        return tuple(value)
    return None


def allowed_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Attribute]:
    """Those of the attributes that OpenTelemetry allows."""
    made = ((key, attribute(value)) for key, value in (attributes or {}).items())
    return {key: value for key, value in made if key and value is not None}


@contextmanager
def current_span(stream: StreamInfo, wall: Callable[[], float]) -> Iterator[trace.Span]:
    """Inside, ``opentelemetry.trace.get_current_span()`` is the span of ``stream``, in this context (task) only.

    Where nothing is traced it is OpenTelemetry's invalid span. wall: seconds of the epoch, now.
    """
    if stream.trace is None:
        yield trace.INVALID_SPAN
        return
    span = ProxySpan(stream.trace, stream.span, wall)
    token = attach(trace.set_span_in_context(span))
    try:
        yield span
    finally:
        detach(token)
