"""Http2ServerCodec against the h2 library."""

from __future__ import annotations

import pytest
from h2 import events as ev
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    WindowUpdateFrame,
)

from proxy.base.errors import DOWNSTREAM_PROTOCOL_ERROR, DOWNSTREAM_REMOTE_RESET, LOCAL_RESET
from proxy.base.headers import HeaderMap, ResponseHeaders
from proxy.codec.http1_options import Underscores
from proxy.codec.http2_watch import MOST_LEAPS, UNKNOWN_FRAMES, Http2Flood
from tests.unit.codec.http2_support import HEAD, Fields, Server

GET: Fields = [(b":method", b"GET"), *HEAD[1:]]


def served(**settings: int | bool) -> Server:
    server = Server(**settings)
    server.exchange()
    return server


def test_a_request_and_its_response() -> None:
    server = served()
    number = server.request([*GET, (b"x", b"1"), (b"te", b"trailers")])
    server.exchange()
    (seen,) = server.recorders
    assert (seen.request.method, seen.request.path, seen.request.authority) == (b"GET", b"/p", b"a")
    assert seen.request.fields == [(b"x", b"1"), (b"te", b"trailers")]
    assert seen.ended
    stream = server.streams[0]
    stream.informational(seen, ResponseHeaders(103, [(b"link", b"l")]))
    stream.headers(seen, ResponseHeaders(200, [(b"y", b"2"), (b"connection", b"close")]), False)
    stream.data(seen, b"body", False)
    stream.trailers(seen, HeaderMap([(b"grpc-status", b"0")]))
    server.exchange()
    assert server.heard(ev.InformationalResponseReceived)[0].headers == [
        (b":status", b"103"),
        (b"link", b"l"),
    ]
    assert server.heard(ev.ResponseReceived)[0].headers == [(b":status", b"200"), (b"y", b"2")]
    assert server.heard(ev.DataReceived)[0].data == b"body"
    assert server.heard(ev.TrailersReceived)[0].headers == [(b"grpc-status", b"0")]
    assert [event.stream_id for event in server.heard(ev.StreamEnded)] == [number]
    assert not server.codec.streams and server.stats.streams_active.value == 0


