"""Lines that were seen before: a head is read as if every line of it were new."""

from __future__ import annotations

from itertools import product
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.errors import CodecError
from proxy.base.headers import REQUEST_JOINED
from proxy.codec import http1_head
from proxy.codec.http1_lines import _MARKS, COMMON, GENERATION, LONGEST, MOST_MARKS, UNKNOWN, Line, Reader

LINES = (
    *(b"Host: a.test", b"host: b.test", b"Host:", b"HOST: a b"),
    *(b"Content-Length: 0", b"content-length: 5", b"Content-Length: 05", b"Content-Length: 5,5"),
    *(b"Content-Length: +5", b"Content-Length: 18446744073709551616", b"Content-Length:"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding: chunked ", b"Transfer-Encoding: gzip"),
    *(
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: identity",
    ),
    *(
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: keep-alive, Upgrade",
        b"Connection: Upgrade",
    ),
    *(
        b"Upgrade: foo",
        b"Upgrade: h2c",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Connection: Upgrade",
        b"Keep-Alive: 5",
        b"TE: trailers",
    ),
    *(
        b"Accept: */*",
        b"accept: */*",
        b"Accept: text/html",
        b"Accept:\t*/* \t",
        b"X-Own: 1",
        b"x-own: 1",
        b"X-Other: 1",
    ),
    *(b"Cookie: a=1", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Authorization: Basic eDp5", b"Date: today"),
    *(b"X-Forwarded-For: 1.2.3.4", b"x-forwarded-for: 5.6.7.8", b"X-Request-Id: 1", b"x-request-id: 2"),
    *(b"X-Empty:", b"X-Latin: \xe4", b"X-Long: " + b"l" * LONGEST),
    # what no head may hold
    *(
        b"no colon",
        b" folded: 1",
        b"Bad Name: 1",
        b"X-Nul: a\0b",
        b"X-Lf: a\nb: c",
        b"X-Cr: a\rb",
        b": none",
        b"\n",
    ),
)
REQUEST_STARTS = (
    *(b"GET / HTTP/1.1", b"POST /x?y HTTP/1.1", b"CONNECT a.test:1 HTTP/1.1", b"GET / HTTP/1.0"),
    *(
        b"GET http://a.test/x HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"FOO / HTTP/1.1",
    ),
    *(
        b"GET /\0 HTTP/1.1",
        b"GET /",
        b"",
        b"GET / HTTP/1.1 ",
        b"HTTP/1.1 200 OK",
        b"GET /" + b"p" * LONGEST + b" HTTP/1.1",
    ),
    # llhttp takes a line feed behind a target for the line's end, and the rest for a field
    *(
        b"GET /\nX-Own:9",
        b"GET /\nX-Own:9 HTTP/1.1",
        b"GET /\nHost:c.test HTTP/1.1",
        b"GET /\n",
        b"GET /\r",
        b"GET / HTTP/1.1\nX-Own:9",
    ),
)
STATUS_STARTS = (
    *(
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/1.1 204 No Content",
    ),
    *(
        b"HTTP/1.1 304",
        b"HTTP/1.1 99 x",
        b"HTTP/2 200",
        b"HTTP/1.1 200 O\0K",
        b"",
        b"GET / HTTP/1.1",
        b"HTTP/1.1 100 Continue",
    ),
    *(b"HTTP/1.1 200\nX-Own:9", b"HTTP/1.1 200 OK\nX-Own:9", b"HTTP/1.1 200\r"),
)


def heads(starts: tuple[bytes, ...]) -> st.SearchStrategy[list[bytes]]:
    """Several heads: what one teaches, the next may make use of."""
    fields = st.lists(st.sampled_from(LINES), max_size=6)
    head = st.tuples(st.sampled_from(starts), fields).map(
        lambda each: b"\r\n".join((each[0], *each[1], b"", b""))
    )
    return st.lists(head, min_size=2, max_size=8)


def forget() -> None:
    http1_head._REQUEST_LINES.clear()
    http1_head._STATUS_LINES_SEEN.clear()
    for reader in (http1_head._REQUESTS, http1_head._RESPONSES):
        reader.recent = {}
        reader._before = {}


def outcome(read: Any, head: bytes) -> object:
    try:
        headers, version = read(head, head.split(b"\r\n"))
    except CodecError as error:
        return error.status, error.body, error.details
    pseudo = [getattr(headers, name, None) for name in ("method", "path", "authority", "scheme", "status")]
    return pseudo, headers.fields, headers.known, version


def agrees(read: Any, several: list[bytes]) -> None:
    anew = []
    for head in several:
        forget()
        anew.append(outcome(read, head))
    forget()
    assert [outcome(read, head) for head in several] == anew
    assert [outcome(read, head) for head in several] == anew  # and all of them known


@given(heads(REQUEST_STARTS))
@settings(max_examples=300, deadline=None)
def test_a_request_is_read_as_if_it_were_the_first(several: list[bytes]) -> None:
    agrees(http1_head.read_request, several)


@given(heads(STATUS_STARTS))
@settings(max_examples=300, deadline=None)
def test_a_response_is_read_as_if_it_were_the_first(several: list[bytes]) -> None:
    agrees(http1_head.read_response, several)


SPLICES = (
    *(b"\n", b"\r", b"\r\n", b"\n ", b"\nX-Own:9", b"\nHost:c.test", b"\r\n\t"),
    *(b" ", b"\t", b":", b"\0", b"\xff", b""),
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 2), st.sampled_from(SPLICES)), max_size=3
)


