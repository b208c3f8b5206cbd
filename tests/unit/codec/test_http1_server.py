"""Http1ServerCodec: requests in, responses out, as transcripts. Figures and words are Envoy 1.40.0's."""

from __future__ import annotations

import pytest

from proxy.base.errors import LOCAL_RESET, CodecError
from proxy.base.headers import CONNECTION, HOST, REQUEST_ID, HeaderMap, ResponseHeaders
from proxy.codec.http1 import Http1Settings
from tests.unit.codec.support import Recorder, Server

GET = b"GET /a?b HTTP/1.1\r\nHost: t.test\r\n\r\n"
CLOSE = b"connection: close\r\n"


def refused(data: bytes, settings: Http1Settings | None = None) -> tuple[int, bytes]:
    """(status, details) of the refusal."""
    server = Server(settings)
    with pytest.raises(CodecError) as caught:
        server.codec.feed(data)
    assert not server.codec.closing and server.codec.stream is server.streams[-1]
    server.codec.headers(server.streams[-1], ResponseHeaders(caught.value.status), True)
    assert CLOSE in server.codec.take_output() and server.codec.closing
    server.codec.feed(GET)
    assert len(server.streams) == 1
    return caught.value.status, caught.value.details


def one(data: bytes, settings: Http1Settings | None = None) -> Recorder:
    server = Server(settings)
    server.codec.feed(data)
    (stream,) = server.streams
    return stream


