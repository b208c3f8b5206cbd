"""ListenerManager: compiles, binds, serves and drains the listeners of a bootstrap; ``listener_manager.*`` stats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.access_log.access_log import compile_access_logs
from proxy.api.reader import Reader, reads
from proxy.base.init import InitTarget
from proxy.http.context import FactoryContext
from proxy.listener.compile_chains import compile_chains
from proxy.listener.listener import UNLIMITED, Listener, ListenerStats
from proxy.listener.overload import ConnectionLimit
from proxy.listener.place import NOWHERE, Place, compile_place
from proxy.network.dispatcher import Dispatcher

LISTENER = "envoy.config.listener.v3.Listener"
COUNTERS = (
    *("listener_added", "listener_create_failure", "listener_create_success", "listener_in_place_updated"),
    *("listener_modified", "listener_removed", "listener_stopped"),
)


class ListenerManager:
    """The listeners of one process, in the order of the configuration."""

    __slots__ = (
        "_added",
        "_by_address",
        "_created",
        "_draining",
        "_failed",
        "active",
        "dispatcher",
        "limit",
        "listeners",
        "scope",
    )

    def __init__(self, dispatcher: Dispatcher, context: FactoryContext) -> None:
        self.dispatcher = dispatcher
        self.listeners: list[Listener] = []
        self._by_address: dict[tuple[str, int], Listener] = {}
        self.limit: ConnectionLimit | None = None  # over all of them
        scope = self.scope = context.stats.scope("listener_manager")
        for name in COUNTERS:
            scope.counter(name)
        self._added = scope.counter("listener_added")
        self._created = scope.counter("listener_create_success")
        self._failed = scope.counter("listener_create_failure")
        self.active = scope.gauge("total_listeners_active")
        scope.gauge("total_listeners_warming").set(0)
        self._draining = scope.gauge("total_listeners_draining")
        scope.gauge("total_filter_chains_draining")

    @reads(LISTENER)
    def add(self, reader: Reader, context: FactoryContext) -> Listener | None:
        """Compile one listener; problems are collected in the reader."""
        listener = compile_listener(reader, context, self.dispatcher, self.limit)
        if listener is None:
            return None
        if any(other.name == listener.name for other in self.listeners):
            reader.unsupported(
                "name", f'there is a listener "{listener.name}" already; Envoy would pass over this one'
            )
        for place in listener.places:
            twin = next((other for other in self.listeners if other.listens_on(place)), None)
            # Without a name of its own a listener is another one to Envoy each time, which is not passed over.
            is_another = twin is not None and (twin.name != listener.name or not reader.has("name"))
            if twin is not None and is_another and place.port != 0:
                reader.fail("address", f'is the address of listener "{twin.name}" as well')
        self.listeners.append(listener)
        listener.find_listener = self.find
        self._index(listener)
        self._added.value += 1
        context.init.add(warming(listener))
        return listener

    def _index(self, listener: Listener) -> None:
        for place in listener.places:
            if place.port is not None:
                self._by_address[place.host, place.port] = listener
                if place.ipv4_compat:
                    self._by_address.setdefault(("0.0.0.0", place.port), listener)

    def find(self, ip: str, port: int) -> Listener | None:
        """The listener of an address: of exactly that one, or of all addresses at its port. One that has stopped is
        none."""
        for host in (ip, "::" if ":" in ip else "0.0.0.0"):
            found = self._by_address.get((host, port))
            if found is not None and not found.stopped:
                return found
        return None

    def bind(self, context: FactoryContext) -> None:
        """Bind all addresses; raises OSError with the address in its text."""
        for listener in self.listeners:
            try:
                listener.bind()
            except OSError:
                self._failed.value += 1
                raise

    async def serve(self) -> None:
        """Accept on all of them."""
        for listener in self.listeners:
            await listener.serve()
            self._created.value += 1
        self.active.set(len(self.listeners))

    def drain(self, directions: set[str] | None = None) -> None:
        """Take no new connections, let go of idle ones. directions: only listeners of these traffic_directions."""
        chosen = self._of(directions)
        for listener in chosen:
            listener.stop_accepting()
            listener.drain()
        self._draining.set(len(chosen))
        self.active.set(len(self.listeners) - len(chosen))

    def start_draining(self, directions: set[str] | None = None) -> None:
        """Envoy's graceful drain: still accepting, but every response closes its connection."""
        for listener in self._of(directions):
            listener.drain()

    def set_health(self, healthy: bool) -> None:
        """A process that says it is unhealthy closes its connections with their next response (Envoy's drainClose)."""
        for listener in self.listeners:
            if not listener.draining:
                listener.drain_filters(not healthy)

    def _of(self, directions: set[str] | None) -> list[Listener]:
        return [each for each in self.listeners if directions is None or each.direction in directions]

    @property
    def connections(self) -> int:
        """Open downstream connections."""
        return sum(len(listener.connections) for listener in self.listeners)

    def close(self) -> None:
        """Close everything at once."""
        for listener in self.listeners:
            listener.stop_accepting()
            listener.abort()


