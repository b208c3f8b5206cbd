"""proxy.admin.connection: bytes in, replies out, everything bounded. No sockets: a transport of memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from proxy.admin.connection import AdminConnection
from proxy.admin.messages import HEAD_LIMIT
from proxy.admin.server import AdminServer
from proxy.admin.serving import BODY_LIMIT, IDLE_S
from tests.unit.admin.fake import FakeState


class Transport(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = self.aborted = self.reading_paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False


class Talk:
    """One server and its connections."""

    def __init__(self, **options: Any) -> None:
        self.state = FakeState()
        self.server = AdminServer(self.state, **options)

    def connect(self) -> tuple[AdminConnection, Transport]:
        connection, transport = AdminConnection(self.server), Transport()
        connection.connection_made(transport)
        return connection, transport

    def value(self, name: str) -> int:
        store = self.state.store
        stat = store.counters.get(name) or store.gauges[name]
        return stat.value


def talk(script: Callable[[Talk], None], **options: Any) -> None:
    async def run() -> None:
        script(Talk(**options))

    asyncio.run(run())


def test_a_reply_looks_like_envoys() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        # h11 spells the one name that it adds with capitals
        assert transport.written.replace(b"Transfer-Encoding", b"transfer-encoding") == (
            b"HTTP/1.1 200 OK\r\n"
            b"content-type: text/plain; charset=UTF-8\r\n"
            b"cache-control: no-cache, max-age=0\r\n"
            b"x-content-type-options: nosniff\r\n"
            b"date: Mon, 12 Jan 1970 13:46:40 GMT\r\n"
            b"server: envoy\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
            b"5\r\nLIVE\n\r\n0\r\n\r\n"
        )
        assert not transport.closing

    talk(script)


#: heads of GET /ready, and whether they are answered without h11
READY_HEADS = [
    (b"host: localhost\r\n", True),
    (b"Host: 127.0.0.1:15000\r\nUser-Agent: kube-probe/1.33\r\nAccept: */*\r\nConnection: close\r\n", True),
    (b"Host: 127.0.0.1:15000\r\nAccept-Encoding: identity\r\n", True),
    (b"Connection: close\r\nHost: localhost\r\n", False),
    (b"host: localhost\r\nconnection: keep-alive\r\n", False),
    (b"host: evil.example\r\n", False),
    (b"host: localhost\r\nhost: localhost\r\n", False),
    (b"", False),
    (b"host: localhost\r\nexpect: 100-continue\r\n", False),
    (b"host: localhost\r\nContent-Length: 0\r\n", False),
    (b"host: localhost\r\ntransfer-encoding: chunked\r\n", False),
    (b"host: localhost\r\nx:  two blanks\r\n", False),
    (b"host: localhost\r\n folded\r\n", False),
]


@pytest.mark.parametrize("state", ["LIVE", "PRE_INITIALIZING"])
@pytest.mark.parametrize("head, plain", READY_HEADS)
def test_ready_is_answered_alike_with_and_without_h11(head: bytes, plain: bool, state: str) -> None:
    data = b"GET /ready HTTP/1.1\r\n" + head + b"\r\n"

    def script(it: Talk) -> None:
        it.state.state = state
        names = [name for name in it.state.store.counters if "downstream_" in name]
        quick, transport = it.connect()
        quick.data_received(data)
        assert (quick.messages is None) is plain
        counted = {name: it.value(name) for name in names}
        slow, other = it.connect()
        slow._read(data)
        # h11 writes the names that it adds with capitals in one version and without in another
        assert transport.written.lower() == other.written.lower() and transport.closing == other.closing
        twice = {name for name in names if it.value(name) != 2 * counted[name]}
        assert {name for name in twice if "cx_rx_bytes" not in name} == set()

    talk(script)


def test_ready_is_no_path_when_it_may_not_be_asked_for() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert transport.written.startswith(b"HTTP/1.1 403 ")

    talk(script, allow_path=lambda path: path == "/stats")


def test_requests_may_come_in_any_pieces_and_several_at_once() -> None:
    def script(it: Talk) -> None:
        request = b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n"
        connection, transport = it.connect()
        for byte in request:
            connection.data_received(bytes([byte]))
        connection.data_received(request * 2)
        assert transport.written.count(b"LIVE\n") == 3
        assert it.value("http.admin.downstream_rq_total") == 3
        assert it.value("http.admin.downstream_rq_2xx") == 3
        assert it.value("listener.admin.http.admin.downstream_rq_completed") == 3
        assert it.value("http.admin.downstream_rq_active") == 0

    talk(script)


def test_connections_are_counted() -> None:
    def script(it: Talk) -> None:
        connection, _ = it.connect()
        for name in ("http.admin", "listener.admin", "listener.admin.main_thread"):
            assert it.value(f"{name}.downstream_cx_active") == 1
        connection.connection_lost(None)
        for name in ("http.admin", "listener.admin", "listener.admin.main_thread"):
            assert it.value(f"{name}.downstream_cx_active") == 0
            assert it.value(f"{name}.downstream_cx_total") == 1

    talk(script)


def test_nobody_is_answered_once_it_has_stopped() -> None:
    """A successor has been told of what was counted: an answer now would show more, and the next one less."""

    def script(it: Talk) -> None:
        connection, transport = it.connect()
        it.server.stop()
        connection.data_received(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        _, late = it.connect()
        assert transport.closing and not transport.aborted and late.aborted
        assert transport.written == late.written == b""

    talk(script)


def test_head_has_no_body() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(b"HEAD /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b"LIVE" not in transport.written

    talk(script)


def test_http_1_0_gets_no_chunks_and_a_close() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(b"GET /ready HTTP/1.0\r\n\r\n")
        assert transport.written.endswith(b"\r\n\r\nLIVE\n")
        assert b"chunked" not in transport.written
        assert transport.closing

    talk(script)


def test_connection_close_is_honoured() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(b"GET /ready HTTP/1.1\r\nhost: a.localhost\r\nconnection: close\r\n\r\n")
        assert b"LIVE" in transport.written
        assert transport.closing

    talk(script)


@pytest.mark.parametrize(
    "data, status",
    [
        (b"\x16\x03\x01 nonsense\r\n\r\n", b"400"),
        (b"GET /ready HTTP/1.1\r\n\r\n", b"400"),  # no host
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 2 * HEAD_LIMIT, b"431"),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (2 * BODY_LIMIT)
            + b"x" * (BODY_LIMIT + 1),
            b"413",
        ),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: gzip\r\n\r\n", b"501"),
    ],
)
def test_bad_requests_are_answered_and_end_the_connection(data: bytes, status: bytes) -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(data)
        assert transport.written.split(b" ")[1] == status
        assert b"connection: close" in transport.written.lower()
        assert transport.closing
        assert it.value("http.admin.downstream_cx_protocol_error") == 1
        connection.connection_lost(None)
        assert it.value("http.admin.downstream_rq_active") == 0

    talk(script)


def test_a_client_that_does_not_read_is_not_served_on() -> None:
    def script(it: Talk) -> None:
        request = b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n"
        connection, transport = it.connect()
        connection.data_received(request)
        connection.pause_writing()
        assert transport.reading_paused
        connection.data_received(request * 3)
        assert transport.written.count(b"LIVE") == 1
        connection.resume_writing()
        assert transport.written.count(b"LIVE") == 4
        assert not transport.reading_paused

    talk(script)


def test_too_many_connections() -> None:
    def script(it: Talk) -> None:
        first, _ = it.connect()
        second, transport = it.connect()
        assert transport.aborted
        second.connection_lost(None)
        assert it.value("listener.admin.downstream_cx_overflow") == 1
        assert it.value("listener.admin.downstream_cx_total") == 1
        first.connection_lost(None)
        _, transport = it.connect()
        assert not transport.aborted

    talk(script, max_connections=1)


def test_a_request_has_its_own_time() -> None:
    """However long a connection may wait for it."""

    def script(it: Talk) -> None:
        it.server.idle_s, it.server.request_s = 500.0, 7.0
        connection, _ = it.connect()
        loop = asyncio.get_running_loop()

        def left() -> float:
            assert connection.timer is not None
            return connection.timer.when() - loop.time()

        assert left() == pytest.approx(7, abs=1)
        connection.data_received(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert left() == pytest.approx(500, abs=1)
        connection.data_received(b"GET /ready HTTP/1.1\r\n")
        began = connection.timer
        assert left() == pytest.approx(7, abs=1)
        connection.data_received(b"host: localhost\r\n")
        assert connection.timer is began
        connection.connection_lost(None)

    talk(script)


def test_idle_connections_end() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        loop = asyncio.get_running_loop()
        armed = connection.timer
        assert armed is not None
        assert armed.when() - loop.time() == pytest.approx(IDLE_S, abs=1)
        connection.data_received(b"GET /ready HTTP/1.1\r\nhost: localh")
        assert connection.timer is armed  # bytes alone give no more time
        connection._expire()
        assert transport.aborted
        assert it.value("http.admin.downstream_cx_idle_timeout") == 1
        connection.connection_lost(None)
        assert armed.cancelled()

    talk(script)


def test_strangers_are_refused() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(
            b"POST /quitquitquit HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\n\r\n"
        )
        assert transport.written.startswith(b"HTTP/1.1 403 ")
        assert not it.state.done

    talk(script)


def test_allowed_paths() -> None:
    def script(it: Talk) -> None:
        connection, transport = it.connect()
        connection.data_received(b"GET /config_dump?x HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert transport.written.startswith(b"HTTP/1.1 403 ")
        assert b"request to path /config_dump not allowed" in transport.written

    talk(script, allow_path=lambda path: path == "/ready")


def test_a_broken_page_is_a_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def script(it: Talk) -> None:
        it.state.listeners = None  # type: ignore[assignment]
        connection, transport = it.connect()
        connection.data_received(b"GET /listeners HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert transport.written.startswith(b"HTTP/1.1 500 ")

    talk(script)
    assert "admin request GET /listeners failed" in caplog.text


class Lines:
    """An access log that keeps what is given to it."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes, int, int, int]] = []

    def log(self, stream: Any) -> None:
        head = stream.request_headers
        self.lines.append((head.method, head.path, stream.status, stream.bytes_received, stream.bytes_sent))


def test_answered_requests_are_logged() -> None:
    def script(it: Talk) -> None:
        lines = Lines()
        it.server.access_logs = (cast(Any, lines),)
        connection, _ = it.connect()
        connection.data_received(b"GET /ready?x HTTP/1.1\r\nhost: localhost\r\n\r\n")
        connection.data_received(
            b"POST /reset_counters HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi"
        )
        assert lines.lines == [(b"GET", b"/ready?x", 200, 0, 5), (b"POST", b"/reset_counters", 200, 2, 3)]

    talk(script)
