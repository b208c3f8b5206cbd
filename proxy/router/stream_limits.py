"""How long a stream may take where its route says more than ``timeout``: max_stream_duration, max_grpc_timeout.

Sources: envoy.config.route.v3.RouteAction and its MaxStreamDuration; the grpc-timeout header (gRPC over HTTP/2).
A route with max_stream_duration has no ``timeout`` at all (as Envoy).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from proxy.api.reader import Reader, reads
from proxy.formatter.grpc_status import wants_grpc

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders

GRPC_TIMEOUT = b"grpc-timeout"
_VALUE = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 0.001, b"u": 0.000001, b"n": 0.000000001}
_MAX_DIGITS = 100_000_000


class StreamLimits:
    """duration_s: max_stream_duration, None when the connection manager's holds, 0.0 for no limit

    header_max_s: the longest grpc-timeout that is believed (0.0: any), None when the header is not; header_offset_s is
    taken off it. legacy_max_s, legacy_offset_s: the same of max_grpc_timeout, which bounds the route's timeout instead.
    """

    __slots__ = ("duration_s", "header_max_s", "header_offset_s", "is_new", "legacy_max_s", "legacy_offset_s")

    def __init__(self) -> None:
        self.is_new = False
        self.duration_s: float | None = None
        self.header_max_s: float | None = None
        self.header_offset_s = 0.0
        self.legacy_max_s: float | None = None
        self.legacy_offset_s = 0.0

    def timeout_s(self, headers: RequestHeaders, route_timeout_s: float) -> float:
        """The whole request's timeout, before x-envoy-upstream-rq-timeout-ms."""
        if self.is_new:
            return 0.0
        if self.legacy_max_s is None or not wants_grpc(headers):
            return route_timeout_s
        asked = read_grpc_timeout(headers) or 0.0
        if 0.0 < self.legacy_offset_s < asked:
            asked -= self.legacy_offset_s
        if self.legacy_max_s and (not asked or asked > self.legacy_max_s):
            return self.legacy_max_s
        return asked

    def apply(self, stream: Any, headers: RequestHeaders) -> None:
        """Set the stream's own deadline, and tell the host what it has left."""
        if not self.is_new:
            return
        limit = self.duration_s
        asked = read_grpc_timeout(headers) if self.header_max_s is not None else None
        if asked is not None:
            # what the offset leaves nothing of, or the client gives no time to, is over at once
            limit = max(0.0, min(asked, self.header_max_s or asked) - self.header_offset_s)
        elif not limit:
            if limit is not None:
                stream.duration_deadline = float("inf")
            return
        stream.duration_deadline = stream.started_at + limit
        stream.connection.watch(stream.duration_deadline)
        if wants_grpc(headers):
            headers.set(GRPC_TIMEOUT, write_grpc_timeout(limit))

    def tell_host(self, headers: RequestHeaders, expected_s: float) -> None:
        """Where max_grpc_timeout is configured the host is told the timeout that really runs."""
        if self.legacy_max_s is not None and expected_s and wants_grpc(headers):
            headers.set(GRPC_TIMEOUT, write_grpc_timeout(expected_s))


def read_grpc_timeout(headers: RequestHeaders) -> float | None:
    """The grpc-timeout in seconds, to the next millisecond; None without a valid one."""
    value = headers.get(GRPC_TIMEOUT)
    found = _VALUE.fullmatch(value) if value is not None else None
    if found is None:
        return None
    exact_ms = int(found[1]) * _UNIT_S[found[2]] * 1000.0
    milliseconds = int(exact_ms)
    return (milliseconds + (exact_ms - milliseconds > 1e-9)) / 1000.0


def write_grpc_timeout(seconds: float) -> bytes:
    """The header's value, in the finest unit from milliseconds on that its eight digits can hold."""
    milliseconds = int(seconds * 1000.0 + 0.5)
    for unit, size in ((b"m", 1), (b"S", 1000), (b"M", 60_000)):
        if milliseconds // size < _MAX_DIGITS:
            return b"%d%b" % (milliseconds // size, unit)
    return b"%dH" % min(milliseconds // 3_600_000, _MAX_DIGITS - 1)


@reads("envoy.config.route.v3.RouteAction")
def compile_stream_limits(reader: Reader) -> StreamLimits | None:
    """None where the route says nothing of it."""
    limits = StreamLimits()
    limits.legacy_max_s = reader.seconds("max_grpc_timeout")
    limits.legacy_offset_s = reader.seconds("grpc_timeout_offset", 0.0) or 0.0
    duration = reader.sub("max_stream_duration")
    if duration is not None:
        _compile_duration(duration, limits)
    return limits if limits.is_new or limits.legacy_max_s is not None else None


@reads("envoy.config.route.v3.RouteAction.MaxStreamDuration")
def _compile_duration(reader: Reader, limits: StreamLimits) -> None:
    limits.is_new = True
    limits.duration_s = reader.seconds("max_stream_duration")
    limits.header_max_s = reader.seconds("grpc_timeout_header_max")
    limits.header_offset_s = reader.seconds("grpc_timeout_header_offset", 0.0) or 0.0
