"""HTTP/1 heads: bytes of one whole head ↔ RequestHeaders, ResponseHeaders. Knows no connection and no body.

llhttp (through httptools) checks and cuts each line that is new (``http1_lines``); what it found of a line is taken when
the same line comes again. Everything that llhttp takes and RFC 9112 does not is refused here:
a request line that is not exactly ``method SP target SP version``, unknown methods, repeated Host or Content-Length.

Refusals are ``CodecError`` with the status, body and details of Envoy (contract/envoy.md 2.6); where Envoy is laxer than
RFC 9112 we are not: tests/h1_differential/STRICTER.md lists every such choice.

* ``read_request`` / ``read_response``: the hot path
* ``refusal``: why llhttp did not like a request; only errors pay for it
* ``HeadBuffer``: a head that comes in pieces

The fields that steer the connection are weighed in ``http1_weigh``.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from proxy.base.errors import CodecError
from proxy.base.headers import (
    HOST,
    REQUEST_JOINED,
    RESPONSE_JOINED,
    UPGRADE,
    Field,
    RequestHeaders,
    ResponseHeaders,
)
from proxy.codec.http1_lines import FRAMING, LONGEST, UNKNOWN, Reader, Repeated, may_be_secret, repeats
from proxy.codec.http1_target import AUTHORITIES, check_authority, read_target
from proxy.codec.http1_weigh import bad_request, low_version, message_length, too_large

#: Methods that Envoy 1.40.0 takes; all others are answered 400 (allow_custom_methods is not supported).
METHODS: Final = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS "
    b"PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK "
    b"UNSUBSCRIBE".split()
)


#: A request line that llhttp took, but CONNECT's and such as may hold a secret → (method, target, version). Bounded: clients choose them.
_REQUEST_LINES: Final[dict[bytes, tuple[bytes, bytes, bytes]]] = {}
MOST_REQUEST_LINES: Final = 512

_REQUESTS: Final = Reader(httptools.HttpRequestParser, REQUEST_JOINED)
_RESPONSES: Final = Reader(httptools.HttpResponseParser, RESPONSE_JOINED)


def _cut_request_line(line: bytes, head: bytes) -> tuple[bytes, bytes, bytes]:
    """(method, target, version) of a line that llhttp took. Raises CodecError."""
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1] or parts[0] not in METHODS:
        raise refusal(head)
    cut = (parts[0], parts[1], parts[2])
    if len(line) <= LONGEST and parts[0] != b"CONNECT" and not may_be_secret(parts[1]):
        if len(_REQUEST_LINES) >= MOST_REQUEST_LINES:
            _REQUEST_LINES.clear()
        _REQUEST_LINES[line] = cut
    return cut


def read_request(head: bytes, lines: list[bytes], absolute: bool = True) -> tuple[RequestHeaders, bytes]:
    """One whole request head (with its empty line), also split into its lines; and its version ("HTTP/1.1").

    absolute: read absolute-form targets. ``scheme`` is b"" unless the target told it: the connection or x-forwarded-proto will.
    Longer than our functions are: it runs for every request, and calls are what it saves. Raises CodecError.
    """
    reader = _REQUESTS
    recent = reader.recent
    entries = []
    fields: list[Field] = []
    known = marks = unmarked = 0
    authority: bytes | None = None
    repeated = False
    start = _REQUEST_LINES.get(lines[0])
    is_new = start is None
    try:
        for line in lines[1:-2]:  # as in read_response
            entry = recent.get(line, UNKNOWN)
            if entry is UNKNOWN:
                is_new = True
            entries.append(entry)
        if is_new:
            reader.fill(lines, entries)
        for entry in entries:
            bits = entry.bits
            known |= bits
            if bits & HOST:
                if authority is not None:
                    repeated = True
                authority = entry.field[1]
                continue
            mark = entry.mark
            if not mark:
                unmarked += 1
            elif marks & mark:
                repeated = True
            marks |= mark
            fields.append(entry.field)
        if repeated or known & FRAMING == FRAMING or (unmarked > 1 and repeats(fields)):
            raise Repeated
    except Repeated:
        try:
            fields, known = reader.whole(head, lines)
        except httptools.HttpParserError:
            tidy = _tidy(head)
            return read_request(tidy, tidy.split(b"\r\n"), absolute)
        if start is None:  # what is wrong with the request line is said first
            start = _cut_request_line(lines[0], head)
        authority = _take_host(fields, known)
    except httptools.HttpParserError:
        tidy = _tidy(head)
        return read_request(tidy, tidy.split(b"\r\n"), absolute)
    method, path, version = start if start is not None else _cut_request_line(lines[0], head)
    scheme = b""
    if authority is None:
        authority = b""
        known &= ~HOST
    elif authority not in AUTHORITIES:
        check_authority(authority)
    if (path[0] != 47 and absolute) or method == b"CONNECT":  # not "/..."
        target = read_target(method, path)
        if target is not None:
            scheme, authority, path = target
            known |= HOST
        if method == b"CONNECT":
            known |= UPGRADE  # so that it is weighed, framing or not
    return RequestHeaders(method, path, authority, scheme, fields, known), version


def _take_host(fields: list[Field], known: int) -> bytes | None:
    """Take Host out of the fields; twice it is refused (RFC 9112 section 3.2)."""
    if not known & HOST:
        return None
    hosts = [field for field in fields if field[0] == b"host"]
    if len(hosts) > 1:
        raise bad_request(b"http.invalid_authority")
    fields.remove(hosts[0])
    return hosts[0][1]


_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REQUEST_LINE: Final = re.compile(rb"([A-Z-]+) ([\x21-\x7e]+)(?: HTTP/([0-9]\.[0-9]))?")
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")


def refusal(head: bytes) -> CodecError:
    """Why this request head is refused."""
    try:
        _strict_lines(head)
    except CodecError as error:
        return error
    return bad_request()


def _strict_lines(head: bytes) -> list[bytes]:
    """The head's lines, without blanks at their ends. Raises CodecError, in Envoy's words and order, when a line or
    the framing is not as RFC 9112 wants it. Slow: only heads that llhttp refuses come here."""
    if _CONTROL.search(head):
        raise bad_request(b"http1.invalid_characters")
    lines = head[:-4].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(lines[0])
    if line is None or line[1] not in METHODS:
        raise bad_request()
    fields = []
    for at, text in enumerate(lines[1:], 1):
        field = _FIELD_LINE.fullmatch(text)
        if field is None:
            raise bad_request()
        lines[at] = text.rstrip(b" \t")
        fields.append((field[1].lower(), field[2].rstrip(b" \t")))
    message_length(line[1], fields)
    if line[3] != b"1.1" and line[3] != b"1.0":
        raise low_version()
    return lines


def _tidy(head: bytes) -> bytes:
    """A head that llhttp refuses, without blanks at its lines' ends: it does not take a tab after ``chunked``, which
    RFC 9112 does. Raises CodecError when something is wrong with the head, or when there are no blanks to blame."""
    tidy = b"\r\n".join(_strict_lines(head)) + b"\r\n\r\n"
    if tidy == head:
        raise bad_request()
    return tidy


def check_request_line(line: bytes) -> None:
    """Refuse a request line as soon as it is there, before its head is whole. Raises CodecError."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or match[1] not in METHODS:
        raise bad_request(b"http1.invalid_characters" if _CONTROL.search(line) else b"http1.codec_error")
    if match[3] is None:
        raise low_version()  # HTTP/0.9


