"""Http2UpstreamConnection: a host's socket that speaks HTTP/2, with a stream for each try.

It comes and goes like the HTTP/1 connection it extends (``network.upstream``), but for the codec: ``http2`` is used, and
the inherited ``codec`` stays idle. Reading is never held for a try: its window is.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, cast

from proxy.base.errors import (
    CONNECTION_TERMINATION,
    LOCAL_RESET,
    PROTOCOL_ERROR,
    REMOTE_REFUSED_STREAM,
    REMOTE_RESET,
    REMOTE_RESET_NO_ERROR,
    CodecError,
    ResetReason,
)
from proxy.codec.http2_client import Http2ClientCodec, Http2ClientStream
from proxy.codec.http2_stream import INTERNAL_ERROR_CODE, StreamWatcher
from proxy.network.upstream import UpstreamConnection
from proxy.upstream.connection import UpstreamStream
from proxy.upstream.pool_http2 import Multiplexed

if TYPE_CHECKING:
    from proxy.codec.http2_stream import Http2Stream
    from proxy.network.dispatcher import Dispatcher
    from proxy.router.upstream_request import UpstreamRequest
    from proxy.upstream.host import Host
    from proxy.upstream.pool_connection import PoolConnection, PoolRequest
    from proxy.upstream.pool_http2 import Http2ConnectionPool

log = logging.getLogger("upstream")


class Http2Try(UpstreamStream, StreamWatcher):
    """One try's connection: a stream of the real one. over: the pool has been told"""

    __slots__ = ("connection", "over", "own")

    def __init__(self, connection: Http2UpstreamConnection, request: UpstreamRequest) -> None:
        own = Http2ClientStream(connection.http2)
        self.codec = self.own = own
        own.decoder = request
        own.watcher = self
        self.connection = connection
        self.request = request
        self.over = False
        self.pool_state = connection.pool_state
        self.requests_served = connection.requests_served
        self.created_at = connection.created_at
        self.connected_at = connection.connected_at
        self.connection_id = connection.connection_id
        self.local_address = connection.local_address
        self.tls = connection.tls
        self.remote_address = connection.remote_address
        self.protocol = b"HTTP/2"
        self.write_blocked = False
        self.dirty = False  # the connection knows better
        self.due = inf

    def touch(self) -> None:
        """There is output."""
        if not self.connection.dirty:
            self.connection.touch()

    def give_up(self, request: UpstreamRequest) -> None:
        """The try will read no further."""
        if not self.over:
            self.own.reset_with(INTERNAL_ERROR_CODE)
            self.own.over(LOCAL_RESET)
            self.touch()

    def hold_reading(self) -> None:
        """The client reads too slowly."""
        if not self.own.held:
            self.own.hold()
            self.connection.pool.stats.upstream_flow_control_paused_reading_total.value += 1

    def release_reading(self) -> None:
        """The client has caught up."""
        if self.own.held:
            self.own.release()
            self.connection.pool.stats.upstream_flow_control_resumed_reading_total.value += 1
            self.touch()

    def on_over(self, reason: ResetReason | None) -> None:
        if self.over:
            return
        stats = self.connection.pool.stats
        if reason is REMOTE_RESET:
            stats.upstream_rq_rx_reset.value += 1
        elif reason is REMOTE_RESET_NO_ERROR:
            stats.upstream_rq_rx_reset_no_error.value += 1
        elif reason is LOCAL_RESET or reason is PROTOCOL_ERROR:
            stats.upstream_rq_tx_reset.value += 1
        self.cut()
        self.connection.on_stream_over()

    def cut(self) -> UpstreamRequest | None:
        """Over: count what moved, forget the request; whom to tell."""
        self.over = True
        request, self.request = self.request, None
        own = self.own
        own.watcher = None
        if request is not None and request.stream is not None:
            request.moved.upstream_bytes_sent += own.wire_bytes_out
            request.moved.upstream_bytes_received += own.wire_bytes_in
        return request

    def on_blocked(self) -> None:
        self.write_blocked = True
        if self.request is not None:
            self.connection.pool.stats.upstream_flow_control_backed_up_total.value += 1
            self.request.owner.on_upstream_write_blocked(self.request, True)

    def on_unblocked(self) -> None:
        self.write_blocked = False
        if self.request is not None:
            self.connection.pool.stats.upstream_flow_control_drained_total.value += 1
            self.request.owner.on_upstream_write_blocked(self.request, False)


