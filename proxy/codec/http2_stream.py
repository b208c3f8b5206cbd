"""Http2Stream: one stream of an HTTP/2 connection, and the codec as its message sees it.

An HTTP/1 connection has one message at a time, so its codec can be asked "what did *the* request take on the wire";
here each message asks its own stream. So this is the ``proxy.codec.interface.Codec`` given to an ActiveStream or an
UpstreamRequest; what concerns the connection is the connection's.

Windows: what comes in is ``unread`` until somebody says ``consumed``; what goes out and the peer's window does not take
waits in the engine, and ``on_blocked`` says so when it is much.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from mypy_extensions import trait

from proxy.base.headers import HeaderMap
from proxy.codec.http2_engine import NGH2Error
from proxy.codec.http2_head import checked
from proxy.codec.interface import ClientCodec

if TYPE_CHECKING:
    from proxy.base.errors import ResetReason
    from proxy.codec.http2_connection import Http2Codec
    from proxy.codec.interface import StreamDecoder

FRAME_BYTES: Final = 16384  # of a DATA frame at most: peers that allow more are not sent more
HEAD_BYTES: Final = 9

#: A stream is blocked when so much of it waits for the peer's window, and no longer when this little does.
HIGH_WATERMARK: Final = 64 * 1024
LOW_WATERMARK: Final = 16 * 1024

NO_ERROR: Final = 0
PROTOCOL_ERROR_CODE: Final = 1
INTERNAL_ERROR_CODE: Final = 2
REFUSED_STREAM_CODE: Final = 7
CONNECT_ERROR_CODE: Final = 10


@trait
class StreamWatcher:
    """Whoever holds the stream for its message: the network's object beside the codec's."""

    __slots__ = ()

    def on_blocked(self) -> None:
        """Much waits for the peer's window."""

    def on_unblocked(self) -> None:
        """Little waits."""

    def on_over(self, reason: ResetReason | None) -> None:
        """The exchange is over, whole (None) or for a reason. Told to clients' streams, before their decoder."""


class Http2Stream(ClientCodec):
    """decoder: who gets the message that comes in; None once it is over or given up

    read_done, write_done: the incoming, outgoing half has ended; gone: the engine knows the stream no more
    held: the message cannot take more: its window is not given back
    upgrade: the protocol, or CONNECT, that the request asks for
    write_blocked: much waits for the peer's window; flush_deadline: when a response that is whole but does not leave
    is given up
    """

    __slots__ = (
        "conn",
        "decoder",
        "flush_deadline",
        "gone",
        "held",
        "queued",
        "read_done",
        "stream_id",
        "unread",
        "upgrade",
        "watcher",
        "write_blocked",
        "write_done",
    )

    def __init__(self, conn: Http2Codec) -> None:
        self.conn = conn
        self.stream_id = 0
        self.decoder: StreamDecoder | None = None
        self.watcher: StreamWatcher | None = None
        self.flush_deadline = inf
        self.closing = False  # as Codec: the connection's business, never the stream's
        self.blocked = False
        self.wire_bytes_in = self.wire_bytes_out = 0
        self.field_bytes_in = self.field_bytes_out = 0
        self.read_done = self.write_done = self.gone = False
        self.held = self.write_blocked = self.queued = False
        self.unread = 0
        self.upgrade: bytes | None = None

    # -- what the message calls ----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes go to the connection's codec."""
        raise AssertionError("a stream is not fed")

    def eof(self) -> None:
        """As feed."""
        raise AssertionError("a stream does not end by itself")

    def take_output(self) -> bytes:
        """Output is the connection's."""
        return b""

    def data(self, stream: StreamDecoder, data: bytes, end: bool) -> None:
        """Body bytes; the engine cuts them into frames as the windows allow."""
        if self.gone or self.write_done:
            return
        size = len(data)
        if not size and not end:
            return
        conn = self.conn
        try:
            conn.h2.send_data(self.stream_id, data, end_stream=end)
        except NGH2Error:
            self.gone = True
            return
        frames = (size + FRAME_BYTES - 1) // FRAME_BYTES or 1
        conn.watch.sent_data += frames
        conn.outbound += frames
        if conn.paused:
            conn.check_outbound()
        self.wire_bytes_out += size + HEAD_BYTES * frames
        if not self.queued:
            self.queued = True
            conn.sending.append(self)
        if end:
            self._ended()

    def trailers(self, stream: StreamDecoder, trailers: HeaderMap) -> None:
        """Trailers; ends the message. Without a field it is an empty DATA frame that ends."""
        if self.gone or self.write_done:
            return
        fields = trailers.fields
        if not fields:
            self.data(stream, b"", True)
            return
        checked(fields)
        conn = self.conn
        try:
            conn.h2.send_trailers(self.stream_id, fields)
        except NGH2Error:
            self.gone = True
            return
        if not conn.sending:
            size = conn.pull()
            self.wire_bytes_out += size
            self.field_bytes_out += size
        self._ended()

    def _ended(self) -> None:
        """Our half is over."""
        self.write_done = True

    def reset(self, stream: StreamDecoder, reason: ResetReason) -> None:
        """Give the stream up: INTERNAL_ERROR, as Envoy says whenever it is not the peer's protocol that was broken; for a
        tunnel CONNECT_ERROR (RFC 9113 section 8.5)."""
        self.reset_with(INTERNAL_ERROR_CODE if self.upgrade is None else CONNECT_ERROR_CODE)

    def reset_with(self, code: int) -> None:
        """RST_STREAM, unless the stream is over already."""
        self.decoder = None
        if not self.gone:
            self.gone = True
            self.conn.reset_stream(self, code)

    def consumed(self, stream: StreamDecoder, count: int) -> None:
        """``count`` body bytes have left us."""
        self.give_back(count)

    def give_back(self, count: int) -> None:
        """Return flow-control window to the peer."""
        self.unread -= count
        self.conn.acknowledge(self.stream_id, count)

    def hold(self) -> None:
        """The message can take no more: the peer is stopped by its window."""
        self.held = True

    def release(self) -> None:
        """The message can take more again."""
        self.held = False
        if self.unread:
            self.give_back(self.unread)

    def queued_bytes(self, stream: StreamDecoder) -> int:
        """Body bytes that wait for the peer's window."""
        return 0 if self.gone else self.conn.h2.queued_body_size(self.stream_id)

    def goaway(self) -> bool:
        """HTTP/1's "close after this response" means nothing to a stream among others."""
        return False

    # -- what the connection calls -------------------------------------------------------------------------------

    def over(self, reason: ResetReason | None) -> None:
        """The exchange is over."""
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.on_over(reason)
