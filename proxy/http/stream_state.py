"""What one stream holds: the fields of ActiveStream, grouped by lifetime, and the connection it needs.

Apart from ActiveStream so that what it holds and what it does can each be read at a time.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from proxy.base.headers import HeaderMap
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.base.timers import Timed

if TYPE_CHECKING:
    from proxy.base.tls_info import TlsInfo
    from proxy.codec.interface import ServerCodec
    from proxy.http.connection_manager import ConnectionManager
    from proxy.http.filter import Filter
    from proxy.http.stream import ActiveStream
    from proxy.http.tries import Tries
    from proxy.router.retry import RetryState
    from proxy.router.upstream_request import UpstreamRequest
    from proxy.tracing.span import Span
    from proxy.upstream.cluster import Cluster

#: A part of a body, or its trailers, that waits behind a filter which holds the chain: (data, end, trailers, place up
#: to which the filters have seen it).
HeldPart = tuple[bytes, bool, HeaderMap | None, int]


class StreamConnection(Timed):
    """The downstream connection as its streams see it."""

    __slots__ = ("codec", "dirty", "info", "write_blocked")

    codec: ServerCodec  # the connection's protocol
    dirty: bool  # touched already
    info: ConnectionInfo
    write_blocked: bool

    def on_secure(self, info: TlsInfo) -> None:
        """A TLS handshake is over."""
        self.info.tls = info
        self.info.scheme = b"https"

    def on_tls_failed(self, words: str) -> None:
        """A TLS handshake has failed; the connection ends."""
        self.info.transport_failure = words.encode()

    def touch(self) -> None:
        """The codec has output: write it before this turn of the loop ends."""
        raise NotImplementedError

    def watch(self, when: float) -> None:
        """A deadline of the stream: ``check_deadlines`` is called no later than ``when``."""
        raise NotImplementedError

    def stream_done(self, stream: ActiveStream) -> None:
        """The stream is over; its response has been given to the codec whole, or reset."""
        raise NotImplementedError

    def hold_reading(self) -> None:
        """Take no more request bytes until release_reading()."""
        raise NotImplementedError

    def release_reading(self) -> None:
        """Take request bytes again."""
        raise NotImplementedError


class StreamState(StreamInfo):
    """One request on one connection: its fields. Only ActiveStream extends this."""

    __slots__ = (
        # given at birth, never change
        "connection",
        "codec",
        "hcm",
        "chain",
        # moved by the codec and the filters
        "decode_ended",
        "encode_ended",
        "encode_started",
        "done",
        "internal",
        "decode_at",
        "decode_held",
        "decode_buffer",
        "decode_buffered",
        "decode_kept",
        "encode_at",
        "encode_held",
        "encode_buffer",
        "encode_buffered",
        "encode_kept",
        "state",
        # the router's
        "cluster",
        "upstream",
        "retry",
        "timeout_s",
        "per_try_timeout_s",
        "alt_response",
        "try_span",
        "request_body",
        "request_body_bytes",
        # deadlines, monotonic seconds, inf when none
        "idle_timeout_s",
        "idle_deadline",
        "request_deadline",
        "duration_deadline",
        "route_deadline",
        "try_deadline",
        "host_deadline",
        "retry_deadline",
        "log_deadline",
        "timer_owner",
    )

    def __init__(self, connection: StreamConnection, hcm: ConnectionManager) -> None:
        started_at = hcm.monotonic()
        StreamInfo.__init__(self, connection.info, hcm.wall(), started_at)
        stats = hcm.stats
        stats.downstream_rq_total.value += 1
        stats.downstream_rq_active.value += 1
        self.connection = connection
        self.codec = connection.codec
        self.hcm = hcm
        self.chain = hcm.chain
        self.decode_ended = False
        self.encode_ended = False
        self.encode_started = False
        self.done = False
        self.internal = False
        self.decode_at = 0
        self.decode_held = -1  # the place of the filter that holds the request, -1 when none does
        self.decode_buffer: list[HeldPart] | None = None
        self.decode_buffered = 0
        self.decode_kept = 0  # how many filters keep parts of the request themselves (TAKEN)
        self.encode_at = 0
        self.encode_held = -1
        self.encode_buffer: list[HeldPart] | None = None
        self.encode_buffered = 0
        self.encode_kept = 0
        self.state: dict[Filter, Any] | None = None
        self.cluster: Cluster | None = None
        self.upstream: UpstreamRequest | None = None
        self.retry: RetryState | None = None  # None when there is no policy
        self.timeout_s = 0.0
        self.per_try_timeout_s = 0.0
        self.alt_response = False  # x-envoy-upstream-rq-timeout-alt-response: 204 instead of 504
        self.try_span: Span | None = None
        self.request_body: list[bytes] | None = None
        self.request_body_bytes = 0
        self.idle_timeout_s = hcm.stream_idle_timeout_s  # inf when there is none
        self.idle_deadline = started_at + self.idle_timeout_s
        self.request_deadline = inf
        self.duration_deadline = inf
        self.route_deadline = inf
        self.try_deadline = inf
        self.host_deadline = inf  # the try's, by its cluster's max_stream_duration
        self.retry_deadline = inf
        self.log_deadline = inf
        self.timer_owner: Tries | None = None  # the filter that owns the route, try and retry deadlines

    def is_request_whole(self) -> bool:
        """Nothing more of the request is to come, and no filter before whoever asks holds any of it."""
        return self.decode_ended and self.decode_buffer is None and not self.decode_kept

    def is_response_whole(self) -> bool:
        """As is_request_whole, of the response."""
        return self.encode_ended and self.encode_buffer is None and not self.encode_kept

    def filter_config(self, filter: Filter) -> Any:
        """What typed_per_filter_config gives the filter for this request: the most specific one, None without."""
        configs = self.filter_configs(filter)
        return configs[0] if configs else None

    def filter_configs(self, filter: Filter) -> tuple[Any, ...]:
        """As ``filter_config``, from every level that has one, the most specific first."""
        route = self.route
        if route is None or route.filter_configs is None:
            return ()
        return route.filter_configs.get(filter, ())
