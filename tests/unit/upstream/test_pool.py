"""The connection pool: who gets which connection, and what is counted.

The expected stats are what Envoy 1.40.0 was seen to count for the same events.
"""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.errors import (
    CONNECTION_TIMEOUT,
    LOCAL_CONNECTION_FAILURE,
    NO_POOL,
    NO_ROOM,
    OVERFLOW,
    REMOTE_CONNECTION_FAILURE,
)
from proxy.upstream.pool import ConnectionPool
from tests.support.fake_upstream import FakeConnection, FakeRequest, World

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def make_pool(world: World, **fields: Any) -> ConnectionPool:
    return world.cluster("127.0.0.1:8080", **fields).hosts[0].pool


def limits(**values: Any) -> dict[str, Any]:
    return {"circuit_breakers": {"thresholds": [values]}}


def options(**values: Any) -> dict[str, Any]:
    config = {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", "common_http_protocol_options": values}
    config["explicit_http_config"] = {"http_protocol_options": {}}
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: config}}


def ask(pool: ConnectionPool) -> FakeRequest:
    request = FakeRequest()
    pool.new_stream(request)
    return request


def serve(world: World, pool: ConnectionPool) -> FakeConnection:
    """One request on a new connection, answered; the connection idles."""
    request = ask(pool)
    connection = world.connector.made[-1]
    connection.connected()
    assert request.connections == [connection]
    connection.response()
    return connection


def test_a_connection_that_we_give_up_is_no_failure_of_the_host() -> None:
    world = World()
    pool = make_pool(world)
    request = ask(pool)
    pool.cancel(request)
    pool.on_closed(world.connector.made[-1])
    assert pool.connecting == 0 and pool.host.cx_active == 0
    assert pool.host.cx_connect_fail == 0
    assert pool.stats.upstream_cx_connect_fail.value == 0


def test_the_first_request_waits_for_its_connection() -> None:
    world = World()
    pool = make_pool(world)
    request = ask(pool)
    assert request.answers == 0
    assert world.used() == {
        "upstream_cx_active": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_total": 1,
        "upstream_rq_pending_active": 1,
        "upstream_rq_pending_total": 1,
    }
    world.connector.made[0].connected()
    assert request.connections == world.connector.made
    world.connector.made[0].response()
    assert world.used() == {
        "upstream_cx_active": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_total": 1,
        "upstream_rq_pending_total": 1,
        "upstream_rq_total": 1,
    }


def test_an_idle_connection_is_used_again_without_waiting() -> None:
    world = World()
    pool = make_pool(world)
    connection = serve(world, pool)
    request = ask(pool)
    assert request.connections == [connection]
    assert connection.requests_served == 2
    assert (world.value("upstream_rq_pending_total"), world.value("upstream_cx_total")) == (1, 1)
    assert (world.value("upstream_rq_active"), pool.host.rq_active, pool.host.rq_total) == (1, 1, 2)


def test_the_most_recently_used_idle_connection_comes_first() -> None:
    world = World()
    pool = make_pool(world)
    ask(pool), ask(pool)
    first, second = world.connector.made
    first.connected(), second.connected()
    second.response(), first.response()
    assert ask(pool).connections == [first]
    assert ask(pool).connections == [second]


def test_waiting_requests_are_served_in_their_order() -> None:
    world = World()
    pool = make_pool(world, **limits(max_connections=1))
    requests = [ask(pool) for _ in range(3)]
    connection = world.connector.made[0]
    connection.connected()
    assert [request.answers for request in requests] == [1, 0, 0]
    connection.response()
    assert [request.answers for request in requests] == [1, 1, 0]
    connection.response()
    assert [request.answers for request in requests] == [1, 1, 1]


def test_a_refused_connection_fails_every_waiting_request() -> None:
    world = World()
    pool = make_pool(world)
    request = ask(pool)
    world.connector.made[0].fails(REMOTE_CONNECTION_FAILURE, b"Connection refused")
    assert request.failures == [(REMOTE_CONNECTION_FAILURE, b"Connection refused")]
    assert world.used() == {
        "upstream_cx_connect_fail": 1,
        "upstream_cx_destroy": 1,
        "upstream_cx_destroy_remote": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_total": 1,
        "upstream_rq_pending_failure_eject": 1,
        "upstream_rq_pending_total": 1,
    }
    assert (pool.host.cx_connect_fail, pool.host.cx_total, pool.host.cx_active) == (1, 1, 0)
    histograms = world.stats.histograms
    assert histograms["cluster.back.upstream_cx_length_ms"].count == 1
    assert histograms["cluster.back.upstream_cx_connect_ms"].count == 0
    assert histograms["cluster.back.upstream_rq_per_cx"].count == 0


