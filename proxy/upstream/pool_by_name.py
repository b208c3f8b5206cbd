"""The pools of a host whose connections have the server name that requests ask for (auto_sni, auto_san_validation).

A connection's name cannot change, so each name has a pool of its own, as in Envoy. Names come with requests: a host has
at most ``NAMES`` pools, of which those without connections make room for others.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from proxy.base.errors import NO_POOL
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_connection import PoolRequest

if TYPE_CHECKING:
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host

MakePool = Callable[["Cluster", "Host", int], ConnectionPool]

NAMES: Final = 64
_LONGEST: Final = 255


def host_of(authority: bytes) -> str:
    """The host of an authority, lower-case, without its port and an address's brackets."""
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def is_address(host: str) -> bool:
    """Whether it is an IP address, which is never sent as a server name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class NamedPools(ConnectionPool):
    """See the module. make: the pool of one name"""

    __slots__ = ("make", "pools", "priority")

    def __init__(
        self,
        cluster: Cluster,
        host: Host,
        priority: int,
        make: MakePool,
    ) -> None:
        ConnectionPool.__init__(self, cluster, host, priority)
        self.make = make
        self.priority = priority
        self.pools: dict[str, ConnectionPool] = {}

    def new_stream(self, request: PoolRequest) -> None:
        pool = self._pool(request)
        if pool is not None:
            pool.new_stream(request)

    def new_stream_anew(self, request: PoolRequest) -> None:
        pool = self._pool(request)
        if pool is not None:
            pool.new_stream_anew(request)

    def cancel(self, request: PoolRequest) -> None:
        for pool in self.pools.values():
            pool.cancel(request)

    @property
    def is_used(self) -> bool:
        return any(pool.is_used for pool in self.pools.values())

    @property
    def waiting(self) -> int:
        return sum([pool.waiting for pool in self.pools.values()])

    def drain(self) -> None:
        self.draining = True
        for pool in self.pools.values():
            pool.drain()

    def renew(self) -> None:
        for pool in self.pools.values():
            pool.renew()

    def close(self) -> None:
        for pool in tuple(self.pools.values()):
            pool.close()

    def _pool(self, request: PoolRequest) -> ConnectionPool | None:
        """The pool of a request's name; None when there is no room for another (the request has been told)."""
        options = self.cluster.config.http
        name = host_of(request.server_name(options.sni_header))[:_LONGEST]
        found = self.pools.get(name)
        if found is not None:
            return found
        if len(self.pools) >= NAMES and not self._make_room():
            self.stats.upstream_cx_pool_overflow.value += 1
            request.on_pool_failure(NO_POOL, b"")
            return None
        found = self.pools[name] = self.make(self.cluster, self.host, self.priority)
        sni = name if options.auto_sni and not is_address(name) else ""
        found.name(sni, name if options.auto_san else "")
        found.begin_with(self.preface, self.keeper)
        if self.draining:
            found.drain()  # it may be of several, which are to know
        return found

    def _make_room(self) -> bool:
        for name, pool in self.pools.items():
            if not pool.is_used:
                del self.pools[name]
                return True
        return False
