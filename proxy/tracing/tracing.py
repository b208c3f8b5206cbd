"""HttpConnectionManager.Tracing made runnable: start, inject, finish.

    start    once per request, when its route is known: the decision, the context, the span
    inject   once per request, before its first try: the trace headers that travel on
    finish   once per request, when it is over: the span's facts, handed to the tracer
    start_upstream, finish_upstream    around each try, for ``spawn_upstream_span`` and ``start_child_span``

Knows no header format and no back end: those are the propagators and the tracer.
"""

from __future__ import annotations

from binascii import hexlify
from typing import TYPE_CHECKING, Final

from proxy.base.headers import TRACE, X_ENVOY
from proxy.tracing.context import (
    B3,
    B3_SINGLE,
    DEBUG,
    NO_SPAN,
    NO_TRACE,
    OVERRIDDEN,
    RANDOM,
    W3C,
    TraceContext,
)
from proxy.tracing.sampler import FORCED_HERE, NOT_TRACEABLE, Rates, Sampler
from proxy.tracing.span import Span, moments
from proxy.tracing.tracer import APART, NARROW, WIDE, WIDE_DATED, Tracer, TraceSampler, ignore

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.base.headers import RequestHeaders, ResponseHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.formatter import Formatter
    from proxy.http.context import FactoryContext
    from proxy.router.route import Route
    from proxy.tracing.propagation import Propagation
    from proxy.tracing.route_tracing import RouteTracing
    from proxy.tracing.tags import CustomTag

DECORATOR: Final = b"x-envoy-decorator-operation"
DEFAULT_MAX_PATH_TAG_LENGTH: Final = 256