class Http2UpstreamConnection(UpstreamConnection, Multiplexed):
    """One connection to a host."""

    __slots__ = (
        "active",
        "going_told",
        "heard_at",
        "http2",
        "http2_pool",
        "limit_seen",
        "ping_deadline",
        "pong_deadline",
    )

    def __init__(self, pool: Http2ConnectionPool, host: Host, dispatcher: Dispatcher) -> None:
        UpstreamConnection.__init__(self, pool, host, dispatcher)
        cluster = pool.cluster
        self.http2_pool = pool
        self.active = 0
        self.going_told = False  # the pool knows of the host's GOAWAY
        assert cluster.config.http.http2 is not None
        self.http2 = Http2ClientCodec(cluster.config.http.http2, cluster.http2_stats())
        if self.http2.settings.keepalive_interval_s or self.http2.settings.keepalive_idle_s:
            self.http2.on_ping_ack = self.on_pong
        self.heard_at = 0.0  # the last bytes came; kept where a pause matters (connection_idle_interval)
        self.limit_seen = self.http2.peer_max_streams
        self.ping_deadline = self.pong_deadline = inf

    # -- the pool's calls ----------------------------------------------------------------------------------------

    def stream_limit(self) -> int:
        """How many streams it may carry at a time."""
        return self.http2.peer_max_streams

    def active_streams(self) -> int:
        """How many it carries."""
        return self.active

    def count_streams(self, by: int) -> int:
        """One more, or one less; how many it carries then."""
        self.active += by
        return self.active

    def open_stream(self, request: PoolRequest) -> PoolConnection:
        """A stream for one try."""
        if self.http2.settings.keepalive_idle_s:
            self._ping_ahead()
        return Http2Try(self, cast("UpstreamRequest", request))

    def _ping_ahead(self) -> None:
        """After a pause of the host's: is it still there?"""
        settings = self.http2.settings
        now = self.dispatcher.clock.monotonic()
        if now - self.heard_at <= settings.keepalive_idle_s or self.pong_deadline != inf:
            return
        self._ping(now)
        self.dispatcher.timers.watch(self, self.pong_deadline)

    def _ping(self, now: float) -> None:
        """Ask, unless an answer is awaited already: a host may take many PINGs for an attack."""
        if self.pong_deadline != inf:
            return
        timeout_s = self.http2.settings.keepalive_timeout_s
        if timeout_s:
            self.pong_deadline = now + timeout_s
        self.http2.ping()
        self.touch()

    def on_stream_over(self) -> None:
        """One of the streams is over."""
        if self.closed:
            return
        if self.active == 1:
            self.idle_since = self.dispatcher.clock.monotonic()
        self.http2_pool.on_stream_over(self)

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def _after_connect(self) -> None:
        self.heard_at = self.connected_at
        interval_s = self.http2.settings.keepalive_interval_s
        if interval_s:
            self.ping_deadline = self.connected_at + interval_s
            self.dispatcher.timers.watch(self, self.ping_deadline)
        self.touch()

    def data_received(self, data: bytes) -> None:
        self.pool.stats.upstream_cx_rx_bytes_total.value += len(data)
        if self.http2.settings.keepalive_idle_s:
            self.heard_at = self.dispatcher.clock.monotonic()
        if self.closed:
            return
        try:
            try:
                self.http2.feed(data)
            except CodecError:
                self._protocol_error()
            else:
                self._after_feed()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def _after_feed(self) -> None:
        codec = self.http2
        if codec.going and not self.going_told:
            self.going_told = True
            self.http2_pool.on_going(self)
            if self.closed:
                return
        limit = codec.peer_max_streams
        if limit != self.limit_seen:
            self.limit_seen = limit
            self.http2_pool.on_limit_changed(self)
        if codec.dead:
            self._protocol_error()
        elif codec.closing and not self.active:
            self.close()
        else:
            self.touch()

    def _protocol_error(self) -> None:
        """The host broke the protocol: every try on it ends so."""
        if self.closed:
            return
        self.pool.stats.upstream_cx_protocol_error.value += 1
        self._end(PROTOCOL_ERROR)

    def _end(self, reason: ResetReason, remote: bool = False) -> None:
        """Close; the pool hears of it before the tries do, so that they go elsewhere."""
        streams = self._take_tries()
        self.closed = True
        self.open = False
        self.dispatcher.timers.forget(self)
        last_words = self.http2.take_output() if self.http2.dead else b""
        if self.transport is not None:
            if last_words:
                self.transport.write(last_words)
                self.transport.close()
            else:
                self.transport.abort()
        self.pool.on_closed(self, remote=remote)
        self._reset(streams, reason)
        self.http2.detach()

    def _take_tries(self) -> list[Http2Try]:
        """The tries that run. The pool will release them all at once."""
        watchers = [stream.watcher for stream in self.http2.streams.values()]
        running = [one for one in watchers if isinstance(one, Http2Try) and not one.over]
        for one in running:
            one.over = True
        return running

    def _reset(self, tries: list[Http2Try], reason: ResetReason) -> None:
        stats = self.pool.stats
        for one in tries:
            one.own.decoder = None
            one.own.gone = True
            request = one.cut()
            if request is None:
                continue
            if reason is PROTOCOL_ERROR:
                stats.upstream_rq_tx_reset.value += 1
            else:
                stats.upstream_rq_pending_failure_eject.value += 1  # sic: Envoy counts cut streams there
            request.on_reset(reason, b"")

    def eof_received(self) -> bool:
        return False  # the transport closes; connection_lost ends what runs

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed:
            self.open = False
            return
        try:
            self._end(CONNECTION_TERMINATION, remote=True)
            self.dispatcher.flush()
        except Exception as error:
            self.dispatcher.bug("an upstream connection's end", error)

    def pause_writing(self) -> None:
        self.http2.paused = True

    def resume_writing(self) -> None:
        self.http2.paused = False
        try:
            self.touch()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def flush(self) -> None:
        """Write the codec's output; tell the tries that the engine took no stream for."""
        self.dirty = False
        if self.closed:
            return
        codec = self.http2
        try:
            output = codec.take_output()
        except CodecError:
            self._protocol_error()
            return
        if self.closed:
            return
        if output and self.open and self.transport is not None:
            self.pool.stats.upstream_cx_tx_bytes_total.value += len(output)
            self.transport.write(output)
        refused = codec.refused
        if refused is not None:
            codec.refused = None
            self._refuse(refused)
        if (codec.going and not self.going_told) or codec.dead:
            self._after_feed()

    @staticmethod
    def _refuse(refused: list[Http2Stream]) -> None:
        for stream in refused:
            request = stream.decoder
            stream.decoder = None
            stream.over(None)
            if request is not None:
                request.on_reset(REMOTE_REFUSED_STREAM, b"")

    def fence(self, error: Exception) -> None:
        self.dispatcher.bug("an upstream connection", error)
        if not self.closed:
            self._end(CONNECTION_TERMINATION)
        self.dispatcher.flush()

    def close(self, reason: ResetReason | None = None) -> None:
        """Close now, streams or not."""
        if self.closed:
            return
        if self.transport is None:
            UpstreamConnection.close(self, *(() if reason is None else (reason,)))
            return
        self.open = False
        streams = self._take_tries()
        self.closed = True
        self.dispatcher.timers.forget(self)
        self.transport.close()
        self.pool.on_closed(self)
        self._reset(streams, CONNECTION_TERMINATION)
        self.http2.detach()

    # -- time ----------------------------------------------------------------------------------------------------

    def on_pong(self) -> None:
        """Our PING was answered."""
        self.pong_deadline = inf

    def on_due(self, now: float) -> float:
        if not self.open:
            return UpstreamConnection.on_due(self, now)
        if now >= self.pong_deadline:
            self.http2.stats.keepalive_timeout.value += 1
            self._end(CONNECTION_TERMINATION)
            return inf
        if now >= self.ping_deadline:
            self.ping_deadline = now + self.http2.settings.keepalive_interval_s
            self._ping(now)
        again = min(self._idle_until(now), self._alive_until(now))
        return min(again, self.ping_deadline, self.pong_deadline) if not self.closed else inf

    def _idle_until(self, now: float) -> float:
        if self.active:
            idle_s = self.pool.cluster.idle_timeout_s
            return now + idle_s if idle_s else inf
        return UpstreamConnection._idle_until(self, now)