def test_an_extended_connect_is_an_upgrade_and_101_is_200() -> None:
    server = served(allow_connect=True)
    extended = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *HEAD[1:], (b"x", b"1")]
    server.request(extended, end=False)
    server.peer.send_data(1, b"EARLY")
    server.exchange()
    (seen,) = server.recorders
    assert (seen.request.method, seen.request.path, seen.request.upgrade) == (b"GET", b"/p", b"websocket")
    assert seen.request.fields == [(b"x", b"1"), (b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    assert seen.body == b"EARLY" and not seen.ended
    stream = server.streams[0]
    granted = ResponseHeaders(101, [(b"upgrade", b"websocket"), (b"connection", b"upgrade"), (b"y", b"2")])
    stream.headers(seen, granted, False)
    stream.data(seen, b"frames", False)
    stream.reset(seen, LOCAL_RESET)
    server.exchange()
    assert server.heard(ev.ResponseReceived)[0].headers == [(b":status", b"200"), (b"y", b"2")]
    assert server.heard(ev.DataReceived)[0].data == b"frames"
    assert [event.error_code for event in server.heard(ev.StreamReset)] == [10]  # CONNECT_ERROR


def test_an_extended_connect_that_is_not_allowed_is_reset() -> None:
    server = served()
    server.request([(b":method", b"CONNECT"), (b":protocol", b"websocket"), *HEAD[1:]], end=False)
    server.exchange()
    assert not any(seen.heads for seen in server.recorders)


def test_a_plain_connect_is_a_tunnel() -> None:
    server = served()
    server.request([(b":method", b"CONNECT"), (b":authority", b"t:1")], end=False)
    server.exchange()
    (seen,) = server.recorders
    assert (seen.request.method, seen.request.path, seen.request.upgrade) == (b"CONNECT", b"", b"CONNECT")
    assert seen.request.authority == b"t:1" and not seen.ended


def test_wire_bytes_are_those_of_the_frames() -> None:
    server = served()
    server.request(HEAD, end=False)
    block = server.peer.data_to_send()
    server.feed(block)
    server.peer.send_data(1, b"12345", end_stream=True)
    server.exchange()
    stream = server.streams[0]
    assert stream.wire_bytes_in == len(block) + 9 + 5
    assert stream.field_bytes_in == len(block)
    stream.headers(server.recorders[0], ResponseHeaders(204), True)
    assert stream.wire_bytes_out == len(server.codec.take_output())


def test_a_body_comes_as_it_was_sent_and_its_window_goes_back() -> None:
    server = served(initial_stream_window_size=65535, initial_connection_window_size=65535)
    server.request(HEAD, end=False)
    for _ in range(20):
        server.peer.send_data(1, b"x" * 10_000)
        server.exchange()
    server.peer.end_stream(1)
    server.exchange()
    assert len(server.recorders[0].body) == 200_000 and server.recorders[0].ended


def test_a_held_stream_stops_the_client_and_no_other() -> None:
    server = served(initial_stream_window_size=65535)
    server.request(HEAD, end=False)
    server.exchange()
    server.streams[0].hold()
    while server.peer.local_flow_control_window(1) > 0:
        server.peer.send_data(1, b"x" * min(16384, server.peer.local_flow_control_window(1)))
        server.exchange()
    assert server.streams[0].unread == 65535
    server.request(HEAD, end=False)
    server.peer.send_data(3, b"y" * 1000, end_stream=True)
    server.exchange()
    assert server.recorders[1].body == b"y" * 1000
    server.streams[0].release()
    server.exchange()
    assert server.peer.local_flow_control_window(1) > 0


def test_a_stream_blocks_when_the_client_takes_nothing() -> None:
    server = served()
    server.request(GET)
    server.exchange()
    stream, seen = server.streams[0], server.recorders[0]
    stream.headers(seen, ResponseHeaders(200), False)
    stream.data(seen, b"z" * 300_000, False)
    server.codec.take_output()
    assert server.watchers[0].blocked == [True]
    assert stream.queued_bytes(seen) == 300_000 - 65535
    server.peer.increment_flow_control_window(400_000)
    server.peer.increment_flow_control_window(400_000, 1)
    server.feed(server.peer.data_to_send())
    server.codec.take_output()
    assert server.watchers[0].blocked == [True, False]


def test_a_paused_socket_keeps_output_in_the_codec() -> None:
    server = served()
    server.codec.paused = True
    server.request(GET)
    server.feed(server.peer.data_to_send())
    server.streams[0].headers(server.recorders[0], ResponseHeaders(200), True)
    assert server.codec.take_output() == b""
    server.codec.paused = False
    server.exchange()
    assert server.heard(ev.StreamEnded)


def test_answers_in_a_socket_that_is_never_read_are_bounded() -> None:
    server = served(max_outbound_frames=20)
    server.codec.paused = True
    for _ in range(30):
        server.request(GET)
    server.feed(server.peer.data_to_send())
    for stream, seen in zip(server.streams, server.recorders, strict=True):
        stream.headers(seen, ResponseHeaders(200), True)
    assert server.codec.dead and server.stats.outbound_flood.value == 1


def test_cookie_crumbs_become_one_field_and_host_gives_way() -> None:
    server = served()
    server.request([*GET, (b"cookie", b"a=b"), (b"host", b"other"), (b"cookie", b"c=d"), (b"x", b"1")])
    server.exchange()
    assert server.recorders[0].request.fields == [(b"x", b"1"), (b"cookie", b"a=b; c=d")]
    assert server.recorders[0].request.authority == b"a"


def test_host_alone_is_the_authority() -> None:
    server = served()
    server.request([field for field in GET if field[0] != b":authority"] + [(b"host", b"h")])
    server.exchange()
    assert server.recorders[0].request.authority == b"h"
    assert server.recorders[0].request.fields == []


def test_the_client_resets() -> None:
    server = served()
    server.request(HEAD, end=False)
    server.exchange()
    server.peer.reset_stream(1, 8)
    server.exchange()
    assert server.recorders[0].resets == [(DOWNSTREAM_REMOTE_RESET, b"http2.remote_reset")]
    assert server.stats.rx_reset.value == 1
    server.streams[0].headers(server.recorders[0], ResponseHeaders(200), True)  # too late, and no error
    assert server.codec.take_output() == b""


def test_we_reset_behind_what_is_written() -> None:
    server = served()
    server.request(GET)
    server.exchange()
    stream, seen = server.streams[0], server.recorders[0]
    stream.headers(seen, ResponseHeaders(200), False)
    stream.data(seen, b"part", False)
    stream.reset(seen, LOCAL_RESET)
    server.exchange()
    assert server.heard(ev.DataReceived)[0].data == b"part"
    assert server.heard(ev.StreamReset)[0].error_code == 2


def test_a_response_before_the_request_is_whole_ends_in_peace() -> None:
    server = served()
    server.request(HEAD, end=False)
    server.exchange()
    stream, seen = server.streams[0], server.recorders[0]
    stream.headers(seen, ResponseHeaders(404), True)
    stream.finish_early()
    server.exchange()
    assert server.heard(ev.ResponseReceived) and server.heard(ev.StreamReset)[0].error_code == 0


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, (b"x", b"a\x00b")],
        [*GET, (b"x", b"a\r\nb")],
        [*GET, (b"Upper", b"x")],
        [*GET, (b"connection", b"close")],
        [*GET, (b"transfer-encoding", b"chunked")],
        [*GET, (b"upgrade", b"websocket")],
        [*GET, (b"te", b"gzip")],
        [*GET, (b"x y", b"v")],
        [*GET, (b"content-length", b"5")],
        [*GET, (b"content-length", b"+0")],
        [*GET, (b"content-length", b"0"), (b"content-length", b"0")],
        [*GET, (b":path", b"/again")],
        [*GET, (b":status", b"200")],
        [(b"x", b"first"), *GET],
        [field for field in GET if field[0] != b":authority"],
        [field for field in GET if field[0] != b":path"],
        [*GET[:3], (b":path", b"no-slash")],
        [*GET[:3], (b":path", b"/a b")],
        [(b":method", b"G T"), *GET[1:]],
        [(b":method", b"CONNECT"), *GET[1:]],
    ],
)
def test_what_is_malformed_never_becomes_a_request(fields: Fields) -> None:
    server = served()
    server.feed(_head(fields))
    server.codec.take_output()
    assert server.error is not None
    assert all(not seen.heads for seen in server.recorders)
    assert [seen.resets[0][0] for seen in server.recorders] == [DOWNSTREAM_PROTOCOL_ERROR]
    assert server.stats.rx_messaging_error.value == 1