def request(*lines: bytes, first: bytes = b"GET /a HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, *(lines or (b"Host: t.test",)), b"", b"")) + body


def response(status: int, *fields: tuple[bytes, bytes]) -> ResponseHeaders:
    return ResponseHeaders(status, list(fields))


# -- heads ---------------------------------------------------------------------------------------------------------


def test_a_head_becomes_pseudo_headers_and_lower_case_fields_in_order() -> None:
    stream = one(request(b"X-MiXeD: 1", b"Host:  t.test ", b"X-Request-ID:\ta b\t", b"X-Empty:"))
    head = stream.request
    assert (head.method, head.path, head.authority, head.scheme) == (b"GET", b"/a", b"t.test", b"")
    assert head.fields == [(b"x-mixed", b"1"), (b"x-request-id", b"a b"), (b"x-empty", b"")]
    assert head.known == HOST | REQUEST_ID
    assert stream.ended


def test_repeated_names_are_kept_in_order() -> None:
    head = one(request(b"Host: t", b"X-A: 1", b"Cookie: a=b ", b"X-A: 2", b"cookie:c=d")).request
    assert head.fields == [(b"x-a", b"1"), (b"cookie", b"a=b"), (b"x-a", b"2"), (b"cookie", b"c=d")]


def test_an_empty_host_is_told_from_none() -> None:
    assert one(request(b"Host:")).request.known & HOST
    head = one(request(b"X: y")).request
    assert not head.known & HOST and head.authority == b""


@pytest.mark.parametrize("name", [b"Host", b"host", b"HOST"])
def test_host_is_found_however_it_is_spelled(name: bytes) -> None:
    head = one(request(b"X: y", name + b": t.test")).request
    assert head.authority == b"t.test" and head.fields == [(b"x", b"y")]


@pytest.mark.parametrize("second", [b"Host: t.test", b"host: t.test", b"HOST: u"])
def test_two_hosts_are_refused(second: bytes) -> None:
    assert refused(request(b"Host: t.test", second)) == (400, b"http.invalid_authority")


@pytest.mark.parametrize(
    "target, scheme, authority, path",
    [
        (b"http://a.test/x?y", b"http", b"a.test", b"/x?y"),
        (b"https://a.test", b"https", b"a.test", b"/"),
        (b"HTTP://A.TEST:8080/x", b"http", b"A.TEST:8080", b"/x"),
        (b"http://u:p@a.test/x", b"http", b"a.test", b"/x"),
        (b"http://[::1]:80/x", b"http", b"[::1]:80", b"/x"),
        (b"http://a.test?x=1", b"http", b"a.test", b"?x=1"),  # the connection manager answers 404
    ],
)
def test_absolute_form_replaces_host(target: bytes, scheme: bytes, authority: bytes, path: bytes) -> None:
    head = one(request(b"Host: other", first=b"GET " + target + b" HTTP/1.1")).request
    assert (head.scheme, head.authority, head.path) == (scheme, authority, path)
    assert head.fields == []


def test_an_edge_without_tls_refuses_https_targets() -> None:
    target = request(b"Host: other", first=b"GET https://a.test/x HTTP/1.1")
    edge = Http1Settings(refuse_https_targets=True)
    assert refused(target, edge) == (403, b"http1.https_url_on_plaintext_connection")
    assert one(request(first=b"GET http://a.test/x HTTP/1.1"), edge).request.authority == b"a.test"


@pytest.mark.parametrize(
    "first, details",
    [
        (b"GET ftp://a/x HTTP/1.1", b"http1.invalid_scheme"),
        (b"GET ws://a/x HTTP/1.1", b"http1.invalid_scheme"),
        (b"GET http://[::1/a HTTP/1.1", b"http1.invalid_url"),
        (b"GET http://[::g]/a HTTP/1.1", b"http1.invalid_url"),
        (b"GET http:///a HTTP/1.1", b"http1.invalid_url"),
        (b"GET http://u@v@a/x HTTP/1.1", b"http1.invalid_url"),
        (b"GET http://a:65536/x HTTP/1.1", b"http1.invalid_url"),
        (b"GET http://a:/x HTTP/1.1", b"http1.invalid_url"),
        (b"GET * HTTP/1.1", b"http1.invalid_url"),
        (b"GET a:80 HTTP/1.1", b"http1.codec_error"),
        (b"GET \\a HTTP/1.1", b"http1.codec_error"),
        (b"GET /\xc3\xa9 HTTP/1.1", b"http1.codec_error"),
        (b"CONNECT a HTTP/1.1", b"http1.invalid_url"),
        (b"CONNECT /a HTTP/1.1", b"http1.invalid_url"),
        (b"get / HTTP/1.1", b"http1.codec_error"),
        (b"M-SEARCH / HTTP/1.1", b"http1.codec_error"),
        (b"GET  / HTTP/1.1", b"http1.codec_error"),
        (b"GET / HTTP/1.1 ", b"http1.codec_error"),
        (b"GET  HTTP/1.1", b"http1.codec_error"),
        (b"GET / HTTP/1.10", b"http1.codec_error"),
        (b"GET / http/1.1", b"http1.codec_error"),
        (b"GET /\x00 HTTP/1.1", b"http1.invalid_characters"),
        (b"HTTP/1.1 200 OK", b"http1.codec_error"),
    ],
)
def test_request_lines_that_are_refused(first: bytes, details: bytes) -> None:
    assert refused(request(first=first)) == (400, details)


@pytest.mark.parametrize(
    "line, details",
    [
        (b"X-A : b", b"http1.codec_error"),
        (b" X-A: b", b"http1.codec_error"),
        (b"X(A): b", b"http1.codec_error"),
        (b"garbage", b"http1.codec_error"),
        (b": b", b"http1.codec_error"),
        (b"X: a\r\n b", b"http1.codec_error"),
        (b"X: a\rb", b"http1.codec_error"),
        (b"X: a\nY: b", b"http1.codec_error"),
        (b"X: a\x00b", b"http1.invalid_characters"),
        (b"X: a\x7fb", b"http1.invalid_characters"),
        (b"X\x01: a", b"http1.invalid_characters"),
        (b"Content-Length: 3\r\nContent-Length: 3", b"http1.codec_error"),
        (b"Content-Length: 3\r\ncontent-length: 3", b"http1.codec_error"),
        (b"Content-Length: 3, 3", b"http1.codec_error"),
        (b"Content-Length: +3", b"http1.codec_error"),
        (b"Content-Length: -3", b"http1.codec_error"),
        (b"Content-Length: 0x3", b"http1.codec_error"),
        (b"Content-Length: 1_0", b"http1.codec_error"),
        (b"Content-Length:", b"http1.codec_error"),
        (b"Content-Length: 18446744073709551616", b"http1.codec_error"),
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"http1.content_length_and_chunked_not_allowed"),
        (b"Content-Length: 3\r\nTransfer-Encoding: gzip", b"http1.content_length_and_chunked_not_allowed"),
        (b"Connection: X-Forwarded-For", b"http1.connection_header_rejected"),
        (b"Connection: :path", b"http1.connection_header_rejected"),
        (b"Connection: a,b,c,d,e,f,g,h,i,close", b"http1.connection_header_rejected"),
        (b"Host: t.test, u", b"http.invalid_authority"),
    ],
)
def test_fields_that_are_refused(line: bytes, details: bytes) -> None:
    lines = (line,) if line.startswith(b"Host") else (b"Host: t.test", line)
    assert refused(request(*lines, first=b"POST / HTTP/1.1")) == (400, details)


