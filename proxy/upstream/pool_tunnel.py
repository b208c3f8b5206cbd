"""Connections to one host that carry the bytes of tunnels ended here (CONNECT with connect_config). None is used twice,
because their codec never calls one reusable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_either import pool_of_pools

if TYPE_CHECKING:
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host


class TunnelPool(ConnectionPool):
    """As ``upstream.pool``, but for the protocol."""

    __slots__ = ()

    def __init__(self, cluster: Cluster, host: Host, priority: int) -> None:
        ConnectionPool.__init__(self, cluster, host, priority)
        self.alpn = ()

    def count_protocol(self) -> None:
        """TCP is not counted."""


def tunnel_pool(host: Host, priority: int) -> ConnectionPool:
    """The host's pool of such connections at a routing priority. All are made when the first is asked for."""
    pools = host.tunnel_pools
    if not pools:
        pools = host.tunnel_pools = (_make(host, 0), _make(host, 1))
        host.add_pools(pools)
    return pools[priority]


def _make(host: Host, priority: int) -> ConnectionPool:
    return pool_of_pools(host.cluster, host, priority, TunnelPool)