def test_stream_errors_leave_the_connection() -> None:
    server = served(stream_errors=True)
    server.feed(_head([*GET, (b"connection", b"x")]))
    server.codec.take_output()
    assert server.error is None and server.stats.rx_messaging_error.value == 1
    server.peer.get_next_available_stream_id()
    server.feed(_head(GET, 3))
    assert server.recorders[-1].ended


def test_a_path_that_http1_could_not_carry_is_refused() -> None:
    server = served()
    server.feed(_head([*GET[:3], (b":path", b"/\xc3\xa9")]))
    assert server.recorders[0].resets and not server.recorders[0].heads


def test_heads_beyond_the_limits_cost_their_stream() -> None:
    server = served(max_headers_count=10, max_headers_bytes=500)
    server.request([*GET, *[(b"x%d" % number, b"y") for number in range(7)]])
    server.request([*GET, (b"x", b"y" * 600)])
    server.request(GET)
    server.exchange()
    assert [seen.resets for seen in server.recorders] == [
        [(DOWNSTREAM_REMOTE_RESET, b"http2.too_many_headers")],
        [(DOWNSTREAM_REMOTE_RESET, b"http2.header_list_size_too_large")],
        [],
    ]
    assert server.stats.header_overflow.value == 1 and server.stats.header_list_size_too_large.value == 1
    assert server.recorders[2].ended and server.error is None


@pytest.mark.parametrize("drops", [True, False])
def test_names_with_underscores(drops: bool) -> None:
    counted: list[int] = []
    server = served(underscores=Underscores(drops, counted.append))
    server.request([*GET, (b"a_b", b"1"), (b"c-d", b"2")])
    server.request(HEAD, end=False)
    server.peer.send_headers(3, [(b"x_tail", b"1"), (b"x-tail", b"2")], end_stream=True)
    server.request(GET)
    server.exchange()
    head, trailed, after = server.recorders
    resets = [(event.stream_id, event.error_code) for event in server.heard(ev.StreamReset)]
    assert counted == [1, 1] and server.error is None and after.ended
    if drops:
        assert (b"c-d", b"2") in head.heads[0].fields and (b"a_b", b"1") not in head.heads[0].fields
        assert trailed.trailers is not None and trailed.trailers.fields == [(b"x-tail", b"2")]
        assert resets == []
    else:
        assert head.resets == trailed.resets == [(DOWNSTREAM_REMOTE_RESET, b"http2.unexpected_underscore")]
        assert resets == [(1, 2), (3, 2)]