def spoiled(head: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """The head with bytes of it taken out and others put in, up to its first end."""
    for place, taken, put in edits:
        at = int(place * len(head))
        head = head[:at] + put + head[at + taken :]
    return head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("read", "starts"),
    [(http1_head.read_request, REQUEST_STARTS), (http1_head.read_response, STATUS_STARTS)],
    ids=["request", "response"],
)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_bytes_come_are_read_as_if_they_were_the_first(
    read: Any, starts: tuple[bytes, ...], data: st.DataObject
) -> None:
    several = [spoiled(head, data.draw(EDITS)) for head in data.draw(heads(starts))]
    agrees(read, several)
    for head in several:
        told = outcome(read, head)
        lines = head.split(b"\r\n")
        if isinstance(told, tuple) and len(told) == 4:  # it was taken
            assert not any(b"\n" in line or b"\r" in line for line in lines)


STEERING = [line for line in LINES if line[:2].lower() in (b"ho", b"co", b"tr", b"up", b"te", b"pr")]


@pytest.mark.parametrize(
    ("read", "starts"),
    [(http1_head.read_request, REQUEST_STARTS), (http1_head.read_response, STATUS_STARTS)],
    ids=["request", "response"],
)
def test_no_two_steering_lines_are_read_otherwise_once_they_are_known(
    read: Any, starts: tuple[bytes, ...]
) -> None:
    several = [b"\r\n".join((*parts, b"", b"")) for parts in product(starts, STEERING, STEERING)]
    anew = []
    for head in several:
        forget()
        anew.append(outcome(read, head))
    for _ in range(2):
        assert [outcome(read, head) for head in several] == anew


@pytest.mark.parametrize(
    "start",
    [b"GET /\nX-Role:admin", b"GET /\nX-Role:admin HTTP/1.1", b"GET /\nX-Role:admin HTTP/1.1\nX-B:1"],
)
def test_a_line_feed_in_the_request_line_is_refused_and_teaches_nothing(start: bytes) -> None:
    forget()
    for fields in (b"X-Role: user\r\n", b""):
        told = outcome(http1_head.read_request, b"%b\r\n%b\r\n" % (start, fields))
        assert told == (400, b"Bad Request", b"http1.codec_error")
    assert not http1_head._REQUESTS.recent and not http1_head._REQUEST_LINES
    headers, _ = http1_head.read_request(
        head := b"GET / HTTP/1.1\r\nX-Role: user\r\n\r\n", head.split(b"\r\n")
    )
    assert headers.fields == [(b"x-role", b"user")]


def met(reader: Reader, *lines: bytes) -> list[Line]:
    """What the reader finds of the lines, as in a head."""
    entries = [reader.recent.get(line, UNKNOWN) for line in lines]
    if UNKNOWN in entries:
        reader.fill([b"GET / HTTP/1.1", *lines, b"", b""], entries)
    return entries


