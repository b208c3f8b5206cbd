"""Http2ClientCodec against the h2 library."""

from __future__ import annotations

from h2 import events as ev

from proxy.base.errors import (
    LOCAL_RESET,
    PROTOCOL_ERROR,
    REMOTE_REFUSED_STREAM,
    REMOTE_RESET,
    ResetReason,
)
from proxy.base.headers import HeaderMap, RequestHeaders
from tests.unit.codec.http2_support import Client

OK = [(b":status", b"200")]


def head(*fields: tuple[bytes, bytes]) -> RequestHeaders:
    return RequestHeaders(b"POST", b"/p", b"a", b"http", list(fields))


def asked(client: Client, end: bool = True):
    stream, seen, watcher = client.stream()
    stream.headers(seen, head(), end)
    client.exchange()
    return stream, seen, watcher


def test_a_request_and_its_response() -> None:
    client = Client()
    stream, seen, watcher = client.stream()
    stream.headers(seen, head((b"x", b"1"), (b"transfer-encoding", b"chunked"), (b"te", b"trailers")), False)
    stream.data(seen, b"body", False)
    stream.trailers(seen, HeaderMap([(b"x-tail", b"t")]))
    client.exchange()
    (request,) = (event for event in client.events if isinstance(event, ev.RequestReceived))
    assert request.headers == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", b"/p"),
        (b"x", b"1"),
        (b"te", b"trailers"),
    ]
    client.peer.send_headers(1, [(b":status", b"103"), (b"link", b"l")])
    client.peer.send_headers(1, [*OK, (b"y", b"2")])
    client.peer.send_data(1, b"reply")
    client.peer.send_headers(1, [(b"grpc-status", b"0")], end_stream=True)
    client.exchange()
    assert seen.informational[0].fields == [(b"link", b"l")]
    assert (seen.response.status, seen.response.fields, seen.body) == (200, [(b"y", b"2")], b"reply")
    assert seen.trailers is not None and seen.trailers.fields == [(b"grpc-status", b"0")]
    assert watcher.over == [None] and not client.codec.streams


def test_an_upgrade_is_an_extended_connect_and_200_grants_it() -> None:
    client = Client()
    stream, seen, _ = client.stream()
    asks = RequestHeaders(
        b"GET",
        b"/chat",
        b"a",
        b"http",
        [(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"content-length", b"5"), (b"x", b"1")],
    )
    asks.upgrade = b"websocket"
    stream.headers(seen, asks, False)
    client.exchange()
    (request,) = (event for event in client.events if isinstance(event, ev.RequestReceived))
    assert sorted(request.headers) == [
        (b":authority", b"a"),
        (b":method", b"CONNECT"),
        (b":path", b"/chat"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b"x", b"1"),
    ]
    client.peer.send_headers(1, [*OK, (b"y", b"2")])
    client.peer.send_data(1, b"frames")
    client.exchange()
    assert seen.response.status == 101 and seen.body == b"frames" and not seen.ended
    assert seen.response.fields == [(b"y", b"2"), (b"upgrade", b"websocket"), (b"connection", b"upgrade")]


def test_a_tunnel_is_a_connect_without_scheme_and_path() -> None:
    client = Client()
    stream, seen, _ = client.stream()
    asks = RequestHeaders(b"CONNECT", b"", b"t:1", b"http")
    asks.upgrade = b"CONNECT"
    stream.headers(seen, asks, False)
    client.exchange()
    (request,) = (event for event in client.events if isinstance(event, ev.RequestReceived))
    assert request.headers == [(b":method", b"CONNECT"), (b":authority", b"t:1")]
    client.peer.send_headers(1, OK)
    client.exchange()
    assert seen.response.status == 200 and not seen.ended


def test_resets_by_code() -> None:
    for code, reason in (
        (7, REMOTE_REFUSED_STREAM),
        (1, PROTOCOL_ERROR),
        (8, REMOTE_RESET),
        (0, REMOTE_RESET),
    ):
        client = Client()
        _, seen, watcher = asked(client)
        client.peer.reset_stream(1, code)
        client.exchange()
        assert [got for got, _ in seen.resets] == [reason] == watcher.over


