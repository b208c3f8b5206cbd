"""What every server codec promises (``proxy.codec.interface``), held against both: HTTP/1 and HTTP/2.

The peers speak their protocols by other means: h11 and h2.
"""

from __future__ import annotations

from typing import Any

import h11
import pytest
from h2 import events as ev

from proxy.base.errors import CodecError
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.codec.http1 import Http1Settings
from proxy.codec.interface import ServerCodec
from tests.unit.codec import http2_support
from tests.unit.codec.support import Recorder
from tests.unit.codec.support import Server as Http1Server

Fields = list[tuple[bytes, bytes]]
#: (status, fields, body, trailers)
Response = tuple[int, Fields, bytes, Fields]


class Http1Side:
    """An HTTP/1 connection with one client."""

    def __init__(self) -> None:
        self.server = Http1Server(Http1Settings(enable_trailers=True))
        self.client = h11.Connection(h11.CLIENT)

    def send(self, fields: Fields, pieces: list[bytes], trailers: Fields, cut: int) -> Recorder:
        framing = [(b"transfer-encoding", b"chunked")] if pieces or trailers else []
        head = h11.Request(method="POST", target="/p", headers=[(b"host", b"a"), *fields, *framing])
        data = self.client.send(head) or b""
        for piece in pieces:
            data += self.client.send(h11.Data(data=piece)) or b""
        data += self.client.send(h11.EndOfMessage(headers=trailers)) or b""
        self.server.feed(*(data[at : at + cut] for at in range(0, len(data), cut)))
        return self.server.streams[-1]

    def codec(self) -> ServerCodec:
        return self.server.codec

    def receive(self) -> Response:
        self.server.written += self.server.codec.take_output()
        self.client.receive_data(self.server.written)
        status, fields, body, trailers = 0, [], b"", []
        while True:
            event = self.client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                fields = [(bytes(n), bytes(v)) for n, v in event.headers if n != b"transfer-encoding"]
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers = [(bytes(n), bytes(v)) for n, v in event.headers]
                return status, fields, body, trailers
            elif event is h11.NEED_DATA:
                raise AssertionError("the response is not whole")


class Http2Side:
    """An HTTP/2 connection with one client."""

    def __init__(self) -> None:
        self.server = http2_support.Server()
        self.server.exchange()

    def send(self, fields: Fields, pieces: list[bytes], trailers: Fields, cut: int) -> Recorder:
        peer = self.server.peer
        number = self.server.request([*http2_support.HEAD, *fields], end=not pieces and not trailers)
        for at, piece in enumerate(pieces):
            peer.send_data(number, piece, end_stream=not trailers and at == len(pieces) - 1)
        if trailers:
            peer.send_headers(number, trailers, end_stream=True)
        self.server.feed(peer.data_to_send(), cut)
        return self.server.recorders[-1]

    def codec(self) -> ServerCodec:
        return self.server.streams[-1]

    def receive(self) -> Response:
        self.server.exchange()
        head = self.server.heard(ev.ResponseReceived)[-1].headers
        trailers = [event.headers for event in self.server.heard(ev.TrailersReceived)]
        assert self.server.heard(ev.StreamEnded), "the response is not whole"
        body = b"".join(event.data for event in self.server.heard(ev.DataReceived))
        return int(head[0][1]), head[1:], body, trailers[0] if trailers else []


@pytest.fixture(params=[Http1Side, Http2Side], ids=["http1", "http2"])
def side(request: pytest.FixtureRequest) -> Any:
    return request.param()


FIELDS: Fields = [(b"x-one", b"1"), (b"x-two", b"2 3"), (b"x-one", b"again")]


@pytest.mark.parametrize("cut", [1, 3, 1000])
@pytest.mark.parametrize("trailers", [[], [(b"x-tail", b"t")]])
@pytest.mark.parametrize("pieces", [[], [b"body"], [b"in", b"two"]])
def test_a_request_arrives_whole(side: Any, pieces: list[bytes], trailers: Fields, cut: int) -> None:
    seen = side.send(FIELDS, pieces, trailers, cut)
    request = seen.request
    assert isinstance(request, RequestHeaders)
    assert (request.method, request.path, request.authority) == (b"POST", b"/p", b"a")
    assert request.fields == FIELDS
    assert seen.body == b"".join(pieces) and seen.ended and not seen.resets
    assert (seen.trailers.fields if seen.trailers else []) == trailers
    assert side.codec().wire_bytes_in > len(seen.body)


def test_a_request_without_a_body_ends_with_its_head(side: Any) -> None:
    seen = side.send([], [], [], 1000)
    assert seen.ends == 1 and not seen.pieces


def test_a_response_without_a_body(side: Any) -> None:
    seen = side.send([], [], [], 1000)
    side.codec().headers(seen, ResponseHeaders(204, [(b"x", b"y")]), True)
    assert side.receive() == (204, [(b"x", b"y")], b"", [])


def test_a_response_with_a_length(side: Any) -> None:
    seen = side.send([], [], [], 1000)
    side.codec().headers(seen, ResponseHeaders(200, [(b"content-length", b"4")]), False)
    side.codec().data(seen, b"bo", False)
    side.codec().data(seen, b"dy", True)
    assert side.receive() == (200, [(b"content-length", b"4")], b"body", [])


def test_a_response_of_unknown_length_with_trailers(side: Any) -> None:
    seen = side.send([(b"te", b"trailers")], [], [], 1000)
    side.codec().headers(seen, ResponseHeaders(200), False)
    side.codec().data(seen, b"body", False)
    side.codec().trailers(seen, HeaderMap([(b"grpc-status", b"0")]))
    assert side.receive() == (200, [], b"body", [(b"grpc-status", b"0")])


def test_an_empty_end(side: Any) -> None:
    seen = side.send([], [], [], 1000)
    side.codec().headers(seen, ResponseHeaders(200), False)
    side.codec().data(seen, b"body", False)
    side.codec().data(seen, b"", True)
    assert side.receive() == (200, [], b"body", [])


def test_framing_fields_of_a_filter_are_not_written(side: Any) -> None:
    seen = side.send([], [], [], 1000)
    side.codec().headers(seen, ResponseHeaders(200, [(b"transfer-encoding", b"gzip"), (b"x", b"y")]), False)
    side.codec().data(seen, b"body", True)
    assert side.receive() == (200, [(b"x", b"y")], b"body", [])


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb"])
def test_no_value_breaks_out_of_its_field(side: Any, value: bytes) -> None:
    seen = side.send([], [], [], 1000)
    with pytest.raises(ValueError):
        side.codec().headers(seen, ResponseHeaders(200, [(b"x", value)]), True)


def test_what_a_response_takes_is_counted(side: Any) -> None:
    seen = side.send([], [], [], 1000)
    codec = side.codec()
    codec.headers(seen, ResponseHeaders(200, [(b"content-length", b"4")]), False)
    codec.data(seen, b"body", True)
    assert codec.wire_bytes_out > 4 and codec.field_bytes_out > 0
    assert codec.queued_bytes(seen) == 0 or isinstance(side, Http2Side)


def test_junk_is_a_codec_error() -> None:
    for codec in (Http1Server().codec, http2_support.Server().codec):
        with pytest.raises(CodecError):
            codec.feed(b"\x00junk that is neither, and long enough for any preface\r\n\r\n")
