"""One try at one host: what is written when, what the owner hears, and that it hears the end once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.base.errors import CONNECTION_TERMINATION, OVERFLOW, PROTOCOL_ERROR
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.codec.http1 import Http1ClientCodec, Http1Settings
from proxy.router.upstream_request import UpstreamRequest


class Owner:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_upstream_ready(self, request: UpstreamRequest) -> None:
        self.heard.append("ready")

    def on_upstream_write_blocked(self, request: UpstreamRequest, blocked: bool) -> None:
        self.heard.append(("blocked", blocked))

    def on_upstream_informational(self, request: UpstreamRequest, headers: ResponseHeaders) -> None:
        self.heard.append(("informational", headers.status))

    def on_upstream_headers(self, request: UpstreamRequest, headers: ResponseHeaders, end: bool) -> None:
        self.heard.append(("headers", headers.status, end))

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        self.heard.append(("data", data, end))

    def on_upstream_trailers(self, request: UpstreamRequest, trailers: HeaderMap) -> None:
        self.heard.append(("trailers", list(trailers)))

    def on_upstream_reset(self, request: UpstreamRequest, reason: Any, details: bytes) -> None:
        self.heard.append(("reset", reason, details))


class Connection:
    """A host's connection with a real codec."""

    def __init__(self) -> None:
        self.codec = Http1ClientCodec(Http1Settings(enable_trailers=True))
        self.request: UpstreamRequest | None = None
        self.write_blocked = self.dirty = self.given_up = False
        self.held: list[bool] = []

    def touch(self) -> None:
        self.dirty = True

    def give_up(self, request: UpstreamRequest) -> None:
        self.given_up = True

    def hold_reading(self) -> None:
        self.held.append(True)

    def release_reading(self) -> None:
        self.held.append(False)


class Pool:
    """Keeps the request until the test gives it a connection."""

    def __init__(self) -> None:
        self.cancelled: list[UpstreamRequest] = []

    def cancel(self, request: UpstreamRequest) -> None:
        self.cancelled.append(request)


class Cluster:
    buffer_limit_bytes = 10


def make(method: bytes = b"POST", fields: Any = ()) -> tuple[UpstreamRequest, Owner, Connection, Pool]:
    owner, pool = Owner(), Pool()
    headers = RequestHeaders(method, b"/", b"a", b"http", list(fields))
    anything: Any = None
    stream = SimpleNamespace(upstream_request_header_bytes=0, upstream_response_header_bytes=0)
    request = UpstreamRequest(owner, stream, headers, Cluster(), anything, pool)  # type: ignore[arg-type]
    return request, owner, Connection(), pool


def test_a_request_without_a_body():
    request, owner, connection, _ = make(b"GET")
    request.ended = True
    request.on_pool_ready(connection)
    assert connection.codec.take_output() == b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    assert (owner.heard, connection.request, request.sent) == (["ready"], request, True)


def test_a_body_that_came_before_the_connection():
    request, owner, connection, _ = make(fields=[(b"content-length", b"6")])
    request.encode_data(b"abc", False)
    request.encode_data(b"def", True)
    request.on_pool_ready(connection)
    assert connection.codec.take_output().endswith(b"content-length: 6\r\n\r\nabcdef")
    assert ("blocked", False) not in owner.heard, "nothing more is to come"


def test_a_body_that_comes_in_part_before_the_connection():
    request, owner, connection, _ = make()
    request.encode_data(b"x" * 11, False)
    assert owner.heard == [("blocked", True)], "more than the cluster's buffer"
    request.on_pool_ready(connection)
    assert owner.heard[1:] == ["ready", ("blocked", False)]
    connection.codec.take_output()
    request.encode_data(b"", True)
    assert connection.codec.take_output() == b"0\r\n\r\n"


def test_a_host_that_is_blocked_already_is_not_released():
    request, owner, connection, _ = make()
    request.encode_data(b"x" * 11, False)
    connection.write_blocked = True
    request.on_pool_ready(connection)
    assert ("blocked", False) not in owner.heard


@pytest.mark.parametrize("early", [True, False])
def test_trailers(early):
    request, _, connection, _ = make()
    if not early:
        request.on_pool_ready(connection)
    request.encode_data(b"abc", False)
    request.encode_trailers(HeaderMap([(b"x-sum", b"1")]))
    if early:
        request.on_pool_ready(connection)
    assert connection.codec.take_output().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n")


def test_trailers_without_a_body():
    request, _, connection, _ = make()
    request.encode_trailers(HeaderMap([(b"x-sum", b"1")]))
    request.on_pool_ready(connection)
    assert connection.codec.take_output().endswith(b"\r\n\r\n0\r\nx-sum: 1\r\n\r\n")


@pytest.mark.parametrize(
    "wire, heard",
    [
        (b"HTTP/1.1 204 No\r\n\r\n", [("headers", 204, True)]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", [("headers", 200, False), ("data", b"ok", True)]),
        (b"HTTP/1.1 103 H\r\n\r\nHTTP/1.1 204 No\r\n\r\n", [("informational", 103), ("headers", 204, True)]),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: 1\r\n\r\n",
            [("headers", 200, False), ("data", b"a", False), ("trailers", [(b"x", b"1")])],
        ),
    ],
)
def test_what_the_owner_hears(wire, heard):
    request, owner, connection, _ = make(b"GET")
    request.ended = True
    request.on_pool_ready(connection)
    connection.codec.feed(wire)
    assert owner.heard[1:] == heard
    assert (request.done, request.connection) == (True, None)
    request.on_reset(CONNECTION_TERMINATION, b"")
    request.cancel()
    assert owner.heard[1:] == heard, "over is over"
    assert not connection.given_up


def test_a_reset_is_heard_once():
    request, owner, connection, _ = make(b"GET")
    request.ended = True
    request.on_pool_ready(connection)
    connection.codec.feed(b"garbage\r\n\r\n")
    request.on_reset(CONNECTION_TERMINATION, b"")
    assert owner.heard[1:] == [("reset", PROTOCOL_ERROR, b"http1.codec_error")]


def test_no_connection():
    request, owner, _, pool = make()
    request.encode_data(b"abc", False)
    request.on_pool_failure(OVERFLOW, b"")
    request.encode_data(b"def", True)
    request.cancel()
    assert owner.heard == [("reset", OVERFLOW, b"")]
    assert pool.cancelled == []


def test_cancel_before_and_after_a_connection():
    waiting, owner, _, pool = make()
    waiting.cancel()
    waiting.cancel()
    assert (pool.cancelled, owner.heard, waiting.stream) == ([waiting], [], None)
    running, owner, connection, pool = make(b"GET")
    running.ended = True
    running.on_pool_ready(connection)
    running.cancel()
    connection.codec.feed(b"HTTP/1.1 204 No\r\n\r\n")
    running.on_reset(CONNECTION_TERMINATION, b"")
    assert (connection.given_up, owner.heard, pool.cancelled) == (True, ["ready"], [])


def test_reading_is_held_where_there_is_a_connection():
    request, _, connection, _ = make()
    request.hold_reading()
    request.release_reading()
    request.on_pool_ready(connection)
    request.hold_reading()
    request.release_reading()
    assert connection.held == [True, False]
