"""DownstreamConnection: a client's socket and its codec. Room 1 of the corridor.

uvloop calls ``connection_made``, ``data_received`` ...; the codec calls ``new_stream``. ``flush()`` is the only place
that writes to the socket. Reading is held for two reasons, kept as bits: the codec has pipelined input it cannot take,
or a stream's upstream is slow.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Final, cast

from proxy.base.errors import REMOTE_RESET, CodecError
from proxy.base.stream_info import ConnectionInfo
from proxy.codec.http1 import PREFACE_HEAD, Http1ServerCodec
from proxy.codec.interface import ServerSink
from proxy.http.stream import ActiveStream
from proxy.http.stream_state import StreamConnection
from proxy.network.addresses import address_text
from proxy.network.dispatcher import Flushable
from proxy.network.downstream_http2 import Http2DownstreamConnection
from proxy.network.keepalive import has_left

if TYPE_CHECKING:
    from proxy.http.connection_manager import ConnectionManager
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher

HOLD_CODEC: Final = 1
HOLD_STREAM: Final = 2
HELD_LOOK_S: Final = (
    1.0  # while reading is held the loop hears nothing of the client's end: look for it so often
)
LAST_BYTES_S: Final = 300.0  # how long at most a closing connection waits for a client that takes nothing

log = logging.getLogger("connection")


class DownstreamConnection(StreamConnection, ServerSink, Flushable):
    """One accepted connection. Duck-typed asyncio.Protocol: no base class, so that slots hold."""

    __slots__ = (
        # given at birth
        "dispatcher",
        "hcm",
        "listener",
        "transport",
        # state
        "stream",
        "open",
        "in_feed",
        "held",
        "closing",
        "left",
        "requests",
        "is_http2",
        # deadlines
        "headers_deadline",
        "idle_since",
        "close_deadline",
        "duration_deadline",
        "unsent",
    )

    def __init__(self, listener: Listener, hcm: ConnectionManager, dispatcher: Dispatcher) -> None:
        self.listener = listener
        self.hcm = hcm
        self.dispatcher = dispatcher
        self.transport: asyncio.Transport
        self.info: ConnectionInfo
        self.codec = Http1ServerCodec(self, hcm.codec_settings)
        self.stream: ActiveStream | None = None
        self.open = False
        self.dirty = False
        self.in_feed = False
        self.write_blocked = False
        self.held = 0
        self.closing = False
        self.left = False  # the client ended the connection, not we
        self.requests = 0
        self.is_http2 = False  # the preface has come: everything is another connection object's
        self.due = inf
        self.headers_deadline = inf
        self.idle_since = 0.0
        self.close_deadline = inf
        self.duration_deadline = inf
        self.unsent = 0  # while closing: bytes that the client had not taken at the last look

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        now = self.dispatcher.clock.monotonic()
        self.info = ConnectionInfo(
            self.dispatcher.next_connection_id(),
            address_text(transport.get_extra_info("peername")),
            address_text(transport.get_extra_info("sockname")),
            now,
        )
        self.info.listener_name = self.listener.name
        self.info.filter_chain_name = self.listener.filter_chain_name
        self.open = True
        if not self.listener.accept(self):
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=self.hcm.buffer_limit_bytes)
        stats = self.hcm.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        self.idle_since = now
        self.duration_deadline = now + self.hcm.max_connection_duration_s
        first = min(now + self.hcm.connection_idle_timeout_s, self.duration_deadline)
        if first < inf:
            self.watch(first)

    def data_received(self, data: bytes) -> None:
        self.hcm.stats.downstream_cx_rx_bytes_total.value += len(data)
        if self.closing:
            return  # lingering: what still comes is thrown away
        try:
            self._feed(data)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def eof_received(self) -> bool:
        """The client will send no more. Envoy gives such a client no reply, and neither do we."""
        try:
            self._client_left()
            self.codec.eof()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self not in self.listener.connections:  # refused when it came
            self.codec.detach()
            return
        stream = self.stream
        stats = self.hcm.stats
        try:
            self._client_left()
            if stream is not None:
                stream.on_reset(REMOTE_RESET, b"downstream_remote_disconnect")
            self.dispatcher.flush()
        except Exception as error:
            self.dispatcher.bug("a connection's end", error)
        stats.downstream_cx_active.value -= 1
        if self.requests:
            stats.downstream_cx_http1_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        if self.left:
            stats.downstream_cx_destroy_remote.value += 1
        else:
            stats.downstream_cx_destroy_local.value += 1
        length_s = self.dispatcher.clock.monotonic() - self.info.started_at
        stats.downstream_cx_length_ms.record(int(length_s * 1000.0))
        self.dispatcher.timers.forget(self)
        self.listener.closed(self, length_s)
        self.codec.detach()

    def _client_left(self) -> None:
        """The connection ends: count once who ended it, and whether in the middle of a request."""
        stats = self.hcm.stats
        if self.left:
            return
        self.left = not self.closing
        if self.stream is not None:
            stats.downstream_cx_destroy_active_rq.value += 1
            if self.left:
                stats.downstream_cx_destroy_remote_active_rq.value += 1

    def pause_writing(self) -> None:
        self.write_blocked = True
        if self.stream is not None:
            self.stream.on_write_blocked()

    def resume_writing(self) -> None:
        self.write_blocked = False
        try:
            if self.stream is not None:
                self.stream.on_write_unblocked()
            else:
                self.touch()  # pipelined requests may have waited for this
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    # -- the codec's and the stream's calls ----------------------------------------------------------------------

    def new_stream(self) -> ActiveStream:
        """A request begins."""
        stream = self.stream = ActiveStream(self, self.hcm)
        self.hcm.stats.downstream_rq_http1_total.value += 1
        self.requests += 1
        if self.requests == 1:
            self._is_http1()
        self.headers_deadline = inf
        if self.requests == self.hcm.max_requests_per_connection:
            self.hcm.stats.downstream_cx_max_requests_reached.value += 1
            self.codec.goaway()
        if stream.idle_deadline < self.due:
            self.watch(stream.idle_deadline)
        if self.hcm.max_stream_duration_s:
            stream.duration_deadline = stream.started_at + self.hcm.max_stream_duration_s
            self.watch(stream.duration_deadline)
        return stream

    def _is_http1(self) -> None:
        """The first request has come (or what should have been one): Envoy makes its codec no earlier."""
        stats = self.hcm.stats
        stats.downstream_cx_http1_total.value += 1
        stats.downstream_cx_http1_active.value += 1

    def on_preface(self) -> bool:
        """The connection begins like HTTP/2. False: that is not wanted here, or not the beginning."""
        self.is_http2 = self.hcm.detects_http2 and not self.requests
        return self.is_http2

    def _become_http2(self) -> None:
        """Everything from the first byte on is for another connection object, which takes this one's place."""
        successor = Http2DownstreamConnection(self.listener, self.hcm, self.dispatcher)
        data = PREFACE_HEAD + self.codec.take_waiting()
        self.dispatcher.timers.forget(self)
        self.codec.detach()
        self.listener.replace(self, successor)
        self.open = False
        self.closing = True
        successor.take_over(self.transport, self.info, self.duration_deadline, data)

    def stream_done(self, stream: ActiveStream) -> None:
        """The stream is over; what is left of its request decides whether the connection lives on."""
        if self.stream is not stream:
            return
        self.stream = None
        self.idle_since = stream.ended_at
        if stream.encode_ended and not stream.decode_ended:
            self.hcm.stats.downstream_rq_response_before_rq_complete.value += 1
            self.hcm.stats.downstream_rq_rx_reset.value += 1
        if self.held & HOLD_STREAM:
            self._release(HOLD_STREAM)
        if not self.dirty:
            self.touch()

    def touch(self) -> None:
        """There is output, or a reason to look at the connection once the turn is over."""
        if not self.dirty:
            self.dirty = True
            self.dispatcher.dirty.append(self)

    def flush(self) -> None:
        """Write the codec's output; then close, or take the next pipelined request."""
        self.dirty = False
        codec = self.codec
        output = codec.take_output()
        if output and self.open:
            # The only write in this room: a peer may leave at any moment, and that is not an error.
            self.hcm.stats.downstream_cx_tx_bytes_total.value += len(output)
            self.transport.write(output)
        if self.stream is None and not self.in_feed and (codec.closing or codec.blocked or self.hcm.draining):
            self._between_requests()

    def hold_reading(self) -> None:
        """A stream cannot take more request bytes."""
        self._hold(HOLD_STREAM)

    def release_reading(self) -> None:
        """The stream can take request bytes again."""
        self._release(HOLD_STREAM)

    def watch(self, when: float) -> None:
        """Look at this connection's deadlines no later than ``when``."""
        self.dispatcher.timers.watch(self, when)

    # -- between requests ----------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        codec = self.codec
        self.in_feed = True
        try:
            codec.feed(data)
        except CodecError as error:
            self._refuse(error)
        finally:
            self.in_feed = False
        if codec.blocked:
            if self.is_http2:
                self._become_http2()
                return
            self._hold(HOLD_CODEC)
        elif self.held & HOLD_CODEC:
            self._release(HOLD_CODEC)
        if self.stream is None:
            if codec.has_input and not codec.blocked:
                self._head_begins()
            if not self.dirty:
                self.touch()

    def _refuse(self, error: CodecError) -> None:
        """The only place that answers a client's bad bytes."""
        self.hcm.stats.downstream_cx_protocol_error.value += 1
        if log.isEnabledFor(logging.DEBUG):
            peer = self.info.direct_remote_address
            log.debug("[C%d] %s: %d %s", self.info.connection_id, peer, error.status, error.details.decode())
        stream = self.stream
        if stream is None:
            stream = self.new_stream()
        stream.refuse(error)

    def _between_requests(self) -> None:
        if self.closing or self.left or not self.open:
            return  # what has come of further requests is not wanted any more
        codec = self.codec
        if codec.closing:
            self._close_gently()
        elif codec.blocked:
            if not self.write_blocked:  # else resume_writing comes back here through a flush
                self._feed(b"")
        elif not codec.has_input:
            self._close_gently()  # draining

    def _head_begins(self) -> None:
        """A part of a request head has come: the rest must follow within request_headers_timeout."""
        timeout_s = self.hcm.request_headers_timeout_s
        if timeout_s and self.headers_deadline == inf:
            self.headers_deadline = self.dispatcher.clock.monotonic() + timeout_s
            if self.headers_deadline < self.due:
                self.watch(self.headers_deadline)

    # -- closing -------------------------------------------------------------------------------------------------

    def close_idle(self) -> None:
        """Draining: a connection without a request closes now, others after theirs."""
        if self.stream is None and self.open and not self.codec.has_input:
            self._close_gently()
        else:
            self.codec.goaway()

    def _close_gently(self) -> None:
        """Close once all is written. If the client may still be sending, wait for it to stop, at most
        delayed_close_timeout, so that a reset cannot destroy the reply it has not read yet."""
        if self.closing or not self.open:
            return
        self.closing = True
        self.idle_since = self.dispatcher.clock.monotonic()
        self.unsent = self.transport.get_write_buffer_size()
        if self.codec.fully_read or not self.hcm.delayed_close_timeout_s:
            self.transport.close()
            if not self.unsent:
                return
        else:
            if self.held:
                self.held = 0
                self.transport.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self.close_deadline = self.idle_since + (self.hcm.delayed_close_timeout_s or 1.0)
        self.watch(self.close_deadline)

    def _linger(self, now: float) -> float:
        """Closing for a while already. A client that still takes our last bytes may be slow, but not idle for longer
        than a stream may be; one that has them all, or takes none, is left."""
        unsent = self.transport.get_write_buffer_size()
        if unsent < self.unsent:
            self.unsent = unsent
            self.idle_since = now
        elif not unsent or now >= self.idle_since + min(self.hcm.stream_idle_timeout_s, LAST_BYTES_S):
            self.hcm.stats.downstream_cx_delayed_close_timeout.value += 1
            self.abort()
            return inf
        self.close_deadline = now + (self.hcm.delayed_close_timeout_s or 1.0)
        return self.close_deadline

    def abort(self) -> None:
        """Close at once, dropping what is not written."""
        self.closing = True
        if self.open:
            self.transport.abort()

    def fence(self, error: Exception) -> None:
        """Our own mistake: this connection is closed, no other suffers."""
        self.dispatcher.bug("a downstream connection", error)
        self.abort()

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        stream = self.stream
        again = inf
        stats = self.hcm.stats
        if now >= self.close_deadline:
            return self._linger(now)
        if self.held and not self.closing and has_left(self.transport.get_extra_info("socket")):
            self.transport.abort()  # not abort(): it is the client who ends it
            return inf
        if stream is not None:
            # When the stream is over nobody tells the wheel: look for an idle connection no later than this.
            again = min(stream.check_deadlines(now), now + self.hcm.connection_idle_timeout_s)
        elif now >= self.headers_deadline:
            self.headers_deadline = inf
            stats.downstream_rq_header_timeout.value += 1
            stream = self.new_stream()
            self.codec.goaway()
            stream.local_reply(408, b"request header timeout", b"request_header_timeout")
        else:
            again = self.idle_since + self.hcm.connection_idle_timeout_s
            if now >= again:
                again = inf
                stats.downstream_cx_idle_timeout.value += 1
                self._close_gently()
        if now >= self.duration_deadline and not self.closing:
            self.duration_deadline = inf
            stats.downstream_cx_max_duration_reached.value += 1
            self.close_idle()
        if self.held and not self.closing:
            again = min(again, now + HELD_LOOK_S)
        return min(again, self.close_deadline, self.headers_deadline, self.duration_deadline)

    # -- reading -------------------------------------------------------------------------------------------------

    def _hold(self, why: int) -> None:
        if not self.held and self.open:
            self.transport.pause_reading()
            self.watch(self.dispatcher.clock.monotonic() + HELD_LOOK_S)
        self.held |= why

    def _release(self, why: int) -> None:
        if not self.held & why:
            return
        self.held &= ~why
        if not self.held and self.open and not self.transport.is_closing():
            self.transport.resume_reading()
