"""Connections to one host that carry bytes, not requests: each client has one of its own, and none is used twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.pool import BUSY, CONNECTING, ConnectionPool, PoolConnection, PoolRequest

if TYPE_CHECKING:
    from proxy.upstream.host import Host


class TcpConnectionPool(ConnectionPool):
    """As ``upstream.pool``, with these differences: a connection has no limit of requests, the limit of requests is not
    asked, and a client that leaves takes the connection with it that was being made for it."""

    __slots__ = ()

    def cancel(self, request: PoolRequest) -> None:
        ConnectionPool.cancel(self, request)
        for connection in tuple(self.connections):
            if self.connecting <= len(self.pending):
                break
            if connection.pool_state == CONNECTING:
                connection.close()

    def _attach(self, request: PoolRequest) -> None:
        resources = self.resources
        resources.requests += 1
        resources.rq_open.value = 1 if resources.requests >= resources.max_requests else 0
        resources.show_remaining()
        connection: PoolConnection = self.ready.pop()
        connection.requests_served += 1
        connection.pool_state = BUSY
        host = self.host
        host.rq_total += 1
        host.rq_active += 1
        self._rq_total.value += 1
        self._rq_active.value += 1
        request.on_pool_ready(connection)

    def _count_protocol(self) -> None:
        """None that is counted."""


def tcp_pool(host: Host) -> ConnectionPool:
    """The host's pool of such connections, made when it is first asked for. It is the last of ``host.pools``."""
    last = host.pools[-1]
    if isinstance(last, TcpConnectionPool):
        return last
    made = TcpConnectionPool(host.cluster, host, 0)
    host.pools = (*host.pools, made)
    return made
