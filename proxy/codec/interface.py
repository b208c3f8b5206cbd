"""What a codec and its neighbours promise each other, wide enough for HTTP/2.

A codec owns the protocol state of one connection. Bytes go in through ``feed`` and come out of ``take_output``; in
between it calls a ``StreamDecoder`` per message. It calls decoders only after its parser has returned, so a bug of
ours is never taken for a peer's bad bytes.

Two sides, the same verbs: on a server connection the decoder is the ActiveStream (requests come in, responses go
out); on a client connection it is the UpstreamRequest (responses come in, requests go out).
"""

from __future__ import annotations

from mypy_extensions import trait

from proxy.base.errors import ResetReason
from proxy.base.headers import HeaderMap


@trait
class StreamDecoder:
    """One message's receiver; also the key by which a codec knows the stream."""

    __slots__ = ()

    def decode_informational(self, headers: HeaderMap) -> None:
        """A 1xx response head (client side only)."""

    def decode_protocol(self, protocol: bytes) -> None:
        """The request is of this version, not HTTP/1.1; decode_headers follows (server side only)."""

    def decode_headers(self, headers: HeaderMap, end: bool) -> None:
        """The head: RequestHeaders or ResponseHeaders. ``end``: no body, no trailers follow."""

    def decode_data(self, data: bytes, end: bool) -> None:
        """Body bytes, framing removed. ``end`` with b"" is allowed."""

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers; the message is over."""

    def on_reset(self, reason: ResetReason, details: bytes) -> None:
        """The message will not be finished: peer reset, connection gone, protocol error. Called at most once."""


@trait
class ServerSink:
    """A server connection as its codec sees it."""

    __slots__ = ()

    def new_stream(self) -> StreamDecoder:
        """A request begins: its head is complete and decode_headers follows at once, or the head is refused
        and the codec raises CodecError."""
        raise NotImplementedError

    def on_preface(self) -> bool:
        """The connection's first head is the beginning of HTTP/2's preface. True: the sink will take what waits
        (``take_waiting``) elsewhere; False: it is a bad request."""
        return False


class Codec:
    """Common to both sides."""

    __slots__ = ("blocked", "closing", "field_bytes_in", "field_bytes_out")

    #: the connection must be closed once everything in take_output has been written
    closing: bool
    #: input is waiting that cannot be taken before a current stream ends (HTTP/1 pipelining): stop reading
    blocked: bool
    #: bytes of the fields of the last head read and of the last one written, as Envoy counts them
    field_bytes_in: int
    field_bytes_out: int

    def feed(self, data: bytes) -> None:
        """Bytes from the peer; b"" goes on with waiting input. Raises CodecError when the peer breaks the protocol."""

    def eof(self) -> None:
        """The peer will send no more: ends a body that runs to the close, resets what cannot be finished."""

    def take_output(self) -> bytes:
        """Everything to be written now; empties the queue."""
        raise NotImplementedError

    def detach(self) -> None:
        """The connection is gone: cut the links."""

    def informational(self, stream: StreamDecoder, headers: HeaderMap) -> None:
        """Write a 1xx head."""

    def headers(self, stream: StreamDecoder, headers: HeaderMap, end: bool) -> None:
        """Write a head. The codec chooses the body's framing from ``end`` and content-length."""

    def data(self, stream: StreamDecoder, data: bytes, end: bool) -> None:
        """Write body bytes."""

    def trailers(self, stream: StreamDecoder, trailers: HeaderMap) -> None:
        """Write trailers; ends the message."""

    def reset(self, stream: StreamDecoder, reason: ResetReason) -> None:
        """Give the stream up: HTTP/2 RST_STREAM; on HTTP/1 the connection becomes ``closing``."""

    def consumed(self, stream: StreamDecoder, count: int) -> None:
        """``count`` body bytes have left us: gives the flow-control window back (HTTP/2)."""

    def queued_bytes(self, stream: StreamDecoder) -> int:
        """Body bytes of the stream that wait in the codec for the peer's window (HTTP/1: 0)."""
        return 0

    def goaway(self) -> bool:
        """No new streams: HTTP/2 GOAWAY; HTTP/1 ``connection: close`` on the response being or next written. Whether no
        other stream of the connection has been told so."""
        return False


class ServerCodec(Codec):
    """A codec towards clients, which also knows what its current request and response take on the wire."""

    __slots__ = ("wire_bytes_in", "wire_bytes_out")

    wire_bytes_in: int
    wire_bytes_out: int

    @property
    def fully_read(self) -> bool:
        """No byte of a request is known to be missing or waiting."""
        raise NotImplementedError

    @property
    def has_input(self) -> bool:
        """Bytes of a request that no stream has yet: a head that is cut, or pipelined input."""
        raise NotImplementedError

    def take_waiting(self) -> bytes:
        """Input that was kept; it will not be read here."""
        raise NotImplementedError


class ClientCodec(ServerCodec):
    """A codec towards hosts. It extends ServerCodec because an HTTP/2 stream is one class for both sides; what only
    clients' connections ask of their codec stays unanswered in HTTP/1's."""

    __slots__ = ("protocol_error", "response_done", "reusable")

    #: the host broke the protocol
    protocol_error: bool
    #: the last response is over
    response_done: bool
    #: another request may follow
    reusable: bool

    @property
    def request_done(self) -> bool:
        """Whether the last request was written whole."""
        raise NotImplementedError

    @property
    def peer_closes(self) -> bool:
        """Whether the last response's head said that the host closes the connection after it."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection broke: nothing ends cleanly."""

    def keep_halves(self) -> bool:
        """The request may go on when the response is whole (HTTP/2, in a tunnel); False where it cannot."""
        return False
