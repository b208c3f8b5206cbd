"""The pools of hosts to which HTTP/1 and HTTP/2 are spoken: as their clients do, or as handshakes agree (ALPN); and which pool a
cluster's options ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_by_name import MakePool, NamedPools
from proxy.upstream.pool_connection import PoolRequest
from proxy.upstream.pool_http2 import Http2ConnectionPool
from proxy.upstream.proxy_protocol import ProxyProtocolPool

if TYPE_CHECKING:
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host


class EitherPool(ConnectionPool):
    """A pool for each protocol. Which one a request goes to is for who extends it to say."""

    __slots__ = ("http1", "http2")

    def __init__(self, cluster: Cluster, host: Host, priority: int) -> None:
        ConnectionPool.__init__(self, cluster, host, priority)
        self.http1 = ConnectionPool(cluster, host, priority)
        self.http2 = Http2ConnectionPool(cluster, host, priority)

    def new_stream(self, request: PoolRequest) -> None:
        self._of(request).new_stream(request)

    def _of(self, request: PoolRequest) -> ConnectionPool:
        """The pool for a request."""
        raise NotImplementedError

    def begin_with(self, preface: bytes, keeper: ProxyProtocolPool | None) -> None:
        ConnectionPool.begin_with(self, preface, keeper)
        self.http1.begin_with(preface, keeper)
        self.http2.begin_with(preface, keeper)

    def name(self, sni: str, peer_name: str) -> None:
        self.http1.name(sni, peer_name)
        self.http2.name(sni, peer_name)

    @property
    def is_used(self) -> bool:
        return self.http1.used or self.http2.used

    def cancel(self, request: PoolRequest) -> None:
        self.http1.cancel(request)
        self.http2.cancel(request)

    @property
    def waiting(self) -> int:
        return self.http1.waiting + self.http2.waiting

    def drain(self) -> None:
        self.draining = True
        self.http1.drain()
        self.http2.drain()

    def new_stream_anew(self, request: PoolRequest) -> None:
        self._of(request).new_stream_anew(request)

    def renew(self) -> None:
        self.http1.renew()
        self.http2.renew()

    def close(self) -> None:
        self.http1.close()
        self.http2.close()


class DownstreamProtocolPool(EitherPool):
    """For a cluster that speaks to its hosts what its client speaks (use_downstream_protocol_config)."""

    __slots__ = ()

    def _of(self, request: PoolRequest) -> ConnectionPool:
        return self.http2 if request.protocol == b"HTTP/2" else self.http1


class NegotiatedPool(EitherPool):
    """For a cluster whose handshakes say what a host speaks (auto_config).

    Requests wait for what the host spoke last, for HTTP/2 at first. A connection that turns out to be of the other kind
    goes to that pool with all who wait: see ``ConnectionPool.give``.
    """

    __slots__ = ("expects_http2",)

    def __init__(self, cluster: Cluster, host: Host, priority: int) -> None:
        EitherPool.__init__(self, cluster, host, priority)
        self.expects_http2 = True
        self.http1.alpn = self.http2.alpn = ("h2", "http/1.1")
        self.http1.negotiated = self.http2.negotiated = self

    def _of(self, request: PoolRequest) -> ConnectionPool:
        """One that can serve it now, else the one that is expected to."""
        if self.http2.ready:
            return self.http2
        return self.http2 if self.expects_http2 and not self.http1.ready else self.http1

    def settle(self, protocol: str) -> ConnectionPool:
        """Whose a connection is whose handshake has agreed on the protocol ("h2"; all else, "" too, is HTTP/1, as in
        Envoy)."""
        self.expects_http2 = protocol == "h2"
        pool = self.http2 if self.expects_http2 else self.http1
        pool.count_protocol()
        return pool


def make_pool(cluster: Cluster, host: Host, priority: int) -> ConnectionPool:
    """The pool that a cluster's options ask for."""
    return pool_of_pools(cluster, host, priority, make_pool_of_one_name)


def pool_of_pools(cluster: Cluster, host: Host, priority: int, make: MakePool) -> ConnectionPool:
    """A pool of those that a host needs of a kind, one for each client and each name where connections tell of them;
    where they do not, one of that kind. make: one of that kind"""
    if host.proxy_protocol is not None:
        return ProxyProtocolPool(
            cluster, host, priority, lambda: _pool_of_names(cluster, host, priority, make)
        )
    return _pool_of_names(cluster, host, priority, make)


def _pool_of_names(cluster: Cluster, host: Host, priority: int, make: MakePool) -> ConnectionPool:
    http = cluster.config.http
    if (http.auto_sni or http.auto_san) and host.tls is not None:
        return NamedPools(cluster, host, priority, make)
    return make(cluster, host, priority)


def make_pool_of_one_name(cluster: Cluster, host: Host, priority: int) -> ConnectionPool:
    """As make_pool, but for auto_sni."""
    http = cluster.config.http
    if http.negotiates:
        return NegotiatedPool(cluster, host, priority)
    if http.follows_downstream:
        return DownstreamProtocolPool(cluster, host, priority)
    if http.http2 is not None:
        return Http2ConnectionPool(cluster, host, priority)
    return ConnectionPool(cluster, host, priority)
