"""RawClientCodec: a host's connection that carries bytes and no messages, as the far end of a tunnel.

The request's head is for nobody, its body is what is written; what the host says is the response's body, up to its FIN.
"""

from __future__ import annotations

from proxy.base.errors import CONNECTION_TERMINATION, ResetReason
from proxy.base.headers import HeaderMap
from proxy.codec.interface import ClientCodec, StreamDecoder


class RawClientCodec(ClientCodec):
    """One connection, for one tunnel (``proxy.codec.interface.Codec``)."""

    __slots__ = ("_decoder", "_ended", "_out")

    def __init__(self) -> None:
        self._decoder: StreamDecoder | None = None
        self._ended = False
        self._out: list[bytes] = []
        self.closing = self.blocked = self.protocol_error = self.response_done = self.reusable = False
        self.field_bytes_in = self.field_bytes_out = 0
        self.wire_bytes_in = self.wire_bytes_out = 0

    def feed(self, data: bytes) -> None:
        """Bytes of the host."""
        if self._decoder is not None:
            self._decoder.decode_data(data, False)

    def eof(self) -> None:
        """The host will say no more: the tunnel is over, whatever the client still has to say (as in Envoy)."""
        decoder, self._decoder = self._decoder, None
        self.closing = True
        if decoder is not None:
            self.response_done = True
            decoder.decode_data(b"", True)

    def lost(self) -> None:
        """The connection broke."""
        decoder, self._decoder = self._decoder, None
        self.closing = True
        if decoder is not None:
            decoder.on_reset(CONNECTION_TERMINATION, b"")

    def detach(self) -> None:
        self._decoder = None
        self._out.clear()

    def take_output(self) -> bytes:
        if not self._out:
            return b""
        joined = b"".join(self._out)
        self._out.clear()
        return joined

    def headers(self, stream: StreamDecoder, headers: HeaderMap, end: bool) -> None:
        """The tunnel begins."""
        self._decoder = stream

    def data(self, stream: StreamDecoder, data: bytes, end: bool) -> None:
        """Bytes of the client. Its end is the connection's to tell: ``UpstreamStream.end_writing``."""
        if stream is self._decoder:
            self._out.append(data)
            self._ended = end

    def reset(self, stream: StreamDecoder, reason: ResetReason) -> None:
        self._decoder = None
        self.closing = True

    @property
    def request_done(self) -> bool:
        """Whether the client has ended its half."""
        return self._ended

    @property
    def peer_closes(self) -> bool:
        """Always, and it is no notice."""
        return False
