"""Http1ClientCodec: requests out, responses in, as transcripts. Figures and words are Envoy 1.40.0's."""

from __future__ import annotations

import pytest

from proxy.base.errors import CONNECTION_TERMINATION, LOCAL_RESET, PROTOCOL_ERROR
from proxy.base.headers import HeaderMap, RequestHeaders
from proxy.codec.http1 import Http1ClientCodec, Http1Settings
from tests.unit.codec.support import Client, Recorder

OK5 = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def reply(*pieces: bytes, method: bytes = b"GET", settings: Http1Settings | None = None) -> Client:
    client = Client(method, settings=settings)
    for piece in pieces:
        client.codec.feed(piece)
    return client


def failed(client: Client) -> None:
    assert [reason for reason, _ in client.decoder.resets] == [PROTOCOL_ERROR]
    codec = client.codec
    assert codec.closing and codec.protocol_error and not codec.reusable and codec.decoder is None


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_request_is_written_host_first_then_the_fields_in_order() -> None:
    client = Client(fields=[(b"user-agent", b"t"), (b"x-mixed", b"1")])
    assert client.written == b"GET /x HTTP/1.1\r\nhost: up.test\r\nuser-agent: t\r\nx-mixed: 1\r\n\r\n"


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"OPTIONS", b"PROPFIND", b"PURGE"])
def test_methods_that_expect_a_body_say_that_there_is_none(method: bytes) -> None:
    assert Client(method).written == method + b" /x HTTP/1.1\r\nhost: up.test\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"TRACE"])
def test_methods_that_expect_none_say_nothing(method: bytes) -> None:
    assert Client(method).written == method + b" /x HTTP/1.1\r\nhost: up.test\r\n\r\n"


def test_a_known_length_stays_in_its_place() -> None:
    client = Client(b"POST", [(b"content-length", b"3"), (b"x", b"y")], end=False)
    client.codec.data(client.decoder, b"abc", True)
    assert client.written + client.codec.take_output() == (
        b"POST /x HTTP/1.1\r\nhost: up.test\r\ncontent-length: 3\r\nx: y\r\n\r\nabc"
    )


