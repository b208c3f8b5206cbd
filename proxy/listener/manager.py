"""ListenerManager: compiles, binds, serves and drains the listeners of a bootstrap; ``listener_manager.*`` stats."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from proxy.api.reader import Reader, reads
from proxy.http.context import FactoryContext
from proxy.listener.listener import Listener, ListenerStats, NetworkFilter
from proxy.network.dispatcher import Dispatcher

LISTENER = "envoy.config.listener.v3.Listener"
COUNTERS = (
    *("listener_added", "listener_create_failure", "listener_create_success", "listener_in_place_updated"),
    *("listener_modified", "listener_removed", "listener_stopped"),
)


class ListenerManager:
    """The listeners of one process, in the order of the configuration."""

    __slots__ = ("_added", "_created", "_draining", "_failed", "active", "dispatcher", "listeners", "scope")

    def __init__(self, dispatcher: Dispatcher, context: FactoryContext) -> None:
        self.dispatcher = dispatcher
        self.listeners: list[Listener] = []
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
        listener = compile_listener(reader, context, self.dispatcher)
        if listener is None:
            return None
        if any(other.name == listener.name for other in self.listeners):
            reader.fail("name", f"a listener named {listener.name} is defined twice")
        self.listeners.append(listener)
        self._added.value += 1
        return listener

    def bind(self, context: FactoryContext) -> None:
        """Bind all addresses; raises OSError with the address in its text."""
        for listener in self.listeners:
            try:
                listener.bind(context.stats)
            except OSError as error:
                self._failed.value += 1
                place = Listener.scope_name(*listener.address)
                raise OSError(error.errno, f"cannot bind {place}: {error.strerror}") from None

    async def serve(self) -> None:
        """Accept on all of them."""
        for listener in self.listeners:
            await listener.serve()
            self._created.value += 1
        self.active.set(len(self.listeners))

    def drain(self) -> None:
        """Take no new connections, let go of idle ones."""
        for listener in self.listeners:
            listener.stop_accepting()
            listener.drain()
        self._draining.set(len(self.listeners))
        self.active.set(0)

    def start_draining(self) -> None:
        """Envoy's graceful drain: still accepting, but every response closes its connection."""
        for listener in self.listeners:
            listener.drain()

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
def compile_listener(reader: Reader, context: FactoryContext, dispatcher: Dispatcher) -> Listener | None:
    """One listener with one filter chain that ends in the HTTP connection manager."""
    address = reader.sub("address")
    place = _compile_address(address) if address is not None else None
    if place is None:
        if address is None:
            reader.fail("address", "a listener needs an address")
        return None
    ip, port, compat = place
    scope_name = Listener.scope_name(ip, port)
    name = reader.text("name") or scope_name
    listener = Listener(name, ip, port, dispatcher, reader.message)
    listener.ipv4_compat = compat
    listener.backlog = reader.wrapped("tcp_backlog_size", 128)
    listener.reuse_port = reader.wrapped("enable_reuse_port", True)
    scope = context.stats.scope("listener").scope(reader.text("stat_prefix") or scope_name)
    listener.stats = ListenerStats(scope)
    own = replace(context, scope=scope, direction=reader.enum("traffic_direction"))
    chain = _the_chain(reader)
    if chain is not None:
        found = _compile_chain(chain, own)
        if found is None:
            return listener
        listener.filter = found
        hcm: Any = getattr(found, "hcm", None)
        if hcm is not None:
            hcm.buffer_limit_bytes = reader.wrapped("per_connection_buffer_limit_bytes", 1024 * 1024)
    return listener


@reads("envoy.config.core.v3.Address")
def _compile_address(reader: Reader) -> tuple[str, int, bool] | None:
    """(ip, port, also IPv4) of an Address; only socket addresses over TCP."""
    address = reader.sub("socket_address")
    if address is None:
        return None
    ip = address.text("address")
    if address.enum("protocol") != "TCP":
        address.unsupported("protocol", "only TCP is supported")
    try:
        ip_address(ip)
    except ValueError:
        address.fail("address", f"{ip!r} is not an IP address; listeners need one")
        return None
    return ip, address.number("port_value"), address.flag("ipv4_compat")


@reads(LISTENER)
def _the_chain(reader: Reader) -> Reader | None:
    """The only filter chain: of filter_chains, or the default one. Matching between several comes later."""
    chains = reader.each("filter_chains")
    default = reader.sub("default_filter_chain")
    if len(chains) > 1 or (chains and default is not None):
        reader.unsupported("filter_chains", "only one filter chain per listener is supported")
        return None
    if chains:
        return chains[0]
    if default is None:
        reader.fail("filter_chains", "no filter chains specified")
    return default


@reads("envoy.config.listener.v3.FilterChain")
def _compile_chain(reader: Reader, context: FactoryContext) -> NetworkFilter | None:
    reader.text("name")
    match = reader.sub("filter_chain_match")
    if match is not None and any(True for _ in match.message.ListFields()):
        reader.unsupported("filter_chain_match", "choosing between filter chains is not supported")
    filters = reader.each("filters")
    if len(filters) != 1:
        reader.unsupported(
            "filters", "a filter chain must hold exactly one filter, the HTTP connection manager"
        )
        return None
    filters[0].text("name")
    config = filters[0].any("typed_config")
    if config is None:
        return None
    if not context.registry.has(config.type_name):
        filters[0].unsupported("typed_config", f"network filter {config.type_name} is not supported")
        return None
    built: NetworkFilter = context.registry.resolve(config.type_name)(config, context)
    return built
