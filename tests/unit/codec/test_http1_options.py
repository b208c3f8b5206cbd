"""HTTP/1.0, names with underscores, upgrades to ignore, spelled names: what a configuration may ask of the codecs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.transcript import GET, Transcript, to


def talk(**http1: Any) -> Transcript:
    return Transcript(to("a"), hcm={"http_protocol_options": http1})


def test_http10_is_answered_as_such_and_closed():
    it = talk(accept_http_10=True, default_host_for_http_10="old.example")
    it.client(b"GET / HTTP/1.0\r\n\r\n")
    assert b"host: old.example\r\n" in it.upstream(0).got
    it.upstream(0).sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert it.client.got.startswith(b"HTTP/1.0 200 OK\r\n")
    assert it.client.got.endswith(b"connection: close\r\n\r\nok") and it.client.is_closed


def test_http10_keeps_a_connection_that_asks_for_it():
    it = talk(accept_http_10=True)
    it.client(b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
    it.upstream(0).replies()
    assert it.client_saw.one("connection") == "keep-alive" and not it.client.is_closed


def test_a_chunked_http10_request_is_the_last():
    it = talk(accept_http_10=True)
    head = b"POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n"
    it.client(head + b"2\r\nhi\r\n0\r\n\r\nGET /smuggled HTTP/1.0\r\nhost: a\r\n\r\n")
    it.upstream(0).replies()
    assert it.client_saw.one("connection") == "close"
    assert b"smuggled" not in it.upstream(0).got


def test_http09_stays_refused():
    it = talk(accept_http_10=True, default_host_for_http_10="old.example")
    it.client(b"GET /\r\n\r\n")
    assert it.client_saw.status == 426


def test_http10_hears_no_100():
    it = talk(accept_http_10=True)
    it.client(b"POST / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert it.client.got == b""
    it.client(b"hi")
    assert b"expect:" not in it.upstream(0).got
    it.upstream(0).replies()
    assert it.client_saw.status == 200


@pytest.mark.parametrize("action, dropped", [("DROP_HEADER", True), ("REJECT_REQUEST", False)])
def test_underscores(action, dropped):
    options = {"headers_with_underscores_action": action}
    it = Transcript(to("a"), hcm={"common_http_protocol_options": options})
    it.client(b"GET / HTTP/1.1\r\nhost: a\r\nx_y: 1\r\nContent_Length: 5\r\nx-y: 2\r\n\r\n")
    if dropped:
        assert b"x-y: 2" in it.upstream(0).got and b"_" not in it.upstream(0).got
        it.upstream(0).replies()
        assert it.stats["http1.dropped_headers_with_underscores"] == 2
    else:
        assert it.client_saw.status == 400
        assert it.stats["http1.requests_rejected_with_underscores_in_headers"] == 1


def test_underscores_in_trailers():
    options = {"headers_with_underscores_action": "REJECT_REQUEST"}
    hcm = {"common_http_protocol_options": options, "http_protocol_options": {"enable_trailers": True}}
    it = Transcript(to("a"), hcm=hcm)
    it.client(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx_y: 1\r\n\r\n")
    assert it.client_saw.status == 400


BOTH = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\nTransfer-Encoding: chunked \r\n\r\n"
CHUNKS = b"2\r\nhi\r\n0\r\n\r\n"


def test_a_length_beside_chunks_may_be_allowed_and_nothing_follows():
    it = talk(allow_chunked_length=True)
    it.client(BOTH + CHUNKS + b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
    got = it.upstream(0).got
    assert b"content-length" not in got and got.endswith(b"transfer-encoding: chunked\r\n\r\n" + CHUNKS)
    it.upstream(0).replies()
    assert it.client_saw.status == 200 and it.client_saw.one("connection") == "close" and it.client.is_closed
    assert b"smuggled" not in it.upstream(0).got


@pytest.mark.parametrize(
    ("fields", "status", "details"),
    [
        (b"content-length: 5\r\ncontent-length: 5\r\ntransfer-encoding: chunked", 400, b"http1.codec_error"),
        (b"content-length: x\r\ntransfer-encoding: chunked", 400, b"http1.codec_error"),
        (
            b"content-length: 5\r\ntransfer-encoding: gzip, chunked",
            400,
            b"http1.content_length_and_chunked_not_allowed",
        ),
        (
            b"content-length: 5\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
            501,
            b"http1.invalid_transfer_encoding",
        ),
    ],
)
def test_other_framing_is_refused_as_ever(fields, status, details):
    it = talk(allow_chunked_length=True)
    it.client(b"POST / HTTP/1.1\r\nhost: a\r\n" + fields + b"\r\n\r\n" + CHUNKS)
    assert it.client_saw.status == status and it.finished.streams[0]["details"] == details


@pytest.mark.parametrize("allowed", [True, False])
def test_a_length_beside_chunks_of_a_host(allowed):
    options = {"http_protocol_options": {"allow_chunked_length": allowed}}
    it = Transcript(to("a"), a=options)
    it.client(GET)
    host = it.upstream(0)
    host.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS)
    assert it.client_saw.status == (200 if allowed else 502)
    if allowed:
        assert it.client_saw.body == b"hi" and it.client_saw.one("content-length") is None
    it.client(GET)
    assert it.upstream(1).got  # the first connection serves no other


def test_names_in_proper_case():
    it = talk(header_key_format={"proper_case_words": {}})
    it.client(GET)
    it.upstream(0).sends(b"HTTP/1.1 200 OK\r\nx-lower: 1\r\ncontent-length: 0\r\n\r\n")
    assert b"\r\nX-Lower: 1\r\n" in it.client.got and b"\r\nServer: envoy" in it.client.got
