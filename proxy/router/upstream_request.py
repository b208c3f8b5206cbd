"""UpstreamRequest: one try of a request at one host.

It asks the host's pool for a connection, writes the request through the connection's codec, and hands what comes back
to its owner (the router filter, or the proxy's own HTTP client). It decides nothing: retries, deadlines and replies
are the owner's. Knows no socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mypy_extensions import trait

from proxy.base.errors import CONNECTION_TERMINATION, ResetReason
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.codec.interface import StreamDecoder
from proxy.upstream.connection import UpstreamStream
from proxy.upstream.pool_connection import PoolConnection, PoolRequest

if TYPE_CHECKING:
    from proxy.base.stream_info import ConnectionInfo, UpstreamBytes
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host
    from proxy.upstream.pool import ConnectionPool


@trait
class Owner:
    """Whoever the try is for. ``stream`` is the owner's own key, given back unchanged."""

    __slots__ = ()

    def on_upstream_ready(self, request: UpstreamRequest) -> None:
        """A connection was found and the request head is about to be written."""
        raise NotImplementedError

    def on_upstream_informational(self, request: UpstreamRequest, headers: ResponseHeaders) -> None:
        """A 1xx head."""
        raise NotImplementedError

    def on_upstream_headers(self, request: UpstreamRequest, headers: ResponseHeaders, end: bool) -> None:
        """The response head."""
        raise NotImplementedError

    def on_upstream_upgrade(
        self, request: UpstreamRequest, headers: ResponseHeaders, end: bool, granted: bool
    ) -> None:
        """As on_upstream_headers, for a try that asked for another protocol. granted: only bytes follow."""
        raise NotImplementedError

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        """Response body bytes."""
        raise NotImplementedError

    def on_upstream_trailers(self, request: UpstreamRequest, trailers: HeaderMap) -> None:
        """Response trailers."""
        raise NotImplementedError

    def on_upstream_reset(self, request: UpstreamRequest, reason: ResetReason, details: bytes) -> None:
        """The try ended without a whole response."""
        raise NotImplementedError

    def on_upstream_write_blocked(self, request: UpstreamRequest, blocked: bool) -> None:
        """The host reads too slowly (True) or has caught up (False)."""
        raise NotImplementedError


