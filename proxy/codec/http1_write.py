"""What both HTTP/1 codecs write: status lines, field lines, chunks. Knows no connection."""

from __future__ import annotations

from typing import Final

from proxy.base.headers import CONTENT_LENGTH, TRANSFER_ENCODING, HeaderMap

#: Envoy's own reason phrases (seen of 1.40.0); every other status is "Unknown".
REASONS: Final = {
    100: b"Continue",
    101: b"Switching Protocols",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    203: b"Non-Authoritative Information",
    204: b"No Content",
    205: b"Reset Content",
    206: b"Partial Content",
    207: b"Multi-Status",
    208: b"Already Reported",
    226: b"IM Used",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    305: b"Use Proxy",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Payload Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Entity",
    423: b"Locked",
    424: b"Failed Dependency",
    425: b"Too Early",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    506: b"Variant Also Negotiates",
    507: b"Insufficient Storage",
    508: b"Loop Detected",
    510: b"Not Extended",
    511: b"Network Authentication Required",
    599: b"Last Unassigned Server Error Code",
}
STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"Unknown")) for status in range(100, 1000)
}

# How the body being written is framed.
NO_BODY: Final = 0
BY_LENGTH: Final = 1
BY_CHUNKS: Final = 2
BY_CLOSE: Final = 3
BY_UPGRADE: Final = 4  # as it is, once 101 has come
BY_CONNECT: Final = 5  # as it is, once 2xx has come

FRAMING_FIELDS: Final = CONTENT_LENGTH | TRANSFER_ENCODING
FRAMING_NAMES: Final = frozenset((b"content-length", b"transfer-encoding"))

NO_LENGTH: Final = -1
BAD_LENGTH: Final = -2

LAST_CHUNK: Final = b"0\r\n\r\n"

# Bytes that are looked for by number: with b"\n" in place of 10, "in" tries it as a number first, with an exception.
LF: Final = 10
CR: Final = 13
BLANK: Final = 32

#: One field as a line: b": ".join((name, value)), a C call without a frame.
field_line: Final = b": ".join


def declared_length(headers: HeaderMap) -> int:
    """The content-length that is about to be written: a count, NO_LENGTH, or BAD_LENGTH when it must not be written.

    Only what a filter wrote can be bad: the codecs let no such value in.
    """
    length = NO_LENGTH
    for name, value in headers.fields:
        if name == b"content-length":
            if length != NO_LENGTH or not value.isdigit() or len(value) > 20:
                return BAD_LENGTH
            length = int(value)  # ASCII digits, checked above
    return length


def framing_free_lines(headers: HeaderMap, drop_length: bool) -> list[bytes]:
    """The field lines without transfer-encoding, which is the codec's alone, and without content-length if asked."""
    return [
        field_line(field)
        for field in headers.fields
        if field[0] != b"transfer-encoding" and not (drop_length and field[0] == b"content-length")
    ]


def trailer_block(trailers: HeaderMap) -> bytes:
    """The last chunk with its trailers. Raises ValueError when a value would break out of its line."""
    return joined([b"0", *map(field_line, trailers.fields), b"", b""])


def joined(lines: list[bytes]) -> bytes:
    """The lines with their ends. Raises ValueError when one holds a line end itself.

    Fields from the wire cannot, but filters and formatters make values too: what they get wrong must not become a
    second message on a shared connection. (Two memchr scans, before the ends are there: to count them costs more.)
    """
    flat = b"".join(lines)
    if LF in flat or CR in flat:
        raise line_break()
    return b"\r\n".join(lines)


def line_break() -> ValueError:
    """What the writers of heads raise, which do as ``joined`` without the call."""
    return ValueError("a line break in a header that was about to be written")