def test_goaway_refuses_what_was_not_taken() -> None:
    client = Client()
    streams = [asked(client) for _ in range(3)]
    client.peer.close_connection(0, last_stream_id=3)
    client.codec.feed(client.peer.data_to_send())
    assert client.codec.going
    resets: list[list[ResetReason]] = [[got for got, _ in seen.resets] for _, seen, _ in streams]
    assert resets == [[], [], [REMOTE_REFUSED_STREAM]]


def test_no_stream_is_opened_after_goaway() -> None:
    client = Client()
    asked(client)
    client.peer.close_connection(0, last_stream_id=1)
    client.codec.feed(client.peer.data_to_send())
    stream, seen, _ = client.stream()
    stream.headers(seen, head(), True)
    assert client.codec.refused == [stream]


def test_a_broken_head_ends_the_connection() -> None:
    client = Client()
    _, seen, _ = asked(client)
    client.peer.send_headers(1, [*OK, (b"connection", b"x")], end_stream=True)
    client.exchange()
    assert client.error is not None
    assert [got for got, _ in seen.resets] == [PROTOCOL_ERROR]


def test_a_body_that_is_too_short_costs_its_stream() -> None:
    client = Client()
    _, seen, _ = asked(client)
    client.peer.send_headers(1, [*OK, (b"content-length", b"5")])
    client.peer.send_data(1, b"12", end_stream=True)
    client.exchange()
    assert client.error is None
    assert [got for got, _ in seen.resets] == [PROTOCOL_ERROR]
    _, other, _ = asked(client)
    client.peer.send_headers(3, OK, end_stream=True)
    client.exchange()
    assert other.ended


def test_heads_beyond_the_limits() -> None:
    client = Client(max_headers_count=5)
    _, seen, _ = asked(client)
    client.peer.send_headers(1, [*OK, *[(b"x%d" % number, b"y") for number in range(9)]], end_stream=True)
    client.exchange()
    assert seen.resets[0][0] is REMOTE_RESET and client.stats.header_overflow.value == 1


def test_the_hosts_limit_is_known() -> None:
    client = Client()
    client.peer.update_settings({3: 7})
    client.exchange()
    assert client.codec.peer_max_streams == 7


def test_an_early_response_gives_the_request_up() -> None:
    client = Client()
    stream, seen, watcher = asked(client, end=False)
    client.peer.send_headers(1, OK, end_stream=True)
    client.exchange()
    assert seen.ended and watcher.over == [LOCAL_RESET]
    assert [event.error_code for event in client.events if isinstance(event, ev.StreamReset)] == [2]
    stream.data(seen, b"late", True)
    assert client.codec.take_output() == b""


def test_a_held_stream_stops_the_host() -> None:
    client = Client(initial_stream_window_size=65535)
    stream, seen, _ = asked(client)
    client.peer.send_headers(1, OK)
    client.exchange()
    stream.hold()
    while client.peer.local_flow_control_window(1) > 0:
        client.peer.send_data(1, b"x" * min(16384, client.peer.local_flow_control_window(1)))
        client.exchange()
    assert len(seen.body) == 65535
    stream.release()
    client.exchange()
    assert client.peer.local_flow_control_window(1) > 0


def test_halves_of_a_tunnel_end_one_by_one() -> None:
    client = Client()
    stream, seen, watcher = client.stream()
    assert stream.keep_halves()
    stream.headers(seen, head(), False)
    client.exchange()
    client.peer.send_headers(1, OK)
    client.peer.send_data(1, b"all", end_stream=True)
    client.exchange()
    assert seen.ended and not watcher.over and client.codec.streams
    stream.data(seen, b"still here", False)
    stream.data(seen, b"", True)
    client.exchange()
    assert b"".join(each.data for each in client.events if isinstance(each, ev.DataReceived)) == b"still here"
    assert any(isinstance(each, ev.StreamEnded) for each in client.events)
    assert not any(isinstance(each, ev.StreamReset) for each in client.events)
    assert watcher.over == [None] and not client.codec.streams


def test_a_host_resets_a_tunnel_whose_half_has_ended() -> None:
    client = Client()
    stream, seen, watcher = client.stream()
    stream.keep_halves()
    stream.headers(seen, head(), False)
    client.exchange()
    client.peer.send_headers(1, OK, end_stream=True)
    client.exchange()
    client.peer.reset_stream(1, 2)
    client.exchange()
    assert watcher.over == [REMOTE_RESET] and not client.codec.streams
