"""One listener: its address, its filter chain, its open connections and its stats (envoy.config.listener.v3.Listener)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from proxy.base.errors import ResponseFlag
from proxy.base.init import InitManager, InitTarget
from proxy.base.stream_info import StreamInfo
from proxy.listener.accepting import Accepting, Inspector
from proxy.listener.chain_match import ChainMatcher, Facts
from proxy.listener.socket_options import LISTENING, set_options
from proxy.runtime.slots import IntegerSlot
from proxy.stats.store import Scope

if TYPE_CHECKING:
    from proxy.access_log.access_log import AccessLog
    from proxy.base.stream_info import ConnectionInfo
    from proxy.listener.filter_chain import FilterChain
    from proxy.listener.overload import ConnectionLimit
    from proxy.listener.place import Place
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher
    from proxy.network.tls import TlsSide

UNLIMITED = 2**64 - 1


class NetworkFilter(Protocol):
    """A terminal network filter: what ``proxy.ext.filters.network`` classes offer."""

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> AcceptedConnection:
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
        "downstream_cx_transport_socket_connect_timeout",
        "downstream_global_cx_overflow",
        "downstream_listener_filter_error",
        "downstream_listener_filter_remote_close",
        "downstream_pre_cx_active",
        "downstream_pre_cx_timeout",
        "network_extension_config_missing",
        "no_filter_chain_match",
        "worker_active",
        "worker_total",
    )

    def __init__(self, scope: Scope) -> None:
        self.downstream_listener_filter_error = scope.counter("downstream_listener_filter_error")
        self.downstream_listener_filter_remote_close = scope.counter(
            "downstream_listener_filter_remote_close"
        )
        self.downstream_pre_cx_timeout = scope.counter("downstream_pre_cx_timeout")
        self.no_filter_chain_match = scope.counter("no_filter_chain_match")
        self.downstream_cx_total = scope.counter("downstream_cx_total")
        self.downstream_cx_destroy = scope.counter("downstream_cx_destroy")
        self.downstream_cx_active = scope.gauge("downstream_cx_active", follows=self.downstream_cx_total)
        worker = scope.scope("worker_0")
        self.worker_total = worker.counter("downstream_cx_total")
        self.worker_active = worker.gauge("downstream_cx_active", follows=self.worker_total)
        self.downstream_cx_length_ms = scope.histogram("downstream_cx_length_ms")
        self.downstream_cx_overflow = scope.counter("downstream_cx_overflow")
        self.downstream_global_cx_overflow = scope.counter("downstream_global_cx_overflow")
        self.downstream_pre_cx_active = scope.gauge(
            "downstream_pre_cx_active", follows=self.downstream_cx_total
        )
        self.downstream_cx_transport_socket_connect_timeout = scope.counter(
            "downstream_cx_transport_socket_connect_timeout"
        )
        self.network_extension_config_missing = scope.counter("network_extension_config_missing")
        for name in ("downstream_cx_overload_reject", "extension_config_missing"):
            scope.counter(name)


class Listener:
    """Bound addresses and what happens to connections to them.

    name: the configured one, or the address; places: where it listens, as configured, the first is ``address``
    bound: as the system gave them (port 0), port None for unix sockets
    filter_chains: all of them, the default one last; filter: the first one's terminal filter. chooses: listener filters or several chains
    decide for each connection, by ``inspectors`` and ``chains``; else ``tls`` and ``filter`` take them all
    init: waits for its routes and certificates, where they do not stand in the configuration
    binds: False for a listener that only gets connections from others (bind_to_port); hands_off: gives connections that
    were going to another listener's address to that one, found by ``find_listener`` (use_original_dst)
    transparent, freebind: options of its sockets
    target: what the process waits for till then; added_via_api: it came while we run, in that version, at updated_at
    (wall-clock seconds)
    waiting: connections that have no chain yet; filter_chain_name, metadata: of the chain that a connection is just entering
    entering: what listener filters know of it
    drains_unhealthy: /healthcheck/fail drains it as well (drain_type)
    """

    __slots__ = (
        "access_logs",
        "added_via_api",
        "address",
        "backlog",
        "binds",
        "bound",
        "buffer_limit_bytes",
        "chains",
        "chooses",
        "connections",
        "continues_on_timeout",
        "direction",
        "dispatcher",
        "draining",
        "drains_unhealthy",
        "entering",
        "filter",
        "filter_chain_name",
        "filter_chains",
        "filters_timeout_s",
        "init",
        "find_listener",
        "freebind",
        "hands_off",
        "inspectors",
        "limit",
        "message",
        "metadata",
        "name",
        "own_limit",
        "pipes",
        "places",
        "reuse_port",
        "servers",
        "sockets",
        "stats",
        "stopped",
        "target",
        "tls",
        "transparent",
        "updated_at",
        "version",
        "waiting",
    )

    def __init__(self, name: str, places: tuple[Place, ...], dispatcher: Dispatcher, message: Any) -> None:
        self.name = name
        self.places = places
        self.address: tuple[str, int] = (places[0].host, places[0].port or 0)
        self.bound: list[tuple[str, int | None]] = [(place.host, place.port) for place in places]
        self.dispatcher = dispatcher
        self.message = message
        self.direction = "UNSPECIFIED"  # traffic_direction
        self.access_logs: tuple[AccessLog, ...] = ()
        self.backlog = 128
        self.reuse_port = True
        self.binds = True
        self.hands_off = self.transparent = self.freebind = False
        self.find_listener: Callable[[str, int], Listener | None] = lambda ip, port: None
        self.connections: set[AcceptedConnection] = set()
        self.filter: NetworkFilter
        self.init = InitManager(f"Listener {name}")
        self.target: InitTarget | None = None
        self.added_via_api = False
        self.version = ""
        self.updated_at = 0.0
        self.filter_chain_name = ""
        self.metadata: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.entering: Facts | None = None
        self.buffer_limit_bytes = 1024 * 1024  # per_connection_buffer_limit_bytes
        self.filter_chains: list[FilterChain] = []
        self.tls: TlsSide | None = None
        self.chooses = False
        self.chains = ChainMatcher()
        self.inspectors: list[Inspector] = []
        self.filters_timeout_s = 15.0
        self.continues_on_timeout = False
        self.waiting: set[Accepting] = set()
        self.sockets: list[socket.socket] = []
        self.pipes: dict[str, str] = {}  # unix sockets: how the system tells our end → how Envoy prints it
        self.servers: list[asyncio.AbstractServer] = []
        self.stats: ListenerStats
        self.limit: ConnectionLimit | None = None  # shared with the other listeners
        self.own_limit = IntegerSlot("", UNLIMITED)  # the runtime may set one
        self.draining = False
        self.drains_unhealthy = True
        self.stopped = False  # takes no more connections

    def listens_on(self, place: Place) -> bool:
        """Whether it has this address, in whatever manner."""
        return any((own.host, own.port) == (place.host, place.port) for own in self.places)

    def bind(self, inherit: Callable[[str, str], socket.socket | None] | None = None) -> None:
        """Bind, before anything is served. Raises OSError when an address cannot be had; its text names it.

        inherit: gives a bound socket of a place (of this name, at this text), where a process before us had one
        """
        for at, place in enumerate(self.places if self.binds else ()):
            given = inherit(self.name, place.text) if inherit is not None else None
            try:
                if given is None:
                    bound = place.bind(self.reuse_port, self.transparent, self.freebind)
                else:
                    bound = given
                    place.take_over(bound, self.transparent, self.freebind)
            except OSError as error:
                raise OSError(error.errno, f"cannot bind {place.text}: {error.strerror}") from None
            self.sockets.append(bound)
            name = bound.getsockname()
            if place.port is None:
                self.pipes[str(name)] = place.text
            else:
                self.bound[at] = (name[0], name[1])

    def can_adopt(self, old: Listener) -> bool:
        """Whether the sockets of the one whose place it takes are those it would bind."""
        mine = (self.places, self.reuse_port, self.binds, self.transparent, self.freebind)
        return mine == (old.places, old.reuse_port, old.binds, old.transparent, old.freebind)

    def adopt(self, old: Listener) -> None:
        """Listen with the sockets of the one whose place it takes: no client is refused meanwhile."""
        self.sockets = [each.dup() for each in old.sockets]
        self.bound = list(old.bound)
        self.pipes = dict(old.pipes)

    async def serve(self) -> None:
        """Accept connections; nothing when told to stop already."""
        factory = self._factory()
        for place, bound in zip(self.places, tuple(self.sockets), strict=False):
            if bound not in self.sockets:
                return
            loop = self.dispatcher.loop
            make = loop.create_unix_server if place.port is None else loop.create_server
            self.servers.append(await make(factory, sock=bound, backlog=self.backlog))
            try:
                set_options(bound, place.options, LISTENING)
            except OSError as error:
                raise OSError(error.errno, f"cannot listen on {place.text}: {error.strerror}") from None

    def _factory(self) -> Callable[[], Any]:
        """Makes the protocol of an accepted connection."""
        if self.chooses:
            return lambda: Accepting(self)
        chain = self.filter_chains[0]
        if chain.is_plain:
            return lambda: self.filter.new_connection(self, self.dispatcher)
        return lambda: chain.new_protocol(self, self.dispatcher)

    def take(self, chains: list[FilterChain]) -> None:
        """The chains, once compiled."""
        self.filter_chains = chains
        if chains:
            first = chains[0]
            self.filter, self.filter_chain_name, self.tls = first.filter, first.name, first.tls
            self.metadata = first.metadata

    # -- connections ---------------------------------------------------------------------------------------------

    def accept(self, connection: AcceptedConnection) -> bool:
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
        if self.pipes:
            self._name_pipe(connection.info)
        self.connections.add(connection)
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        stats.worker_total.value += 1
        stats.worker_active.value += 1
        return True

    def introduce(self, info: ConnectionInfo) -> None:
        """Tell a connection that is just made where it has come in."""
        info.listener_name = self.name
        info.filter_chain_name = self.filter_chain_name
        info.configured_metadata = self.metadata
        facts = self.entering
        if facts is None:
            return
        info.requested_server_name = facts.server_name
        if facts.restored:
            info.local_address = facts.local_address
            info.local_address_restored = True
        if facts.is_proxied:
            info.remote_address = facts.remote_address
        info.tlvs = facts.tlvs
        if facts.metadata:
            info.metadata = facts.metadata
        info.fingerprints = facts.fingerprints
        info.filter_state = facts.filter_state

    def replace(self, connection: AcceptedConnection, successor: AcceptedConnection) -> None:
        """Another object goes on with the same connection."""
        self.connections.discard(connection)
        self.connections.add(successor)

    def may_wait(self, connection: Accepting) -> bool:
        """A connection's first bytes are to be looked at; False refuses it: the limits hold for such ones as well."""
        limit = self.limit
        waiting = len(self.waiting)
        if limit is not None and limit.open + waiting >= limit.most:
            self.stats.downstream_global_cx_overflow.value += 1
            return False
        if len(self.connections) + waiting >= self.own_limit.value:
            self.stats.downstream_cx_overflow.value += 1
            return False
        self.waiting.add(connection)
        self.stats.downstream_pre_cx_active.value += 1
        return True

    def no_longer_waits(self, connection: Accepting) -> None:
        """It has its chain, or has gone."""
        if connection in self.waiting:
            self.waiting.discard(connection)
            self.stats.downstream_pre_cx_active.value -= 1

    def closed(self, connection: AcceptedConnection, length_s: float) -> None:
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

        if self.access_logs:
            self.log(connection.info, length_s)

    def log(self, info: ConnectionInfo, length_s: float, details: bytes = b"") -> None:
        """The line of a connection that has ended; numbers of a stream say there what the connection has carried."""
        clock = self.dispatcher.clock
        stream = StreamInfo(info, clock.wall() - length_s, info.started_at)
        stream.log_type = b"NotSet"
        stream.protocol = info.protocol
        stream.flags, stream.details = info.flags, details
        stream.bytes_received, stream.bytes_sent = info.bytes_received, info.bytes_sent
        stream.metadata = info.metadata
        stream.ended_at = info.started_at + length_s
        for access_log in self.access_logs:
            access_log.log(stream)

    def log_unmatched(self, info: ConnectionInfo) -> None:
        """The line of a connection for which there is no filter chain."""
        info.flags |= ResponseFlag.NR
        info.listener_name = self.name
        self.log(info, self.dispatcher.clock.monotonic() - info.started_at, b"filter_chain_not_found")

    def log_unentered(self, info: ConnectionInfo) -> None:
        """The line of a connection that no filter chain was sought for."""
        info.listener_name = self.name
        self.log(info, self.dispatcher.clock.monotonic() - info.started_at)

    def _name_pipe(self, info: ConnectionInfo) -> None:
        """Clients of a unix socket have no address of their own: as in Envoy, ours stands for it."""
        path = self.pipes.get(info.local_address)
        if path is not None:
            info.local_address = info.direct_local_address = path
            if info.direct_remote_address == "-":
                info.remote_address = info.direct_remote_address = path

    # -- the end -------------------------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        """Close the listening sockets."""
        self.stopped = True
        for server in self.servers:
            server.close()  # and its socket
        for bound in self.sockets[len(self.servers) :]:
            bound.close()
        self.servers.clear()
        self.sockets.clear()

    def drain(self) -> None:
        """Idle connections close now, the others with the response they are waiting for."""
        self.draining = True
        self.drain_filters()
        for connection in list(self.connections):
            connection.close_idle()
        self.dispatcher.flush()

    def drain_filters(self, begin: bool = True) -> None:
        """See ``NetworkFilter.drain``."""
        for chain in self.filter_chains:
            chain.filter.drain(begin)

    def release(self) -> None:
        """Nobody is accepted any more: no more updates of routes and certificates."""
        for chain in self.filter_chains:
            hcm: Any = getattr(chain.filter, "hcm", None)
            if hcm is not None and hcm.rds is not None:
                hcm.rds.close()
            if chain.tls is not None and chain.tls.release is not None:
                chain.tls.release()

    def abort(self) -> None:
        """Close what is left, at once."""
        for waiting in list(self.waiting):
            waiting.abort()
        for connection in list(self.connections):
            connection.abort()
