"""Laws of the connection pool, whatever happens in whichever order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.base.errors import CONNECTION_TIMEOUT, REMOTE_CONNECTION_FAILURE
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_connection import BUSY, CLOSED, CONNECTING, DONE, DRAINING, READY
from tests.support.fake_upstream import FakeConnection, FakeRequest, World

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class PoolMachine(RuleBasedStateMachine):
    """Two hosts of one cluster under one set of limits; events in any order the network could bring them."""

    @initialize(
        max_connections=st.integers(1, 4),
        max_pending=st.integers(0, 4),
        max_requests=st.integers(1, 4),
        per_connection=st.integers(1, 4),
        lazy=st.booleans(),
    )
    def begin(
        self, max_connections: int, max_pending: int, max_requests: int, per_connection: int, lazy: bool
    ) -> None:
        self.world = World()
        self.world.connector.lazy = lazy
        thresholds: dict[str, Any] = {
            "max_connections": max_connections,
            "max_pending_requests": max_pending,
            "max_requests": max_requests,
            "track_remaining": True,
        }
        options = {
            "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
            "common_http_protocol_options": {"max_requests_per_connection": per_connection},
        }
        self.cluster = self.world.cluster(
            "127.0.0.1:1",
            "127.0.0.1:2",
            circuit_breakers={"thresholds": [thresholds]},
            typed_extension_protocol_options={HTTP_OPTIONS: options},
        )
        self.per_connection = per_connection
        self.requests: list[FakeRequest] = []
        self.cancelled: list[FakeRequest] = []

    def connections(self, *states: int) -> list[FakeConnection]:
        return [made for made in self.world.connector.made if made.pool_state in states]

    def pools(self) -> list[ConnectionPool]:
        return [host.pool for host in self.cluster.hosts]

    @rule(host=st.integers(0, 1))
    def ask(self, host: int) -> None:
        request = FakeRequest()
        self.requests.append(request)
        self.cluster.hosts[host].pool.new_stream(request)

    @precondition(lambda self: any(request.answers == 0 for request in self.requests))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = [request for request in self.requests if not request.answers]
        request = data.draw(st.sampled_from(waiting))
        self.requests.remove(request)
        self.cancelled.append(request)
        for pool in self.pools():
            pool.cancel(request)

    @precondition(lambda self: self.connections(CONNECTING))
    @rule(data=st.data())
    def connected(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.connections(CONNECTING))).connected()

    @precondition(lambda self: self.connections(CONNECTING))
    @rule(data=st.data(), reason=st.sampled_from([CONNECTION_TIMEOUT, REMOTE_CONNECTION_FAILURE]))
    def fails(self, data: st.DataObject, reason: Any) -> None:
        data.draw(st.sampled_from(self.connections(CONNECTING))).fails(reason)

    @precondition(lambda self: self.connections(BUSY, DRAINING))
    @rule(data=st.data())
    def response(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.connections(BUSY, DRAINING))).response()

    @precondition(lambda self: self.connections(BUSY, DRAINING))
    @rule(data=st.data())
    def last_response(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self.connections(BUSY, DRAINING)))
        connection.pool.on_stream_done(connection)
        connection.close()

    @precondition(lambda self: self.connections(READY, BUSY, DRAINING, DONE))
    @rule(data=st.data())
    def remote_close(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.connections(READY, BUSY, DRAINING, DONE))).remote_close()

    @rule(data=st.data())
    def late_or_repeated_report(self, data: st.DataObject) -> None:
        closing = [made for made in self.world.connector.made if made.closing]
        if closing:
            data.draw(st.sampled_from(closing)).report_close()

    @precondition(lambda self: self.connections(READY))
    @rule(data=st.data())
    def idle_timeout(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self.connections(READY)))
        connection.pool.on_idle_timeout(connection)

    @rule(host=st.integers(0, 1))
    def drain(self, host: int) -> None:
        self.cluster.hosts[host].drain()

    @invariant()
    def every_request_is_answered_once_at_most(self) -> None:
        assert all(request.answers <= 1 for request in self.requests)
        assert all(request.answers == 0 for request in self.cancelled)
        waiting = sum(request.answers == 0 for request in self.requests)
        assert waiting == sum(len(pool.pending) for pool in self.pools())

    @invariant()
    def counts_add_up(self) -> None:
        resources = self.cluster.resources[0]
        alive = self.connections(CONNECTING, READY, BUSY, DRAINING, DONE)
        assert resources.connections == len(alive) == self.world.value("upstream_cx_active")
        assert resources.requests == len(self.connections(BUSY, DRAINING))
        assert resources.requests == self.world.value("upstream_rq_active")
        assert resources.pending == self.world.value("upstream_rq_pending_active")
        closed = len(self.connections(CLOSED))
        assert closed == self.world.value("upstream_cx_destroy")
        assert closed == sum(
            self.world.value(name) for name in ("upstream_cx_destroy_local", "upstream_cx_destroy_remote")
        )
        for pool in self.pools():
            mine = [made for made in alive if made.pool is pool]
            assert pool.connections == set(mine)
            assert set(pool.ready) == {made for made in mine if made.pool_state == READY}
            assert pool.connecting == sum(made.pool_state == CONNECTING for made in mine)
            assert pool.connecting + len(pool.ready) + pool.busy == len(mine)
            host = pool.host
            assert (host.cx_active, host.rq_active) == (
                len(mine),
                sum(made.pool_state in (BUSY, DRAINING) for made in mine),
            )

    @invariant()
    def limits_hold(self) -> None:
        resources = self.cluster.resources[0]
        assert 0 <= resources.requests <= resources.max_requests
        assert 0 <= resources.pending <= resources.max_pending_requests
        # one connection beyond the limit for each pool that would have none
        assert resources.connections <= resources.max_connections + len(self.pools())
        assert all(made.requests_served <= self.per_connection for made in self.world.connector.made)
        assert resources.cx_open.value == (resources.connections >= resources.max_connections)
        assert resources.rq_open.value == (resources.requests >= resources.max_requests)
        remaining = resources.remaining
        assert remaining is not None
        assert remaining.rq.value == resources.max_requests - resources.requests
        assert resources.pools == sum(pool.used for pool in self.pools())

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        for pool in self.pools():
            if pool.pending:
                assert not pool.ready
                assert pool.connections


PoolMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPool = PoolMachine.TestCase