_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")


class _StatusLines(dict[bytes, tuple[int, bool]]):
    """A status line, but 101's → (status, whether it is HTTP/1.1). Bounded: peers choose the reasons."""

    __slots__ = ()

    def __missing__(self, line: bytes) -> tuple[int, bool]:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise bad_request()
        entry = (int(match[1]), line[7:8] == b"1")  # three ASCII digits, checked above
        if len(self) < 1024 and len(line) <= 64 and entry[0] != 101:
            self[line] = entry
        return entry


_STATUS_LINES_SEEN: Final = _StatusLines()


def read_response(head: bytes, lines: list[bytes]) -> tuple[ResponseHeaders, bool]:
    """One whole response head, also split into its lines; and whether it is HTTP/1.1. Raises CodecError."""
    reader = _RESPONSES
    recent = reader.recent
    entries = []
    fields: list[Field] = []
    known = marks = unmarked = 0
    repeated = False
    is_new = lines[0] not in _STATUS_LINES_SEEN
    try:
        for line in lines[1:-2]:
            entry = recent.get(line, UNKNOWN)
            if entry is UNKNOWN:
                is_new = True
            entries.append(entry)
        if is_new:
            reader.fill(lines, entries)
        for entry in entries:
            mark = entry.mark
            if not mark:
                unmarked += 1
            elif marks & mark:
                repeated = True
            marks |= mark
            known |= entry.bits
            fields.append(entry.field)
        if repeated or known & FRAMING == FRAMING or (unmarked > 1 and repeats(fields)):
            raise Repeated
    except Repeated:
        try:
            fields, known = reader.whole(head, lines)
        except httptools.HttpParserError:
            raise bad_request() from None
    except httptools.HttpParserError:
        raise bad_request() from None
    status, is_http11 = _STATUS_LINES_SEEN[lines[0]]
    return ResponseHeaders(status, fields, known), is_http11


_BROKEN_LINE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


#: HTTP/2 begins so: judged when the whole head is there.
PREFACE_LINE: Final = b"PRI * HTTP/2.0"


class HeadBuffer:
    """A head that comes in pieces. Every byte is looked at a fixed number of times, however small the pieces.

    A bare CR or LF is refused at once: a peer that ends lines so would otherwise wait for an answer for ever.
    """

    __slots__ = ("_limit", "_line_seen", "_starts", "data")

    def __init__(self, limit: int, starts: bytes) -> None:
        self._limit = limit
        self._starts = starts  # what the head must start with: b"HTTP/1." for responses, b"" for requests
        self._line_seen = False
        self.data = bytearray()

    def add(self, data: bytes, at: int) -> int:
        """Take ``data`` from ``at`` on. The offset in it after the head's end, or -1. Raises CodecError."""
        held = self.data
        fresh = len(held)
        held += data[at : at + self._limit + 4 - fresh]
        end = held.find(b"\r\n\r\n", max(0, fresh - 3))
        if end >= 0:
            del held[end + 4 :]
            return at + end + 4 - fresh
        self._check(held, fresh)
        return -1

    def _check(self, held: bytearray, fresh: int) -> None:
        starts = self._starts
        if starts and held[: len(starts)] != starts[: len(held)]:
            raise bad_request()
        broken = _BROKEN_LINE.search(held, max(0, fresh - 1))
        if broken is not None:
            control = _CONTROL.match(broken[0])
            raise bad_request(b"http1.invalid_characters" if control else b"http1.codec_error")
        if not self._line_seen:
            end = held.find(b"\n", fresh)
            if end >= 0:
                self._line_seen = True
                line = bytes(held[: end - 1])
                if not starts and line != PREFACE_LINE:
                    check_request_line(line)
        if len(held) > self._limit:
            raise too_large()
