"""Pools of hosts to which both protocols are spoken: whose a request is, and whose a connection turns out to be."""

from __future__ import annotations

from typing import Any, cast

from proxy.base.errors import REMOTE_CONNECTION_FAILURE
from proxy.upstream.pool_connection import BUSY, CLOSED, READY
from proxy.upstream.pool_either import DownstreamProtocolPool, EitherPool, NegotiatedPool
from tests.support.fake_upstream import FakeRequest, World
from tests.unit.upstream.test_pool import HTTP_OPTIONS, limits
from tests.unit.upstream.test_pool_http2 import Connection, Connector

TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
SECURE = {"name": "tls", "typed_config": {"@type": f"type.googleapis.com/{TLS}"}}


def make(how: str, **fields: Any) -> tuple[World, EitherPool, Connector]:
    world = World()
    options = {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", how: {"http2_protocol_options": {}}}
    cluster = world.cluster(
        "127.0.0.1:8080",
        typed_extension_protocol_options={HTTP_OPTIONS: options},
        transport_socket=SECURE,
        **fields,
    )
    cluster.connector = connector = cast(Any, Connector())
    pool = cluster.hosts[0].pool
    assert isinstance(pool, EitherPool)
    return world, pool, connector


def negotiating(**fields: Any) -> tuple[World, NegotiatedPool, Connector]:
    world, pool, connector = make("auto_config", **fields)
    assert isinstance(pool, NegotiatedPool)
    return world, pool, connector


def ask(pool: EitherPool, count: int = 1) -> list[FakeRequest]:
    requests = [FakeRequest() for _ in range(count)]
    for request in requests:
        pool.new_stream(request)
    return requests


def shaken(pool: NegotiatedPool, connector: Connector, connection: Connection, protocol: str) -> Connection:
    """Its handshake has agreed on the protocol; whoever stands for it then."""
    own = pool.settle(protocol)
    standing = connection
    if own is not connection.pool:
        standing = connector.make(own, None)
        connection.pool.give(connection, own, standing)
    own.on_connected(standing)
    return standing


def test_a_cluster_that_follows_its_clients_has_both_pools() -> None:
    world, pool, _ = make("use_downstream_protocol_config")
    assert isinstance(pool, DownstreamProtocolPool)
    assert (pool.http1.alpn, pool.http2.alpn) == (("http/1.1",), ("h2",))
    one, two = FakeRequest(), FakeRequest()
    two.protocol = b"HTTP/2"
    pool.new_stream(one)
    pool.new_stream(two)
    assert list(pool.http1.pending) == [one] and list(pool.http2.pending) == [two]
    assert world.used()["upstream_cx_http1_total"] == world.used()["upstream_cx_http2_total"] == 1
    assert pool.waiting == 2 and pool.is_used
    pool.cancel(two)
    assert not pool.http2.pending


def test_all_wait_for_one_connection_until_it_is_known_what_it_speaks() -> None:
    world, pool, connector = negotiating()
    assert pool.http1.alpn == pool.http2.alpn == ("h2", "http/1.1")
    requests = ask(pool, 5)
    (connection,) = connector.made
    assert "upstream_cx_http2_total" not in world.used()
    assert shaken(pool, connector, connection, "h2") is connection
    assert all(request.connections == [connection] for request in requests)
    assert world.used()["upstream_cx_http2_total"] == 1
    (later,) = ask(pool)
    assert later.connections == [connection] and len(connector.made) == 1


def test_those_who_waited_get_http1_connections() -> None:
    world, pool, connector = negotiating()
    requests = ask(pool, 5)
    first = shaken(pool, connector, connector.made[0], "http/1.1")
    assert connector.made[0].pool_state == CLOSED and first.pool_state == BUSY
    assert requests[0].connections == [first]
    assert not pool.http2.is_used and pool.http1.is_used
    for at in range(1, 5):
        shaken(pool, connector, connector.made[at], "http/1.1")
    assert all(len(request.connections) == 1 for request in requests)
    used = world.used()
    assert (used["upstream_cx_http1_total"], used["upstream_cx_total"], used["upstream_cx_active"]) == (
        5,
        5,
        5,
    )
    assert "upstream_cx_http2_total" not in used and "upstream_rq_pending_active" not in used
    assert pool.http1.resources.connections == 5 and pool.http1.resources.pools == 1
    pool.http1.on_idle(first)
    (later,) = ask(pool)
    assert later.connections == [first] and len(connector.made) == 5


def test_no_protocol_at_all_is_http1() -> None:
    _, pool, connector = negotiating()
    ask(pool)
    assert shaken(pool, connector, connector.made[0], "").pool is pool.http1


def test_a_host_of_http1_that_speaks_http2_from_now_on() -> None:
    world, pool, connector = negotiating()
    ask(pool)
    first = shaken(pool, connector, connector.made[0], "http/1.1")
    requests = ask(pool, 3)  # the connection is busy: three more, for three requests
    assert [one.pool for one in connector.made[1:]] == [pool.http1] * 3
    second = shaken(pool, connector, connector.made[1], "h2")
    assert second.pool is pool.http2 and second.active == 3
    assert all(request.connections == [second] for request in requests)
    third = shaken(pool, connector, connector.made[2], "h2")
    assert third.pool_state == READY and third.active == 0  # nobody waits for it any more
    pool.http1.on_idle(first)
    (later,) = ask(pool)
    assert later.connections == [second]
    assert world.used()["upstream_cx_http2_total"] == 2


def test_one_failure_ends_the_waiting_of_all() -> None:
    world, pool, connector = negotiating()
    requests = ask(pool, 3)
    connector.made[0].pool.on_connect_failure(connector.made[0], REMOTE_CONNECTION_FAILURE, b"no")
    assert [request.failures for request in requests] == [[(REMOTE_CONNECTION_FAILURE, b"no")]] * 3
    assert "upstream_cx_http1_total" not in world.used() and not pool.is_used
    assert pool.http2.resources.connections == pool.http2.resources.pools == 0


def test_a_limit_of_connections_holds_when_they_turn_out_to_be_http1() -> None:
    world, pool, connector = negotiating(**limits(max_connections=2))
    requests = ask(pool, 4)
    first = shaken(pool, connector, connector.made[0], "http/1.1")
    second = shaken(pool, connector, connector.made[1], "http/1.1")
    assert len(connector.made) == 2 and world.used()["upstream_cx_overflow"] >= 1
    for connection in (first, second):
        pool.http1.on_idle(connection)
    assert all(len(request.connections) == 1 for request in requests)


def test_a_host_that_leaves_serves_those_who_wait() -> None:
    _, pool, connector = negotiating()
    requests = ask(pool, 2)
    pool.drain()
    first = shaken(pool, connector, connector.made[0], "http/1.1")
    second = shaken(pool, connector, connector.made[1], "http/1.1")
    assert [len(request.connections) for request in requests] == [1, 1]
    for connection in (first, second):
        pool.http1.on_idle(connection)
        assert connection.closed
    assert not pool.is_used
