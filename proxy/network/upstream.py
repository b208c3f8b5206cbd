"""UpstreamConnection: a host's socket and its HTTP/1 codec. HTTP/2: ``network.upstream_http2``.

One try has the connection at a time (HTTP/1). When the response is whole and both sides may go on, the connection goes
back to its pool; otherwise it is closed.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

from proxy.base.errors import (
    CONNECTION_TERMINATION,
    CONNECTION_TIMEOUT,
    LOCAL_CONNECTION_FAILURE,
    REMOTE_CONNECTION_FAILURE,
    ResetReason,
)
from proxy.codec.http1 import Http1ClientCodec
from proxy.network.addresses import address_text
from proxy.network.connecting import LocalFailure, failure_words, open_connection
from proxy.network.dispatcher import Flushable
from proxy.network.keepalive import set_keepalive
from proxy.network.tls_transport import TlsTransport
from proxy.upstream.connection import UpstreamStream

if TYPE_CHECKING:
    from proxy.base.tls_info import TlsInfo
    from proxy.network.dispatcher import Dispatcher
    from proxy.router.upstream_request import UpstreamRequest
    from proxy.upstream.host import Host
    from proxy.upstream.pool import ConnectionPool

log = logging.getLogger("upstream")

LAST_BYTES_S: Final = 300.0  # a host that takes none of our last bytes for so long is left


class UpstreamConnection(UpstreamStream, Flushable):
    """One connection to a host. Duck-typed asyncio.Protocol and ``upstream.pool_connection.PoolConnection``."""

    __slots__ = (
        # given at birth
        "dispatcher",
        "pool",
        "host",
        "transport",
        "opening",
        "shaking",
        # state
        "open",
        "closed",
        "held",
        # time
        "connect_deadline",
        "idle_since",
        "unsent",
    )

    def __init__(self, pool: ConnectionPool, host: Host, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.pool = pool
        self.host = host
        self.transport: asyncio.Transport | None = None
        self.codec = Http1ClientCodec(pool.cluster.codec_settings)
        self.connection_id = dispatcher.next_connection_id()
        self.local_address = ""
        self.protocol = b"HTTP/1.1"
        self.remote_address = host.address
        self.opening: asyncio.Task[None] | None = None
        self.shaking: TlsTransport | None = None
        self.tls = None
        self.pool_state = 0
        self.requests_served = 0
        self.created_at = 0.0
        self.connected_at = 0.0
        self.request: UpstreamRequest | None = None
        self.open = False
        self.closed = False
        self.dirty = False
        self.write_blocked = False
        self.held = False
        self.due = inf
        self.connect_deadline = dispatcher.clock.monotonic() + pool.cluster.connect_timeout_s
        self.idle_since = 0.0
        self.unsent = 0  # when it was closed with bytes for the host: what of them was, at the last look
        dispatcher.timers.watch(self, self.connect_deadline)

    # -- connecting ----------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the socket; the outcome goes to the pool. Runs as one task per connection, never per request."""
        try:
            await open_connection(
                self.dispatcher.loop, self._protocol, self.host, self.pool.cluster.bind_config
            )
        except LocalFailure as ours:
            self.pool.stats.bind_errors.value += ours.bind
            self._connect_failed(True, ours.words)
        except OSError as error:
            self._connect_failed(error.errno in LOCAL_ERRNOS, failure_words(error, self.host))
        except asyncio.CancelledError:
            pass
        finally:
            self.opening = None

    def _protocol(self) -> Any:
        """Who speaks with the socket: this, or TLS before it."""
        tls = self.host.tls
        if tls is None:
            return self
        pool = self.pool
        name = pool.sni or (self.host.hostname if tls.names_host else "") or tls.server_name
        self.shaking = TlsTransport(self, tls, name, pool.peer_name, pool.alpn, pool.preface)
        return self.shaking

    def on_secure(self, info: TlsInfo) -> None:
        """The handshake is over; connection_made follows."""
        negotiated = self.pool.negotiated
        if negotiated is not None and not self.closed:
            pool = negotiated.settle(info.alpn)
            if pool is not self.pool:
                self._make_way(pool, info)
                return
        self.shaking = None
        self.tls = info

    def _make_way(self, pool: ConnectionPool, info: TlsInfo) -> None:
        """The host speaks the other protocol: one of its connections takes the place of this."""
        other = cast(UpstreamConnection, pool.cluster.connector.make(pool, self.host))
        other.connection_id = self.connection_id
        other.tls = info
        if self.shaking is not None:
            self.shaking.set_protocol(other)
        self.shaking = None
        self.closed = True
        self.dispatcher.timers.forget(self)
        self.pool.give(self, pool, other)

    def on_tls_failed(self, words: str) -> None:
        """The handshake has failed: there is no connection."""
        self.shaking = None
        self._connect_failed(False, words.encode())

    def _connect_failed(self, local: bool, words: bytes) -> None:
        if self.closed:
            return
        self.closed = True
        self.dispatcher.timers.forget(self)
        reason = LOCAL_CONNECTION_FAILURE if local else REMOTE_CONNECTION_FAILURE
        log.debug("[C%d] %s: connect failed: %s", self.connection_id, self.host.address, words.decode())
        try:
            self.pool.on_connect_failure(self, reason, words)
            self.dispatcher.flush()
        except Exception as bug:
            self.dispatcher.bug("a failed connect", bug)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.closed:  # the connect timeout was quicker
            self.transport.abort()
            return
        self.open = True
        self.connect_deadline = inf
        self.transport.set_write_buffer_limits(high=self.pool.cluster.buffer_limit_bytes)
        self.local_address = address_text(transport.get_extra_info("sockname"))
        if self.host.other_ips:
            self.remote_address = address_text(transport.get_extra_info("peername"))
        set_keepalive(transport.get_extra_info("socket"), self.pool.cluster.keepalive)
        self.connected_at = self.dispatcher.clock.monotonic()
        try:
            if self.pool.preface:
                self._say_preface(self.pool.preface)
            self._after_connect()
            self.pool.on_connected(self)
            idle_s = self.pool.cluster.idle_timeout_s
            if idle_s:
                self.idle_since = self.connected_at
                self.dispatcher.timers.watch(self, self.idle_since + idle_s)
            longest_s = self.pool.cluster.max_connection_duration_s
            if longest_s:
                self.dispatcher.timers.watch(self, self.connected_at + longest_s)
            if self.held:
                self.dispatcher.loop.call_soon(self._hold_again)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def _say_preface(self, preface: bytes) -> None:
        """Who the client is; before TLS it has been said already."""
        self.pool.stats.upstream_cx_tx_bytes_total.value += len(preface)
        if self.host.tls is None and self.transport is not None:
            self.transport.write(preface)

    def _hold_again(self) -> None:
        """uvloop begins to read once connection_made has returned, whatever was said in it."""
        if self.held and self.open and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def _after_connect(self) -> None:
        """HTTP/1 has nothing to say first."""

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.pool.stats.upstream_cx_rx_bytes_total.value += len(data)
        request = self.request
        try:
            if request is not None and request.stream is not None:
                request.moved.upstream_bytes_received += len(data)
            codec = self.codec
            codec.feed(data)
            if codec.response_done or codec.closing:
                self._response_over()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def _response_over(self) -> None:
        """The response is whole, or the codec has given up: back to the pool, or away."""
        codec = self.codec
        if codec.protocol_error:
            self.pool.stats.upstream_cx_protocol_error.value += 1
        request, self.request = self.request, None
        if self.closed:
            return
        if self.held:
            self.release_reading()
        if codec.reusable:
            self.idle_since = self.dispatcher.clock.monotonic()
            self.pool.on_idle(self)
            return
        if request is not None and codec.response_done:
            if codec.peer_closes:
                self.pool.stats.upstream_cx_close_notify.value += 1
            if codec.request_done:  # else the close cuts it short, and the pool counts that
                self.pool.on_stream_done(self)
        self.close()

    def eof_received(self) -> bool:
        """The host closes: that may end a body which runs to the close."""
        try:
            request = self.request
            if request is None:
                self.pool.on_closed(self, remote=True)  # at once: it must not be handed out any more
            else:
                self._log_cut("FIN")
                self.codec.eof()
                self.request = None
                if self.codec.protocol_error:
                    self.pool.stats.upstream_cx_protocol_error.value += 1
                if self.codec.response_done and not self.closed:
                    if self.codec.request_done:
                        self.pool.on_stream_done(self)
                    else:
                        self.close()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)
        return False  # the transport closes; connection_lost tells the pool

    def connection_lost(self, exc: Exception | None) -> None:
        local = self.closed
        self.open = False
        self.closed = True
        self.dispatcher.timers.forget(self)
        request, self.request = self.request, None
        try:
            self.pool.on_closed(self, remote=not local)
            if request is not None:
                self._log_cut("this side" if local else "a reset")
                self.codec.lost()
                if self.codec.protocol_error:
                    self.pool.stats.upstream_cx_protocol_error.value += 1
                request.on_reset(CONNECTION_TERMINATION, b"")  # unless the codec has said more
            self.codec.detach()
            self.dispatcher.flush()
        except Exception as error:
            self.dispatcher.bug("an upstream connection's end", error)

    def _log_cut(self, by: str) -> None:
        """Whose doing it was, and how old the connection: what an operator asks of a 503 with flag UC."""
        if log.isEnabledFor(logging.DEBUG):
            now = self.dispatcher.clock.monotonic()
            log.debug(
                "[C%d] %s: ended by %s during request %d on it, %.3f s after its last response, %.3f s old",
                self.connection_id,
                self.host.address,
                by,
                self.requests_served,
                now - (self.idle_since or self.connected_at),
                now - self.connected_at,
            )

    def pause_writing(self) -> None:
        self.write_blocked = True
        if self.request is not None:
            self.pool.stats.upstream_flow_control_backed_up_total.value += 1
            self.request.owner.on_upstream_write_blocked(self.request, True)

    def resume_writing(self) -> None:
        self.write_blocked = False
        try:
            if self.request is not None:
                self.pool.stats.upstream_flow_control_drained_total.value += 1
                self.request.owner.on_upstream_write_blocked(self.request, False)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    # -- the try's calls -----------------------------------------------------------------------------------------

    def give_up(self, request: UpstreamRequest) -> None:
        """HTTP/1 cannot stop a response: the connection goes."""
        if self.request is request:
            self.request = None
            self.close()

    def touch(self) -> None:
        """The codec has output."""
        if not self.dirty:
            self.dirty = True
            self.dispatcher.dirty.append(self)

    def flush(self) -> None:
        """Write the codec's output."""
        self.dirty = False
        output = self.codec.take_output()
        if output:
            self.write(output)

    def end_tunnel(self, request: UpstreamRequest) -> None:
        """The client has left: the host gets what it had sent, if it goes on taking it."""
        if self.request is not request:
            return
        self.flush()
        self.request = None
        transport = self.transport
        if transport is None or self.closed:
            self.close()
            return
        if self.tls is None and not transport.get_write_buffer_size():
            self.close()  # over TLS there is a goodbye to be said (close_notify), or the host takes it for a cut
            return
        self.closed = True
        self.open = False
        transport.close()
        self.pool.on_closed(self)
        self.dispatcher.timers.forget(self)
        self.unsent = transport.get_write_buffer_size()
        self.dispatcher.timers.watch(self, self.dispatcher.clock.monotonic() + LAST_BYTES_S)

    def end_writing(self) -> None:
        """A tunnel's half ends."""
        self.flush()
        if self.open and self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def write(self, data: bytes) -> None:
        """The only write in this room: a peer may leave at any moment, and that is not an error."""
        if self.open and self.transport is not None:
            self.pool.stats.upstream_cx_tx_bytes_total.value += len(data)
            request = self.request
            if request is not None and request.stream is not None:
                request.moved.upstream_bytes_sent += len(data)
            self.transport.write(data)

    def hold_reading(self) -> None:
        """The client reads too slowly."""
        if not self.held and self.open and self.transport is not None:
            self.held = True
            self.pool.stats.upstream_flow_control_paused_reading_total.value += 1
            self.transport.pause_reading()

    def release_reading(self) -> None:
        """The client has caught up."""
        if self.held:
            self.held = False
            if self.open and self.transport is not None and not self.transport.is_closing():
                self.pool.stats.upstream_flow_control_resumed_reading_total.value += 1
                self.transport.resume_reading()

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self, reason: ResetReason = LOCAL_CONNECTION_FAILURE) -> None:
        """Close now. The pool hears of it at once, so that it cannot hand the connection out before the loop has
        called connection_lost."""
        if self.closed:
            return
        self.closed = True
        self.dispatcher.timers.forget(self)
        if self.transport is not None:
            self.open = False
            self.transport.abort()
            self.pool.on_closed(self)
        else:
            if self.opening is not None:
                self.opening.cancel()
            if self.shaking is not None:
                self.shaking.abort()
            self.pool.on_connect_failure(self, reason, b"")

    def fence(self, error: Exception) -> None:
        self.dispatcher.bug("an upstream connection", error)
        request, self.request = self.request, None
        self.close()
        if request is not None:
            request.on_reset(CONNECTION_TERMINATION, b"")
            self.dispatcher.flush()

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        """The wheel's call. The idle deadline is not moved with each response: it is worked out here."""
        if self.closed:
            return self._last_bytes(now)
        if now >= self.connect_deadline:
            self.connect_deadline = inf
            self.close(CONNECTION_TIMEOUT)
            return inf
        if not self.open:
            return self.connect_deadline
        return min(self._idle_until(now), self._alive_until(now)) if self.open else inf

    def _last_bytes(self, now: float) -> float:
        """See end_tunnel: whether the host has taken some of them since the last look."""
        if self.transport is None:
            return inf
        unsent = self.transport.get_write_buffer_size()
        if unsent == self.unsent:
            self.transport.abort()
            return inf
        self.unsent = unsent
        return now + LAST_BYTES_S

    def _idle_until(self, now: float) -> float:
        """When to look whether it has been idle for too long; closes it when it has."""
        idle_s = self.pool.cluster.idle_timeout_s
        if not idle_s:
            return inf
        if self.request is not None:
            return now + idle_s
        if now >= self.idle_since + idle_s:
            self.pool.on_idle_timeout(self)
            return inf
        return self.idle_since + idle_s

    def _alive_until(self, now: float) -> float:
        """When it has lived for too long; from then on it serves nobody new."""
        longest_s = self.pool.cluster.max_connection_duration_s
        if not longest_s or self.closed:
            return inf
        if now >= self.connected_at + longest_s:
            self.pool.on_max_duration(self)
            return inf
        return self.connected_at + longest_s


#: connect() failures that are ours: no ports, no descriptors, no buffers.
LOCAL_ERRNOS: Final = frozenset((11, 12, 23, 24, 98, 99, 105))
