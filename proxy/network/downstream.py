"""DownstreamConnection: a client's socket and its HTTP/1 codec. Room 1 of the corridor. HTTP/2:
``network.downstream_http2``; what both have in common: ``network.http_connection``.

uvloop calls ``connection_made``, ``data_received`` ...; the codec calls ``new_stream``. ``flush()`` is the only place
that writes to the socket. Reading is held for two reasons, kept as bits: the codec has pipelined input it cannot take,
or a stream's upstream is slow.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final, cast

from proxy.base.errors import REMOTE_RESET, CodecError, ResponseFlag
from proxy.codec.http1 import PREFACE_HEAD, Http1ServerCodec
from proxy.codec.interface import ServerSink
from proxy.http.stream import ActiveStream
from proxy.network.http_connection import HttpConnection
from proxy.network.keepalive import has_left
from proxy.network.layer import TransportLayer

if TYPE_CHECKING:
    from proxy.http.connection_manager import ConnectionManager
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher

HOLD_CODEC: Final = 1
HOLD_STREAM: Final = 2
#: while reading is held the loop hears nothing of the client's end: it is looked for so often
HELD_LOOK_S: Final = 1.0

log = logging.getLogger("connection")


class DownstreamConnection(HttpConnection, ServerSink):
    """One accepted connection. is_http2: the preface has come: everything is another connection object's"""

    __slots__ = ("held", "in_feed", "is_http2", "stream")

    def __init__(self, listener: Listener, hcm: ConnectionManager, dispatcher: Dispatcher) -> None:
        HttpConnection.__init__(self, listener, hcm, dispatcher)
        self.codec = Http1ServerCodec(self, hcm.codec_settings)
        self.stream: ActiveStream | None = None
        self.in_feed = False
        self.held = 0
        self.is_http2 = False

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def eof_received(self) -> bool:
        """The client will send no more. Envoy gives such a client no reply, and neither do we."""
        try:
            self.count_leaver()
            self.codec.eof()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)
        return False

    def has_request(self) -> bool:
        return self.stream is not None

    def reset_requests(self) -> None:
        if self.stream is not None:
            self.stream.on_reset(REMOTE_RESET, b"downstream_remote_disconnect")

    def detach(self) -> None:
        self.codec.detach()

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
            # What should have been one counts too: Envoy makes its codec no earlier.
            self.hcm.stats.downstream_cx_http1_total.value += 1
            self.count_protocol(self.hcm.stats.downstream_cx_http1_active, b"HTTP/1.1")
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

    def on_preface(self) -> bool:
        """The connection begins like HTTP/2. False: that is not wanted here, or not the beginning."""
        self.is_http2 = self.hcm.detects_http2 and not self.requests
        return self.is_http2

    def _become_http2(self) -> None:
        """Everything from the first byte on is for another connection object, which takes this one's place."""
        from proxy.network.downstream_http2 import Http2DownstreamConnection  # see server.later.import_later

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
        if not stream.decode_ended:
            self.hcm.end_incomplete(stream)
        if self.held & HOLD_STREAM:
            self._release(HOLD_STREAM)
        if not self.dirty:
            self.touch()

    def flush(self) -> None:
        """Write the codec's output; then close, or take the next pipelined request."""
        self.dirty = False
        codec = self.codec
        output = codec.take_output()
        if output and self.open:
            # The only write in this room: a peer may leave at any moment, and that is not an error.
            self.hcm.stats.downstream_cx_tx_bytes_total.value += len(output)
            self.info.bytes_sent += len(output)
            if self.info.tls is not None and codec.closing and self._closes_now():
                cast(TransportLayer, self.transport).write_last(output)
            else:
                self.transport.write(output)
        if self.stream is None and not self.in_feed and (codec.closing or codec.blocked or self.hcm.draining):
            self._between_requests()

    def hold_reading(self) -> None:
        """A stream cannot take more request bytes."""
        if not self.held & HOLD_STREAM:
            self.hcm.stats.downstream_flow_control_paused_reading_total.value += 1
            self._hold(HOLD_STREAM)

    def release_reading(self) -> None:
        """The stream can take request bytes again."""
        if self.held & HOLD_STREAM:
            self.hcm.stats.downstream_flow_control_resumed_reading_total.value += 1
            self._release(HOLD_STREAM)

    # -- between requests ----------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
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
        self.info.flags |= ResponseFlag.DPE
        stream = self.stream
        if stream is None:
            stream = self.new_stream()
        if self.requests == 1 and stream.request_headers is None:
            self.info.protocol = b""  # nobody knows what the client speaks
        stream.refuse(error)

    def _between_requests(self) -> None:
        if self.closing or self.left or not self.open:
            return  # what has come of further requests is not wanted any more
        codec = self.codec
        if codec.closing:
            self._close_gently()
        elif codec.blocked:
            if not self.write_blocked:  # else resume_writing comes back here through a flush
                self.feed(b"")
        elif not codec.has_input:
            self._close_gently()  # draining

    def _head_begins(self) -> None:
        """A part of a request head has come: the rest must follow within request_headers_timeout."""
        if not self.info.flags:  # no rest of what was refused
            self.info.protocol = b"HTTP/1.1"
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

    def _closes_now(self) -> bool:
        """Of a codec that is closing: whether nothing is left to wait for, so that this turn ends with the close."""
        return (
            self.stream is None
            and not self.in_feed
            and not self.closing
            and not self.left
            and self._at_once()
        )

    def _at_once(self) -> bool:
        """The client cannot be sending, or nobody cares for what it sends."""
        return self.codec.fully_read or not self.hcm.delayed_close_timeout_s

    def _close_gently(self) -> None:
        """Close once all is written; at once where the client cannot be sending."""
        if self.closing or not self.open:
            return
        self.closing = True
        at_once = self._at_once()
        if self.held and not at_once:
            self.held = 0
            self.transport.resume_reading()
        self.close_written(at_once)

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        stream = self.stream
        again = inf
        stats = self.hcm.stats
        if now >= self.close_deadline:
            return self.go_on_closing(now)
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
