"""Replies of our own: contract/envoy.md 2.6, the rows that need no upstream."""

from __future__ import annotations

import pytest

from proxy.base.errors import ResponseFlag
from proxy.http.local_reply import local_response, reset_body
from tests.support.transcript import Transcript, to

H = b"host: a\r\n\r\n"


def test_heads():
    assert list(local_response(404, b"")) == []
    named = local_response(503, b"no", [(b"x", b"1")])
    assert list(named) == [(b"x", b"1"), (b"content-length", b"2"), (b"content-type", b"text/plain")]
    assert reset_body(b"overflow", False).endswith(b"before headers. reset reason: overflow")
    assert b"headers. retried and the latest reset reason: overflow" in reset_body(b"overflow", True)


@pytest.mark.parametrize(
    "raw, status, body, flags, details, closes",
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"", 0, b"missing_host_header", True),
        (b"GET /a#b HTTP/1.1\r\n" + H, 400, b"", 0, b"path_normalization_failed", True),
        (b"OPTIONS * HTTP/1.1\r\n" + H, 404, b"", 0, b"absolute_path_rejected", False),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", 404, b"", ResponseFlag.NR, b"route_not_found", True),
        (
            b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n" + H,
            404,
            b"",
            ResponseFlag.NR,
            b"route_not_found",
            True,
        ),
        (b"BREW / HTTP/1.1\r\n" + H, 400, b"Bad Request", ResponseFlag.DPE, b"http1.codec_error", True),
        (b"GET / HTTP/1.0\r\n" + H, 426, b"Upgrade Required", ResponseFlag.DPE, b"low_version", True),
        (
            b"GET / HTTP/1.1\r\nx: a\x00b\r\n" + H,
            *(400, b"Bad Request", ResponseFlag.DPE, b"http1.invalid_characters", True),
        ),
        (
            b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n" + H,
            *(400, b"Bad Request", ResponseFlag.DPE, b"http1.content_length_and_chunked_not_allowed", True),
        ),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n" + H,
            *(501, b"Not Implemented", ResponseFlag.DPE, b"http1.invalid_transfer_encoding", True),
        ),
        (
            b"GET / HTTP/1.1\r\nx: " + b"y" * 62_000 + b"\r\n" + H,
            *(431, b"Request Header Fields Too Large", ResponseFlag.DPE, b"http1.headers_too_large", True),
        ),
        (
            b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100 + H,
            *(431, b"Request Header Fields Too Large", ResponseFlag.DPE, b"http1.too_many_headers", True),
        ),
    ],
)
def test_refusals(raw, status, body, flags, details, closes):
    talk = Transcript({"match": {"path": "/only"}, "route": {"cluster": "a"}})
    talk.client(raw)
    saw = talk.client_saw
    assert (saw.status, saw.body) == (status, body)
    assert (talk.last["flags"], talk.last["details"]) == (flags, details)
    assert saw.one("connection") == ("close" if closes else None)
    names = [name for name, _ in saw.headers if name != "connection"]
    assert names == (
        ["content-length", "content-type", "date", "server"] if body else ["date", "server", "content-length"]
    )
    talk.waits(1.1)
    assert talk.client.is_closed == closes
    assert talk.stats[f"http.front.downstream_rq_{status // 100}xx"] == 1


def test_a_refusal_in_the_body_after_the_response_has_begun_cuts_it():
    talk = Transcript()
    talk.client(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n" + H)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    talk.client(b"zz\r\n")
    assert talk.client.is_closed or (talk.waits(1.1) is None and talk.client.is_closed)
    assert talk.last["details"] == b"http1.codec_error"
    assert talk.upstream(0).is_closed


def test_a_refusal_in_the_body_before_the_response():
    talk = Transcript()
    talk.client(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n" + H + b"2\r\nab\r\n")
    talk.client(b"zz\r\n")
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (400, "close")
    assert talk.upstream(0).is_closed
    talk.waits(1.1)


def test_the_reply_to_a_head_has_a_length_and_no_body():
    talk = Transcript(to("a"), hosts=0)
    talk.client(b"HEAD / HTTP/1.1\r\n" + H)
    assert talk.client.got.endswith(b"\r\n\r\n")
    assert talk.client_saw.one("content-length") == "19"


def test_response_operations_of_a_forwarding_route_apply():
    action = {**to("a"), "response_headers_to_add": [{"header": {"key": "x-added", "value": "1"}}]}
    talk = Transcript(action, hosts=0)
    talk.client(b"GET / HTTP/1.1\r\n" + H)
    assert talk.client_saw.one("x-added") == "1"
