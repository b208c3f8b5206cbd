"""Http2Codec: what both sides of HTTP/2 share: the engine (http2_engine), its events, budgets, windows and endings.

Bytes pass the FrameWatch, then the engine; then its events become calls of decoders. The engine has parsed everything
of a read before the first event is handled, so a stream may be over in the engine while its request is being handled:
what is sent on it then is dropped, and its StreamClosed event follows.

The engine never tells *why* it refused a message; it resets the stream. A refused head is known by its wire bytes in
``watch.heads`` that no event has claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proxy.base.errors import CodecError
from proxy.codec.http2_engine import (
    Connection,
    ConnectionClosed,
    GoAwayReceived,
    NGH2Error,
    PingAcknowledged,
    Role,
    StreamClosed,
    StreamReset,
    StreamUnavailableError,
)
from proxy.codec.http2_settings import DEFAULT_WINDOW, Http2Settings
from proxy.codec.http2_stream import HIGH_WATERMARK, LOW_WATERMARK, PROTOCOL_ERROR_CODE, Http2Stream
from proxy.codec.http2_watch import HEAD_BYTES, WINDOW_BYTES, FrameWatch, Http2Flood
from proxy.codec.interface import Codec

if TYPE_CHECKING:
    from proxy.stats.http2 import Http2Stats

#: So much waits at most on all streams of a connection before each that waits is blocked.
CONNECTION_HIGH_WATERMARK: Final = 8 * 1024 * 1024

LARGEST_WINDOW: Final = 0x7FFFFFFF
FLOW_CONTROL_ERROR_CODE: Final = 3

#: no events
NOTHING: Final[list[Any]] = []

MESSAGING: Final = b"http2.violation.of.messaging.rule"
ENGINE: Final = b"http2.unknown.nghttp2.error"


class Http2Codec(Codec):
    """One HTTP/2 connection. Not used itself: see Http2ServerCodec, Http2ClientCodec.

    closing: close the connection once take_output is written
    dead: nothing more can be read or written (the engine gave up, or a flood)
    paused: the socket takes no more: output stays in the engine, where streams block
    streams: live ones by id; sending: those with body bytes in the engine
    ending: server: streams whose response is whole but whose request is not; refused: client: tries that the engine
    took no stream for; None while there are none
    left_with: the error code of the peer's GOAWAY: an end of the connection for it is no mistake of the peer's
    on_ping_ack: called when a PING of ours was answered; None where none is sent
    """

    __slots__ = (
        "_events",
        "_out",
        "dead",
        "ending",
        "full",
        "goaway_sent",
        "h2",
        "left_with",
        "on_ping_ack",
        "outbound",
        "paused",
        "refused",
        "sending",
        "settings",
        "stats",
        "streams",
        "watch",
    )

    def __init__(self, role: Role, settings: Http2Settings, stats: Http2Stats) -> None:
        self.settings = settings
        self.stats = stats
        self.h2 = Connection(role, settings.engine())
        self.streams: dict[int, Http2Stream] = {}
        self.watch = FrameWatch(settings, self.streams, role is Role.SERVER)
        self.sending: list[Http2Stream] = []
        self.ending: list[Http2Stream] | None = None
        self.refused: list[Http2Stream] | None = None
        self.full = False  # too much waits on all streams together
        self.closing = self.dead = self.blocked = self.paused = self.goaway_sent = False
        self.field_bytes_in = self.field_bytes_out = 0
        self.left_with = 0
        self.outbound = 0  # frames made since the socket last took what there was
        self.on_ping_ack: Callable[[], None] | None = None
        self._out: list[bytes] = []
        self._events: list[Any] = NOTHING  # of this read, not handled yet; replaced, never added to
        if role is Role.SERVER:
            local = settings.server_settings()
            stats.nghttp2_downstream_connections.value += 1
        else:
            local = settings.client_settings()
            stats.nghttp2_upstream_connections.value += 1
        self.h2.initiate_connection(local)
        if settings.initial_connection_window_size > DEFAULT_WINDOW:
            self.h2.set_local_window_size(settings.initial_connection_window_size)
        self.pull()

    # -- reading -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes from the peer; b"" goes on with what waits. Raises CodecError: the connection is over."""
        if self.dead:
            return
        if data:
            try:
                self.watch.read(data)
                self.h2.receive_data(self._without_leaps(data) if self.watch.leaps else data)
            except Http2Flood:
                self._flooded(data)
                raise
            except NGH2Error:
                self._die()
                raise CodecError(0, b"", ENGINE) from None
        self.blocked = False
        self.run()
        if (self.watch.heads or self.watch.early) and not self.blocked:
            if not self.paused:
                self.watch.forget_heads()
            elif len(self.watch.heads) > self.settings.max_outbound_control_frames:
                self.stats.outbound_control_flood.value += 1  # each refused head is a reset that waits
                self._die()

    def _without_leaps(self, data: bytes) -> bytes:
        """Reset the streams whose windows a read would take beyond 2^31-1 (RFC 9113 section 6.9.1; the engine would end
        the connection, as it does where such a frame comes in two reads); what of the read the engine has yet to see."""
        seen = 0
        leaps = self.watch.leaps
        assert leaps is not None
        self.watch.leaps = None
        for at in leaps:
            self.h2.receive_data(data[seen:at])
            seen = at
            stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & LARGEST_WINDOW
            increment = int.from_bytes(data[at + 9 : at + 13], "big") & LARGEST_WINDOW
            try:
                if self.h2.stream_remote_window_size(stream_id) + increment > LARGEST_WINDOW:
                    self.h2.reset_stream(stream_id, FLOW_CONTROL_ERROR_CODE)
                    seen = at + HEAD_BYTES + WINDOW_BYTES
            except StreamUnavailableError:
                continue  # of no stream, or none any more: the engine knows what that means
        return data[seen:]

    def _flooded(self, data: bytes) -> None:
        """What came before the frame that was one too many is still taken: its requests get their log lines."""
        if self.watch.flood:
            self.stats.count_flood(self.watch.flood)
        else:
            self.stats.rx_messaging_error.value += 1
        before = self.watch.flood_at
        if before > 0:
            try:
                self.h2.receive_data(data[:before])
                self.run()
            except (NGH2Error, CodecError):
                pass
        self._die()

    def run(self) -> None:
        """Handle events until there are none, or ``blocked``. What the engine wants to say may make more of them."""
        while True:
            events = self._events or self.h2.events()
            if not events:
                if self.paused or not self.pull():
                    return
                events = self.h2.events()
                if not events:
                    return
            self._events = NOTHING
            self.handle(events)
            if self.blocked or self.dead:
                return

    def handle(self, events: list[Any]) -> None:
        """What the sides do with events."""
        raise NotImplementedError

    def other(self, event: Any) -> None:
        """Events that both sides treat alike."""
        kind = type(event)
        if kind is StreamClosed:
            self._stream_closed(event.stream_id, event.error_code)
        elif kind is StreamReset:
            self.stats.rx_reset.value += 1
            stream = self.streams.pop(event.stream_id, None)
            if stream is not None:
                self.left(stream)
                self.on_remote_reset(stream, event.error_code)
        elif kind is PingAcknowledged:
            if self.on_ping_ack is not None:
                self.on_ping_ack()
        elif kind is GoAwayReceived:
            self.left_with = event.error_code
        elif kind is ConnectionClosed and not self.dead:
            self.closing = True
            if event.error_code and event.error_code != self.left_with:
                self.dead = True
                raise CodecError(0, b"", ENGINE)

    def _stream_closed(self, stream_id: int, code: int) -> None:
        """A stream is over in the engine: by both ends, by our reset, or by the engine's for the peer's mistake."""
        streams, heads = self.streams, self.watch.heads
        stream = streams.pop(stream_id, None)
        refused_head = heads.pop(stream_id, None)
        self.watch.tails.pop(stream_id, None)
        if not streams and not heads:  # dicts keep the room they have had, which idle connections do not need
            streams.clear()
            heads.clear()
        if code and (stream is not None or refused_head is not None):
            self.watch.reset(stream_id)
        if stream is not None:
            self.left(stream)
            if stream.decoder is None or (stream.read_done and stream.write_done):
                return
        elif refused_head is None or not code:
            return
        if code == PROTOCOL_ERROR_CODE and refused_head is not None:
            self.stats.rx_messaging_error.value += 1
            if stream is not None:
                self.on_bad_trailers()
            if not self.settings.stream_errors:
                self._die()
                self.on_violation(stream_id, stream)
                raise CodecError(0, b"", b"codec_error:The_user_callback_function_failed")
        if code == REFUSED and stream is None:
            self.stats.stream_refused_errors.value += 1
            return
        self.stats.tx_reset.value += 1
        self.on_violation(stream_id, stream)

    def left(self, stream: Http2Stream) -> None:
        """A stream leaves the connection."""
        stream.gone = True
        self.stats.streams_active.value -= 1
        if stream.unread:
            stream.give_back(stream.unread)

    def on_remote_reset(self, stream: Http2Stream, code: int) -> None:
        """The peer gave a stream up."""
        raise NotImplementedError

    def on_violation(self, stream_id: int, stream: Http2Stream | None) -> None:
        """The peer broke the rules on a stream, which is None when its head was refused."""
        raise NotImplementedError

    def on_bad_trailers(self) -> None:
        """What was refused of a stream is not its head: Envoy counts the trailers of clients, be they what they may."""

    def _die(self) -> None:
        self.dead = self.closing = True
        self._out.clear()

    # -- writing -------------------------------------------------------------------------------------------------

    def pull(self) -> int:
        """Take what the engine has to say into the output; how many bytes that was."""
        if self.dead:
            return 0
        try:
            output = self.h2.data_to_send()
        except NGH2Error:
            self._die()
            return 0
        if output:
            self._out.append(output)
        return len(output)

    def take_output(self) -> bytes:
        """Everything to be written now. May call decoders: streams end with their last bytes."""
        if not self.dead:
            self.watch.control = 0
            if not self.paused:
                self.outbound = 0
            self._settle()
        out = self._out
        if not out:
            return b""
        output = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return output

    def _settle(self) -> None:
        """Move output, see which streams still wait for the peer, handle what has happened meanwhile."""
        if self.paused:
            self._see_waiting()
            return
        self.pull()
        if self.sending:
            self._see_waiting()
        if not self._events:
            events = self.h2.events()
            if events:
                self._events = events
                self.run()
        if self.sending and self.pull():
            self._see_waiting()

    def _see_waiting(self) -> None:
        """Block and unblock streams by what of them waits."""
        sending, self.sending = self.sending, []
        h2 = self.h2
        full = h2.queued_body_size() > CONNECTION_HIGH_WATERMARK
        if full and not self.full:
            self._block_all()
        self.full = full
        for stream in sending:
            if stream.gone:
                continue
            waiting = h2.queued_body_size(stream.stream_id)
            if stream.write_blocked:
                if waiting <= LOW_WATERMARK and not full:
                    stream.write_blocked = False
                    if stream.watcher is not None:
                        stream.watcher.on_unblocked()
            elif waiting > HIGH_WATERMARK or (full and waiting):
                stream.write_blocked = True
                if stream.watcher is not None:
                    stream.watcher.on_blocked()
            if waiting or stream.write_blocked:
                self.sending.append(stream)
            else:
                stream.queued = False

    def _block_all(self) -> None:
        """All together make too much wait: those of which nothing waits yet must not begin to."""
        for stream in tuple(self.streams.values()):
            if not stream.queued and not stream.gone and stream.decoder is not None:
                self.born_blocked(stream)

    def born_blocked(self, stream: Http2Stream) -> None:
        """A stream that begins while the peer takes nothing: it may not make more wait."""
        stream.write_blocked = stream.queued = True
        self.sending.append(stream)
        if stream.watcher is not None:
            stream.watcher.on_blocked()

    def check_outbound(self) -> None:
        """The peer reads nothing while we answer: at some point that is no longer patience."""
        if self.outbound > self.settings.max_outbound_frames and not self.dead:
            self.stats.outbound_flood.value += 1
            self._die()

    def acknowledge(self, stream_id: int, count: int) -> None:
        """Give ``count`` bytes of the stream's and the connection's window back."""
        if not self.dead:
            try:
                self.h2.acknowledge_received_data(count, stream_id)
            except NGH2Error:
                self._die()

    def reset_stream(self, stream: Http2Stream, code: int) -> None:
        """RST_STREAM; the stream's own message is no longer told anything."""
        if self.dead:
            return
        self.stats.tx_reset.value += 1
        self.watch.reset(stream.stream_id)
        if not self.paused:
            self.pull()  # what was written before goes before: in the engine a reset overtakes
        try:
            self.h2.reset_stream(stream.stream_id, code)
        except NGH2Error:
            return

    def ping(self) -> None:
        """A keepalive PING."""
        if not self.dead:
            try:
                self.h2.ping(b"outrider")
            except NGH2Error:  # both have said GOAWAY: nobody would answer
                return

    def goaway(self) -> bool:
        """No new streams from now on; those that run go on."""
        if self.goaway_sent or self.dead:
            return False
        self.goaway_sent = True
        self.watch.is_strict = False  # streams that we do not see any more are not over for the client
        self.stats.goaway_sent.value += 1
        try:
            self.h2.send_goaway(0)
        except NGH2Error:
            self._die()
        return True

    def shutdown_notice(self) -> None:
        """GOAWAY that refuses nothing yet: the peer opens no more streams, those on the way are still served."""
        if not self.goaway_sent and not self.dead:
            try:
                self.h2.send_shutdown_notice()
            except NGH2Error:
                self._die()

    def eof(self) -> None:
        """The peer will send no more; what runs cannot be finished (the connection says so to its streams)."""
        self.closing = True

    def detach(self) -> None:
        """The connection is gone: cut the links."""
        self._die()
        self.stats.streams_active.value -= len(self.streams)
        for stream in self.streams.values():
            stream.gone = True
            stream.decoder = stream.watcher = None
        self.streams.clear()
        self.sending.clear()
        self.ending = None
        self.refused = None
        self._events = NOTHING
        self.on_ping_ack = None


REFUSED: Final = 7
