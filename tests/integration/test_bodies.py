"""Bodies through real sockets: whole and intact, in every framing, both ways at once."""

from __future__ import annotations

import hashlib
import threading

import pytest

from tests.support.client import Client, request
from tests.support.quiet import assert_quiet
from tests.support.upstream import Close, Send, Wait, chunked, reply

MIB = 1 << 20
BLOCK = bytes(range(256)) * 256  # 64 KiB


def pattern(size: int) -> bytes:
    """Bytes in which a lost or repeated block shows."""
    return b"".join(hashlib.sha256(b"%d" % at).digest() for at in range(size // 32))


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_536, MIB + 1])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_comes_back_as_it_went(start_outrider, simple, port, upstream, size, framing):
    body = (BLOCK * (size // len(BLOCK) + 1))[:size]
    upstream.script = lambda each: [
        reply(200, each.body) if framing == "length" else chunked([each.body] if each.body else [])
    ]
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(2):
            if framing == "length":
                raw = request("POST", "/", [("content-length", "0")] if not body else [], body)
            else:
                head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                raw = head + (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"
            writer = threading.Thread(target=client.send, args=(raw,))
            writer.start()
            answer = client.read()
            writer.join(5)
            assert (answer.status, len(answer.body)) == (200, size)
            assert answer.body == body
    assert_quiet(proxy)


def test_sixteen_mebibytes_both_ways_at_once(start_outrider, simple, port, upstream):
    """The upstream answers while it still reads."""
    up, down = pattern(16 * MIB), pattern(16 * MIB)[::-1]
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(down)), Send(down)]
    proxy = start_outrider(simple)
    with Client(port, timeout_s=30) as client:
        writer = threading.Thread(target=client.send, args=(request("POST", "/", body=up),))
        writer.start()
        answer = client.read()
        writer.join(10)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(down).digest()
    assert hashlib.sha256(upstream.requests[0].body).digest() == hashlib.sha256(up).digest()
    assert_quiet(proxy)


def test_a_body_to_the_close(start_outrider, simple, port, upstream):
    body = pattern(4 * MIB)
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\n\r\n"), Send(body), Close()]
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(2):
            assert client.send(request("GET", "/")).read().body == body
    assert_quiet(proxy)


def test_an_early_refusal_of_a_big_upload_is_read(start_outrider, simple, port, upstream):
    """The client sees the reply though it goes on sending for a while: no RST may overtake it."""
    big = request("POST", "/", [("content-length", str(64 * MIB))])
    proxy = start_outrider(simple)
    simple_refusal = reply(413, b"too much", reason="no").data
    upstream._read = lambda wire, number: _head_only(wire, number)  # type: ignore[method-assign]
    upstream.script = [Send(simple_refusal), Wait(0.5), Close()]
    with Client(port) as client:
        client.send(big + b"x" * 300_000)
        answer = client.read()
        assert (answer.status, answer.body) == (413, b"too much")
        assert client.is_closed()
    assert_quiet(proxy)


def _head_only(wire, number):
    from tests.support.upstream import Request

    head = wire.head()
    return Request(head.raw_head, head.start_line, head.headers, connection=number)


def test_head_and_no_content_keep_the_connection(start_outrider, simple, port, upstream):
    upstream.script = lambda each: [
        Send(b"HTTP/1.1 204 No Content\r\n\r\n")
        if each.path == "/204"
        else Send(b"HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 99\r\n\r\n")
        if each.path == "/304"
        else Send(b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n")
    ]
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(3):
            assert client.send(request("HEAD", "/")).read(head_only=True).one("content-length") == "12345"
            assert client.send(request("GET", "/204")).read().status == 204
            assert client.send(request("GET", "/304")).read().status == 304
    assert upstream.connections == 1
    assert_quiet(proxy)


def test_informational_heads_pass(start_outrider, simple, port, upstream):
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
    upstream.script = [Send(hints), Wait(0.05), Send(hints), reply()]
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(request("GET", "/"))
        assert [client.read().status for _ in range(3)] == [103, 103, 200]
    assert_quiet(proxy)


def test_expect_is_answered_before_the_body(start_outrider, simple, port, upstream):
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(request("POST", "/", [("Expect", "100-continue"), ("Content-Length", "5")]))
        assert client.read().status == 100
        assert client.send(b"hello").read().status == 200
    assert upstream.requests[0].body == b"hello"
    assert_quiet(proxy)
