"""One Listener (envoy.config.listener.v3), not yet bound: its addresses and options; its chains are ``compile_chains``'s."""

from __future__ import annotations

from typing import Any

from proxy.access_log.access_log import compile_access_logs
from proxy.api.reader import Reader, reads
from proxy.http.context import FactoryContext
from proxy.listener.compile_chains import compile_chains
from proxy.listener.listener import UNLIMITED, Listener, ListenerStats
from proxy.listener.overload import ConnectionLimit
from proxy.listener.place import IPPROTO_MPTCP, NOWHERE, Place, compile_place
from proxy.listener.socket_options import (
    LISTENING,
    Options,
    compile_keepalive,
    compile_socket_options,
    fast_open,
)
from proxy.network.dispatcher import Dispatcher

LISTENER = "envoy.config.listener.v3.Listener"


@reads(LISTENER)
def compile_listener(
    reader: Reader, context: FactoryContext, dispatcher: Dispatcher, limit: ConnectionLimit | None = None
) -> Listener | None:
    """One listener.

    limit: of the connections of all listeners together
    """
    places = _with_options(reader, _compile_places(reader))
    scope_name = places[0].text
    name = reader.text("name") or scope_name
    listener = Listener(name, places, dispatcher, reader.message)
    listener.backlog = reader.wrapped("tcp_backlog_size", 128)
    listener.reuse_port = reader.wrapped("enable_reuse_port", True)
    reader.flag("reuse_port")  # as it was called before: true says what is so anyway, or is overruled
    listener.transparent = reader.wrapped("transparent", False)
    listener.freebind = reader.wrapped("freebind", False)
    listener.binds = _compile_binds(reader)
    scope = context.stats.scope("listener").scope(reader.text("stat_prefix") or scope_name)
    listener.stats = ListenerStats(scope)
    listener.direction = reader.enum("traffic_direction")
    listener.drains_unhealthy = reader.enum("drain_type") == "DEFAULT"
    own = context.copy()
    own.scope = scope
    own.direction = listener.direction
    own.init = listener.init
    # the limit of connections is all there is of that manager
    bypasses = reader.flag("bypass_overload_manager")
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
        if reader.type_name != LISTENER or not reader.has("internal_listener"):
            reader.fail("address", "a listener needs an address")
        return (NOWHERE,)
    places = [compile_place(address)]
    if reader.type_name == LISTENER:
        places += [_compile_places(each)[0] for each in reader.each("additional_addresses")]
    return tuple(places)


@reads(LISTENER)
def _with_options(reader: Reader, places: tuple[Place, ...]) -> tuple[Place, ...]:
    """The places with the options of their sockets. An additional address may have its own in place of the listener's."""
    keepalive = compile_keepalive(reader.sub("tcp_keepalive"))
    options = compile_socket_options(reader.each("socket_options"))
    queue = fast_open(reader.wrapped("tcp_fast_open_queue_length", None))
    protocol = IPPROTO_MPTCP if reader.flag("enable_mptcp") else 0
    if protocol and any(place.port is None for place in places):
        reader.fail("enable_mptcp", "can only be used with IP addresses")
    own = [(keepalive, options)]
    own += [_compile_override(each, keepalive, options) for each in reader.each("additional_addresses")]
    return tuple(
        [
            place._replace(options=_of_place(place, alive + more + queue), protocol=protocol)
            for place, (alive, more) in zip(places, own, strict=True)
        ]
    )


@reads("envoy.config.listener.v3.AdditionalAddress")
def _compile_override(reader: Reader, keepalive: Options, options: Options) -> tuple[Options, Options]:
    override = reader.sub("socket_options")
    if override is not None:
        options = _compile_overriding(override)
    alive = reader.sub("tcp_keepalive")
    return (keepalive if alive is None else compile_keepalive(alive)), options


@reads("envoy.config.core.v3.SocketOptionsOverride")
def _compile_overriding(reader: Reader) -> Options:
    return compile_socket_options(reader.each("socket_options"))


def _of_place(place: Place, options: Options) -> Options:
    """A unix socket has only those that are set once it listens, as in Envoy."""
    if place.port is not None:
        return options
    return tuple([option for option in options if option.state == LISTENING])
