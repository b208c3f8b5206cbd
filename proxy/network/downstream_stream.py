"""DownstreamStream: one HTTP/2 request's connection, as its ActiveStream sees it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from proxy.codec.http2_server import Http2ServerStream
from proxy.codec.http2_stream import StreamWatcher
from proxy.http.stream_state import StreamConnection

if TYPE_CHECKING:
    from proxy.base.errors import ResetReason
    from proxy.http.stream import ActiveStream
    from proxy.network.downstream_http2 import Http2DownstreamConnection


class DownstreamCodec(Http2ServerStream):
    """The stream's codec, which hears of a drain."""

    __slots__ = ("connection",)

    def __init__(self, connection: Http2DownstreamConnection) -> None:
        Http2ServerStream.__init__(self, connection.http2)
        self.connection = connection

    def goaway(self) -> bool:
        """Only a drain concerns the connection."""
        connection = self.connection
        if not connection.hcm.draining:
            return False
        is_news = not connection.told_of_drain
        connection.told_of_drain = True
        connection.start_drain()
        return is_news


class DownstreamStream(StreamConnection, StreamWatcher):
    """Its deadlines and its output are the connection's. request: the ActiveStream, None once it is over"""

    __slots__ = ("connection", "own", "request")

    def __init__(self, connection: Http2DownstreamConnection) -> None:
        own = DownstreamCodec(connection)
        self.codec = self.own = own
        own.watcher = self
        self.connection = connection
        self.info = connection.info
        self.request: ActiveStream | None = None
        self.write_blocked = False
        self.dirty = False  # the connection knows better
        self.due = inf  # as dirty

    def touch(self) -> None:
        """There is output."""
        if not self.connection.dirty:
            self.connection.touch()

    def watch(self, when: float) -> None:
        """A deadline of the stream."""
        self.connection.watch(when)

    def hold_reading(self) -> None:
        """The request can take no more: the client is stopped by its window."""
        if not self.own.held:
            self.connection.hcm.stats.downstream_flow_control_paused_reading_total.value += 1
            self.own.hold()

    def release_reading(self) -> None:
        """It can again."""
        if self.own.held:
            self.connection.hcm.stats.downstream_flow_control_resumed_reading_total.value += 1
            self.own.release()
            self.connection.touch()

    def stream_done(self, stream: ActiveStream) -> None:
        """The request is answered or given up."""
        self.request = None
        self.connection.request_done(self.own, stream)

    def on_blocked(self) -> None:
        self.write_blocked = True
        if self.request is not None:
            self.request.on_write_blocked()

    def on_unblocked(self) -> None:
        self.write_blocked = False
        if self.request is not None:
            self.request.on_write_unblocked()

    def on_over(self, reason: ResetReason | None) -> None:
        """A server's streams are over when their requests are: see request_done."""