def test_an_unknown_length_is_chunked_and_says_so_last() -> None:
    client = Client(b"POST", [(b"x", b"y")], end=False)
    client.codec.data(client.decoder, b"abc", False)
    client.codec.data(client.decoder, b"", True)
    assert client.written + client.codec.take_output() == (
        b"POST /x HTTP/1.1\r\nhost: up.test\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )


def test_trailers_only_when_wanted() -> None:
    for wanted, tail in ((False, b"0\r\n\r\n"), (True, b"0\r\nx-t: v\r\n\r\n")):
        client = Client(b"POST", end=False, settings=Http1Settings(enable_trailers=wanted))
        client.codec.trailers(client.decoder, HeaderMap([(b"x-t", b"v")]))
        assert client.codec.take_output() == tail


def test_a_body_that_a_filter_took_away_is_not_declared() -> None:
    assert Client(b"POST", [(b"content-length", b"5")]).written.endswith(
        b"host: up.test\r\ncontent-length: 0\r\n\r\n"
    )


def test_never_more_than_declared_and_less_is_given_up() -> None:
    client = Client(b"POST", [(b"content-length", b"3")], end=False)
    client.codec.data(client.decoder, b"abcdef", True)
    assert client.codec.take_output() == b"abc"
    client.codec.feed(OK5)
    assert client.decoder.ended and not client.codec.reusable
    short = Client(b"POST", [(b"content-length", b"3")], end=False)
    short.codec.data(short.decoder, b"ab", True)
    failed(short)


@pytest.mark.parametrize(
    "head",
    [
        RequestHeaders(b"GET", b"/a\r\nx: y", b"h"),
        RequestHeaders(b"GET", b"/a b", b"h"),
        RequestHeaders(b"GET", b"", b"h"),
        RequestHeaders(b"GET", b"/", b"h\r\nx: y"),
        RequestHeaders(b"GET", b"/", b"h", fields=[(b"x", b"a\nb")]),
        RequestHeaders(b"G\r\n", b"/", b"h"),
    ],
)
def test_what_would_break_out_of_its_line_never_leaves(head: RequestHeaders) -> None:
    codec = Http1ClientCodec()
    with pytest.raises(ValueError):
        codec.headers(Recorder(), head, True)
    assert codec.take_output() == b"" and codec.decoder is None


# -- responses -----------------------------------------------------------------------------------------------------


def test_a_response_by_length_leaves_the_connection_reusable() -> None:
    client = reply(b"HTTP/1.1 200 X\r\nX-MiXeD: 1 \r\nContent-Length: 5\r\n\r\nhel", b"lo")
    decoder = client.decoder
    assert decoder.response.status == 200
    assert decoder.response.fields == [(b"x-mixed", b"1"), (b"content-length", b"5")]
    assert decoder.pieces == [b"hel", b"lo"] and decoder.ended
    codec = client.codec
    assert codec.reusable and codec.response_done and not codec.closing and codec.decoder is None
    again = Recorder()
    codec.headers(again, RequestHeaders(b"GET", b"/2", b"h"), True)
    assert not codec.reusable and not codec.response_done
    codec.feed(OK5)
    assert again.body == b"hello" and codec.reusable


def test_the_connection_may_be_used_again_in_the_very_call_that_ends_a_response() -> None:
    client = Client()
    again = Recorder()
    codec = client.codec
    client.decoder.on_end = lambda _: codec.headers(again, RequestHeaders(b"GET", b"/2", b"h"), True)
    codec.feed(OK5)
    assert codec.decoder is again and not codec.response_done
    codec.feed(OK5)
    assert again.ended and codec.reusable


def test_repeated_response_fields_are_kept() -> None:
    client = reply(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n")
    assert client.decoder.response.get_all(b"set-cookie") == [b"a", b"b"] and client.decoder.ended


def test_a_chunked_response() -> None:
    client = reply(CHUNKED + b"5;a=b\r\nhel", b"lo\r\n0\r\nX-T: v\r\n\r\n")
    assert client.decoder.body == b"hello" and client.decoder.ended and client.decoder.trailers is None
    assert client.decoder.response.fields == [] and client.codec.reusable
    wanted = reply(CHUNKED + b"0\r\nX-T: v\r\n\r\n", settings=Http1Settings(enable_trailers=True))
    assert wanted.decoder.trailers == HeaderMap([(b"x-t", b"v")])


def test_a_body_that_runs_to_the_close() -> None:
    client = reply(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    assert not client.decoder.ended
    client.codec.eof()
    assert client.decoder.body == b"hello" and client.decoder.ended and not client.decoder.resets
    assert client.codec.response_done and not client.codec.reusable and client.codec.closing


def test_a_broken_connection_ends_nothing_cleanly() -> None:
    client = reply(b"HTTP/1.1 200 OK\r\n\r\nhello")
    client.codec.lost()
    assert not client.decoder.ended and [reason for reason, _ in client.decoder.resets] == [
        CONNECTION_TERMINATION
    ]


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_eof_before_a_response(data: bytes) -> None:
    client = reply(data)
    client.codec.eof()
    assert [reason for reason, _ in client.decoder.resets] == [CONNECTION_TERMINATION]
    assert not client.codec.protocol_error and client.codec.closing


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        CHUNKED + b"50\r\nhello",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
    ],
)
def test_eof_inside_a_response(data: bytes) -> None:
    client = reply(data)
    client.codec.eof()
    failed(client)


@pytest.mark.parametrize(
    "method, data",
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 caf\xe9\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_responses_that_end_with_their_head(method: bytes, data: bytes) -> None:
    client = reply(data, method=method)
    assert client.decoder.ended and client.decoder.body == b"" and client.codec.reusable
    assert b"transfer-encoding" not in client.decoder.response
    if client.decoder.response.status == 204:
        assert client.decoder.response.fields == []


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nProxy-Connection: Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_responses_after_which_the_connection_goes(data: bytes) -> None:
    client = reply(data)
    assert client.decoder.ended and client.codec.closing and not client.codec.reusable
    assert not client.codec.protocol_error


def test_connection_fields_of_a_response_stay_for_the_stream() -> None:
    client = reply(b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, x-forwarded-for\r\nContent-Length: 0\r\n\r\n")
    assert (
        client.decoder.response.get(b"connection") == b"Keep-Alive, x-forwarded-for" and client.codec.reusable
    )


@pytest.mark.parametrize(
    "data",
    [
        b"hello world\r\n\r\n",
        b"hello",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 0xC8 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 1000 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"HTTP/1.1 200 OK\nX",
        b"HTTP/1.1 200 OK\r\ngarbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 81920 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 81920,
    ],
)
def test_heads_that_break_the_protocol(data: bytes) -> None:
    client = reply(data)
    failed(client)
    assert not client.decoder.heads


# -- another protocol, a tunnel ------------------------------------------------------------------------------------

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: keep-alive, Upgrade\r\n\r\n"


class Asking:
    """A client codec whose request asks for "foo", or is a CONNECT."""

    def __init__(self, method: bytes = b"GET", fields: list[tuple[bytes, bytes]] | None = None) -> None:
        self.codec = Http1ClientCodec(Http1Settings())
        self.decoder = Recorder()
        connects = method == b"CONNECT"
        head = RequestHeaders(method, b"" if connects else b"/x", b"up.test:1", fields=fields or [])
        head.upgrade = b"CONNECT" if connects else b"foo"
        self.codec.headers(self.decoder, head, False)
        self.written = self.codec.take_output()


def test_a_granted_upgrade_is_bytes_both_ways() -> None:
    client = Asking(fields=[(b"connection", b"upgrade"), (b"upgrade", b"foo"), (b"content-length", b"5")])
    assert client.written == (
        b"GET /x HTTP/1.1\r\nhost: up.test:1\r\nconnection: upgrade\r\nupgrade: foo\r\ncontent-length: 5\r\n\r\n"
    )
    for at in range(0, len(SWITCH), 7):
        client.codec.feed(SWITCH[at : at + 7])
    client.codec.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    client.codec.data(client.decoder, b"more than five", False)
    assert client.codec.take_output() == b"more than five"
    assert client.decoder.response.status == 101 and client.decoder.body == b"HTTP/1.1 200 OK\r\n\r\n"
    assert not client.decoder.ended and not client.codec.reusable and not client.codec.request_done
    client.codec.eof()
    assert [reason for reason, _ in client.decoder.resets] == [CONNECTION_TERMINATION]
    assert client.codec.closing and not client.codec.protocol_error


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 X\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: foo\r\n\r\n",
        b"HTTP/1.1 101 X\r\nConnection: upgrade\r\n\r\n",
        SWITCH.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_a_101_that_switches_to_nothing_breaks_the_protocol(data: bytes) -> None:
    client = Asking()
    client.codec.feed(data)
    assert [reason for reason, _ in client.decoder.resets] == [PROTOCOL_ERROR]
    assert not client.decoder.heads and not client.codec.reusable


@pytest.mark.parametrize("method", [b"GET", b"CONNECT"])
def test_a_refusal_is_a_response_and_the_connections_last(method: bytes) -> None:
    client = Asking(method)
    client.codec.feed(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nhello")
    assert client.decoder.body == b"hello" and client.decoder.ended
    assert client.codec.closing and not client.codec.reusable and not client.codec.protocol_error


@pytest.mark.parametrize(
    "head", [b"", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_a_granted_tunnel_has_no_length_whatever_its_head_says(head: bytes) -> None:
    client = Asking(b"CONNECT")
    assert client.written == b"CONNECT up.test:1 HTTP/1.1\r\nhost: up.test:1\r\n\r\n"
    client.codec.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n5\r\nhello\r\n0\r\n\r\n")
    assert client.decoder.response.fields == [] and client.decoder.body == b"5\r\nhello\r\n0\r\n\r\n"
    client.codec.data(client.decoder, b"up", False)
    assert client.codec.take_output() == b"up" and not client.decoder.ended
    client.codec.eof()
    assert [reason for reason, _ in client.decoder.resets] == [CONNECTION_TERMINATION]


def test_a_101_to_connect_breaks_the_protocol() -> None:
    client = Asking(b"CONNECT")
    client.codec.feed(SWITCH)
    assert [reason for reason, _ in client.decoder.resets] == [PROTOCOL_ERROR]


def test_a_request_without_a_path_is_not_written() -> None:
    codec = Http1ClientCodec(Http1Settings())
    with pytest.raises(ValueError, match="without a path"):
        codec.headers(Recorder(), RequestHeaders(b"GET", b"", b"a"), True)


def test_a_head_of_80_kib_passes() -> None:
    base = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: \r\n\r\n"
    data = base.replace(b"X: ", b"X: " + b"v" * (81920 - len(base)))
    assert reply(data).decoder.ended and reply(data[:50_000], data[50_000:]).decoder.ended


@pytest.mark.parametrize("chunks", [b"zz\r\nhello", b"F" * 17 + b"\r\nhello", b"5\r\nhelloX"])
def test_chunks_that_break_the_protocol(chunks: bytes) -> None:
    client = reply(CHUNKED + chunks)
    failed(client)
    assert client.decoder.response.status == 200 and not client.decoder.ended


def test_informational_responses_come_first() -> None:
    client = reply(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: a\r\n\r\n" + OK5)
    assert [head.fields for head in client.decoder.informational] == [[], [(b"link", b"a")]]
    assert client.decoder.body == b"hello" and client.codec.reusable


@pytest.mark.parametrize("data", [OK5 + b"extra", OK5 + OK5, b"HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 X\r\n\r\n"])
def test_bytes_that_nobody_asked_for_end_the_connection(data: bytes) -> None:
    client = reply(data)
    assert client.decoder.ended and client.decoder.body in (b"hello", b"")
    assert client.codec.closing and client.codec.protocol_error and not client.codec.reusable


def test_bytes_on_an_idle_connection_end_it() -> None:
    client = reply(OK5)
    client.codec.feed(OK5)
    assert client.codec.closing and client.codec.protocol_error and not client.codec.reusable


def test_a_response_before_the_request_is_sent_ends_the_connection() -> None:
    client = Client(b"POST", end=False)
    client.codec.feed(OK5)
    assert client.decoder.ended and client.codec.closing and not client.codec.reusable
    client.codec.data(client.decoder, b"late", True)
    assert client.codec.take_output() == b""


def test_reset_closes_without_a_word() -> None:
    client = Client()
    client.codec.reset(client.decoder, LOCAL_RESET)
    assert client.codec.closing and not client.codec.reusable and not client.decoder.resets
    client.codec.feed(OK5)
    assert not client.decoder.heads


def test_goaway_makes_the_response_the_last() -> None:
    client = Client()
    client.codec.goaway()
    client.codec.feed(OK5)
    assert client.decoder.ended and client.codec.closing and not client.codec.reusable


def test_a_body_passes_the_received_object_through() -> None:
    client = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    piece = bytes(bytearray(b"0123456789"))
    client.codec.feed(piece)
    assert client.decoder.pieces[0] is piece
