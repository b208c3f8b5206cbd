"""One listener: its address, its filter chain, its open connections and its stats (envoy.config.listener.v3.Listener)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from proxy.runtime.slots import IntegerSlot
from proxy.stats.store import Scope, Store

if TYPE_CHECKING:
    from proxy.listener.overload import ConnectionLimit
    from proxy.network.dispatcher import Dispatcher
    from proxy.network.downstream import DownstreamConnection
    from proxy.network.downstream_http2 import Http2DownstreamConnection

    Connection: TypeAlias = DownstreamConnection | Http2DownstreamConnection


UNLIMITED = 2**64 - 1


class NetworkFilter(Protocol):
    """A terminal network filter: what ``proxy.ext.filters.network`` classes offer."""

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> Connection:
        """The protocol object of one accepted connection."""

    def drain(self, begin: bool = True) -> None:
        """Finish what is under way, begin nothing that lasts; False: as before."""


class ListenerStats:
    """``listener.<address>.`` (contract/envoy.md appendix)."""

    __slots__ = (
        "downstream_cx_active",
        "downstream_cx_destroy",
        "downstream_cx_length_ms",
        "downstream_cx_overflow",
        "downstream_cx_total",
        "downstream_global_cx_overflow",
        "worker_active",
        "worker_total",
    )

    def __init__(self, scope: Scope) -> None:
        self.downstream_cx_total = scope.counter("downstream_cx_total")
        self.downstream_cx_destroy = scope.counter("downstream_cx_destroy")
        self.downstream_cx_active = scope.gauge("downstream_cx_active", follows=self.downstream_cx_total)
        worker = scope.scope("worker_0")
        self.worker_total = worker.counter("downstream_cx_total")
        self.worker_active = worker.gauge("downstream_cx_active", follows=self.worker_total)
        self.downstream_cx_length_ms = scope.histogram("downstream_cx_length_ms")
        self.downstream_cx_overflow = scope.counter("downstream_cx_overflow")
        self.downstream_global_cx_overflow = scope.counter("downstream_global_cx_overflow")
        scope.gauge("downstream_pre_cx_active", follows=self.downstream_cx_total)
        for name in (
            "downstream_cx_overload_reject",
            "downstream_cx_transport_socket_connect_timeout",
            "downstream_listener_filter_error",
            "downstream_listener_filter_remote_close",
            "downstream_pre_cx_timeout",
            "extension_config_missing",
            "network_extension_config_missing",
            "no_filter_chain_match",
        ):
            scope.counter(name)


class Listener:
    """A bound address and what happens to connections to it.

    name: the configured one, or the address; address: "ip:port" as configured; bound: as the system gave it (port 0).
    """

    __slots__ = (
        "address",
        "backlog",
        "bound",
        "connections",
        "direction",
        "dispatcher",
        "draining",
        "filter",
        "filter_chain_name",
        "ipv4_compat",
        "limit",
        "message",
        "name",
        "own_limit",
        "reuse_port",
        "server",
        "socket",
        "stats",
    )

    def __init__(self, name: str, ip: str, port: int, dispatcher: Dispatcher, message: Any) -> None:
        self.name = name
        self.address = (ip, port)
        self.bound = self.address
        self.dispatcher = dispatcher
        self.message = message
        self.direction = "UNSPECIFIED"  # traffic_direction
        self.backlog = 128
        self.reuse_port = True
        self.ipv4_compat = False
        self.connections: set[Connection] = set()
        self.filter: NetworkFilter
        self.filter_chain_name = ""
        self.socket: socket.socket | None = None
        self.server: asyncio.Server | None = None
        self.stats: ListenerStats
        self.limit: ConnectionLimit | None = None  # shared with the other listeners
        self.own_limit = IntegerSlot("", UNLIMITED)  # the runtime may set one
        self.draining = False

    @staticmethod
    def scope_name(ip: str, port: int) -> str:
        """The address as Envoy puts it into stat names; ``Scope`` turns its colons into underscores."""
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

    def bind(self, store: Store) -> None:
        """Bind, before anything is served. Raises OSError when the address cannot be had."""
        ip, port = self.address
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.reuse_port and hasattr(socket, "SO_REUSEPORT"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if self.ipv4_compat else 1)
        self.socket.setblocking(False)
        self.socket.bind((ip, port))
        name = self.socket.getsockname()
        self.bound = (name[0], name[1])

    async def serve(self) -> None:
        """Accept connections; nothing when told to stop already."""
        if self.socket is None:
            return
        self.server = await self.dispatcher.loop.create_server(
            lambda: self.filter.new_connection(self, self.dispatcher),  # type: ignore[arg-type, return-value]
            sock=self.socket,
            backlog=self.backlog,
        )

    # -- connections ---------------------------------------------------------------------------------------------

    def accept(self, connection: Connection) -> bool:
        """A connection has come; False refuses it."""
        stats = self.stats
        limit = self.limit
        if limit is not None and limit.open >= limit.most:
            stats.downstream_global_cx_overflow.value += 1
            return False
        if len(self.connections) >= self.own_limit.value:
            stats.downstream_cx_overflow.value += 1
            return False
        if limit is not None:
            limit.open += 1
        self.connections.add(connection)
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        stats.worker_total.value += 1
        stats.worker_active.value += 1
        return True

    def replace(self, connection: Connection, successor: Connection) -> None:
        """Another object goes on with the same connection."""
        self.connections.discard(connection)
        self.connections.add(successor)

    def closed(self, connection: Connection, length_s: float) -> None:
        """A connection has gone."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        if self.limit is not None:
            self.limit.open -= 1
        stats = self.stats
        stats.downstream_cx_active.value -= 1
        stats.worker_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        stats.downstream_cx_length_ms.record(int(length_s * 1000.0))

    # -- the end -------------------------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        """Close the listening socket."""
        if self.server is not None:
            self.server.close()
            self.server = None
        elif self.socket is not None:
            self.socket.close()
        self.socket = None

    def drain(self) -> None:
        """Idle connections close now, the others with the response they are waiting for."""
        self.draining = True
        self.filter.drain()
        for connection in list(self.connections):
            connection.close_idle()
        self.dispatcher.flush()

    def abort(self) -> None:
        """Close what is left, at once."""
        for connection in list(self.connections):
            connection.abort()