@pytest.mark.parametrize("host", [b"a/b", b"a?b", b"a#b", b"a\\b", b"<a>", b"a b", b"caf\xc3\xa9", b"a|b"])
def test_authorities_that_are_refused(host: bytes) -> None:
    assert refused(request(b"Host: " + host)) == (400, b"http.invalid_authority")


@pytest.mark.parametrize(
    "coding",
    [
        b"gzip",
        b"gzip, chunked",
        b"chunked, chunked",
        b"xchunked",
        b"identity",
        b"",
        b",chunked",
        b'"chunked"',
    ],
)
def test_other_transfer_codings_are_not_implemented(coding: bytes) -> None:
    data = request(b"Host: t", b"Transfer-Encoding: " + coding, first=b"POST / HTTP/1.1")
    assert refused(data) == (501, b"http1.invalid_transfer_encoding")


def test_two_transfer_encoding_fields_are_not_implemented() -> None:
    data = request(b"Host: t", b"Transfer-Encoding: chunked", b"transfer-encoding: chunked")
    assert refused(data) == (501, b"http1.invalid_transfer_encoding")


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9"])
def test_low_versions(version: bytes) -> None:
    assert refused(request(first=b"GET / " + version)) == (426, b"low_version")


def test_http_09_is_answered_without_waiting_for_a_head() -> None:
    assert refused(b"GET /\r\n") == (426, b"low_version")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"\n", b" \r\n", b"GET / HTTP/1.1\nHost", b"BAD\r\n", b"GET\x00"]
)
def test_junk_is_refused_before_a_head_is_whole(data: bytes) -> None:
    assert refused(data)[0] == 400


@pytest.mark.parametrize("size, status", [(61440, 0), (61441, 431)])
def test_the_bound_of_a_head(size: int, status: int) -> None:
    base = len(request(b"Host: t", b"X: "))
    data = request(b"Host: t", b"X: " + b"v" * (size - base))
    if status:
        assert refused(data) == (431, b"http1.headers_too_large")
    else:
        assert one(data).ended


def test_a_head_without_end_is_refused_at_the_bound() -> None:
    server = Server()
    server.feed(b"GET / HTTP/1.1\r\nX: ", *[b"v" * 10_000] * 6)
    assert not server.errors
    server.feed(b"v" * 10_000)
    assert server.statuses() == [431]


@pytest.mark.parametrize("count, status", [(100, 0), (101, 431)])
def test_the_bound_of_fields(count: int, status: int) -> None:
    data = request(b"Host: t", *[b"X-N: v"] * (count - 1))
    if status:
        assert refused(data) == (431, b"http1.too_many_headers")
    else:
        assert len(one(data).request.fields) == 99


def test_empty_lines_before_a_request_are_ignored_however_cut() -> None:
    server = Server(answers=True)
    server.feed(b"\r\n\r", b"\n", b"\r\n\r\n" + GET + b"\r\n", b"\r", b"\n" + GET)
    assert server.statuses() == [200, 200]