def test_a_connect_timeout_is_counted_twice_and_as_our_close() -> None:
    world = World()
    request = ask(make_pool(world))
    world.connector.made[0].fails(CONNECTION_TIMEOUT)
    assert request.failures == [(CONNECTION_TIMEOUT, b"")]
    assert world.used() == {
        "upstream_cx_connect_fail": 1,
        "upstream_cx_connect_timeout": 1,
        "upstream_cx_destroy": 1,
        "upstream_cx_destroy_local": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_total": 1,
        "upstream_rq_pending_failure_eject": 1,
        "upstream_rq_pending_total": 1,
    }


def test_a_retry_from_inside_a_failure_waits_for_a_new_connection() -> None:
    world = World()
    pool = make_pool(world)
    again = FakeRequest()

    class Retrying(FakeRequest):
        def on_pool_failure(self, reason: Any, detail: bytes) -> None:
            super().on_pool_failure(reason, detail)
            pool.new_stream(again)

    request = Retrying()
    pool.new_stream(request)
    world.connector.made[0].fails()
    assert (request.answers, again.answers) == (1, 0)
    world.connector.made[1].connected()
    assert again.connections == [world.connector.made[1]]


def test_a_request_may_be_cancelled_while_the_others_are_being_failed() -> None:
    world = World()
    pool = make_pool(world)
    other = FakeRequest()

    class Cancelling(FakeRequest):
        def on_pool_failure(self, reason: Any, detail: bytes) -> None:
            super().on_pool_failure(reason, detail)
            pool.cancel(other)

    request = Cancelling()
    pool.new_stream(request)
    pool.new_stream(other)
    world.connector.made[0].fails()
    assert (request.answers, other.answers) == (1, 0)
    assert world.value("upstream_rq_pending_active") == 0
    assert world.value("upstream_rq_cancelled") == 1


def test_a_cancelled_request_leaves_its_connection_to_the_next() -> None:
    world = World()
    pool = make_pool(world)
    request = ask(pool)
    pool.cancel(request)
    pool.cancel(request)
    assert (world.value("upstream_rq_cancelled"), world.value("upstream_rq_pending_active")) == (1, 0)
    world.connector.made[0].connected()
    assert request.answers == 0
    assert ask(pool).connections == [world.connector.made[0]]


def test_max_connections_makes_requests_wait() -> None:
    world = World()
    pool = make_pool(world, **limits(max_connections=1, track_remaining=True))
    for _ in range(3):
        ask(pool)
    connection = world.connector.made[0]
    connection.connected()
    assert world.used() == {
        "circuit_breakers.default.cx_open": 1,
        "circuit_breakers.default.remaining_cx_pools": 2**64 - 2,
        "circuit_breakers.default.remaining_pending": 1022,
        "circuit_breakers.default.remaining_retries": 3,
        "circuit_breakers.default.remaining_rq": 1023,
        "upstream_cx_active": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_overflow": 3,  # Envoy 2 or 3: once more when the connection is quicker than the requests
        "upstream_cx_total": 1,
        "upstream_rq_active": 1,
        "upstream_rq_pending_active": 2,
        "upstream_rq_pending_total": 3,
        "upstream_rq_total": 1,
    }


def test_a_pool_without_connections_may_exceed_max_connections_by_one() -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:1", "127.0.0.1:2", **limits(max_connections=1))
    for host in cluster.hosts:
        ask(host.pool)
    assert len(world.connector.made) == 2
    assert world.value("upstream_cx_overflow") == 1


def test_max_pending_requests_refuses_the_rest() -> None:
    world = World()
    pool = make_pool(world, **limits(max_connections=1, max_pending_requests=1))
    first = ask(pool)
    world.connector.made[0].connected()
    waiting, refused = ask(pool), ask(pool)
    assert (first.answers, waiting.answers, refused.failures) == (1, 0, [(NO_ROOM, b"")])
    assert world.value("upstream_rq_pending_overflow") == 1
    assert world.value("upstream_cx_overflow") == 1
    assert world.value("circuit_breakers.default.rq_pending_open") == 1
    world.connector.made[0].response()
    assert waiting.connections == world.connector.made
    assert world.value("circuit_breakers.default.rq_pending_open") == 0


def test_max_requests_is_checked_when_the_connection_is_handed_out() -> None:
    world = World()
    pool = make_pool(world, **limits(max_requests=1))
    ask(pool)
    world.connector.made[0].connected()
    assert world.value("circuit_breakers.default.rq_open") == 1
    second = ask(pool)
    world.connector.made[1].connected()
    third = ask(pool)
    assert second.failures == third.failures == [(OVERFLOW, b"")]
    assert world.used() == {
        "circuit_breakers.default.rq_open": 1,
        "upstream_cx_active": 2,
        "upstream_cx_http1_total": 2,
        "upstream_cx_total": 2,
        "upstream_rq_active": 1,
        "upstream_rq_active_overflow": 2,
        "upstream_rq_pending_total": 2,
        "upstream_rq_total": 1,
    }
    world.connector.made[0].response()
    assert world.value("circuit_breakers.default.rq_open") == 0
    assert ask(pool).answers == 1