def warming(listener: Listener) -> InitTarget:
    """What waits for a listener until it has its routes and certificates."""
    target = InitTarget(
        f"Listener-init-target {listener.name}", lambda: listener.init.initialize(target.ready)
    )
    return target


@reads(LISTENER)
def compile_listener(
    reader: Reader, context: FactoryContext, dispatcher: Dispatcher, limit: ConnectionLimit | None = None
) -> Listener | None:
    """One listener.

    limit: of the connections of all listeners together
    """
    places = _compile_places(reader)
    scope_name = places[0].text
    name = reader.text("name") or scope_name
    listener = Listener(name, places, dispatcher, reader.message)
    listener.backlog = reader.wrapped("tcp_backlog_size", 128)
    listener.reuse_port = reader.wrapped("enable_reuse_port", True)
    listener.transparent = reader.wrapped("transparent", False)
    listener.freebind = reader.wrapped("freebind", False)
    listener.binds = _compile_binds(reader)
    scope = context.stats.scope("listener").scope(reader.text("stat_prefix") or scope_name)
    listener.stats = ListenerStats(scope)
    listener.direction = reader.enum("traffic_direction")
    own = replace(context, scope=scope, direction=listener.direction, init=listener.init)
    bypasses = reader.flag(
        "bypass_overload_manager"
    )  # the limit of connections is all there is of that manager
    listener.limit = None if reader.flag("ignore_global_conn_limit") or bypasses else limit
    listener.access_logs = compile_access_logs(reader.each("access_log"), own)
    reader.ignore(
        "connection_balance_config",
        "max_connections_to_accept_per_socket_event",
        why="one worker has all connections, and takes them as they come",
    )
    if reader.has("name"):
        key = f"envoy.resource_limits.listener.{name}.connection_limit"
        listener.own_limit = context.runtime.integer(key, UNLIMITED)
    listener.buffer_limit_bytes = reader.wrapped("per_connection_buffer_limit_bytes", 1024 * 1024)
    chains = compile_chains(reader, own, listener)
    listener.take(chains)
    for chain in chains:
        hcm: Any = getattr(chain.filter, "hcm", None)
        if hcm is not None:
            hcm.buffer_limit_bytes = listener.buffer_limit_bytes
    return listener


@reads(LISTENER, "envoy.config.listener.v3.Listener.DeprecatedV1")
def _compile_binds(reader: Reader) -> bool:
    """bind_to_port, in its two places."""
    binds: bool = reader.wrapped("bind_to_port", True)
    if reader.type_name == LISTENER:
        older = reader.sub("deprecated_v1")
        binds = binds and (older is None or _compile_binds(older))
    return binds


@reads(LISTENER, "envoy.config.listener.v3.AdditionalAddress")
def _compile_places(reader: Reader) -> tuple[Place, ...]:
    """Where a listener listens; somewhere when it has no address and was refused."""
    address = reader.sub("address")
    if address is None:
        reader.fail("address", "a listener needs an address")
        return (NOWHERE,)
    places = [compile_place(address)]
    if reader.type_name == LISTENER:
        places += [_compile_places(each)[0] for each in reader.each("additional_addresses")]
    return tuple(places)
