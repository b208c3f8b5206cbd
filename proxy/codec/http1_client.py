"""Http1ClientCodec: requests out, responses in, one after the other.

Whatever is wrong with a response ends in ``decoder.on_reset`` and ``closing``, never in an exception: an upstream's
failure is a value. The codec's own state is settled before the decoder hears that a response is over, because the
decoder may hand the connection to the next request in that very call.

``reusable`` is False after a response when: it said ``close``, was HTTP/1.0, ran to the close, broke the protocol, was
followed by bytes that nobody asked for, or was complete before its request was. A request for another protocol or a
tunnel is never complete, so its connection serves no other, granted or not.
"""

from __future__ import annotations

from typing import Final

from proxy.base.errors import CONNECTION_TERMINATION, PROTOCOL_ERROR, CodecError, ResetReason
from proxy.base.headers import (
    CASED,
    CONTENT_LENGTH,
    HOP_BY_HOP,
    TRANSFER_ENCODING,
    UPGRADE,
    ResponseHeaders,
)
from proxy.codec.http1_body import ChunkedReader
from proxy.codec.http1_head import HeadBuffer, read_response
from proxy.codec.http1_options import without_length
from proxy.codec.http1_request import CHUNKED, CLOSE, HEAD, LENGTH, TUNNEL, RequestWriter
from proxy.codec.http1_weigh import CHUNKED as CHUNKED_LENGTH
from proxy.codec.http1_weigh import (
    UNKNOWN,
    Http1Settings,
    bad_request,
    connection_tokens,
    message_length,
    too_large,
)
from proxy.codec.http1_write import BY_CONNECT, BY_UPGRADE, FRAMING_NAMES
from proxy.codec.interface import StreamDecoder

STEERING_BITS: Final = CONTENT_LENGTH | TRANSFER_ENCODING | HOP_BY_HOP

BODILESS_STATUS: Final = frozenset((204, 304))

_NO_SETTINGS: Final = Http1Settings()