def test_forbidden_trailers_are_dropped() -> None:
    server = served()
    server.request(HEAD, end=False)
    server.peer.send_headers(
        1, [(b"x-sum", b"1"), (b"content-encoding", b"gzip"), (b"trailer", b"x")], end_stream=True
    )
    server.exchange()
    trailers = server.recorders[0].trailers
    assert trailers is not None and trailers.fields == [(b"x-sum", b"1")]


def test_no_more_requests_a_turn_than_allowed() -> None:
    server = served(max_requests_per_turn=3)
    for _ in range(8):
        server.request(GET)
    server.codec.feed(server.peer.data_to_send())
    assert len(server.streams) == 3 and server.codec.blocked
    server.codec.feed(b"")
    assert len(server.streams) == 6 and server.codec.blocked
    server.codec.feed(b"")
    assert len(server.streams) == 8 and not server.codec.blocked


def test_a_line_break_is_never_written() -> None:
    server = served()
    server.request(GET)
    server.exchange()
    with pytest.raises(ValueError):
        server.streams[0].headers(server.recorders[0], ResponseHeaders(200, [(b"x", b"a\r\nb: c")]), True)


def _head(fields: Fields, stream: int = 1, whole: bool = True, end: bool = True) -> bytes:
    frame = HeadersFrame(stream, Encoder().encode(fields))
    if whole:
        frame.flags.add("END_HEADERS")
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def _padded() -> Frame:
    frame = DataFrame(1, b"", pad_length=10)
    frame.flags.add("PADDED")
    return frame


OPEN = _head(HEAD, end=False)
FLOODS = {
    "inbound_empty_frames_flood": [
        OPEN + 2 * DataFrame(1, b"").serialize(),
        OPEN + 2 * _padded().serialize(),
        _head(GET, whole=False) + 2 * ContinuationFrame(1, b"").serialize(),
    ],
    "inbound_priority_frames_flood": [PriorityFrame(1, depends_on=3, stream_weight=9).serialize() * 101],
    "inbound_window_update_frames_flood": [WindowUpdateFrame(0, 1).serialize() * 6],
    "outbound_control_flood": [PingFrame(0, b"12345678").serialize() * 1001],
    "inbound_unknown_frames_flood": [b"\0\0\1\xf0\0\0\0\0\1x" * (UNKNOWN_FRAMES + 1)],
}


@pytest.mark.parametrize("cut", [0, 1, 7])
@pytest.mark.parametrize(("stat", "data"), [(stat, data) for stat, cases in FLOODS.items() for data in cases])
def test_floods_end_the_connection_and_are_counted(stat: str, data: bytes, cut: int) -> None:
    server = served()
    server.feed(data, cut)
    assert isinstance(server.error, Http2Flood)
    assert server.error.details == b"http2." + stat.encode()
    assert getattr(server.stats, stat).value == 1
    assert server.codec.dead and server.codec.take_output() == b""


@pytest.mark.parametrize(
    "data",
    [
        OPEN + DataFrame(1, b"").serialize() + DataFrame(1, b"x").serialize() + DataFrame(1, b"").serialize(),
        PriorityFrame(1, depends_on=3, stream_weight=9).serialize() * 100,
        WindowUpdateFrame(0, 1).serialize() * 5,
        PingFrame(0, b"12345678").serialize() * 1000,
        b"\0\0\1\xf0\0\0\0\0\1x" * UNKNOWN_FRAMES,
    ],
)
def test_up_to_its_budget_a_client_may(data: bytes) -> None:
    server = served()
    server.feed(data)
    server.request(GET) if not server.streams else None
    server.exchange()
    assert server.error is None and server.streams


LEAP = WindowUpdateFrame(1, 2**31 - 1).serialize()


