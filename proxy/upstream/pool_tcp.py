"""Connections to one host that carry bytes, not requests: each client has one of its own, and none is used twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_connection import BUSY, CONNECTING, PoolConnection, PoolRequest
from proxy.upstream.proxy_protocol import ProxyProtocolPool

if TYPE_CHECKING:
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host


class TcpConnectionPool(ConnectionPool):
    """As ``upstream.pool``, with these differences: a connection has no limit of requests, the limit of requests is not
    asked, and a client that leaves takes the connection with it that was being made for it."""

    __slots__ = ()

    def __init__(self, cluster: Cluster, host: Host, priority: int) -> None:
        ConnectionPool.__init__(self, cluster, host, priority)
        self.alpn = ()

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

    def count_protocol(self) -> None:
        """None that is counted."""


def tcp_pool(host: Host) -> ConnectionPool:
    """The host's pool of such connections, made when it is first asked for."""
    pool = host.tcp_pool
    if pool is None:
        cluster = host.cluster
        if host.proxy_protocol is None:
            pool = TcpConnectionPool(cluster, host, 0)
        else:
            pool = ProxyProtocolPool(cluster, host, 0, lambda: TcpConnectionPool(cluster, host, 0))
        host.tcp_pool = pool
        host.add_pools((pool,))
    return pool
