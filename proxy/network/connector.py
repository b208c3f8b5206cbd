"""SocketConnector: opens the connections that pools ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.codec.raw_client import RawClientCodec
from proxy.network.tcp_upstream import TcpUpstreamConnection
from proxy.network.upstream import UpstreamConnection
from proxy.upstream.pool_http2 import Http2ConnectionPool
from proxy.upstream.pool_tcp import TcpConnectionPool
from proxy.upstream.pool_tunnel import TunnelPool

if TYPE_CHECKING:
    from proxy.network.dispatcher import Dispatcher
    from proxy.upstream.host import Host
    from proxy.upstream.pool import ConnectionPool


class SocketConnector:
    """Opens connections for the pools: one task for the time of the connect."""

    __slots__ = ("dispatcher",)

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    def connect(self, pool: ConnectionPool, host: Host) -> UpstreamConnection:
        """Start connecting and return at once."""
        connection = self.make(pool, host)
        connection.opening = self.dispatcher.loop.create_task(connection.connect())
        return connection

    def make(self, pool: ConnectionPool, host: Host) -> UpstreamConnection:
        """A connection of the pool's protocol that does not connect."""
        connection: UpstreamConnection
        if isinstance(pool, Http2ConnectionPool):
            from proxy.network.upstream_http2 import Http2UpstreamConnection  # see server.later.import_later

            connection = Http2UpstreamConnection(pool, host, self.dispatcher)
        elif isinstance(pool, TcpConnectionPool):
            connection = TcpUpstreamConnection(pool, host, self.dispatcher)
        else:
            connection = UpstreamConnection(pool, host, self.dispatcher)
            if isinstance(pool, TunnelPool):
                connection.codec = RawClientCodec()
                connection.protocol = b""
        return connection
