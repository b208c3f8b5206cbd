"""Laws of the HTTP/2 codecs: cuts do not matter, h2 reads what we write and we what it writes, junk is a CodecError."""

from __future__ import annotations

from typing import Any

import h2.events as ev
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from tests.unit.codec.http2_support import Client, Server
from tests.unit.codec.support import Recorder

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~", min_size=1, max_size=12).map(
    str.encode
)
VALUE = st.text("".join(map(chr, [*range(33, 127), *range(128, 256)])), max_size=30).map(
    lambda text: text.encode("latin-1")
)
RESERVED = {b"host", b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade"}
RESERVED |= {
    b"keep-alive",
    b"te",
    b"http2-settings",
    b"cookie",
    b"trailer",
    b"content-encoding",
    b"content-type",
}
RESERVED |= {b"content-range"}
FIELDS = st.lists(
    st.tuples(TOKEN, VALUE).filter(lambda field: field[0] not in RESERVED),
    max_size=8,
    unique_by=lambda field: field[0],
)
PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=5)
MESSAGE = st.fixed_dictionaries({"fields": FIELDS, "pieces": PIECES, "trailers": FIELDS})
Message = dict[str, Any]


def send(peer: Any, number: int, head: list[tuple[bytes, bytes]], message: Message) -> None:
    pieces, trailers = message["pieces"], message["trailers"]
    peer.send_headers(number, [*head, *message["fields"]], end_stream=not pieces and not trailers)
    for at, piece in enumerate(pieces):
        peer.send_data(number, piece, end_stream=not trailers and at == len(pieces) - 1)
    if trailers:
        peer.send_headers(number, trailers, end_stream=True)


def seen(recorder: Recorder) -> tuple[Any, ...]:
    trailers = recorder.trailers.fields if recorder.trailers is not None else []
    return recorder.heads[0].fields, recorder.body, trailers, recorder.ended


def meant(message: Message) -> tuple[Any, ...]:
    return message["fields"], b"".join(message["pieces"]), message["trailers"], True


@settings(max_examples=60, deadline=None)
@given(messages=st.lists(MESSAGE, min_size=1, max_size=5), cut=st.integers(0, 40))
def test_requests_are_the_same_however_they_are_cut(messages: list[Message], cut: int) -> None:
    server = Server()
    server.exchange()
    for at, message in enumerate(messages):
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/%d" % at)]
        send(server.peer, server.peer.get_next_available_stream_id(), head, message)
    data = server.peer.data_to_send()
    server.feed(data, cut)
    assert server.error is None
    assert [seen(recorder) for recorder in server.recorders] == [meant(message) for message in messages]
    assert sum(stream.wire_bytes_in for stream in server.streams) == len(data)


@settings(max_examples=60, deadline=None)
@given(messages=st.lists(MESSAGE, min_size=1, max_size=5), cut=st.integers(0, 40))
def test_responses_are_the_same_however_they_are_cut(messages: list[Message], cut: int) -> None:
    client = Client()
    recorders = []
    for _ in messages:
        stream, recorder, _ = client.stream()
        stream.headers(recorder, RequestHeaders(b"GET", b"/", b"a", b"http"), True)
        recorders.append(recorder)
    client.exchange()
    for at, message in enumerate(messages):
        send(client.peer, 1 + 2 * at, [(b":status", b"200")], message)
    client.exchange(cut)
    assert client.error is None
    assert [seen(recorder) for recorder in recorders] == [meant(message) for message in messages]


@settings(max_examples=60, deadline=None)
@given(message=MESSAGE, status=st.integers(200, 599))
def test_h2_reads_the_responses_we_write(message: Message, status: int) -> None:
    server = Server()
    server.request([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")])
    server.exchange()
    stream, recorder = server.streams[0], server.recorders[0]
    pieces, trailers = message["pieces"], message["trailers"]
    stream.headers(recorder, ResponseHeaders(status, list(message["fields"])), not pieces and not trailers)
    for at, piece in enumerate(pieces):
        stream.data(recorder, piece, not trailers and at == len(pieces) - 1)
    if trailers:
        stream.trailers(recorder, HeaderMap(list(trailers)))
    server.exchange()
    heads = server.heard(ev.ResponseReceived)
    assert [event.headers for event in heads] == [[(b":status", b"%d" % status), *message["fields"]]]
    assert b"".join(event.data for event in server.heard(ev.DataReceived)) == b"".join(pieces)
    assert [event.headers for event in server.heard(ev.TrailersReceived)] == ([trailers] if trailers else [])
    assert len(server.heard(ev.StreamEnded)) == 1


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200), opened=st.booleans(), cut=st.integers(0, 9))
def test_junk_is_never_more_than_a_codec_error(junk: bytes, opened: bool, cut: int) -> None:
    server = Server()
    server.exchange()
    if opened:
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
        server.request(head, end=False)
        server.feed(server.peer.data_to_send())
    server.feed(junk, cut)
    server.codec.take_output()
    client = Client()
    client.exchange()
    try:
        client.codec.feed(junk)
        client.codec.take_output()
    except Exception as error:
        from proxy.base.errors import CodecError

        assert isinstance(error, CodecError)