@pytest.mark.parametrize("together", [True, False])
def test_a_window_beyond_its_bound_resets_the_stream(together: bool) -> None:
    """RFC 9113 section 6.9.1; what else came in that read counts, before it and after it."""
    server = served()
    server.exchange()
    reads = [LEAP, LEAP]
    for at, fields in ((0, HEAD), (3, GET)):
        server.request(fields, end=fields is GET)
        reads.insert(at, server.peer.data_to_send())
    for data in [b"".join(reads)] if together else reads:
        server.feed(data)
        server.exchange()
    assert server.error is None and not server.codec.closing
    assert [(reset.stream_id, reset.error_code) for reset in server.heard(ev.StreamReset)] == [(1, 3)]
    assert [each.decoder is None for each in server.streams] == [True, False]
    resets = [[reason for reason, _ in seen.resets] for seen in server.recorders]
    assert resets == [[DOWNSTREAM_PROTOCOL_ERROR], []]


def test_a_leap_inside_a_head_ends_the_connection() -> None:
    """RFC 9113 section 6.10: nothing comes between HEADERS and their CONTINUATION."""
    server = served()
    server.feed(_head(HEAD, 1, end=False))
    rest = ContinuationFrame(3, b"")
    rest.flags.add("END_HEADERS")
    server.feed(_head(GET, 3, whole=False) + LEAP + rest.serialize())
    server.exchange()
    assert server.codec.dead or server.codec.closing
    assert not server.heard(ev.StreamReset) and len(server.streams) == 1


@pytest.mark.parametrize(("frames", "is_over"), [(9, False), (10, True)])
def test_a_head_in_too_many_frames(frames: int, is_over: bool) -> None:
    """The engine's limit, be they ever so small."""
    server = served()
    block = Encoder().encode([*GET, (b"x", b"y" * 100)])
    pieces = [block[at : at + 1] for at in range(frames - 1)] + [block[frames - 1 :]]
    head = HeadersFrame(1, pieces[0])
    head.flags.add("END_STREAM")
    rest = [ContinuationFrame(1, piece) for piece in pieces[1:]]
    rest[-1].flags.add("END_HEADERS")
    server.feed(head.serialize() + b"".join(frame.serialize() for frame in rest))
    assert (server.error is not None) is is_over
    assert len(server.recorders) == (not is_over)


def test_a_client_that_makes_us_reset_its_streams_is_left() -> None:
    server = served()
    server.exchange()
    for number in range(1, 1 + 2 * MOST_LEAPS, 2):
        server.request(HEAD, end=False)
        server.feed(server.peer.data_to_send() + WindowUpdateFrame(number, 2**31 - 1).serialize())
        assert not server.codec.closing
    server.exchange()
    assert len(server.heard(ev.StreamReset)) == MOST_LEAPS
    server.request(HEAD, end=False)
    server.feed(server.peer.data_to_send() + WindowUpdateFrame(number + 2, 2**31 - 1).serialize())
    assert server.codec.closing


def test_a_window_up_to_its_bound_is_taken() -> None:
    server = served()
    server.feed(_head(HEAD, 1, end=False) + WindowUpdateFrame(1, 2**31 - 1 - 65535).serialize())
    server.exchange()
    assert server.error is None and server.codec.h2.stream_remote_window_size(1) == 2**31 - 1
    server.feed(WindowUpdateFrame(1, 1).serialize())  # not by a leap: the engine's answer
    assert server.codec.dead or server.codec.closing


@pytest.mark.parametrize("cut", [1, 9, 12])
def test_a_leap_in_pieces_ends_the_connection(cut: int) -> None:
    server = served()
    server.feed(_head(HEAD, 1, end=False))
    server.feed(LEAP, cut)
    server.exchange()
    assert server.codec.closing and not server.heard(ev.StreamReset)


@pytest.mark.parametrize("stream", [0, 5])
def test_a_leap_of_no_stream_is_the_connections_matter(stream: int) -> None:
    server = served()
    server.feed(_head(HEAD, 1, end=False) + WindowUpdateFrame(stream, 2**31 - 1).serialize())
    server.exchange()
    assert server.codec.closing


def test_budgets_grow_with_the_work() -> None:
    server = served()
    for number in range(1, 21, 2):
        server.feed(_head(HEAD, number, end=False))
        server.feed(WindowUpdateFrame(0, 1).serialize() * 2)
    assert server.error is None
