"""The server codec's writing half: response heads in Envoy's order, bodies in the framing the head declared.

Knows what the reading half tells it about the request (``stream``, ``keep_alive``, ``_state``) and nothing of its bytes.
"""

from __future__ import annotations

from typing import Final

from proxy.base.headers import (
    CASED,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    HeaderMap,
    ResponseHeaders,
)
from proxy.codec.http1_options import spell_response
from proxy.codec.http1_weigh import Http1Settings
from proxy.codec.http1_write import (
    BAD_LENGTH,
    BY_CHUNKS,
    BY_CLOSE,
    BY_LENGTH,
    CR,
    FRAMING_FIELDS,
    FRAMING_NAMES,
    LAST_CHUNK,
    LF,
    NO_BODY,
    NO_LENGTH,
    STATUS_LINES,
    declared_length,
    field_line,
    framing_free_lines,
    joined,
    line_break,
    trailer_block,
)
from proxy.codec.interface import ServerCodec, StreamDecoder

# The reading half's states: see http1_server.
HEAD: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
WAIT: Final = 3
DEAD: Final = 4
ASKED: Final = 5
TUNNEL: Final = 6


class ResponseWriter(ServerCodec):
    """See ``Http1ServerCodec``, the only class that extends this.

    wire_bytes_out: what has been written of the current response, framing included
    field_bytes_out: of its field lines
    """

    __slots__ = (
        "_framing",
        "_goaway",
        "_http10",
        "_is_connect",
        "_is_head",
        "_out",
        "_out_bytes",
        "_responding",
        "_settings",
        "_state",
        "_write_left",
        "keep_alive",
        "stream",
    )

    def __init__(self, settings: Http1Settings) -> None:
        self._settings = settings
        self._state = HEAD
        self.closing = False
        # the current request, as the reading half found it
        self.stream: StreamDecoder | None = None
        self.keep_alive = True
        self._http10 = False
        self._is_head = False
        self._is_connect = False
        # writing
        self._out: list[bytes] = []
        self._out_bytes = 0
        self.wire_bytes_out = self.field_bytes_out = 0
        self._responding = False  # the response's head has been written
        self._framing = NO_BODY
        self._write_left = 0  # bytes that the declared length still allows
        self._goaway = False

    def take_output(self) -> bytes:
        """Everything to be written now."""
        out = self._out
        if not out:
            return b""
        joined = b"".join(out)
        out.clear()
        self._out_bytes = 0
        return joined

    def informational(self, stream: StreamDecoder, headers: HeaderMap) -> None:
        """Write a 1xx head; not to HTTP/1.0 clients, who do not know them (RFC 9110 section 15.2)."""
        if stream is not self.stream or self._responding or self._http10:
            return
        assert isinstance(headers, ResponseHeaders)
        lines = [STATUS_LINES[headers.status]]
        lines += framing_free_lines(headers, True)
        lines += (b"", b"")
        self._write(joined(lines))

    def headers(self, stream: StreamDecoder, headers: HeaderMap, end: bool) -> None:
        """Write a response head; Envoy's order: the fields, connection, then the framing that the codec adds.

        A stream that the codec has not begun (a timeout's reply) may answer when no other is served; that response
        is the connection's last. Raises ValueError when a value holds a line break.
        """
        if stream is not self.stream and not self._adopt(stream):
            return
        if self._responding:
            return
        assert isinstance(headers, ResponseHeaders)
        status = headers.status
        lines = [STATUS_LINES[status]]
        length = NO_LENGTH
        if headers.known & CONTENT_LENGTH:
            length = declared_length(headers)
        if headers.known & TRANSFER_ENCODING or length == BAD_LENGTH or status == 204:
            lines += framing_free_lines(headers, length == BAD_LENGTH or status == 204)
        else:
            lines += map(field_line, headers.fields)
        if self._http10 or not self.keep_alive or self._goaway or self._state != WAIT:
            if self._state == ASKED and self._switches(status):
                self._write_switch(headers)
                return
            self._say_close(headers, lines, length)
        if length >= 0:
            self._framing = BY_LENGTH
            self._write_left = length
        if length < 0 or end or self._is_head or status == 304 or status == 204 or status < 200:
            self._frame(lines, status, length, end)
        if headers.known & CASED:
            spell_response(lines, headers.case)
        elif self._settings.speller is not None:
            spell_response(lines, self._settings.speller)
        lines += (b"", b"")
        flat = b"".join(lines)
        if LF in flat or CR in flat:
            raise line_break()
        head = b"\r\n".join(lines)
        self._responding = True
        self._out.append(head)
        size = self.wire_bytes_out = len(head)
        self.field_bytes_out = size - len(lines[0]) - 4
        self._out_bytes += size
        if end:
            self._response_done()

    def _switches(self, status: int) -> bool:
        """Whether a response grants what the request asked for: another protocol, or a tunnel."""
        return 200 <= status < 300 if self._is_connect else status == 101

    def _write_switch(self, headers: ResponseHeaders) -> None:
        """The last head of the connection: from here on there are only bytes, in both directions."""
        if headers.known & FRAMING_FIELDS:
            headers.remove_all(FRAMING_NAMES)  # RFC 9110 sections 9.3.6 and 15.2: nothing here has a length
        lines = [STATUS_LINES[headers.status]]
        if self._http10:
            lines[0] = b"HTTP/1.0" + lines[0][8:]
        lines += map(field_line, headers.fields)
        if headers.known & CASED:
            spell_response(lines, headers.case)
        elif self._settings.speller is not None:
            spell_response(lines, self._settings.speller)
        lines += (b"", b"")
        head = joined(lines)
        self._state = TUNNEL
        self._responding = True
        self._framing = BY_CLOSE
        self._out.append(head)
        size = len(head)
        self.wire_bytes_out = size
        self.field_bytes_out = size - len(lines[0]) - 4
        self._out_bytes += size

    def _say_close(self, headers: ResponseHeaders, lines: list[bytes], length: int) -> None:
        """HTTP/1.0 keeps the connection only when asked to and when the response has a length.

        The field joins ``headers`` too, so that access logs see it, as Envoy's do.
        """
        word = b"close"
        if self._http10:
            lines[0] = b"HTTP/1.0" + lines[0][8:]
            if self.keep_alive and not self._goaway and self._state == WAIT and length >= 0:
                word = b"keep-alive"
        if word == b"close":
            self._goaway = True
        headers.add(b"connection", word)
        lines.append(b"connection: " + word)

    def _frame(self, lines: list[bytes], status: int, length: int, end: bool) -> None:
        """The framing of what has no plain content-length body (Envoy: StreamEncoderImpl::encodeHeadersBase)."""
        if status < 200 or status == 204 or status == 304:
            self._framing = NO_BODY
        elif self._is_head:
            self._framing = NO_BODY
            if length < 0 and not self._http10:
                lines.append(b"transfer-encoding: chunked")
        elif length >= 0:
            pass  # ends here: if bytes are missing, _response_done closes the connection
        elif end:
            self._framing = NO_BODY
            lines.append(b"content-length: 0")
        elif self._http10:
            self._framing = BY_CLOSE
        else:
            self._framing = BY_CHUNKS
            lines.append(b"transfer-encoding: chunked")

    def data(self, stream: StreamDecoder, data: bytes, end: bool) -> None:
        """Write body bytes; never more than the head has declared."""
        if stream is not self.stream or not self._responding:
            return
        framing = self._framing
        if framing == BY_LENGTH:
            if len(data) > self._write_left:
                data = data[: self._write_left]
                self._goaway = True
            size = len(data)
            self._write_left -= size
            self._out.append(data)
            self._out_bytes += size
            self.wire_bytes_out += size
        elif framing == BY_CHUNKS:
            out = self._out
            if data:
                opening = b"%x\r\n" % len(data)
                out += (opening, data, b"\r\n")
                self._out_bytes += len(data)
                self.wire_bytes_out += len(opening) + len(data) + 2
            if end:
                out.append(LAST_CHUNK)
                self.wire_bytes_out += len(LAST_CHUNK)
        elif framing == BY_CLOSE and data:
            self._write(data)
        if end:
            self._response_done()

    def trailers(self, stream: StreamDecoder, trailers: HeaderMap) -> None:
        """Write trailers where chunks can carry them and the settings want them; ends the response."""
        if stream is not self.stream or not self._responding:
            return
        if self._framing == BY_CHUNKS:
            wanted = self._settings.enable_trailers and trailers.fields
            self._write(trailer_block(trailers) if wanted else LAST_CHUNK)
        self._response_done()

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        self.wire_bytes_out += len(data)

    def consumed(self, stream: StreamDecoder, count: int) -> None:
        """HTTP/1 has no windows."""

    def queued_bytes(self, stream: StreamDecoder) -> int:
        """HTTP/1 holds nothing back."""
        return 0

    def goaway(self) -> bool:
        """The response being or next written is the last and says so."""
        self._goaway = True
        return True

    def _adopt(self, stream: StreamDecoder) -> bool:
        """A stream that the codec has not begun wants to answer; whether it may."""
        raise NotImplementedError

    def _last_response_done(self) -> None:
        """The response is written and no other may follow."""
        raise NotImplementedError

    def _response_done(self) -> None:
        short = self._framing == BY_LENGTH and self._write_left
        self.stream = None
        self._responding = False
        self._framing = NO_BODY
        if self._state == WAIT and self.keep_alive and not self._goaway and not short:
            self._state = HEAD  # the next request may come
        else:
            self._last_response_done()