def test_high_priority_has_limits_and_connections_of_its_own() -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:1", **limits(max_requests=1, priority="HIGH"))
    default, high = cluster.hosts[0].pools
    for pool in (default, high):
        ask(pool)
        world.connector.made[-1].connected()
    assert world.value("circuit_breakers.high.rq_open") == 1
    assert world.value("circuit_breakers.default.rq_open") == 0
    assert (len(default.connections), len(high.connections)) == (1, 1)
    assert cluster.hosts[0].rq_active == 2


def test_the_peer_closes_an_idle_connection() -> None:
    world = World()
    pool = make_pool(world)
    connection = serve(world, pool)
    world.now += 0.25
    connection.remote_close()
    assert world.used() == {
        "upstream_cx_destroy": 1,
        "upstream_cx_destroy_remote": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_total": 1,
        "upstream_rq_pending_total": 1,
        "upstream_rq_total": 1,
    }
    assert pool.ready == []
    length = world.stats.histograms["cluster.back.upstream_cx_length_ms"]
    assert (length.count, length.sum) == (1, 250)


def test_the_peer_closes_during_a_request() -> None:
    world = World()
    pool = make_pool(world)
    request = ask(pool)
    world.connector.made[0].connected()
    world.connector.made[0].remote_close()
    assert request.failures == []  # its connection tells it, not the pool
    assert world.used() == {
        "upstream_cx_destroy": 1,
        "upstream_cx_destroy_remote": 1,
        "upstream_cx_destroy_remote_with_active_rq": 1,
        "upstream_cx_destroy_with_active_rq": 1,
        "upstream_cx_http1_total": 1,
        "upstream_cx_total": 1,
        "upstream_rq_pending_total": 1,
        "upstream_rq_total": 1,
    }


def test_a_response_that_ends_the_connection_is_no_broken_request() -> None:
    world = World()
    pool = make_pool(world)
    ask(pool)
    connection = world.connector.made[0]
    connection.connected()
    pool.on_stream_done(connection)
    assert (world.value("upstream_rq_active"), pool.host.rq_active) == (0, 0)
    connection.close()
    assert world.value("upstream_cx_destroy_local") == 1
    assert world.value("upstream_cx_destroy_with_active_rq") == 0


def test_a_lost_connection_is_replaced_when_requests_wait() -> None:
    world = World()
    pool = make_pool(world, **limits(max_connections=1))
    ask(pool)
    waiting = ask(pool)
    world.connector.made[0].connected()
    world.connector.made[0].remote_close()
    world.connector.made[1].connected()
    assert waiting.connections == [world.connector.made[1]]


def test_max_requests_per_connection_closes_after_the_last() -> None:
    world = World()
    pool = make_pool(world, **options(max_requests_per_connection=2))
    connection = serve(world, pool)
    ask(pool)
    assert world.value("upstream_cx_max_requests") == 1
    connection.response()
    assert connection.closing
    serve(world, pool)
    assert world.used() == {
        "upstream_cx_active": 1,
        "upstream_cx_destroy": 1,
        "upstream_cx_destroy_local": 1,
        "upstream_cx_http1_total": 2,
        "upstream_cx_max_requests": 1,
        "upstream_cx_total": 2,
        "upstream_rq_pending_total": 2,
        "upstream_rq_total": 3,
    }
    per_connection = world.stats.histograms["cluster.back.upstream_rq_per_cx"]
    assert (per_connection.count, per_connection.sum) == (1, 2)


def test_idle_timeout_closes_idle_connections_only() -> None:
    world = World()
    pool = make_pool(world)
    connection = serve(world, pool)
    pool.on_idle_timeout(connection)
    assert connection.closing
    assert world.value("upstream_cx_idle_timeout") == 1
    assert world.value("upstream_cx_destroy_local") == 1
    ask(pool)
    busy = world.connector.made[1]
    busy.connected()
    pool.on_idle_timeout(busy)
    assert not busy.closing


@pytest.mark.parametrize("lazy", [False, True])
def test_drain_closes_idle_now_and_busy_later(lazy: bool) -> None:
    world = World()
    world.connector.lazy = lazy
    pool = make_pool(world)
    ask(pool), ask(pool), ask(pool)
    idle, busy, connecting = world.connector.made
    idle.connected(), busy.connected()
    idle.response()  # to the request that waits
    waiting = ask(pool)
    idle.response()
    assert waiting.connections == [idle]
    idle.response()
    pool.drain()
    assert (idle.closing, busy.closing, connecting.closing) == (True, False, True)
    assert pool.ready == []
    busy.response()
    assert busy.closing
    if lazy:
        assert world.value("upstream_cx_active") == 3
        for connection in world.connector.made:
            connection.report_close()
    assert (world.value("upstream_cx_active"), len(pool.connections)) == (0, 0)