@pytest.fixture
def reader() -> Reader:
    return Reader(httptools.HttpRequestParser, REQUEST_JOINED)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"X-Request-Id: 1",
            b"Traceparent: 00-1-1-01",
            b"X-B3-TraceId: 1",
            b"Authorization: Basic eDp5",
            b"cookie: a=1",
        ),
        *(
            b"aUTHORIZATION: Basic eDp5",
            b"Proxy-Authorization: x",
            b"SET-COOKIE: a=1",
            b"X-Api-Key: 1",
            b"X-Amz-Security-Token: 1",
            b"X-CSRFToken: 1",
            b"X-Access-Control-Allow-Credentials: true",
            b"x-forwarded-CLIENT-cert: By=a",
        ),
        *(
            b"X-Forwarded-Client-Cert: By=a",
            b"X-Long: " + b"l" * LONGEST,
            b"Upgrade: foo",
            b"Connection: x, UPGRADE",
            b"Proxy-Connection: Upgrade",
        ),
    ],
)
def test_what_is_not_kept(reader: Reader, line: bytes) -> None:
    entries = met(reader, line, b"Accept: */*")
    assert UNKNOWN not in entries and list(reader.recent) == [b"Accept: */*"]


@pytest.mark.parametrize("line", [b"Access-Control-Allow-Credentials: true", b"X-Zipcode: 1", b"X-Tom: cat"])
def test_what_is_kept(reader: Reader, line: bytes) -> None:
    met(reader, line)
    assert list(reader.recent) == [line]


def test_what_is_asked_for_stays_and_the_rest_is_forgotten(reader: Reader) -> None:
    met(reader, b"Accept: */*", b"X-Never-Again: 1")
    for number in range(GENERATION * 3):
        met(reader, b"Accept: */*", b"X-Number: %d" % number)
    assert b"X-Never-Again: 1" not in reader.recent and b"X-Never-Again: 1" not in reader._before
    assert b"Accept: */*" in reader.recent or b"Accept: */*" in reader._before
    assert len(reader.recent) <= GENERATION and len(reader._before) <= GENERATION


def test_what_is_wrong_with_the_request_line_is_said_before_a_second_host() -> None:
    fields = b"Host: a\r\nHost: b\r\n\r\n"
    for start, status, details in (
        (b"GET /", 426, b"low_version"),
        (b"LOCK  / HTTP/1.1", 400, b"http1.codec_error"),
        (b"GET / HTTP/1.1", 400, b"http.invalid_authority"),
    ):
        forget()
        told = outcome(http1_head.read_request, start + b"\r\n" + fields)
        assert isinstance(told, tuple) and (told[0], told[2]) == (status, details)


def test_request_lines_are_bounded() -> None:
    forget()
    for number in range(http1_head.MOST_REQUEST_LINES + 10):
        outcome(http1_head.read_request, b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    assert 0 < len(http1_head._REQUEST_LINES) <= http1_head.MOST_REQUEST_LINES


@pytest.mark.parametrize(
    ("target", "is_kept"),
    [
        *((b"/search?zipcode=1", True), (b"/search?q=shoes&page=2", True), (b"/", True)),
        *(
            (b"/x?Access_Token=1", False),
            (b"/x?a=1&sig=2", False),
            (b"/x?code=1", False),
            (b"/x?api_key=1", False),
        ),
        *((b"http://u:p@a.test/", False), (b"http://a.test/", True), (b"/mail/a@b.test", True)),
    ],
)
def test_request_lines_that_may_hold_a_secret_are_not_kept(target: bytes, is_kept: bool) -> None:
    forget()
    line = b"GET %b HTTP/1.1" % target
    told = outcome(http1_head.read_request, line + b"\r\nHost: a\r\n\r\n")
    assert isinstance(told, tuple) and len(told) == 4
    assert (line in http1_head._REQUEST_LINES) is is_kept


def test_marks_are_a_machine_word(reader: Reader) -> None:
    assert len(set(COMMON)) == len(COMMON) < MOST_MARKS
    for number in range(MOST_MARKS):
        met(reader, b"X-Marked-%d: 1" % number)
    assert len(_MARKS) == len(set(_MARKS.values())) == MOST_MARKS and max(_MARKS.values()) < 1 << MOST_MARKS
    assert met(reader, b"X-Unmarked: 1")[0].mark == 0
