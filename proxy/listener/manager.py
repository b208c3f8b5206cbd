"""ListenerManager: compiles, binds, serves and drains the listeners of a bootstrap; ``listener_manager.*`` stats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.api.reader import Reader, reads
from proxy.http.context import FactoryContext
from proxy.listener.listener import UNLIMITED, Listener, ListenerStats, NetworkFilter
from proxy.listener.overload import ConnectionLimit
from proxy.listener.place import NOWHERE, Place, compile_place
from proxy.network.dispatcher import Dispatcher

LISTENER = "envoy.config.listener.v3.Listener"
NETWORK_FILTERS = "envoy.filters.network."
RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
COUNTERS = (
    *("listener_added", "listener_create_failure", "listener_create_success", "listener_in_place_updated"),
    *("listener_modified", "listener_removed", "listener_stopped"),
)


class ListenerManager:
    """The listeners of one process, in the order of the configuration."""

    __slots__ = (
        "_added",
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
        self._added.value += 1
        return listener

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
                listener.filter.drain(not healthy)

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


@reads(LISTENER)
def compile_listener(
    reader: Reader, context: FactoryContext, dispatcher: Dispatcher, limit: ConnectionLimit | None = None
) -> Listener | None:
    """One listener with one filter chain that ends in the HTTP connection manager.

    limit: of the connections of all listeners together
    """
    places = _compile_places(reader)
    scope_name = places[0].text
    name = reader.text("name") or scope_name
    listener = Listener(name, places, dispatcher, reader.message)
    listener.backlog = reader.wrapped("tcp_backlog_size", 128)
    listener.reuse_port = reader.wrapped("enable_reuse_port", True)
    scope = context.stats.scope("listener").scope(reader.text("stat_prefix") or scope_name)
    listener.stats = ListenerStats(scope)
    listener.direction = reader.enum("traffic_direction")
    own = replace(context, scope=scope, direction=listener.direction)
    bypasses = reader.flag(
        "bypass_overload_manager"
    )  # the limit of connections is all there is of that manager
    listener.limit = None if reader.flag("ignore_global_conn_limit") or bypasses else limit
    reader.unsupported("access_log", "is not supported yet in listeners; in connection managers it is")
    reader.ignore(
        "connection_balance_config",
        "max_connections_to_accept_per_socket_event",
        why="one worker has all connections, and takes them as they come",
    )
    _refuse_listener_filters(reader.each("listener_filters"))
    if reader.has("name"):
        key = f"envoy.resource_limits.listener.{name}.connection_limit"
        listener.own_limit = context.runtime.integer(key, UNLIMITED)
    buffer_limit_bytes = reader.wrapped("per_connection_buffer_limit_bytes", 1024 * 1024)
    for chain in _chains(reader):
        found = _compile_chain(chain, own, listener)
        if found is None:
            continue
        listener.filter = found
        hcm: Any = getattr(found, "hcm", None)
        if hcm is not None:
            hcm.buffer_limit_bytes = buffer_limit_bytes
    return listener


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


@reads("envoy.config.listener.v3.ListenerFilter")
def _refuse_listener_filters(readers: list[Reader]) -> None:
    for reader in readers:
        config = reader.sub("typed_config")
        name = config.type_name if config is not None else reader.text("name")
        reader.unsupported("", f"listener filter {name} is not supported yet")


@reads(LISTENER)
def _chains(reader: Reader) -> list[Reader]:
    """The filter chains; one, when the listener is not refused. Choosing between several comes later."""
    chains = reader.each("filter_chains")
    default = reader.sub("default_filter_chain")
    every = [*chains, default] if default is not None else chains
    if not every:
        reader.fail("filter_chains", "a listener needs a filter chain")
    elif len(every) > 1:
        message = f"choosing between {len(every)} filter chains is not supported yet; a listener has one"
        reader.unsupported("filter_chains", message, whole=False)
        for chain in every:
            chain.settle("filter_chain_match")
    return every


@reads("envoy.config.listener.v3.FilterChain")
def _compile_chain(reader: Reader, context: FactoryContext, listener: Listener) -> NetworkFilter | None:
    listener.filter_chain_name = reader.text("name")
    _check_match(reader)
    _check_transport_socket(reader.sub("transport_socket"))
    filters = reader.each("filters")
    if not filters:
        reader.unsupported(
            "",
            "a filter chain without filters is not supported: it would only close connections",
            whole=False,
        )
    built = [_compile_filter(each, context) for each in filters]
    if len(built) > 1 and None not in built:
        reader.unsupported("filters", "only the last filter of a chain can be an HTTP connection manager")
    return built[-1] if built else None


@reads("envoy.config.listener.v3.FilterChain")
def _check_match(reader: Reader) -> None:
    """A match that matches everything is fine; ``_chains`` has spoken where there are several chains."""
    match = reader.sub("filter_chain_match")
    if match is not None and match.message.ListFields() and not reader.is_settled("filter_chain_match"):
        reader.unsupported(
            "filter_chain_match",
            "is not supported yet: the filter chain of a listener takes every connection",
        )


@reads("envoy.config.core.v3.TransportSocket")
def _check_transport_socket(reader: Reader | None) -> None:
    """Plain TCP only: raw_buffer or nothing."""
    if reader is None:
        return
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is not None and config.type_name == RAW_BUFFER:
        return
    kind = config.type_name if config is not None else name
    what = "TLS from downstream" if kind.endswith("DownstreamTlsContext") else f"transport socket {kind}"
    reader.unsupported("", f"{what} is not supported yet; envoy.transport_sockets.raw_buffer (plain TCP) is")


@reads("envoy.config.listener.v3.Filter")
def _compile_filter(reader: Reader, context: FactoryContext) -> NetworkFilter | None:
    name = reader.text("name")  # Envoy chooses by the type alone; the name is for people
    config = reader.any("typed_config")
    if config is None:
        if reader.which("config_type") is None:
            reader.fail("typed_config", context.registry.untyped("a filter", name))
        return None
    if not context.registry.has(config.type_name):
        reader.unsupported("", context.registry.unknown("network filter", config.type_name, NETWORK_FILTERS))
        return None
    built: NetworkFilter = context.registry.resolve(config.type_name)(config, context)
    return built
