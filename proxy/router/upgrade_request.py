"""UpgradeRequest: a try that asks its host for another protocol (101) or for a tunnel (CONNECT, 2xx).

What the client sends after its head belongs to the other protocol: it waits here, bounded by the buffer
limits, until the host has granted the request. A host that does not gets none of it: it would take it for its next request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.headers import HeaderMap, ResponseHeaders
from proxy.router.upstream_request import UpstreamRequest

if TYPE_CHECKING:
    from proxy.upstream.connection import UpstreamStream
    from proxy.upstream.pool_connection import PoolConnection


class UpgradeRequest(UpstreamRequest):
    """One try. granted: the host has switched; refused: it has not, or something else ends the try"""

    __slots__ = ("granted", "limit_bytes", "refused")

    granted: bool
    refused: bool
    limit_bytes: int

    def begin(self, limit_bytes: int) -> UpgradeRequest:
        """Once, after the constructor (which is the one of all tries)."""
        self.refused = self.granted = False
        self.limit_bytes = min(limit_bytes, self.cluster.buffer_limit_bytes)
        return self

    def on_pool_ready(self, connection: PoolConnection) -> None:
        """Write the head; what there is of the rest stays."""
        upstream: UpstreamStream = connection  # type: ignore[assignment]  # as UpstreamRequest
        self.connection = upstream
        upstream.request = self
        self.owner.on_upstream_ready(self)
        self.sent = True
        upstream.codec.headers(self, self.request_headers, False)
        self.moved.upstream_request_header_bytes += upstream.codec.field_bytes_out
        upstream.touch()

    def encode_data(self, data: bytes, end: bool) -> None:
        """Bytes from the client."""
        if end:
            self.ended = True
        upstream = self.connection
        if self.granted and upstream is not None:
            upstream.codec.data(self, data, end)
            upstream.touch()
            if end:
                self._end_writing(upstream)
        elif not self.refused and not self.done:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self.queue = self.queue or []
        self.queue.append(data)
        self.queued_bytes += len(data)
        if self.queued_bytes > self.limit_bytes:
            self.owner.on_upstream_write_blocked(self, True)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """A tunnel has none; they end it."""
        self.encode_data(b"", True)

    def decode_headers(self, headers: HeaderMap, end: bool) -> None:
        """The host's answer; its owner hears of it before the client's bytes move on."""
        if self.done:
            return
        assert isinstance(headers, ResponseHeaders)
        self.headers_seen = True
        upstream = self.connection
        assert upstream is not None
        self.moved.upstream_response_header_bytes += upstream.codec.field_bytes_in
        granted = self.is_granted(headers.status)
        self.refused = not granted
        if end:
            self.done = True
            self.connection = None
        self.owner.on_upstream_upgrade(self, headers, end, granted)
        if self.done or not granted:
            self.queue = None
            return
        self.granted = True
        queue, self.queue = self.queue, None
        for data in queue or ():
            upstream.codec.data(self, data, False)
        if self.ended:
            upstream.codec.data(self, b"", True)
            self._end_writing(upstream)
        if queue and not upstream.write_blocked:
            self.owner.on_upstream_write_blocked(self, False)
        upstream.touch()

    def cancel(self) -> None:
        """The client has left: a host that has granted the request still gets what it had sent."""
        upstream = self.connection
        if self.granted and upstream is not None and not self.done:
            self.done = True
            self.connection = None
            upstream.end_tunnel(self)
            self.stream = None
        else:
            UpstreamRequest.cancel(self)

    def _end_writing(self, upstream: UpstreamStream) -> None:
        """A tunnel is half-closed as TCP is; an upgraded connection as a whole, by its own protocol (as Envoy)."""
        if self.request_headers.method == b"CONNECT":
            upstream.end_writing()

    def is_granted(self, status: int) -> bool:
        """Whether a response grants what was asked for."""
        return 200 <= status < 300 if self.request_headers.method == b"CONNECT" else status == 101


class TunnelRequest(UpgradeRequest):
    """A tunnel that begins here: bytes of a client that speaks no HTTP, inside a CONNECT or a POST.

    halves: one half may go on when the other has ended; host_ended: the host's has
    """

    __slots__ = ("halves", "host_ended", "whole")

    halves: bool
    whole: bool
    host_ended: bool

    def begin(self, limit_bytes: int) -> UpgradeRequest:
        self.halves = self.host_ended = self.whole = False
        return UpgradeRequest.begin(self, limit_bytes)

    def on_pool_ready(self, connection: PoolConnection) -> None:
        upstream: UpstreamStream = connection  # type: ignore[assignment]  # as UpstreamRequest
        self.halves = upstream.codec.keep_halves()
        UpgradeRequest.on_pool_ready(self, connection)

    def decode_headers(self, headers: HeaderMap, end: bool) -> None:
        self.whole = end
        UpgradeRequest.decode_headers(self, headers, False)
        if self.granted and self.ended and not self.halves and not self.done:
            self.owner.on_upstream_data(self, b"", True)

    def encode_data(self, data: bytes, end: bool) -> None:
        UpgradeRequest.encode_data(self, data, end)
        if end and self.host_ended:
            self.done = True
            self.connection = None

    def decode_data(self, data: bytes, end: bool) -> None:
        if end and self._goes_on():
            self.owner.on_upstream_data(self, data, True)
        else:
            UpgradeRequest.decode_data(self, data, end)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        if self._goes_on():
            self.owner.on_upstream_trailers(self, trailers)
        else:
            UpgradeRequest.decode_trailers(self, trailers)

    def _goes_on(self) -> bool:
        """The host's half ends: whether the client's goes on."""
        self.host_ended = self.halves and not self.ended and not self.done
        return self.host_ended

    def is_granted(self, status: int) -> bool:
        """Whether the host takes them."""
        return 200 <= status < 300 and not self.whole


class ConnectRequest(UpgradeRequest):
    """A tunnel that ends here: its host speaks whatever the client speaks. Connected, it is granted.

    preface: what the host hears before the client's bytes
    """

    __slots__ = ("preface",)

    preface: bytes

    def on_pool_ready(self, connection: PoolConnection) -> None:
        UpgradeRequest.on_pool_ready(self, connection)
        if not self.done:
            if self.preface and self.connection is not None:
                self.connection.codec.data(self, self.preface, False)
            self.decode_headers(ResponseHeaders(200), False)
