"""The client codec's writing half: request heads, host first, and bodies in the framing the head declared.

Knows who waits for the response (``decoder``) and nothing of what has come of it.
"""

from __future__ import annotations

from typing import Final

from proxy.base.errors import PROTOCOL_ERROR, ResetReason
from proxy.base.headers import CASED, CONTENT_LENGTH, TRANSFER_ENCODING, HeaderMap, RequestHeaders
from proxy.codec.http1_options import absolute_target, spell_request
from proxy.codec.http1_weigh import Http1Settings
from proxy.codec.http1_write import (
    BAD_LENGTH,
    BLANK,
    BY_CHUNKS,
    BY_CONNECT,
    BY_LENGTH,
    BY_UPGRADE,
    CR,
    LAST_CHUNK,
    LF,
    NO_BODY,
    NO_LENGTH,
    declared_length,
    field_line,
    framing_free_lines,
    line_break,
    trailer_block,
)
from proxy.codec.interface import ClientCodec, StreamDecoder

# The reading half's states: see http1_client.
HEAD: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
CLOSE: Final = 3
TUNNEL: Final = 4

#: Requests without a body that need not say so (Envoy: HeaderUtility::requestShouldHaveNoBody).
BODILESS: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"TRACE", b"CONNECT"))


class RequestWriter(ClientCodec):
    """See ``Http1ClientCodec``, the only class that extends this."""

    __slots__ = (
        "_framing",
        "_goaway",
        "_is_head",
        "_out",
        "_sending",
        "_settings",
        "_state",
        "_write_left",
        "decoder",
    )

    def __init__(self, settings: Http1Settings) -> None:
        self._settings = settings
        self.closing = False
        self._goaway = False
        # the response being waited for
        self.decoder: StreamDecoder | None = None
        self.response_done = False
        self.reusable = True
        self._state = HEAD
        self._is_head = False
        # writing
        self._out: list[bytes] = []
        self.field_bytes_out = 0
        self._sending = False  # the request is not complete
        self._framing = NO_BODY
        self._write_left = 0

    def _fail(self, reason: ResetReason, details: bytes) -> None:
        """End the connection and tell who waits."""
        raise NotImplementedError

    def take_output(self) -> bytes:
        """Everything to be written now."""
        out = self._out
        if not out:
            return b""
        joined = b"".join(out)
        out.clear()
        return joined

    def informational(self, stream: StreamDecoder, headers: HeaderMap) -> None:
        """Requests have no 1xx."""

    def headers(self, stream: StreamDecoder, headers: HeaderMap, end: bool) -> None:
        """Write a request head, host first; ``stream`` gets the response.

        Raises ValueError when a value would break out of its line.
        """
        assert isinstance(headers, RequestHeaders)
        method, path = headers.method, headers.path
        if not path:
            if method != b"CONNECT":
                raise ValueError("a request without a path")
            path = headers.authority
        if self._settings.send_fully_qualified_url:
            path = absolute_target(headers)
        lines = [b"%b %b HTTP/1.1" % (method, path), b"host: %b" % headers.authority]
        known = headers.known
        length = NO_LENGTH
        if known & CONTENT_LENGTH:
            length = declared_length(headers)
            if end and length > 0:
                length = BAD_LENGTH  # a filter took the body away: the host must not wait for it
        if known & TRANSFER_ENCODING or length == BAD_LENGTH:
            lines += framing_free_lines(headers, length == BAD_LENGTH)
        else:
            lines += map(field_line, headers.fields)
        self._framing = NO_BODY
        self._is_head = method == b"HEAD"
        if not end and headers.upgrade is not None:
            self._framing = BY_UPGRADE
            if method == b"CONNECT":
                self._framing = BY_CONNECT
                self._is_head = True  # the response's length is not looked at either, if it is 2xx
        elif length >= 0:
            self._framing = BY_LENGTH
            self._write_left = length
        elif not end:
            self._framing = BY_CHUNKS
            lines.append(b"transfer-encoding: chunked")
        elif method not in BODILESS:
            lines.append(b"content-length: 0")
        if known & CASED:
            spell_request(lines, headers.case)
        elif self._settings.speller is not None:
            spell_request(lines, self._settings.speller)
        lines += (b"", b"")
        flat = b"".join(lines)
        if LF in flat or CR in flat:
            raise line_break()
        head = b"\r\n".join(lines)
        if BLANK in path:
            raise ValueError("a request path that holds a blank")
        self._out.append(head)
        # the request line, and the empty line, are no fields
        self.field_bytes_out = len(head) - len(method) - len(path) - 14
        self.decoder = stream
        self._state = HEAD
        self._sending = not end
        self.response_done = self.reusable = False

    def data(self, stream: StreamDecoder, data: bytes, end: bool) -> None:
        """Write body bytes; never more than the head has declared."""
        if not self._sending or stream is not self.decoder:
            return
        if self._framing == BY_LENGTH:
            if len(data) > self._write_left:
                data = data[: self._write_left]
                self._goaway = True
            self._write_left -= len(data)
            if data:
                self._out.append(data)
        elif self._framing >= BY_UPGRADE:
            self._out.append(data)
        else:
            if data:
                self._out += (b"%x\r\n" % len(data), data, b"\r\n")
            if end:
                self._out.append(LAST_CHUNK)
        if end:
            self._request_done()

    def trailers(self, stream: StreamDecoder, trailers: HeaderMap) -> None:
        """Write trailers where chunks can carry them and the settings want them; ends the request."""
        if not self._sending or stream is not self.decoder:
            return
        if self._framing == BY_CHUNKS:
            wanted = self._settings.enable_trailers and trailers.fields
            self._out.append(trailer_block(trailers) if wanted else LAST_CHUNK)
        self._request_done()

    def _request_done(self) -> None:
        if self._framing == BY_LENGTH and self._write_left:
            self._goaway = True  # shorter than declared: the host can only be told by closing
            self._fail(PROTOCOL_ERROR, b"request_shorter_than_declared")
            return
        self._sending = False

    def consumed(self, stream: StreamDecoder, count: int) -> None:
        """HTTP/1 has no windows."""

    def queued_bytes(self, stream: StreamDecoder) -> int:
        """HTTP/1 holds nothing back."""
        return 0

    def goaway(self) -> bool:
        """The response being waited for is the last."""
        self._goaway = True
        return True