def test_a_draining_pool_still_serves_those_who_wait() -> None:
    world = World()
    pool = make_pool(world)
    waiting = ask(pool)
    pool.drain()
    connection = world.connector.made[0]
    assert not connection.closing
    connection.connected()
    assert waiting.connections == [connection]
    connection.response()
    assert connection.closing


def test_closing_a_connecting_connection_by_another_name() -> None:
    world = World()
    pool = make_pool(world)
    request = ask(pool)
    pool.on_closed(world.connector.made[0], remote=False)
    assert request.failures == [(LOCAL_CONNECTION_FAILURE, b"")]


def test_close_ends_everything() -> None:
    world = World()
    pool = make_pool(world)
    serve(world, pool)
    ask(pool), ask(pool)
    pool.close()
    assert all(connection.closing for connection in world.connector.made[:2])


def test_a_new_connection_although_one_idles() -> None:
    world = World()
    pool = make_pool(world)
    idle = serve(world, pool)
    request = FakeRequest()
    pool.new_stream_anew(request)
    assert request.answers == 0
    fresh = world.connector.made[-1]
    assert fresh is not idle
    fresh.connected()
    assert request.connections == [fresh]
    assert not idle.closing


def test_at_the_limit_the_oldest_idle_connection_makes_room_for_a_new_one() -> None:
    world = World()
    pool = make_pool(world, **limits(max_connections=2))
    first, second = ask(pool), ask(pool)
    for connection in world.connector.made:
        connection.connected()
    for connection in tuple(world.connector.made):
        connection.response()
    assert (first.answers, second.answers) == (1, 1)
    request = FakeRequest()
    pool.new_stream_anew(request)
    assert [connection.closing for connection in world.connector.made] == [True, False, False]
    world.connector.made[-1].connected()
    assert request.connections == [world.connector.made[-1]]


def test_a_new_connection_is_refused_like_any_other_when_too_many_wait() -> None:
    world = World()
    pool = make_pool(world, **limits(max_pending_requests=0))
    request = FakeRequest()
    pool.new_stream_anew(request)
    assert request.failures == [(NO_ROOM, b"")]
    assert world.value("upstream_rq_pending_overflow") == 1


def test_connections_are_closed_when_they_have_lived_long_enough() -> None:
    world = World()
    pool = make_pool(world)
    idle = serve(world, pool)
    pool.on_max_duration(idle)
    assert idle.closing
    request = ask(pool)
    busy = world.connector.made[-1]
    busy.connected()
    pool.on_max_duration(busy)
    pool.on_max_duration(busy)
    assert not busy.closing
    busy.response()
    assert busy.closing
    assert request.answers == 1
    assert world.value("upstream_cx_max_duration_reached") == 2


def test_hosts_beyond_the_limit_of_pools_have_no_connections() -> None:
    world = World()
    cluster = world.cluster(
        "127.0.0.1:1", "127.0.0.1:2", **limits(max_connection_pools=1, track_remaining=True)
    )
    one, other = (host.pool for host in cluster.hosts)
    connection = serve(world, one)
    assert world.value("circuit_breakers.default.cx_pool_open") == 1
    assert world.value("circuit_breakers.default.remaining_cx_pools") == 0
    assert ask(other).failures == [(NO_POOL, b"")]
    assert world.value("upstream_cx_pool_overflow") == 1
    assert ask(one).connections == [connection]
    connection.remote_close()  # the pool is empty, and makes room
    assert world.value("circuit_breakers.default.cx_pool_open") == 0
    serve(world, other)


def test_a_failed_connection_leaves_no_pool_behind() -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:1", "127.0.0.1:2", **limits(max_connection_pools=1))
    one, other = (host.pool for host in cluster.hosts)
    ask(one)
    world.connector.made[-1].fails()
    serve(world, other)


def test_a_host_has_its_own_limit_of_connections() -> None:
    world = World()
    cluster = world.cluster(
        "127.0.0.1:1",
        "127.0.0.1:2",
        circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]},
    )
    pool = cluster.hosts[0].pool
    first, second = ask(pool), ask(pool)
    assert len(world.connector.made) == 1
    assert world.value("upstream_cx_overflow") == 1
    world.connector.made[0].connected()
    world.connector.made[0].response()
    assert (first.answers, second.answers) == (1, 1)
    ask(cluster.hosts[1].pool)
    assert len(world.connector.made) == 2
    # the limit is DEFAULT's, HIGH has none
    ask(cluster.hosts[0].pools[1])
    assert len(world.connector.made) == 3