class UpstreamRequest(StreamDecoder, PoolRequest):
    """One try.

    queue: body parts that came before the connection; sent: the request head has been written; asked_at: monotonic
    seconds, when it had to wait for its connection; headers_seen: the response has begun, be it with a 1xx; done: the
    owner will hear no more; again: in place of one whose connection was dead
    """

    __slots__ = (
        "again",
        "asked_at",
        "cluster",
        "connection",
        "done",
        "ended",
        "headers_seen",
        "host",
        "moved",
        "owner",
        "pool",
        "queue",
        "queued_bytes",
        "request_headers",
        "sent",
        "stream",
        "trailers",
    )

    def __init__(
        self,
        owner: Owner,
        stream: UpstreamBytes,
        request_headers: RequestHeaders,
        cluster: Cluster,
        host: Host,
        pool: ConnectionPool,
    ) -> None:
        self.owner = owner
        self.stream: Any = stream
        self.moved = stream  # counts what this try puts on the wire and takes from it
        self.request_headers = request_headers
        self.cluster = cluster
        self.host = host
        self.pool = pool
        self.connection: UpstreamStream | None = None
        self.queue: list[bytes] | None = None
        self.queued_bytes = 0
        self.trailers: HeaderMap | None = None
        self.ended = False  # the whole request has been given to us
        self.sent = False
        self.asked_at = 0.0
        self.headers_seen = False
        self.done = False
        self.again = False

    @property
    def protocol(self) -> bytes:
        """What the client speaks, for pools that follow it; requests of our own are HTTP/1.1."""
        return getattr(self.stream, "protocol", b"HTTP/1.1")

    @property
    def client(self) -> ConnectionInfo | None:
        """The client's connection, for pools that tell of it; requests of our own have none."""
        return getattr(self.stream, "info", None)

    def server_name(self, header: bytes) -> bytes:
        """See PoolRequest.server_name."""
        headers = self.request_headers
        return (headers.get(header) if header else None) or headers.authority

    # -- from the pool -------------------------------------------------------------------------------------------

    def on_pool_ready(self, connection: PoolConnection) -> None:
        """Write what there is of the request."""
        upstream: UpstreamStream = connection  # type: ignore[assignment]  # what network connects is both
        self.connection = upstream
        upstream.request = self
        self.owner.on_upstream_ready(self)
        codec = upstream.codec
        self.sent = True
        if self.queue is None:
            codec.headers(self, self.request_headers, self.ended)
            self.moved.upstream_request_header_bytes += codec.field_bytes_out
        else:
            self._write_queue(upstream)
        if not upstream.dirty:
            upstream.touch()

    def _write_queue(self, upstream: UpstreamStream) -> None:
        codec, queue = upstream.codec, self.queue or []
        self.queue, self.queued_bytes = None, 0
        codec.headers(self, self.request_headers, False)
        self.moved.upstream_request_header_bytes += codec.field_bytes_out
        last = len(queue) - 1
        for at, data in enumerate(queue):
            codec.data(self, data, self.ended and self.trailers is None and at == last)
        if self.trailers is not None:
            codec.trailers(self, self.trailers)
        if not self.ended and not upstream.write_blocked:
            self.owner.on_upstream_write_blocked(self, False)

    def on_pool_failure(self, reason: ResetReason, detail: bytes) -> None:
        """No connection, and none to come."""
        self._reset(reason, detail)

    # -- from the owner ------------------------------------------------------------------------------------------

    def encode_data(self, data: bytes, end: bool) -> None:
        """Request body bytes; kept until there is a connection."""
        if end:
            self.ended = True
        upstream = self.connection
        if not self.sent or upstream is None:
            if self.done:
                return
            if self.queue is None:
                self.queue = []
            self.queue.append(data)
            self.queued_bytes += len(data)
            if self.queued_bytes > self.cluster.buffer_limit_bytes:
                self.owner.on_upstream_write_blocked(self, True)
            return
        upstream.codec.data(self, data, end)
        upstream.touch()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Request trailers; the request is whole."""
        self.ended = True
        upstream = self.connection
        if not self.sent or upstream is None:
            self.trailers = trailers
            if self.queue is None:
                self.queue = []
            return
        upstream.codec.trailers(self, trailers)
        upstream.touch()

    def cancel(self) -> None:
        """The owner wants no more of it: leave the pool's queue, or give the connection up."""
        if self.done:
            return
        self.done = True
        upstream, self.connection = self.connection, None
        if upstream is None:
            self.pool.cancel(self)
        else:
            upstream.give_up(self)
        self.stream = None

    def hold_reading(self) -> None:
        """The client reads too slowly."""
        if self.connection is not None:
            self.connection.hold_reading()

    def release_reading(self) -> None:
        """The client has caught up."""
        if self.connection is not None:
            self.connection.release_reading()

    # -- from the codec ------------------------------------------------------------------------------------------

    def decode_informational(self, headers: HeaderMap) -> None:
        if not self.done:
            assert isinstance(headers, ResponseHeaders)
            self.headers_seen = True
            self.owner.on_upstream_informational(self, headers)

    def decode_headers(self, headers: HeaderMap, end: bool) -> None:
        if self.done:
            return
        self.headers_seen = True
        upstream = self.connection
        assert upstream is not None
        self.moved.upstream_response_header_bytes += upstream.codec.field_bytes_in
        if end:
            self.done = True
            self.connection = None
        self.owner.on_upstream_headers(self, headers, end)  # type: ignore[arg-type]

    def decode_data(self, data: bytes, end: bool) -> None:
        if self.done:
            return
        if end:
            self.done = True  # the connection belongs to its pool again as soon as the codec has returned
            self.connection = None
        self.owner.on_upstream_data(self, data, end)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        if self.done:
            return
        self.done = True
        self.connection = None
        self.owner.on_upstream_trailers(self, trailers)

    def on_reset(self, reason: ResetReason, details: bytes) -> None:
        self._reset(reason, details)

    def is_stale(self, reason: ResetReason) -> bool:
        """Whether it failed only because its connection had served others and was closed by the host, which has not
        sent a byte for it (to be asked while the owner is told of the reset). Not over HTTP/2: its hosts say GOAWAY."""
        upstream = self.connection
        return (
            reason is CONNECTION_TERMINATION
            and upstream is not None
            and upstream.requests_served > 1
            and upstream.protocol == b"HTTP/1.1"
            and not self.headers_seen
            and not self.again
        )

    # -- the end -------------------------------------------------------------------------------------------------

    def _reset(self, reason: ResetReason, details: bytes) -> None:
        if self.done:
            return
        self.done = True
        self.owner.on_upstream_reset(self, reason, details)
        self.connection = None
