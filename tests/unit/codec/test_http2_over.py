"""Frames of streams that are over, and priorities that cannot be: the connection ends, unless they were on their way."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PriorityFrame, RstStreamFrame

from proxy.base.errors import LOCAL_RESET
from proxy.base.headers import ResponseHeaders
from proxy.codec.http2_engine import IS_OUR_OWN
from proxy.codec.http2_watch import RESETS
from tests.unit.codec.http2_support import HEAD, Server


def head(stream_id: int, *flags: str) -> bytes:
    frame = HeadersFrame(stream_id, Encoder().encode(HEAD), flags=["END_HEADERS", *flags])
    return frame.serialize()


def frame(made: Frame) -> bytes:
    return made.serialize()


def data(stream_id: int) -> bytes:
    return frame(DataFrame(stream_id, b"x"))


def answered(end: bool = True) -> Server:
    """Stream 1 asked for something; it is answered when the request has ended."""
    server = Server()
    server.exchange()
    server.feed(head(1, "END_STREAM") if end else head(1))
    if end:
        server.streams[0].headers(server.recorders[0], ResponseHeaders(200), True)
    server.codec.take_output()
    return server


@pytest.mark.parametrize("more", [data(1), head(1), head(1, "END_STREAM")], ids=["data", "head", "trailers"])
@pytest.mark.parametrize("cut", [0, 1, 10])
def test_frames_of_a_stream_that_both_have_ended(more: bytes, cut: int) -> None:
    server = answered()
    server.feed(more, cut)
    assert server.error is not None and server.codec.dead
    assert server.stats.rx_messaging_error.value == 1


@pytest.mark.parametrize("more", [data(1), head(1)])
def test_frames_of_a_stream_that_the_client_has_reset(more: bytes) -> None:
    server = answered(end=False)
    server.feed(frame(RstStreamFrame(1, error_code=8)))
    assert server.error is None
    server.feed(more)
    assert server.error is not None and server.codec.dead


@pytest.mark.parametrize("more", [data(1), head(1, "END_STREAM")])
def test_what_was_on_its_way_when_we_reset_a_stream_is_let_pass(more: bytes) -> None:
    server = answered(end=False)
    server.streams[0].reset(server.recorders[0], LOCAL_RESET)
    server.codec.take_output()
    server.feed(more)
    assert server.error is None
    server.feed(head(3, "END_STREAM"))
    assert len(server.streams) == 2


def test_what_comes_for_an_early_answer_is_let_pass() -> None:
    server = answered(end=False)
    server.streams[0].headers(server.recorders[0], ResponseHeaders(200), True)
    server.codec.take_output()
    server.codec.take_output()
    server.feed(data(1))
    assert server.error is None


def test_a_stream_that_was_passed_over() -> None:
    server = Server()
    server.exchange()
    server.feed(head(5, "END_STREAM"))
    assert server.error is None
    server.feed(head(3, "END_STREAM"))
    assert server.error is not None and len(server.streams) == 1


def test_after_goaway_frames_of_unseen_streams_are_let_pass() -> None:
    server = answered(end=False)
    server.codec.goaway()
    server.codec.take_output()
    server.feed(head(3) + data(3))
    server.feed(data(3))
    assert server.error is None and len(server.streams) == 1


def test_only_so_many_resets_are_remembered() -> None:
    server = Server()
    for number in range(RESETS + 5):
        server.codec.watch.reset(number)
    assert len(server.codec.watch.resets) == RESETS


@pytest.mark.parametrize("cut", [0, 1, 3])
@pytest.mark.parametrize(("stream_id", "depends_on", "allowed"), [(1, 3, True), (1, 1, False), (0, 1, False)])
def test_priorities(stream_id: int, depends_on: int, allowed: bool, cut: int) -> None:
    server = Server()
    server.exchange()
    made = PriorityFrame(stream_id or 1, depends_on=depends_on, stream_weight=1)
    raw = bytearray(made.serialize())
    raw[5:9] = stream_id.to_bytes(4, "big")
    server.feed(bytes(raw), cut)
    assert (server.error is None) is allowed


def test_refused_trailers_in_one_read_with_their_head() -> None:
    server = Server()
    server.exchange()
    encoder = Encoder()
    began = HeadersFrame(1, encoder.encode(HEAD), flags=["END_HEADERS"]).serialize()
    ended = HeadersFrame(1, encoder.encode([(":path", "/")]), flags=["END_HEADERS", "END_STREAM"]).serialize()
    server.feed(began + data(1) + ended)
    assert server.error is not None and server.codec.dead
    assert (server.stats.rx_messaging_error.value, server.stats.trailers.value) == (1, 1)


def test_the_wire_bytes_of_head_and_trailers_in_one_read() -> None:
    server = Server()
    server.exchange()
    encoder = Encoder()
    began = HeadersFrame(1, encoder.encode(HEAD), flags=["END_HEADERS"]).serialize()
    ended = HeadersFrame(1, encoder.encode([("x", "y")]), flags=["END_HEADERS", "END_STREAM"]).serialize()
    server.feed(began + data(1) + ended)
    stream = server.streams[0]
    assert stream.wire_bytes_in == len(began + data(1) + ended)
    assert stream.field_bytes_in == len(began) + len(ended)
    assert not server.codec.watch.heads and not server.codec.watch.tails


@pytest.mark.parametrize("value", [" a", "a ", "\ta"])
def test_blanks_around_a_value(value: str) -> None:
    server = Server()
    server.exchange()
    fields = [*HEAD, ("grpc-message", value)]
    server.feed(HeadersFrame(1, Encoder().encode(fields), flags=["END_HEADERS", "END_STREAM"]).serialize())
    if IS_OUR_OWN:
        assert server.error is None
        assert (b"grpc-message", value.encode()) in server.recorders[0].heads[0].fields
    else:
        assert server.error is not None and server.codec.dead


def test_a_path_beyond_ascii_is_refused() -> None:
    server = Server()
    server.exchange()
    fields = [(name, b"/caf\xe9" if name in (":path", b":path") else value) for name, value in HEAD]
    server.feed(HeadersFrame(1, Encoder().encode(fields), flags=["END_HEADERS", "END_STREAM"]).serialize())
    assert server.error is None and not server.codec.dead
    assert RstStreamFrame(1, error_code=1).serialize() in server.codec.take_output()
    server.feed(head(3, "END_STREAM"))
    assert len(server.recorders) == 2


def test_a_ping_where_both_have_left_is_nothing() -> None:
    server = Server()
    server.exchange()
    server.codec.goaway()
    server.peer.close_connection()
    server.exchange()
    assert server.codec.closing
    server.codec.ping()
    assert server.error is None
