"""Http2DownstreamConnection: a client's socket that speaks HTTP/2, with many streams.

It takes the place of a ``network.downstream.DownstreamConnection`` where the preface is seen (codec_type AUTO)
or HTTP/2 is configured. Each stream is its own ``DownstreamStream``: the connection and the codec as an ActiveStream
sees them. Reading is never held for a stream: its window is; only a burst of requests pauses the socket for a turn.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Final

from proxy.base.errors import DOWNSTREAM_PROTOCOL_ERROR, REMOTE_RESET, CodecError, ResponseFlag
from proxy.codec.http2_server import Http2ServerCodec, Http2ServerSink, Http2ServerStream
from proxy.codec.http2_watch import Http2Flood
from proxy.http.stream import ActiveStream
from proxy.network.downstream_stream import DownstreamStream
from proxy.network.http_connection import HttpConnection

if TYPE_CHECKING:
    from proxy.base.stream_info import ConnectionInfo
    from proxy.http.connection_manager import ConnectionManager
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher

#: So much of a read goes to the codec at once. A read may have a quarter of a million bytes, ten thousand frames.
PIECE_BYTES: Final = 32 * 1024
#: A stream reset sooner than this is premature (overload.premature_reset_min_stream_lifetime_seconds).
PREMATURE_S: Final = 1.0
#: So many of them, and more than half of all: half of premature_reset_total_stream_count.
PREMATURE_MIN: Final = 250

log = logging.getLogger("connection")


class Http2DownstreamConnection(HttpConnection, Http2ServerSink):
    """One accepted connection. Its codec is ``http2``; each stream has its own ``codec``, as streams see it.

    active: streams whose request is not finished, or None; draining: no further streams are wanted;
    told_of_drain: a response has begun since the listener drains
    """

    __slots__ = (
        "active",
        "closed_streams",
        "drain_deadline",
        "draining",
        "http2",
        "ping_deadline",
        "pong_deadline",
        "premature",
        "rest",
        "resuming",
        "told_of_drain",
    )

    def __init__(self, listener: Listener, hcm: ConnectionManager, dispatcher: Dispatcher) -> None:
        HttpConnection.__init__(self, listener, hcm, dispatcher)
        self.http2 = Http2ServerCodec(self, hcm.http2_settings, hcm.http2_stats())
        self.active: set[ActiveStream] | None = None
        self.draining = self.resuming = self.told_of_drain = False
        self.premature = self.closed_streams = 0
        self.rest = b""  # of a read, for a later turn
        self.drain_deadline = self.ping_deadline = self.pong_deadline = inf

    # -- beginnings ----------------------------------------------------------------------------------------------

    def take_over(
        self, transport: asyncio.Transport, info: ConnectionInfo, duration_deadline: float, data: bytes
    ) -> None:
        """The connection has turned out to be HTTP/2; ``data``: everything that has come on it."""
        self.transport = transport
        self.info = info
        self.open = True
        self.begin(self.dispatcher.clock.monotonic(), duration_deadline)
        transport.set_protocol(self)  # type: ignore[arg-type]  # duck-typed, as everywhere here
        self.feed(data)

    def begin(self, now: float, duration_deadline: float) -> None:
        HttpConnection.begin(self, now, duration_deadline)
        self.hcm.stats.downstream_cx_http2_total.value += 1
        self.count_protocol(self.hcm.stats.downstream_cx_http2_active, b"HTTP/2")
        interval_s = self.hcm.http2_settings.keepalive_interval_s
        if interval_s:
            self.http2.on_ping_ack = self.on_pong
            self.ping_deadline = now + interval_s
            self.watch(self.ping_deadline)
        self.touch()

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        codec = self.http2
        try:
            if self.rest:
                self._feed_rest(data)
            elif len(data) <= PIECE_BYTES:
                codec.feed(data)
            else:
                self._feed_pieces(data)
        except CodecError as error:
            self._refuse(error)
            return
        if codec.blocked:
            self._pause_for_a_turn()
        waits = codec.watch.in_head
        if waits != (self.headers_deadline < inf):
            self._watch_head(waits)
        self.touch()

    def _feed_rest(self, data: bytes) -> None:
        """What of a read had to wait comes first, and not before what came before it has been handled."""
        data = self.rest + data
        self.rest = b""
        self.http2.feed(b"")
        if self.http2.blocked:
            self.rest = data
        else:
            self._feed_pieces(data)

    def _feed_pieces(self, data: bytes) -> None:
        """As much as the turn allows: frames behind what ends a connection, thousands in one read, are never looked at."""
        codec = self.http2
        for at in range(0, len(data), PIECE_BYTES):
            if codec.blocked:
                self.rest = data[at:]
                return
            if codec.dead or self.closing:
                return
            codec.feed(data[at : at + PIECE_BYTES])

    def _pause_for_a_turn(self) -> None:
        """Too many requests in one read: others get their turn before the rest."""
        if not self.resuming and not self.transport.is_closing():
            self.resuming = True
            self.transport.pause_reading()
            self.dispatcher.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self.resuming = False
        if self.closing or not self.open:
            return
        try:
            self.feed(b"")
            if not self.resuming and self.open and not self.transport.is_closing():
                self.transport.resume_reading()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def _watch_head(self, waits: bool) -> None:
        """A head (or a frame) is cut: its rest must follow within request_headers_timeout."""
        timeout_s = self.hcm.request_headers_timeout_s
        self.headers_deadline = inf
        if waits and timeout_s:
            self.headers_deadline = self.dispatcher.clock.monotonic() + timeout_s
            self.watch(self.headers_deadline)

    def eof_received(self) -> bool:
        """The client will send no more; Envoy ends such a connection, and so do we."""
        return False

    def has_request(self) -> bool:
        return self.active is not None

    def reset_requests(self) -> None:
        self.http2.dead = True  # nobody is left to be told of resets
        self._reset_all(b"downstream_remote_disconnect", False)

    def detach(self) -> None:
        self.rest = b""
        self.http2.detach()

    def _reset_all(self, details: bytes, ours: bool) -> None:
        """Every request that runs ends here. ours: for a broken protocol."""
        for stream in tuple(self.active or ()):
            stream.on_reset(DOWNSTREAM_PROTOCOL_ERROR if ours else REMOTE_RESET, details)

    def pause_writing(self) -> None:
        """The client reads too slowly: output stays in the codec, where streams block one by one."""
        self.http2.paused = True

    def resume_writing(self) -> None:
        self.http2.paused = False
        self.touch()
        self.dispatcher.flush()

    # -- the codec's and the streams' calls ----------------------------------------------------------------------

    def new_stream(self) -> Http2ServerStream:
        """A request begins."""
        held = DownstreamStream(self)
        hcm = self.hcm
        own = held.own
        stream = own.decoder = held.request = ActiveStream(held, hcm)
        stream.protocol = b"HTTP/2"
        hcm.stats.downstream_rq_http2_total.value += 1
        if self.active is None:
            self.active = {stream}
        else:
            self.active.add(stream)
        self.requests += 1
        if self.requests == hcm.max_requests_per_connection:
            hcm.stats.downstream_cx_max_requests_reached.value += 1
            self.start_drain()
        if hcm.max_stream_duration_s:
            stream.duration_deadline = stream.started_at + hcm.max_stream_duration_s
            self.watch(stream.duration_deadline)
        if stream.idle_deadline < self.due:
            self.watch(stream.idle_deadline)
        return own

    def request_done(self, own: Http2ServerStream, stream: ActiveStream) -> None:
        """A request is answered or given up; what is left of it is reset."""
        active = self.active
        if active is not None:
            active.discard(stream)
            if not active:
                self.active = None
        self.closed_streams += 1
        if self.hcm.upgraded:
            self.hcm.end_upgrade(stream)
        if stream.encode_ended and not stream.decode_ended:
            self.hcm.stats.downstream_rq_rx_reset.value += 1
        if (own.gone or not stream.encode_ended) and stream.ended_at - stream.started_at < PREMATURE_S:
            self._count_premature()
        if own.held:
            own.release()
        own.finish_early()
        if own.queued and self.hcm.stream_idle_timeout_s < inf:
            own.flush_deadline = stream.ended_at + self.hcm.stream_idle_timeout_s
            self.watch(own.flush_deadline)
        if self.active is None:
            self.idle_since = stream.ended_at
        if not self.dirty:
            self.touch()

    def _count_premature(self) -> None:
        """Rapid reset: a client most of whose streams are given up at once is cut off (as Envoy)."""
        self.premature += 1
        if (
            self.premature >= PREMATURE_MIN
            and self.premature * 2 > self.closed_streams
            and self.open
            and not self.closing
        ):
            self.hcm.stats.downstream_rq_too_many_premature_resets.value += 1
            self._cut_off(b"too_many_premature_resets")

    def flush(self) -> None:
        """Write the codec's output; then close if nothing is left to do."""
        self.dirty = False
        codec = self.http2
        try:
            output = codec.take_output()
        except CodecError as error:
            self._refuse(error)
            output = codec.take_output()
        self._write(output)
        if codec.dead and not self.closing:
            self._cut_off(b"codec_error")
        elif (
            self.active is None
            and not self.closing
            and (codec.closing or self.draining or (self.hcm.draining and self.requests))
        ):
            # one that has just come, while we drain, is told with its first response
            self._finish_drain()

    def _write(self, output: bytes) -> None:
        """The only write in this room: a peer may leave at any moment, and that is not an error."""
        if output and self.open:
            self.hcm.stats.downstream_cx_tx_bytes_total.value += len(output)
            self.info.bytes_sent += len(output)
            self.transport.write(output)

    def on_pong(self) -> None:
        """Our PING was answered."""
        self.pong_deadline = inf

    # -- the end -------------------------------------------------------------------------------------------------

    def _refuse(self, error: CodecError) -> None:
        """The client broke the protocol: its requests end, and so does the connection."""
        self.info.flags |= ResponseFlag.DPE
        if not isinstance(error, Http2Flood):  # which has a counter of its own
            self.hcm.stats.downstream_cx_protocol_error.value += 1
        if log.isEnabledFor(logging.DEBUG):
            peer = self.info.direct_remote_address
            log.debug("[C%d] %s: %s", self.info.connection_id, peer, error.details.decode())
        self.count_leaver(by_us=True)
        self._reset_all(error.details, True)
        self._close_gently()

    def _cut_off(self, details: bytes) -> None:
        """Close at once; what runs ends with it."""
        self.closing = True
        self.http2.dead = True
        self._reset_all(details, True)
        if self.open:
            self.transport.abort()

    def close_idle(self) -> None:
        """Draining: a connection without a request closes now, others when theirs are answered."""
        self.start_drain()
        self.touch()

    def start_drain(self) -> None:
        """No further streams are wanted: say so, and what is on the way is still served for drain_timeout."""
        if self.draining or self.closing:
            return
        self.draining = True
        if self.active is not None:
            self.http2.shutdown_notice()
            self.drain_deadline = self.dispatcher.clock.monotonic() + self.hcm.drain_timeout_s
            self.watch(self.drain_deadline)
        self.touch()

    def _finish_drain(self) -> None:
        """All requests are answered: GOAWAY, then the end. It says which streams were served, so that a client may
        send what crossed it again."""
        if self.http2.sending:
            return
        self.http2.goaway()
        self._close_gently()

    def _close_gently(self) -> None:
        """Close once all is written and the client has had delayed_close_timeout to stop sending."""
        if self.closing or not self.open:
            return
        self.closing = True
        self.headers_deadline = self.ping_deadline = self.pong_deadline = self.drain_deadline = inf
        self._write(self.http2.take_output())
        self.close_written(False)

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        stats = self.hcm.stats
        if now >= self.close_deadline:
            return self.go_on_closing(now)
        if self.closing:
            return self.close_deadline
        again = inf
        for stream in tuple(self.active or ()):
            again = min(again, stream.check_deadlines(now))
        if self.http2.sending:
            again = min(again, self._check_flushes(now))
        if self.active is None and not self.http2.sending:
            idle = self.idle_since + self.hcm.connection_idle_timeout_s
            if now >= idle:
                stats.downstream_cx_idle_timeout.value += 1
                self.start_drain()
                return self.close_deadline
            again = min(again, idle)
        else:
            again = min(again, now + self.hcm.connection_idle_timeout_s)
        if now >= self.duration_deadline:
            self.duration_deadline = inf
            stats.downstream_cx_max_duration_reached.value += 1
            self.start_drain()
        if now >= self.drain_deadline:
            self.drain_deadline = inf
            self.http2.goaway()
            self.touch()
        if now >= self.headers_deadline:
            self.headers_deadline = inf
            stats.downstream_rq_header_timeout.value += 1
            self._cut_off(b"request_header_timeout")
            return inf
        self._keep_alive(now)
        again = min(again, self.duration_deadline, self.drain_deadline, self.headers_deadline)
        return min(again, self.ping_deadline, self.pong_deadline, self.close_deadline)

    def _check_flushes(self, now: float) -> float:
        """Responses that are whole but that the client's window does not let out: given up after a while."""
        again = inf
        for stream in tuple(self.http2.sending):
            deadline = stream.flush_deadline
            if now >= deadline:
                self.http2.stats.tx_flush_timeout.value += 1
                stream.reset_with(2)
                self.touch()
            else:
                again = min(again, deadline)
        return again

    def _keep_alive(self, now: float) -> None:
        if now >= self.pong_deadline:
            self.http2.stats.keepalive_timeout.value += 1
            self._cut_off(b"http2_ping_timeout")
        elif now >= self.ping_deadline:
            settings = self.hcm.http2_settings
            self.ping_deadline = now + settings.keepalive_interval_s
            if self.pong_deadline != inf:
                return  # an answer is awaited already
            self.http2.ping()
            self.touch()
            if settings.keepalive_timeout_s:
                self.pong_deadline = now + settings.keepalive_timeout_s