class HttpTracing:
    """The tracing of one HTTP connection manager. Immutable but for its counters."""

    __slots__ = (
        *(
            "absent",
            "always_server",
            "custom_tags",
            "getrandbits",
            "is_egress",
            "is_server",
            "max_path_tag_length",
            "monotonic",
            "names_direction",
        ),
        *(
            "operation",
            "propagates",
            "propagation",
            "rates",
            "report",
            "root_ids",
            "sampler",
            "shares",
            "spawns",
            "tracer",
        ),
        *("trace_sampler", "tries_are_clients", "upstream_operation", "verbose", "wall"),
    )

    def __init__(
        self, context: FactoryContext, tracer: Tracer | None, sampler: Sampler, propagation: Propagation
    ) -> None:
        self.monotonic = context.clock.monotonic
        self.wall = context.clock.wall
        self.getrandbits = context.ids.getrandbits
        self.tracer = tracer
        self.sampler = sampler
        self.propagation = propagation
        self.absent = propagation.absent
        self.report: Callable[[Span], None] = tracer.report if tracer is not None else ignore
        self.shares = tracer is not None and tracer.shared_span_context
        self.root_ids = tracer.root_ids if tracer is not None else NARROW
        self.names_direction = tracer is not None and tracer.names_direction
        self.always_server = tracer is not None and tracer.always_server
        self.tries_are_clients = tracer is not None and tracer.tries_are_clients
        self.trace_sampler: TraceSampler | None = tracer.sampler if tracer is not None else None
        self.is_egress = False
        self.is_server = True  # with spawn_upstream_span the request's own span is a server's on either side
        self.rates = Rates()
        self.propagates = True
        self.spawns = False
        self.verbose = False
        self.custom_tags: tuple[CustomTag, ...] = ()
        self.operation: Formatter | None = None
        self.upstream_operation: Formatter | None = None
        self.max_path_tag_length = DEFAULT_MAX_PATH_TAG_LENGTH

    # -- start -----------------------------------------------------------------------------------------------

    def start(self, stream: StreamInfo) -> None:
        """Decide, read the context, begin the span. Sets stream.trace, and stream.span when it is sampled.

        To be called after the forwarding headers and the route have been settled. May rewrite x-request-id.
        """
        headers = stream.request_headers
        assert headers is not None
        route = stream.route
        rates = self.rates
        if route is not None and route.tracing is not None:
            rates = route.tracing.rates
        reason = self.sampler.decide(headers, rates)
        if self.tracer is None:
            return
        if headers.known & TRACE:
            trace = self._continue(headers, reason)
        else:
            self.absent.value += 1
            trace = self._root(reason != NOT_TRACEABLE, RANDOM)
        stream.trace = trace
        if trace.sampled:
            name = headers.authority
            if self.names_direction:
                name = b"egress " + name if self.is_egress else b"ingress"
            stream.span = Span(trace, self.is_server, name)
        if headers.known & X_ENVOY or (route is not None and route.decorator_operation):
            self._decorate(stream, headers, route)

    def _root(self, sampled: bool, flags: int) -> TraceContext:
        """A new trace. As in Envoy, the root's span id is the lower half of its trace id."""
        kind = self.root_ids
        if kind == NARROW:
            trace_id = span_id = hexlify(self.getrandbits(64).to_bytes(8, "big"))
        elif kind == WIDE:
            trace_id = hexlify(self.getrandbits(128).to_bytes(16, "big"))
            span_id = trace_id[16:]
        elif kind == APART:
            both = hexlify(self.getrandbits(192).to_bytes(24, "big"))
            trace_id, span_id = both[:32], both[32:]
        else:
            trace_id, span_id = self._dated_ids(kind)
        if span_id == NO_SPAN or trace_id == NO_TRACE:  # once in 2**64, but no format allows it
            return self._root(sampled, flags)
        if sampled and self.trace_sampler is not None and not flags & DEBUG:
            sampled = self.trace_sampler.keeps(trace_id, None)
        return TraceContext(trace_id, span_id, b"", sampled, flags)

    def _dated_ids(self, kind: int) -> tuple[bytes, bytes]:
        """Ids of a root whose trace id begins with the epoch's seconds (ZipkinConfig.timestamp_trace_ids)."""
        date = b"%08x" % (int(self.wall()) & 0xFFFF_FFFF)
        low = hexlify(self.getrandbits(64).to_bytes(8, "big"))
        chance = b"%08x" % self.getrandbits(32)
        return (date + chance + low, low) if kind == WIDE_DATED else (date + chance, low)

    def new_span_id(self) -> bytes:
        """Of a span below another."""
        span_id = hexlify(self.getrandbits(64).to_bytes(8, "big"))
        return span_id if span_id != NO_SPAN else self.new_span_id()

    def _continue(self, headers: RequestHeaders, reason: int) -> TraceContext:
        """Our own context, from the one that was received.

        Who began the trace has decided whether it is kept; only x-envoy-force-trace on this request overrules it.
        Shared: B3's server span has the id of the client's span. A traceparent's id is never taken over: every
        hop that sends one must put an id of its own into it (W3C Trace Context section 3.2.2.4).
        """
        trace = self.propagation.extract(headers)
        if trace is None:
            return self._root(reason != NOT_TRACEABLE, RANDOM)
        parent_sampled = trace.sampled
        if parent_sampled is None or reason == FORCED_HERE:
            trace.sampled = reason != NOT_TRACEABLE
        if not trace.trace_id_hex:  # a decision without ids, or ids that could not be read
            return self._root(bool(trace.sampled), trace.flags & (DEBUG | B3_SINGLE | B3) | RANDOM)
        if self.trace_sampler is not None and not trace.flags & DEBUG:
            # Who configures a sampler wants to be asked about every span, as in Envoy.
            trace.sampled = reason != NOT_TRACEABLE and self.trace_sampler.keeps(
                trace.trace_id_hex, parent_sampled
            )
        if not (self.is_server and self.shares) or trace.flags & W3C:
            trace.parent_id_hex = trace.span_id_hex
            trace.span_id_hex = self.new_span_id()
        return trace

    def _decorate(self, stream: StreamInfo, headers: RequestHeaders, route: Route | None) -> None:
        """The operation's name: the route's, overruled on the ingress side by the caller's header."""
        ours = None
        if self.operation is not None:
            return
        if route is not None:
            if route.tracing is not None and route.tracing.operation is not None:
                return
            ours = route.decorator_operation
        if ours and stream.span is not None:
            stream.span.name = ours
        if self.is_egress:
            if ours and route is not None and route.decorator_propagate:
                headers.set(DECORATOR, ours)
            return
        theirs = headers.get(DECORATOR)
        if theirs is None:
            return
        headers.remove(DECORATOR)
        if theirs and stream.trace is not None:
            stream.trace.flags |= OVERRIDDEN
            if stream.span is not None:
                stream.span.name = theirs

    # -- inject ----------------------------------------------------------------------------------------------

    def inject(self, stream: StreamInfo, headers: RequestHeaders) -> None:
        """Write the context that travels on, and nothing beside it. Once per request, before its first try."""
        trace = stream.trace
        if trace is not None and self.propagates and not self.spawns:
            self.propagation.inject(trace, headers)

    def respond(self, stream: StreamInfo, headers: ResponseHeaders) -> None:
        """The response head goes downstream: the operation's name is passed on (ingress) or taken (egress)."""
        if stream.trace is None or self.operation is not None:
            return
        own: RouteTracing | None = stream.route.tracing if stream.route is not None else None
        if own is not None and own.operation is not None:
            return
        if self.is_egress:
            if headers.known & X_ENVOY:
                self._take_operation(stream, headers)
            return
        route = stream.route
        if (
            route is not None
            and route.decorator_operation
            and route.decorator_propagate
            and not stream.trace.flags & OVERRIDDEN
        ):
            headers.set(DECORATOR, route.decorator_operation)

    def _take_operation(self, stream: StreamInfo, headers: ResponseHeaders) -> None:
        theirs = headers.get(DECORATOR)
        if theirs is None:
            return
        headers.remove(DECORATOR)
        if theirs and stream.span is not None:
            stream.span.name = theirs

    # -- each try --------------------------------------------------------------------------------------------

    def start_upstream(
        self, stream: StreamInfo, headers: RequestHeaders, is_asked: bool = False
    ) -> Span | None:
        """A try begins: with ``spawn_upstream_span`` it travels under an id of its own, written into ``headers``.

        Returns the try's span (None when unsampled, or not configured) for ``finish_upstream``. Call it for every
        try, when cluster_name and attempt_count are set, and in place of ``inject``.
        is_asked: the router's ``start_child_span`` asks for it. Such a span is one more of the request's own kind, as
        Envoy's is; where a SERVER's span takes over the id it received, that is the id of both.
        """
        request: TraceContext | None = stream.trace
        if not (self.spawns or is_asked) or request is None:
            return None
        is_server = self.is_server and not (self.spawns or self.tries_are_clients)
        if is_server and self.shares and not request.flags & W3C:
            trace = request
        else:
            trace = request.child(self.new_span_id())
        if self.propagates:
            self.propagation.inject(trace, headers)
        if stream.span is None:
            return None
        span = Span(trace, is_server, b"router %b egress" % stream.cluster_name)
        span.start_time = stream.start_time + (self.monotonic() - stream.started_at)
        if stream.attempt_count > 1:
            span.set_tag("retry.count", str(stream.attempt_count - 1))
        return span

    def finish_upstream(
        self,
        span: Span,
        stream: StreamInfo,
        status: int,
        flags: int = 0,
        protocol: bytes = b"-",
        reset_reason: bytes = b"",
        canceled: bool = False,
    ) -> None:
        """A try is over.

        status: of its response, 0 when there was none; flags: ResponseFlag bits of this try; protocol: b"-" when
        it never got a connection; reset_reason: the ResetReason's text when it was reset; canceled: we gave it up.
        """
        host = stream.upstream_host
        span.request_headers = span.response_headers = span.response_trailers = None
        span.bytes_received = span.bytes_sent = 0
        span.peer_address = host.address if host is not None else ""
        span.protocol = protocol
        span.status = status
        span.flags = flags
        span.cluster_name = stream.cluster_name
        span.max_path_tag_length = self.max_path_tag_length
        span.duration_s = stream.start_time + (self.monotonic() - stream.started_at) - span.start_time
        if reset_reason:
            span.set_tag("error", "true")
            span.set_tag("error.reason", reset_reason.decode())
        if canceled:
            span.set_tag("canceled", "true")
        own: RouteTracing | None = stream.route.tracing if stream.route is not None else None
        operation = own.upstream_operation if own is not None else None
        operation = operation or self.upstream_operation
        if operation is not None:
            span.name = operation.format(stream).encode() or span.name
        self._add_configured(span, stream)
        if span.annotations:  # a try knows its own side only
            span.annotations = [one for one in span.annotations if "_upstream_" in one[1]]
        self.report(span)

    # -- finish ----------------------------------------------------------------------------------------------

    def finish(self, stream: StreamInfo) -> None:
        """The request is over: hand its span to the tracer. Only copies what the span must remember."""
        span: Span | None = stream.span
        if span is None:
            return
        span.request_headers = stream.request_headers
        span.response_headers = stream.response_headers
        span.response_trailers = stream.response_trailers
        span.bytes_received = stream.bytes_received
        span.bytes_sent = stream.bytes_sent
        span.peer_address = stream.info.direct_remote_address
        span.protocol = stream.protocol
        span.status = stream.status
        span.flags = stream.flags
        span.cluster_name = stream.cluster_name
        span.max_path_tag_length = self.max_path_tag_length
        span.start_time = stream.start_time
        span.duration_s = (stream.ended_at or self.monotonic()) - stream.started_at
        own: RouteTracing | None = stream.route.tracing if stream.route is not None else None
        operation = own.operation if own is not None else None
        operation = operation or self.operation
        if operation is not None:
            span.name = operation.format(stream).encode() or span.name
        self._add_configured(span, stream)
        self.report(span)

    def _add_configured(self, span: Span, stream: StreamInfo) -> None:
        """What the configuration adds to every span."""
        span.annotations = moments(stream) if self.verbose else None
        for tag in self.custom_tags:
            span.set_tag(tag.tag, tag.value(stream) or "")
        own: RouteTracing | None = stream.route.tracing if stream.route is not None else None
        if own is not None:
            for tag in own.custom_tags:
                span.set_tag(tag.tag, tag.value(stream) or "")

    def flush(self) -> None:
        """Send what is waiting: for the end of the process."""
        if self.tracer is not None:
            self.tracer.flush()
