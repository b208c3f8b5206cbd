"""A mirrored request's span: a CLIENT's below the request's own, as of a try. It has no tags of the configuration, as in
Envoy, and its own start, for the copy may leave later than the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.tracing.context import DEBUG
from proxy.tracing.span import Span

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.tracing.tracing import HttpTracing

_NAME: Final = b"mirror"
_PROTOCOL: Final = b"HTTP/1.1"  # whatever the host speaks, as in Envoy


class MirrorSpan:
    """``begin`` when the copy goes to its cluster, ``end`` once."""

    __slots__ = ("_began", "_span", "_tracing")

    def __init__(self, tracing: HttpTracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span
        self._began = 0.0

    def begin(self) -> None:
        """It is sent now."""
        self._span.start_time = self._tracing.wall()
        self._began = self._tracing.monotonic()

    def end(self, cluster: str, address: str, status: int, flags: int) -> None:
        """It is answered, or will not be. address: of its host, "" where there was none; flags: ResponseFlag bits"""
        span = self._span
        span.request_headers = span.response_headers = span.response_trailers = None
        span.bytes_received = span.bytes_sent = 0
        span.peer_address = address
        span.protocol = _PROTOCOL
        span.status = status
        span.flags = flags
        span.cluster_name = cluster.encode()
        span.max_path_tag_length = self._tracing.max_path_tag_length
        span.annotations = None
        span.duration_s = self._tracing.monotonic() - self._began
        self._tracing.report(span)


def start_mirror(
    tracing: HttpTracing, stream: StreamInfo, headers: RequestHeaders, sampled: bool | None
) -> MirrorSpan | None:
    """Write the context that a copy travels under into its ``headers``. None: nobody keeps its span.

    sampled: ``trace_sampled`` of its policy, None for what was decided for the request
    """
    if stream.trace is None:
        return None
    trace = stream.trace.child(tracing.new_span_id())
    if sampled is not None:
        trace.sampled = sampled
        if not sampled:
            trace.flags &= ~DEBUG
    if tracing.propagates:
        tracing.propagation.inject(trace, headers)
    return MirrorSpan(tracing, Span(trace, False, _NAME)) if trace.sampled else None
