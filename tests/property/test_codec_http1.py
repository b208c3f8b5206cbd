"""Laws of the HTTP/1 codecs: cuts do not matter, h11 reads what we write, junk never escapes as anything but CodecError."""

from __future__ import annotations

import itertools
from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.codec.http1 import Http1ClientCodec, Http1Settings
from tests.unit.codec.support import Client, Recorder, Server
from tests.unit.codec.test_http1_corpus import CASES, pieces

TRAILERS = Http1Settings(enable_trailers=True)
TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_.!#$%&'*+^`|~", min_size=1, max_size=12).map(
    str.encode
)
VALUE = st.binary(max_size=30).map(
    lambda raw: bytes(byte for byte in raw if byte >= 32 and byte != 127).strip()
)
RESERVED = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"proxy-connection",
    b"upgrade",
    b"expect",
    b"trailer",
)
FIELDS = st.lists(st.tuples(TOKEN, VALUE).filter(lambda field: field[0].lower() not in RESERVED), max_size=8)
BODY = st.binary(max_size=200)
PIECES = st.lists(st.binary(min_size=1, max_size=60), max_size=6)
METHOD = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS"])
PATH = st.text("abcXYZ019/?&=%.-_~:@!$'()*+,;", max_size=30).map(lambda text: b"/" + text.encode())
FRAMING = st.sampled_from(["none", "length", "chunked"])


def lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in fields)


def framed(
    fields: list[tuple[bytes, bytes]], framing: str, pieces: list[bytes], trailers: list[tuple[bytes, bytes]]
) -> bytes:
    """Fields, empty line and body of a valid message."""
    if framing == "none":
        return lines(fields) + b"\r\n"
    if framing == "length":
        body = b"".join(pieces)
        return lines([*fields, (b"Content-Length", b"%d" % len(body))]) + b"\r\n" + body
    chunks = b"".join(b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return (
        lines([*fields, (b"Transfer-Encoding", b"chunked")])
        + b"\r\n"
        + chunks
        + b"0\r\n"
        + lines(trailers)
        + b"\r\n"
    )


MESSAGE = st.builds(framed, FIELDS, FRAMING, PIECES, FIELDS)
REQUEST = st.builds(
    lambda method, path, rest: method + b" " + path + b" HTTP/1.1\r\nHost: t.test\r\n" + rest,
    METHOD,
    PATH,
    MESSAGE,
)
RESPONSE = st.builds(
    lambda status, rest: b"HTTP/1.1 %d X\r\n" % status + rest, st.sampled_from([200, 201, 404, 503]), MESSAGE
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(at)]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUEST, min_size=1, max_size=4), CUTS)
def test_requests_are_the_same_however_they_are_cut(requests: list[bytes], places: list[int]) -> None:
    data = b"".join(requests)
    whole, pieces, bytewise = (Server(TRAILERS, answers=True) for _ in range(3))
    whole.feed(data)
    pieces.feed(*cut(data, places))
    bytewise.feed(*[data[at : at + 1] for at in range(len(data))])
    expected = [stream.message() for stream in whole.streams]
    assert len(expected) == len(requests) and not whole.errors
    assert [stream.message() for stream in pieces.streams] == expected
    assert [stream.message() for stream in bytewise.streams] == expected
    assert whole.statuses() == pieces.statuses() == [200] * len(requests)


@settings(max_examples=150, deadline=None)
@given(RESPONSE, CUTS, st.booleans())
def test_responses_are_the_same_however_they_are_cut(data: bytes, places: list[int], closes: bool) -> None:
    whole, pieces = Client(settings=TRAILERS), Client(settings=TRAILERS)
    whole.codec.feed(data)
    for piece in cut(data, places):
        pieces.codec.feed(piece)
    if closes:
        whole.codec.eof()
        pieces.codec.eof()
        assert whole.decoder.ended
    assert whole.decoder.message() == pieces.decoder.message()
    assert whole.codec.reusable == pieces.codec.reusable


def h11_reads(role: Any, data: bytes) -> tuple[Any, bytes, list[tuple[bytes, bytes]]]:
    """(head, body, trailers) as h11 reads them; ends with EndOfMessage."""
    connection = h11.Connection(role)
    if role is h11.CLIENT:
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head = connection.next_event()
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    assert connection.trailing_data == (b"", False)
    return head, body, list(event.headers)


LOWER_FIELDS = FIELDS.map(lambda fields: [(name.lower(), value) for name, value in fields])


