"""The lines of HTTP/1 heads: each is read by llhttp (through httptools) when it is new, and known when it comes again.

Most lines of a head were in the heads before it, as HPACK's table for HTTP/2 assumes. Whether llhttp takes a field line
depends on that line only, but for those that frame the body, which it weighs together, and for upgrades and tunnels. So
Transfer-Encoding, Upgrade, Connection and Proxy-Connection that name it, and the first lines of CONNECT requests and 101
responses are never known; a head with Transfer-Encoding beside Content-Length, and any in which a name repeats, is given
to llhttp whole (``Reader.whole``). A line that holds a bare CR or LF is refused unseen, as it might be two of llhttp's:
our lines are its lines. Of every other head it is enough that llhttp takes the lines that are new, behind the first one.
(That no head is read otherwise than if it were the first one ever is a law of the tests.)

What is known is bounded (two generations of ``GENERATION`` lines: who is not asked for during one is forgotten), kept
for requests and responses apart, and holds no line that is as good as never repeated or that is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import httptools

from proxy.base.headers import (
    CLIENT_CERT,
    CLIENT_TRACE_ID,
    CONTENT_LENGTH,
    HOP_BY_HOP,
    KNOWN,
    REQUEST_ID,
    TRACE,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    join_repeated,
)

GENERATION: Final = 512
LONGEST: Final = 128
# Lines that are not kept: ids of requests, what their senders would not have lie about, upgrades and framing.
PASSING: Final = REQUEST_ID | TRACE | CLIENT_TRACE_ID | CLIENT_CERT | UPGRADE | TRANSFER_ENCODING
#: Of a lower-case name: what it stands for is, or may be, a secret. It is no pity about the others, but for one.
SECRET: Final = re.compile(rb"auth|cookie|credential|jwt|key|passw|secret|session|sign|token")
#: Fetch standard: "true", on every response to a script of another origin
_NO_SECRET: Final = b"access-control-allow-credentials"
# In a query, where names are shorter.
_SECRET_QUERY: Final = re.compile(SECRET.pattern + rb"|\bcode=|\bpass=|\bpwd=|\bsid=|\bsig=")

FRAMING: Final = CONTENT_LENGTH | TRANSFER_ENCODING
# by number: see http1_write
LF: Final = 10
CR: Final = 13
_SLASH: Final = 47
_QUESTION: Final = 63
_AT: Final = 64

#: Names that have a bit of their own in ``Line.mark``, so that one operation sees a repetition. The names that come
#: first get the bits that are left of a machine word; there are none for later ones (``repeats``).
COMMON: Final = tuple(
    (
        b"accept accept-encoding accept-language accept-ranges authorization cache-control connection "
        b"content-encoding content-length content-type cookie date etag expect expires host if-modified-since "
        b"if-none-match keep-alive last-modified location origin pragma range referer server set-cookie te "
        b"traceparent tracestate transfer-encoding upgrade user-agent vary via x-forwarded-for "
        b"x-forwarded-proto x-request-id"
    ).split()
)
MOST_MARKS: Final = 62
_MARKS: Final = {name: 1 << at for at, name in enumerate(COMMON)}

#: A name as spelled on the wire → (lower-case name, its KNOWN bits, whether its lines are kept). Bounded, because peers
#: choose the names.
NAMES: Final[dict[bytes, tuple[bytes, int, bool]]] = {}


def name_of(name: bytes) -> tuple[bytes, int, bool]:
    """The lower-case form of a name, its KNOWN bits, and whether its lines are kept."""
    found = NAMES.get(name)
    if found is not None:
        return found
    lower = name.lower()
    bits = KNOWN.get(lower, 0)
    is_secret = lower != _NO_SECRET and SECRET.search(lower) is not None
    entry = (lower, bits, not bits & PASSING and not is_secret)
    if len(NAMES) < 1024 and len(name) <= 64:
        NAMES[name] = entry
        if len(_MARKS) < MOST_MARKS:
            _MARKS.setdefault(lower, 1 << len(_MARKS))
    return entry


def may_be_secret(target: bytes) -> bool:
    """Whether a request's target may hold a secret, as far as its query or userinfo shows."""
    if _QUESTION in target and _SECRET_QUERY.search(target.lower()) is not None:
        return True
    return target[0] != _SLASH and _AT in target


