"""Connections to one host that carry the bytes of tunnels ended here (CONNECT with connect_config). None is used twice,
because their codec never calls one reusable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.pool import ConnectionPool

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
    found = [pool for pool in host.pools if isinstance(pool, TunnelPool)]
    if not found:
        found = [TunnelPool(host.cluster, host, at) for at in range(2)]
        host.pools = (*host.pools, *found)
    return found[priority]