@settings(max_examples=150, deadline=None)
@given(METHOD, PATH, LOWER_FIELDS, FRAMING, PIECES, LOWER_FIELDS)
def test_h11_reads_the_requests_we_write(
    method: bytes, path: bytes, fields: Any, framing: str, pieces: list[bytes], trailers: Any
) -> None:
    codec = Http1ClientCodec(TRAILERS)
    decoder = Recorder()
    body = b"".join(pieces)
    known = [(b"content-length", b"%d" % len(body))] if framing == "length" else []
    ends = framing == "none" or (framing == "length" and not body)
    codec.headers(decoder, RequestHeaders(method, path, b"t.test", fields=fields + known), ends)
    if not ends:
        for piece in pieces:
            codec.data(decoder, piece, False)
        if framing == "chunked":
            codec.trailers(decoder, HeaderMap(trailers))
        else:
            codec.data(decoder, b"", True)
    head, read, tail = h11_reads(h11.SERVER, codec.take_output())
    assert (head.method, head.target) == (method, path)
    names = (b"host", b"content-length", b"transfer-encoding")
    assert [field for field in head.headers if field[0] not in names] == fields
    assert read == (b"" if ends else body)
    assert tail == (trailers if framing == "chunked" else [])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([200, 204, 304, 404, 599]), LOWER_FIELDS, FRAMING, PIECES)
def test_h11_reads_the_responses_we_write(
    status: int, fields: Any, framing: str, pieces: list[bytes]
) -> None:
    server = Server()
    server.codec.feed(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
    (stream,) = server.streams
    body = b"".join(pieces)
    known = [(b"content-length", b"%d" % len(body))] if framing == "length" else []
    server.codec.headers(stream, ResponseHeaders(status, fields + known), framing == "none")
    if framing != "none":
        for piece in pieces:
            server.codec.data(stream, piece, False)
        server.codec.data(stream, b"", True)
    assert not server.codec.closing
    head, read, _ = h11_reads(h11.CLIENT, server.codec.take_output())
    assert head.status_code == status
    names = (b"content-length", b"transfer-encoding")
    assert [field for field in head.headers if field[0] not in names] == fields
    assert read == (b"" if framing == "none" or status in (204, 304) else body)


MUTATION = st.tuples(
    st.sampled_from(["flip", "drop", "insert", "copy"]),
    st.integers(0, 1 << 16),
    st.integers(0, 255),
    st.integers(1, 20),
)
SPICE = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b",",
    b"0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\x0b",
]


def mutate(data: bytes, mutations: list[tuple[str, int, int, int]]) -> bytes:
    out = bytearray(data)
    for kind, place, value, count in mutations:
        at = place % (len(out) + 1)
        if kind == "flip" and at < len(out):
            out[at] = value
        elif kind == "drop":
            del out[at : at + count]
        elif kind == "insert":
            out[at:at] = SPICE[value % len(SPICE)]
        else:
            out[at:at] = out[at : at + count]
    return bytes(out)


@settings(max_examples=200, deadline=None)
@given(st.lists(REQUEST, min_size=1, max_size=3), st.lists(MUTATION, min_size=1, max_size=4), CUTS)
def test_mutated_requests_raise_nothing_but_codec_errors(
    requests: list[bytes], mutations: Any, places: list[int]
) -> None:
    data = mutate(b"".join(requests), mutations)
    whole, pieces = Server(answers=True), Server(answers=True)
    whole.feed(data)
    pieces.feed(*cut(data, places))
    for server in (whole, pieces):
        assert len(server.errors) <= 1  # the first error is the last word
        assert not server.errors or server.codec.closing
        server.codec.eof()
    assert [stream.message() for stream in whole.streams if stream.ended] == [
        stream.message() for stream in pieces.streams if stream.ended
    ]
    for stream in whole.streams:
        if stream.heads:
            assert_can_be_sent_on(stream)


CORPUS = [pieces(case["send"])[0] for case in CASES if case["group"] != "response"]
HOSTILE = st.sampled_from([b"".join(parts) for parts in CORPUS if sum(map(len, parts)) < 3000])


@settings(max_examples=400, deadline=None)
@given(st.lists(HOSTILE, min_size=1, max_size=2), st.lists(MUTATION, min_size=1, max_size=5), CUTS)
def test_mutated_hostile_requests_raise_nothing_but_codec_errors(
    requests: list[bytes], mutations: Any, places: list[int]
) -> None:
    server = Server(answers=True)
    server.feed(*cut(mutate(b"".join(requests), mutations), places))
    assert len(server.errors) <= 1
    for stream in server.streams:
        if stream.heads and stream.request.path:  # CONNECT has none and is never sent on
            assert_can_be_sent_on(stream)


def assert_can_be_sent_on(stream: Recorder) -> None:
    """Whatever was taken in, h11 reads what we would send upstream for it as one request."""
    codec = Http1ClientCodec()
    decoder = Recorder()
    codec.headers(decoder, stream.request, stream.ended and not stream.body)
    if not (stream.ended and not stream.body):
        codec.data(decoder, stream.body, stream.ended)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(codec.take_output())
    assert isinstance(connection.next_event(), h11.Request)


@settings(max_examples=200, deadline=None)
@given(RESPONSE, st.lists(MUTATION, min_size=1, max_size=4), CUTS)
def test_mutated_responses_raise_nothing(data: bytes, mutations: Any, places: list[int]) -> None:
    client = Client()
    for piece in cut(mutate(data, mutations), places):
        client.codec.feed(piece)
    client.codec.eof()
    assert client.decoder.ended + len(client.decoder.resets) == 1
    assert client.codec.decoder is None and client.codec.closing