class Http1ClientCodec(RequestWriter):
    """One upstream connection's protocol state (``proxy.codec.interface.Codec``).

    decoder: who gets the response being waited for, or None; response_done: the last response is over
    reusable: another request may follow (see above); protocol_error: the host broke the protocol
    head_bytes: size of the last response head
    field_bytes_in: of its fields, as Envoy counts: each one's name, value and three bytes more
    field_bytes_out: of the last request head's field lines
    """

    __slots__ = (
        "_chunks",
        "_held",
        "_keep_alive",
        "_left",
        "head_bytes",
    )

    def __init__(self, settings: Http1Settings = _NO_SETTINGS) -> None:
        RequestWriter.__init__(self, settings)
        self.blocked = False  # responses are never kept waiting
        self.protocol_error = False
        # reading
        self.head_bytes = self.field_bytes_in = 0
        self._held: HeadBuffer | None = None
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._keep_alive = True

    # -- reading -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes from the host. Never raises CodecError: see the module's words."""
        at = 0
        size = len(data)
        try:
            while at < size:
                if self.decoder is None:
                    self._unasked()
                    return
                state = self._state
                if state == HEAD:
                    end = data.find(b"\r\n\r\n", at) + 4 if self._held is None else 0
                    if end > 3:  # the whole head is here
                        self._take_head(data if end - at == size else data[at:end], end < size)
                        at = end
                    else:
                        at = self._read_head(data, at)
                elif state == LENGTH:
                    at = self._read_length(data, at)
                elif state == CHUNKED:
                    at = self._read_chunks(data, at)
                else:
                    self.decoder.decode_data(data[at:] if at else data, False)
                    return
        except CodecError as error:
            self._fail(PROTOCOL_ERROR, error.details)

    def _unasked(self) -> None:
        """Bytes that answer nothing: whatever they are, this connection's order can no longer be trusted."""
        if not self.closing:
            self.closing = self.protocol_error = True
            self.reusable = False

    def _read_head(self, data: bytes, at: int) -> int:
        """A head that comes in pieces."""
        held = self._held
        if held is None:
            held = self._held = HeadBuffer(self._settings.max_response_headers_bytes, b"HTTP/1.")
        end = held.add(data, at)
        if end < 0:
            return len(data)
        self._held = None
        self._take_head(bytes(held.data), end < len(data))
        return end

    def _take_head(self, head: bytes, more: bool) -> None:
        size = self.head_bytes = len(head)
        settings = self._settings
        if size > settings.max_response_headers_bytes:
            raise too_large()
        lines = head.split(b"\r\n")
        count = len(lines) - 3
        if count > settings.max_headers_count:
            raise too_large(b"http1.too_many_headers")
        try:
            headers, is_http11 = read_response(head, lines)
        except CodecError:
            framed = without_length(head) if settings.allow_chunked_length else None
            if framed is None:
                raise
            headers, _ = read_response(framed, framed.split(b"\r\n"))
            is_http11 = False  # so that no other request follows on the connection
        if settings.memory is not None:
            headers.case = settings.memory.of(head)
            headers.known |= CASED
        self.field_bytes_in = size - count - len(lines[0]) - 4
        decoder = self.decoder
        assert decoder is not None
        if headers.status < 200:
            if headers.status == 101:
                self._switch(headers, decoder)
            else:
                self._take_informational(decoder, headers)
            return
        known = headers.known
        if (
            known & STEERING_BITS == CONTENT_LENGTH
            and not self._is_head
            and headers.status not in BODILESS_STATUS
        ):
            self._keep_alive = is_http11
            length = message_length(b"", headers.fields)  # the usual response, without _weigh
        else:
            length = self._weigh(headers, is_http11)
        if length == 0:
            decoder = self._done(more)
            decoder.decode_headers(headers, True)
            return
        if length == CHUNKED_LENGTH:
            self._chunks = ChunkedReader(
                settings.max_response_headers_bytes, settings.max_headers_count, settings.enable_trailers
            )
            self._state = CHUNKED
        elif length == UNKNOWN:
            self._state = TUNNEL if self._framing == BY_CONNECT and headers.status < 300 else CLOSE
            self._keep_alive = False
        else:
            self._left = length
            self._state = LENGTH
        decoder.decode_headers(headers, False)

    def _take_informational(self, decoder: StreamDecoder, headers: ResponseHeaders) -> None:
        """A 1xx head but 101."""
        if headers.known & (CONTENT_LENGTH | TRANSFER_ENCODING):
            raise bad_request()
        decoder.decode_informational(headers)

    def _switch(self, headers: ResponseHeaders, decoder: StreamDecoder) -> None:
        """101: from here on there are only bytes. Refused when no upgrade was asked for (RFC 9110 section 15.2.2) or
        none is said to have happened (section 7.8)."""
        known = headers.known
        if (
            self._framing != BY_UPGRADE
            or known & (CONTENT_LENGTH | TRANSFER_ENCODING)
            or not known & UPGRADE
            or b"upgrade" not in connection_tokens(headers)
        ):
            raise bad_request()
        self._state = TUNNEL
        self._keep_alive = False
        decoder.decode_headers(headers, False)

    def _weigh(self, headers: ResponseHeaders, is_http11: bool) -> int:
        """The body's length (RFC 9112 section 6.3), and whether the host will keep the connection."""
        known = headers.known
        self._keep_alive = is_http11
        length = UNKNOWN
        if known & STEERING_BITS:
            if known & (CONTENT_LENGTH | TRANSFER_ENCODING):
                length = message_length(b"", headers.fields)
                if length == CHUNKED_LENGTH:
                    headers.remove(b"transfer-encoding")
            if known & HOP_BY_HOP and b"close" in connection_tokens(headers):
                self._keep_alive = False
        status = headers.status
        if self._framing == BY_CONNECT and status < 300:
            headers.remove_all(FRAMING_NAMES)  # RFC 9110 section 9.3.6: a tunnel has no length
            return UNKNOWN
        if status == 204:
            if length == CHUNKED_LENGTH or length > 0:
                raise bad_request()  # RFC 9110 section 15.3.5, and Envoy
            if length == 0:
                headers.remove(b"content-length")
            return 0
        if status == 304 or (self._is_head and self._framing != BY_CONNECT):
            return 0
        return length

    def _read_length(self, data: bytes, at: int) -> int:
        size = len(data) - at
        left = self._left
        if size < left:
            self._left = left - size
            assert self.decoder is not None
            self.decoder.decode_data(data[at:] if at else data, False)
            return at + size
        end = at + left
        decoder = self._done(size > left)
        decoder.decode_data(data if left == len(data) else data[at:end], True)
        return end if size == left else len(data)

    def _read_chunks(self, data: bytes, at: int) -> int:
        chunks = self._chunks
        assert chunks is not None
        body, at = chunks.read(data, at)
        decoder = self.decoder
        assert decoder is not None
        if not chunks.done:
            if body:
                decoder.decode_data(body, False)
            return at
        trailers = chunks.trailers
        if trailers is not None and body:
            decoder.decode_data(body, False)
            if self.decoder is not decoder:
                return len(data)
        decoder = self._done(at < len(data))
        if trailers is None:
            decoder.decode_data(body, True)
        else:
            decoder.decode_trailers(trailers)
        return len(data)

    def _done(self, more: bool) -> StreamDecoder:
        """The response is whole; ``more``: bytes follow it. Whom to tell."""
        decoder = self.decoder
        assert decoder is not None
        self.decoder = self._chunks = None
        self.response_done = True
        self._state = HEAD
        if self._keep_alive and not more and not self._sending and not self._goaway:
            self.reusable = True
        else:
            self.closing = True
            if more:
                self.protocol_error = True
        return decoder

    def _fail(self, reason: ResetReason, details: bytes) -> None:
        decoder, self.decoder = self.decoder, None
        self._held = self._chunks = None
        self.closing = True
        self.reusable = False
        if reason is PROTOCOL_ERROR:
            self.protocol_error = True
        if decoder is not None:
            decoder.on_reset(reason, details)

    def eof(self) -> None:
        """The host closed in order: ends a body that runs to the close, resets any other response."""
        if self.decoder is None:
            self.closing = True
            self.reusable = False
        elif self._state == CLOSE or (self._state == TUNNEL and not self._sending):  # both halves are over
            self._done(False).decode_data(b"", True)
        elif self._state == TUNNEL or (self._state == HEAD and self._held is None):
            self._fail(CONNECTION_TERMINATION, b"")
        else:
            self._fail(PROTOCOL_ERROR, b"http1.codec_error")  # as Envoy: cut short

    def lost(self) -> None:
        """The connection broke: nothing ends cleanly, not even a body that runs to the close. A response that had
        begun was cut short, as by ``eof`` (as Envoy)."""
        if self._state in (LENGTH, CHUNKED) or self._held is not None:
            self._fail(PROTOCOL_ERROR, b"http1.codec_error")
        else:
            self._fail(CONNECTION_TERMINATION, b"")

    @property
    def request_done(self) -> bool:
        """Whether the last request was written whole."""
        return not self._sending

    @property
    def peer_closes(self) -> bool:
        """Whether the last response's head said that the host closes the connection after it."""
        return not self._keep_alive

    def detach(self) -> None:
        """The connection is gone: cut the links."""
        self.decoder = self._held = self._chunks = None
        self._out.clear()

    def reset(self, stream: StreamDecoder, reason: ResetReason) -> None:
        """Give the request up: HTTP/1 can only close."""
        if stream is self.decoder:
            self.decoder = self._held = self._chunks = None
            self.closing = True
            self.reusable = False
