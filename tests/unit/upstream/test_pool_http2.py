"""The pool of HTTP/2 connections: who gets a stream where, limits, GOAWAY, endings."""

from __future__ import annotations

from typing import Any, cast

from proxy.base.errors import OVERFLOW, REMOTE_CONNECTION_FAILURE
from proxy.upstream.pool_connection import BUSY, DONE, DRAINING, READY, PoolConnection, PoolRequest
from proxy.upstream.pool_http2 import Http2ConnectionPool, Multiplexed
from tests.support.fake_upstream import FakeRequest, World
from tests.unit.upstream.test_pool import HTTP_OPTIONS, limits


class Connection(PoolConnection, Multiplexed):
    """A connection that a test makes connect, and that opens streams without a codec."""

    def __init__(self, pool: Http2ConnectionPool) -> None:
        self.pool = pool
        self.limit = 100
        self.active = 0
        self.closed = False

    def stream_limit(self) -> int:
        return self.limit

    def active_streams(self) -> int:
        return self.active

    def count_streams(self, by: int) -> int:
        self.active += by
        return self.active

    def open_stream(self, request: PoolRequest) -> PoolConnection:
        return self

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.pool.on_closed(self)


class Connector:
    def __init__(self) -> None:
        self.made: list[Connection] = []

    def connect(self, pool: Any, host: Any) -> Connection:
        self.made.append(self.make(pool, host))
        return self.made[-1]

    def make(self, pool: Any, host: Any) -> Connection:
        return Connection(pool)


def make(http2: dict[str, Any] | None = None, **fields: Any) -> tuple[World, Http2ConnectionPool, Connector]:
    world = World()
    options = {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": http2 or {}},
        **fields.pop("options", {}),
    }
    cluster = world.cluster(
        "127.0.0.1:8080", typed_extension_protocol_options={HTTP_OPTIONS: options}, **fields
    )
    cluster.connector = connector = cast(Any, Connector())
    pool = cluster.hosts[0].pool
    assert isinstance(pool, Http2ConnectionPool)
    return world, pool, connector


def ask(pool: Http2ConnectionPool, count: int = 1) -> list[FakeRequest]:
    requests = [FakeRequest() for _ in range(count)]
    for request in requests:
        pool.new_stream(request)
    return requests


def test_one_connection_carries_what_waits_for_it() -> None:
    world, pool, connector = make()
    requests = ask(pool, 20)
    assert len(connector.made) == 1
    pool.on_connected(connector.made[0])
    assert all(request.connections == [connector.made[0]] for request in requests)
    assert connector.made[0].active == 20
    assert world.used()["upstream_cx_http2_total"] == 1
    assert world.used()["upstream_rq_active"] == 20


def test_a_full_connection_makes_room_for_another() -> None:
    _, pool, connector = make({"max_concurrent_streams": 2})
    requests = ask(pool, 3)
    assert len(connector.made) == 2
    first, second = connector.made
    first.limit = second.limit = 2
    pool.on_connected(first)
    assert [len(request.connections) for request in requests] == [1, 1, 0]
    assert first.pool_state == BUSY
    pool.on_stream_over(first)
    assert requests[2].connections == [first]
    pool.on_connected(second)
    assert second.pool_state == READY and second.active == 0


def test_the_hosts_limit_counts_as_soon_as_it_is_known() -> None:
    _, pool, connector = make()
    ask(pool, 3)
    pool.on_connected(connector.made[0])
    connector.made[0].limit = 2
    pool.on_limit_changed(connector.made[0])
    assert connector.made[0].pool_state == BUSY
    (waiting,) = ask(pool)
    assert not waiting.connections and len(connector.made) == 2
    connector.made[0].limit = 10
    pool.on_limit_changed(connector.made[0])
    assert waiting.connections == [connector.made[0]]


def test_goaway_lets_streams_finish_and_begins_elsewhere() -> None:
    world, pool, connector = make()
    ask(pool, 2)
    first = connector.made[0]
    pool.on_connected(first)
    pool.on_going(first)
    assert first.pool_state == DRAINING and not first.closed
    (other,) = ask(pool)
    assert len(connector.made) == 2 and not other.connections
    pool.on_stream_over(first)
    assert not first.closed
    pool.on_stream_over(first)
    assert first.closed
    assert world.used()["upstream_cx_close_notify"] == 1
    assert world.used()["upstream_rq_active"] == 0 if "upstream_rq_active" in world.used() else True


def test_a_lost_connection_releases_all_its_streams() -> None:
    world, pool, connector = make()
    ask(pool, 5)
    pool.on_connected(connector.made[0])
    pool.on_closed(connector.made[0], remote=True)
    used = world.used()
    assert "upstream_rq_active" not in used and "upstream_cx_active" not in used
    assert used["upstream_cx_destroy_remote_with_active_rq"] == 1
    assert pool.host.rq_active == 0 and not pool.ready


def test_a_failed_connect_fails_all_that_wait() -> None:
    _, pool, connector = make()
    requests = ask(pool, 3)
    pool.on_connect_failure(connector.made[0], REMOTE_CONNECTION_FAILURE, b"refused")
    assert [request.failures for request in requests] == [[(REMOTE_CONNECTION_FAILURE, b"refused")]] * 3


def test_circuit_breakers_hold_for_streams() -> None:
    _, pool, connector = make(**limits(max_requests=2))
    first = ask(pool)
    pool.on_connected(connector.made[0])
    more = ask(pool, 2)
    assert first[0].connections and more[0].connections
    assert more[1].failures == [(OVERFLOW, b"")]


def test_the_last_request_of_a_connection_drains_it() -> None:
    _, pool, connector = make(options={"common_http_protocol_options": {"max_requests_per_connection": 2}})
    ask(pool, 2)
    connection = connector.made[0]
    pool.on_connected(connection)
    assert connection.pool_state == DRAINING
    pool.on_stream_over(connection)
    pool.on_stream_over(connection)
    assert connection.closed


def test_only_an_idle_connection_times_out() -> None:
    world, pool, connector = make()
    ask(pool)
    connection = connector.made[0]
    pool.on_connected(connection)
    pool.on_idle_timeout(connection)
    assert not connection.closed
    pool.on_stream_over(connection)
    pool.on_idle_timeout(connection)
    assert connection.closed and connection.pool_state != DONE
    assert world.used()["upstream_cx_idle_timeout"] == 1


def test_draining_closes_with_the_last_stream() -> None:
    _, pool, connector = make()
    ask(pool, 2)
    connection = connector.made[0]
    pool.on_connected(connection)
    pool.drain()
    assert not connection.closed
    pool.on_stream_over(connection)
    pool.on_stream_over(connection)
    assert connection.closed
