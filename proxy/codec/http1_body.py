"""The chunked coding, read strictly (RFC 9112 section 7.1). Knows no head and no connection.

Bodies with a length need no reader: the codecs count. What is refused here though Envoy takes it: blanks that do not
belong to an extension, an extension without a name, control characters in it, anything but CRLF after a chunk's data.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.base.headers import Field, HeaderMap
from proxy.codec.http1_weigh import bad_request, too_large

MAX_SIZE_LINE: Final = 4096  # bytes of one chunk's size line with its extensions

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION: Final = (
    rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
)
_SIZE_LINE: Final = re.compile(rb"0*+([0-9A-Fa-f]{1,16})?(?:" + _EXTENSION + rb")*+\r\n")
_TRAILER_LINE: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

#: Trailers that steer framing, routing or the connection are dropped (RFC 9110 section 6.5.1).
FORBIDDEN_TRAILERS: Final = frozenset(
    (
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

SIZE: Final = 0
DATA: Final = 1
DATA_END: Final = 2
TRAILER: Final = 3
DONE: Final = 4


class ChunkedReader:
    """Takes one message's chunks apart.

    limit: bytes of all trailer lines; max_count: trailer fields; keep_trailers: hand them out in ``trailers``.
    ``done`` turns True when the last line has been read.
    """

    __slots__ = (
        "_fields",
        "_keep",
        "_left",
        "_limit",
        "_line",
        "_max_count",
        "_state",
        "_trailer_bytes",
        "done",
    )

    def __init__(self, limit: int, max_count: int, keep_trailers: bool) -> None:
        self._state = SIZE
        self._left = 0  # bytes of the current chunk's data still to come
        self._line = bytearray()  # a line that is cut
        self._limit = limit
        self._max_count = max_count
        self._keep = keep_trailers
        self._trailer_bytes = 0
        self._fields: list[Field] = []
        self.done = False

    @property
    def trailers(self) -> HeaderMap | None:
        """The trailers that may be passed on; None when there are none."""
        return HeaderMap(self._fields) if self._fields else None

    def read(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Read ``data`` from ``at`` on: (body bytes, offset after what was read). Raises CodecError.

        Small chunks that came together are handed out together, so that a flood of one-byte chunks costs one call.
        """
        body = b""
        pieces: list[bytes] | None = None
        size = len(data)
        while at < size and not self.done:
            if self._state == DATA:
                piece, at = self._read_data(data, at)
                if not body:
                    body = piece
                else:
                    if pieces is None:
                        pieces = [body]
                    pieces.append(piece)
            else:
                at = self._read_line(data, at)
        return (body if pieces is None else b"".join(pieces)), at

    def _read_data(self, data: bytes, at: int) -> tuple[bytes, int]:
        end = min(at + self._left, len(data))
        self._left -= end - at
        if not self._left:
            self._state = DATA_END
        return (data if end - at == len(data) else data[at:end]), end

    def _read_line(self, data: bytes, at: int) -> int:
        """Take one line, or the piece of it that is there."""
        bound = self._limit - self._trailer_bytes if self._state == TRAILER else MAX_SIZE_LINE
        held = self._line
        end = data.find(b"\n", at, at + bound + 1 - len(held)) + 1
        if not end:
            held += data[at : at + bound + 1 - len(held)]
            if len(held) > bound:
                raise too_large() if self._state == TRAILER else bad_request()
            if self._state == DATA_END and not b"\r\n".startswith(held):
                raise bad_request()
            return len(data)
        line = data[at:end]
        if held:
            line = bytes(held) + line
            held.clear()
        if self._state == SIZE:
            self._take_size(line)
        elif self._state == TRAILER:
            self._take_trailer(line)
        elif line == b"\r\n":
            self._state = SIZE
        else:
            raise bad_request()
        return end

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or (match[1] is None and line[:1] != b"0"):
            raise bad_request()
        self._left = int(match[1], 16) if match[1] else 0  # hex ASCII digits, checked above
        self._state = DATA if self._left else TRAILER

    def _take_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self._state = DONE
            self.done = True
            return
        self._trailer_bytes += len(line)
        match = _TRAILER_LINE.fullmatch(line)
        if match is None:
            raise bad_request(b"http1.invalid_characters" if _CONTROL.search(line) else b"http1.codec_error")
        if self._keep:
            name = match[1].lower()
            if name not in FORBIDDEN_TRAILERS:
                self._fields.append((name, match[2].rstrip(b" \t")))
            if len(self._fields) > self._max_count:
                raise too_large(b"http1.too_many_headers")