class Line:
    """A field line that llhttp took.

    field: (lower-case name, value without blanks at its ends): one tuple for all heads; bits: the name's KNOWN bits
    mark: the bit of its name, or 0; is_kept: its line may be known when it comes again
    """

    __slots__ = ("bits", "field", "is_kept", "mark")

    def __init__(self, name: bytes, value: bytes) -> None:
        lower, self.bits, self.is_kept = name_of(name)
        if value and value[-1] <= 32:
            value = value.rstrip(b" \t")  # llhttp leaves trailing blanks; controls it has refused
        self.field: Any = (lower, value)  # Any: mypyc would take the pair apart, and make another one of it
        self.mark = _MARKS.get(lower, 0)


#: in the place of a line that is not known
UNKNOWN: Final = Line(b"", b"")


class Repeated(Exception):
    """llhttp found another number of fields than there are lines, or others."""


class _Recorder:
    """What httptools calls: every field goes straight into a dict, without a Python frame."""

    __slots__ = ("on_header",)

    on_header: Callable[[bytes, bytes], object]

    # httptools looks every callback up; a class attribute is found quicker than an AttributeError is made
    on_message_begin = None
    on_url = None
    on_status = None
    on_headers_complete = None
    on_body = None
    on_message_complete = None
    on_chunk_header = None
    on_chunk_complete = None


class Reader:
    """Reads the lines of requests, or of responses.

    recent: the lines known of this generation, as they stand on the wire, without their ends
    """

    __slots__ = ("_before", "_parser", "joined", "recent")

    def __init__(self, parser: Any, joined: frozenset[bytes]) -> None:
        self._parser = parser
        self.joined = joined  # the names whose values become one field, as in Envoy
        self.recent: dict[bytes, Line] = {}
        self._before: dict[bytes, Line] = {}

    def fill(self, lines: list[bytes], entries: list[Line]) -> None:
        """Put the right ones in the places of UNKNOWN, and read the first line along.

        lines: of a head, as split, so with two empty ones at the end; entries: of its fields. Raises Repeated, and
        httptools.HttpParserError.
        """
        fresh = [lines[0]]
        places = []
        for place, entry in enumerate(entries):
            if entry is UNKNOWN:
                line = lines[place + 1]
                found = self._before.get(line)
                if found is None:
                    fresh.append(line)
                    places.append(place)
                else:
                    entries[place] = found
                    self._keep(line, found)
        flat = b"".join(fresh)
        if LF in flat or CR in flat:  # llhttp takes a line feed behind a target: its lines would not be ours
            raise httptools.HttpParserError("a bare CR or LF")
        fresh += (b"", b"")
        raw = self._parse(b"\r\n".join(fresh))
        if len(raw) != len(places):
            raise Repeated
        at = 0
        for name, value in raw.items():
            place = places[at]
            at += 1  # noqa: SIM113 - mypyc makes a call of enumerate over items
            line = lines[place + 1]
            if line.partition(b":")[0] != name or not line.endswith(value):
                raise Repeated  # never seen: what is remembered for all clients has to be what stands in the line
            entry = entries[place] = Line(name, value)
            # Connection, and Proxy-Connection, which is the same to llhttp
            asks = entry.bits & HOP_BY_HOP and b"upgrade" in line.lower()
            if entry.is_kept and len(line) <= LONGEST and not asks:
                self._keep(line, entry)

    def _keep(self, line: bytes, entry: Line) -> None:
        if len(self.recent) >= GENERATION:
            self._before = self.recent
            self.recent = {}
        self.recent[line] = entry

    def whole(self, head: bytes, lines: list[bytes]) -> tuple[list[Field], int]:
        """The fields of a head that llhttp must see whole, and their KNOWN bits. Raises httptools.HttpParserError."""
        self._parse(head)
        fields = []
        known = 0
        for line in lines[1:-2]:
            name, _, value = line.partition(b":")
            lower, bits, _ = name_of(name)
            known |= bits
            fields.append((lower, value.strip(b" \t")))
        return join_repeated(fields, self.joined), known

    def _parse(self, head: bytes) -> dict[bytes, bytes]:
        """A fresh parser each time: one that has seen a body or an upgrade cannot be trusted with the next message."""
        raw: dict[bytes, bytes] = {}
        recorder = _Recorder()
        recorder.on_header = raw.setdefault
        try:
            self._parser(recorder).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # all callbacks have run; what an upgrade means is decided above us
        return raw


def repeats(fields: list[Field]) -> bool:
    """Whether a name is there twice."""
    return len({field[0] for field in fields}) != len(fields)