def test_head_bytes_counts_the_whole_head() -> None:
    server = Server()
    server.codec.feed(GET)
    assert server.codec.head_bytes == len(GET)


# -- upgrade, connect, connection ----------------------------------------------------------------------------------


def test_an_upgrade_is_passed_up_and_nothing_after_it_is_a_request() -> None:
    server = Server()
    data = request(b"Host: t", b"Connection: keep-alive, Upgrade", b"Upgrade: websocket") + GET
    server.feed(data, GET)
    (stream,) = server.streams
    assert stream.request.upgrade == b"websocket" and not stream.ended
    server.codec.headers(stream, response(403), True)
    assert CLOSE in server.codec.take_output() and server.codec.closing and not server.codec.fully_read


SWITCH = ResponseHeaders(101, [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")])
ASKS = request(b"Host: t", b"Connection: Upgrade", b"Upgrade: websocket")


def test_a_granted_upgrade_is_bytes_in_both_directions() -> None:
    server = Server()
    server.feed(ASKS + b"early", GET)
    (stream,) = server.streams
    assert (stream.body, stream.ended) == (b"early" + GET, False)
    server.codec.headers(stream, SWITCH.copy(), False)
    server.codec.data(stream, b"frames", False)
    written = server.codec.take_output()
    assert written == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\nframes"
    )
    server.feed(GET)
    assert stream.body == b"early" + GET + GET and len(server.streams) == 1
    assert server.codec.wire_bytes_in == len(ASKS) + 5 + 2 * len(GET)
    assert server.codec.wire_bytes_out == len(written)
    server.codec.data(stream, b"", True)
    assert server.codec.closing and not server.codec.fully_read and not server.codec.take_output()


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_only_101_grants_an_upgrade(status: int) -> None:
    server = Server()
    server.feed(ASKS)
    server.codec.headers(server.streams[0], response(status), True)
    assert CLOSE in server.codec.take_output() and server.codec.closing
    server.feed(GET)
    assert len(server.streams) == 1


@pytest.mark.parametrize("status", [200, 204, 299])
def test_only_2xx_grants_a_tunnel_whose_response_has_no_length(status: int) -> None:
    server = Server()
    server.feed(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n")
    (stream,) = server.streams
    assert stream.request.upgrade == b"CONNECT" and not stream.request.fields and not stream.ended
    server.codec.headers(stream, ResponseHeaders(status, [(b"content-length", b"5"), (b"x", b"y")]), False)
    server.codec.data(stream, b"tunnelled", False)
    head, _, rest = server.codec.take_output().partition(b"\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status) and rest == b"x: y\r\n\r\ntunnelled"


@pytest.mark.parametrize("status", [101, 302, 403])
def test_what_grants_no_tunnel(status: int) -> None:
    server = Server()
    server.feed(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    server.codec.headers(server.streams[0], response(status), True)
    assert CLOSE in server.codec.take_output() and server.codec.closing


def test_a_client_that_leaves_resets_its_tunnel() -> None:
    server = Server()
    server.feed(ASKS)
    (stream,) = server.streams
    server.codec.headers(stream, SWITCH.copy(), False)
    server.codec.eof()
    assert [details for _, details in stream.resets] == [b"downstream_remote_disconnect"]


def test_a_line_break_in_a_switching_head_is_not_written() -> None:
    server = Server()
    server.feed(ASKS)
    with pytest.raises(ValueError, match="line break"):
        server.codec.headers(server.streams[0], ResponseHeaders(101, [(b"x", b"a\r\nb: c")]), False)
    assert not server.codec.take_output()


def test_h2c_and_an_upgrade_that_connection_does_not_name_are_ignored() -> None:
    both = one(
        request(b"Host: t", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: A")
    )
    assert both.request.upgrade is None
    assert one(request(b"Host: t", b"Upgrade: websocket")).request.upgrade is None


def test_connect_is_passed_up_without_a_path() -> None:
    server = Server()
    server.feed(b"CONNECT a.test:443 HTTP/1.1\r\nHost: b\r\n\r\n" + GET)
    (stream,) = server.streams
    assert (stream.request.authority, stream.request.path) == (b"a.test:443", b"")
    assert stream.request.upgrade == b"CONNECT" and stream.body == GET


@pytest.mark.parametrize(
    "line, answer",
    [
        (b"Content-Length: 5", (400, b"http1.body_disallowed")),
        (b"Transfer-Encoding: chunked", (501, b"http1.invalid_transfer_encoding")),
    ],
)
def test_connect_has_no_body(line: bytes, answer: tuple[int, bytes]) -> None:
    assert refused(request(b"Host: a", line, first=b"CONNECT a.test:443 HTTP/1.1")) == answer


def test_connection_stays_among_the_fields_for_the_stream() -> None:
    head = one(request(b"Host: t", b"Connection: X-A", b"X-A: 1")).request
    assert head.fields == [(b"connection", b"X-A"), (b"x-a", b"1")] and head.known & CONNECTION


def test_connection_may_take_host_away() -> None:
    head = one(request(b"Host: t", b"Connection: Host")).request
    assert not head.known & HOST and head.authority == b""


@pytest.mark.parametrize(
    "line", [b"Connection: close", b"Connection: Keep-Alive, CLOSE", b"Proxy-Connection: close"]
)
def test_close_is_honoured(line: bytes) -> None:
    server = Server(answers=True)
    server.feed(request(b"Host: t", line) + GET)
    assert server.statuses() == [200] and CLOSE in server.written and server.codec.closing


# -- bodies --------------------------------------------------------------------------------------------------------


def test_a_body_by_length_passes_the_received_object_through() -> None:
    server = Server()
    server.codec.feed(request(b"Host: t", b"Content-Length: 8", first=b"POST / HTTP/1.1"))
    piece = bytes(bytearray(b"abcde"))
    server.codec.feed(piece)
    last = bytes(bytearray(b"fgh"))
    server.codec.feed(last)
    (stream,) = server.streams
    assert stream.pieces[0] is piece and stream.pieces[1] is last and stream.ended
    assert stream.request.fields == [(b"content-length", b"8")]


def test_content_length_zero_ends_with_the_head() -> None:
    stream = one(request(b"Host: t", b"Content-Length: 0", first=b"POST / HTTP/1.1"))
    assert stream.ended and stream.request.fields == [(b"content-length", b"0")]


def test_a_chunked_body_loses_its_framing() -> None:
    data = request(b"Host: t", b"Transfer-Encoding: Chunked", b"X: y", first=b"POST / HTTP/1.1")
    stream = one(data + b'3;a=b;c="d;\\"e"\r\nabc\r\n00A ;x\r\n0123456789\r\n0;y\r\n\r\n')
    assert stream.request.fields == [(b"x", b"y")]
    assert stream.pieces == [b"abc0123456789"] and stream.ended  # chunks that came together go on together


@pytest.mark.parametrize("tail", [b"\t", b" \t "])
def test_blanks_after_chunked_are_no_part_of_it(tail: bytes) -> None:
    data = request(b"Host: t", b"Transfer-Encoding: chunked" + tail, first=b"POST / HTTP/1.1")
    assert one(data + b"0\r\n\r\n").ended


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n", b" 3\r\n", b"3 \r\n", b"3\n", b"3;\r\n", b"3;a b\r\n", b"3;a\x00\r\n", b'3;a="b\r\n', b"-3\r\n", b"+3\r\n",
        b"0x3\r\n", b"3_0\r\n", b"3\xa0\r\n", b"\r\n", b"1" * 17 + b"\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n", b"3\r\nabcXX",
        b"3;" + b"a" * 5000, b"0\r\nX : y\r\n", b"0\r\n X: y\r\n", b"0\r\n: y\r\n", b"0\r\ngarbage\r\n", b"0\r\nX: y\n", b"0\r\n\n",
    ],
)  # fmt: skip
def test_chunks_that_are_refused(chunks: bytes) -> None:
    server = Server()
    server.feed(request(b"Host: t", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1"), chunks)
    assert [error.details for error in server.errors] == [b"http1.codec_error"]
    assert server.statuses() == [400] and server.codec.closing


def test_a_control_in_a_trailer_and_long_trailers_are_refused() -> None:
    head = request(b"Host: t", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1") + b"0\r\n"
    for trailer, details in (
        (b"X: a\x00\r\n", b"http1.invalid_characters"),
        (b"X: " + b"t" * 70000, b"http1.headers_too_large"),
    ):
        server = Server()
        server.feed(head + trailer)
        assert [error.details for error in server.errors] == [details]


def test_trailers_are_dropped_unless_wanted_and_then_without_framing() -> None:
    data = request(b"Host: t", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1")
    data += b"3\r\nabc\r\n0\r\nX-T: v \r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    plain = one(data)
    assert plain.trailers is None and plain.pieces == [b"abc"] and plain.ended
    wanted = one(data, Http1Settings(enable_trailers=True))
    assert wanted.trailers == HeaderMap([(b"x-t", b"v")]) and wanted.body == b"abc" and wanted.ended


def test_500_trailers_pass_when_dropped_and_are_too_many_when_kept() -> None:
    data = (
        request(b"Host: t", b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1")
        + b"0\r\n"
        + b"X: v\r\n" * 500
        + b"\r\n"
    )
    assert one(data).ended
    server = Server(Http1Settings(enable_trailers=True))
    server.feed(data)
    assert [error.details for error in server.errors] == [b"http1.too_many_headers"]


# -- responses -----------------------------------------------------------------------------------------------------


def respond(
    head: ResponseHeaders, *data: bytes, asked: bytes = GET, settings: Http1Settings | None = None
) -> tuple[bytes, Server]:
    """What is written for this response; an empty ``data`` ends with the head."""
    server = Server(settings)
    server.codec.feed(asked)
    stream = server.streams[0]
    server.codec.headers(stream, head, not data)
    for at, piece in enumerate(data, 1):
        server.codec.data(stream, piece, at == len(data))
    return server.codec.take_output(), server


def test_head_and_body_leave_in_one_piece() -> None:
    out, server = respond(response(200, (b"content-length", b"2"), (b"x", b"y")), b"hi")
    assert out == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\nhi"
    assert server.codec.take_output() == b"" and not server.codec.closing and server.codec.stream is None


def test_a_body_of_unknown_length_is_chunked_and_says_so_last() -> None:
    out, _ = respond(response(200, (b"x", b"y")), b"hello", b"", b"0123456789abcdef", b"")
    assert out == (
        b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    )


def test_close_comes_before_the_framing() -> None:
    asked = request(b"Host: t", b"Connection: close")
    assert respond(response(404, (b"server", b"envoy")), asked=asked)[0] == (
        b"HTTP/1.1 404 Not Found\r\nserver: envoy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    out, server = respond(response(200), b"hi", asked=asked)
    assert (
        out
        == b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    assert server.codec.closing


@pytest.mark.parametrize(
    "status, line",
    [
        (418, b"HTTP/1.1 418 Unknown"),
        (599, b"HTTP/1.1 599 Last Unassigned Server Error Code"),
        (299, b"HTTP/1.1 299 Unknown"),
    ],
)
def test_reason_phrases_are_envoys(status: int, line: bytes) -> None:
    assert respond(response(status))[0].split(b"\r\n")[0] == line


@pytest.mark.parametrize(
    "asked, head, tail",
    [
        (GET, response(204, (b"content-length", b"0")), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, response(304), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (
            GET,
            response(304, (b"content-length", b"5")),
            b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        ),
        (b"HEAD" + GET[3:], response(200), b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        (
            b"HEAD" + GET[3:],
            response(200, (b"content-length", b"5")),
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        ),
    ],
)
def test_responses_that_have_no_body(asked: bytes, head: ResponseHeaders, tail: bytes) -> None:
    for data in ((), (b"not sent",)):
        out, server = respond(head, *data, asked=asked)
        assert out == tail and not server.codec.closing


def test_never_more_than_declared_and_less_closes() -> None:
    out, server = respond(response(200, (b"content-length", b"3")), b"abcdef")
    assert out.endswith(b"\r\n\r\nabc") and server.codec.closing
    out, server = respond(response(200, (b"content-length", b"3")), b"ab")
    assert out.endswith(b"\r\n\r\nab") and server.codec.closing
    out, server = respond(response(200, (b"content-length", b"3")))
    assert server.codec.closing


@pytest.mark.parametrize(
    "fields", [[(b"content-length", b"x")], [(b"content-length", b"2"), (b"content-length", b"3")]]
)
def test_a_length_that_cannot_be_trusted_is_not_written(fields: list[tuple[bytes, bytes]]) -> None:
    out, _ = respond(response(200, *fields), b"hi")
    assert out == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


def test_transfer_encoding_of_a_filter_is_not_written() -> None:
    out, _ = respond(response(200, (b"transfer-encoding", b"gzip"), (b"content-length", b"2")), b"hi")
    assert out == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\nb", b"a\rb"])
def test_a_line_break_in_a_value_never_leaves(value: bytes) -> None:
    with pytest.raises(ValueError, match="line break"):
        respond(response(200, (b"x", value)))


def test_response_trailers_only_when_wanted() -> None:
    for wanted, tail in ((False, b"0\r\n\r\n"), (True, b"0\r\nx-t: v\r\n\r\n")):
        server = Server(Http1Settings(enable_trailers=wanted))
        server.codec.feed(GET)
        stream = server.streams[0]
        server.codec.headers(stream, response(200), False)
        server.codec.trailers(stream, HeaderMap([(b"x-t", b"v")]))
        assert server.codec.take_output().endswith(b"transfer-encoding: chunked\r\n\r\n" + tail)
        assert server.codec.stream is None


def test_informational_heads_come_before_the_response() -> None:
    server = Server()
    server.codec.feed(GET)
    server.codec.informational(server.streams[0], response(103, (b"link", b"x"), (b"content-length", b"5")))
    assert server.codec.take_output() == b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    server.answer(server.streams[0])
    assert server.codec.take_output().startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_response_before_the_request_is_whole_is_the_last() -> None:
    server = Server()
    server.feed(request(b"Host: t", b"Content-Length: 10", first=b"POST / HTTP/1.1", body=b"abc"))
    server.codec.headers(server.streams[0], response(200), True)
    assert CLOSE in server.codec.take_output() and server.codec.closing and not server.codec.fully_read
    server.feed(b"defghij" + GET)
    assert len(server.streams) == 1 and server.streams[0].body == b"abc"


def test_goaway_marks_the_next_response() -> None:
    server = Server()
    server.codec.goaway()
    server.codec.feed(GET)
    server.answer(server.streams[0])
    assert CLOSE in server.codec.take_output() and server.codec.closing and server.codec.fully_read


def test_a_stream_that_the_codec_has_not_begun_may_answer_once() -> None:
    server = Server()
    server.codec.feed(b"GET / HT")
    assert server.codec.has_input and not server.codec.fully_read
    stream = server.new_stream()
    server.codec.headers(stream, response(408), True)
    assert (
        server.codec.take_output()
        == b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    assert server.codec.closing
    server.codec.headers(server.new_stream(), response(200), True)
    assert server.codec.take_output() == b""


def test_reset_closes() -> None:
    server = Server()
    server.codec.feed(GET)
    server.codec.headers(server.streams[0], response(200), False)
    server.codec.reset(server.streams[0], LOCAL_RESET)
    assert server.codec.closing
    server.codec.data(server.streams[0], b"late", True)
    assert server.codec.take_output() == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


# -- HTTP/1.0 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, head, written",
    [
        (b"X: y", response(200, (b"content-length", b"2")), b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"),
        (b"X: y", response(200), b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nhi"),
        (b"Connection: keep-alive", response(200, (b"content-length", b"2")), b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi"),
        (b"Connection: keep-alive", response(200), b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nhi"),
    ],
)  # fmt: skip
def test_http_10(line: bytes, head: ResponseHeaders, written: bytes) -> None:
    asked = request(b"Host: t", line, first=b"GET / HTTP/1.0")
    out, server = respond(head, b"hi", asked=asked, settings=Http1Settings(accept_http_10=True))
    assert out == written and server.codec.closing == (b"close" in written)


def test_http_10_knows_no_1xx_and_may_have_a_default_host() -> None:
    server = Server(Http1Settings(accept_http_10=True, default_host=b"d.test"))
    server.codec.feed(request(b"X: y", first=b"GET / HTTP/1.0"))
    server.codec.informational(server.streams[0], response(100))
    assert server.codec.take_output() == b""
    assert server.streams[0].request.authority == b"d.test" and server.streams[0].request.known & HOST


# -- pipelining, ends ----------------------------------------------------------------------------------------------


def test_pipelined_requests_wait_for_their_turn() -> None:
    server = Server()
    server.codec.feed(GET + GET.replace(b"/a", b"/2") + GET[:10])
    assert len(server.streams) == 1 and server.codec.blocked and server.codec.has_input
    server.answer(server.streams[0])
    assert len(server.streams) == 1  # only feed() reads: no recursion
    server.codec.feed(b"")
    assert len(server.streams) == 2 and server.codec.blocked
    server.answer(server.streams[1])
    server.codec.feed(b"")
    assert not server.codec.blocked and server.codec.has_input and server.codec.stream is None
    server.codec.feed(GET[10:])
    assert [stream.request.path for stream in server.streams] == [b"/a?b", b"/2?b", b"/a?b"]


def test_answers_given_at_once_need_no_waiting_until_the_output_is_full() -> None:
    server = Server(answers=True)
    server.codec.feed(GET * 3000)
    assert server.codec.blocked and 65536 < len(server.codec.take_output()) < 65536 + 100
    server.feed(b"")
    assert len(server.streams) == 3000


def test_a_good_request_then_a_bad_one() -> None:
    server = Server(answers=True)
    server.feed(GET + b"BAD\r\n\r\n" + GET)
    assert server.statuses() == [200, 400] and len(server.streams) == 2


def test_eof_resets_what_is_under_way() -> None:
    server = Server()
    server.codec.feed(GET)
    server.codec.eof()
    assert [details for _, details in server.streams[0].resets] == [b"downstream_remote_disconnect"]
    assert server.codec.closing
    idle = Server()
    idle.codec.eof()
    assert idle.codec.closing and not idle.streams


def test_slow_drip_costs_no_more_than_its_bytes() -> None:
    server = Server(answers=True)
    data = request(b"Host: t", b"X: " + b"v" * 50_000)
    for at in range(len(data)):
        server.codec.feed(data[at : at + 1])
    assert server.streams[0].ended


def test_detach_cuts_the_links() -> None:
    server = Server()
    server.codec.feed(GET + GET)
    server.codec.detach()
    assert server.codec.stream is None and not server.codec.blocked and server.codec.take_output() == b""


@pytest.mark.parametrize("spelled", [b"x-forwarded-for", b"X-FORWARDED-FOR"])
def test_repeated_single_fields_are_joined_however_they_are_spelled(spelled: bytes) -> None:
    server = Server()
    server.codec.feed(
        b"GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-for: 1.1.1.1\r\ncookie: a\r\n%b: 2.2.2.2\r\n"
        b"cookie: b\r\n\r\n" % spelled
    )
    joined = [(b"x-forwarded-for", b"1.1.1.1,2.2.2.2"), (b"cookie", b"a"), (b"cookie", b"b")]
    assert server.streams[0].request.fields == joined
