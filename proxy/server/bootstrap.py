"""Bootstrap (envoy.config.bootstrap.v3) → the parts of a running server. The dry run of ``--mode validate`` is this
very function: what compiles here can be served."""

from __future__ import annotations

import logging
import os.path
import socket
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from proxy.access_log.access_log import AccessLog, compile_access_logs
from proxy.api.errors import Errors
from proxy.api.load import Loaded
from proxy.api.matchers import compile_string_matcher
from proxy.api.reader import Reader, reads, unread
from proxy.base.ids import Ids
from proxy.base.registry import Line, Registry
from proxy.extensions import EXTENSIONS
from proxy.http.async_client import AsyncClient
from proxy.http.context import FactoryContext, Node
from proxy.listener.manager import ListenerManager
from proxy.listener.overload import RUNTIME_KEY, ConnectionLimit, compile_overload, limit_by_runtime
from proxy.network.connector import SocketConnector
from proxy.network.dispatcher import Dispatcher
from proxy.network.file_watch import FileWatcher
from proxy.network.senders import NetworkSenders
from proxy.network.tasks import LoopTasks
from proxy.runtime.config import compile_layers
from proxy.runtime.runtime import Runtime
from proxy.server.bootstrap_rest import check_idle_provider, compile_log_format, compile_rest
from proxy.server.options import DEFAULTS
from proxy.server.record import Record
from proxy.server.runtime_disk import DISK
from proxy.stats.config import compile_stats_config
from proxy.stats.sink import StatsSink
from proxy.stats.store import Store
from proxy.stats.tags import Tag
from proxy.tracing.resource import resource_attributes
from proxy.upstream.context import UpstreamContext
from proxy.upstream.dns_config import compile_bootstrap_resolver
from proxy.upstream.manager import ClusterManager
from proxy.xds.dynamic import Dynamic, compile_dynamic
from proxy.xds.secrets import SecretManager
from proxy.xds.sources import ConfigSources
from proxy.xds.transport import Transport, node_message

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from proxy.base.clock import Clock
    from proxy.server.options import Options
    from proxy.server.watchdog import Watchdog
    from proxy.upstream.dns import Resolver

log = logging.getLogger("runtime")

STATS_SINKS = "envoy.stat_sinks."
BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"


class AdminConfig(NamedTuple):
    """Where the admin interface listens, what it allows to be asked for (None: everything), where it logs."""

    ip: str
    port: int
    allow_path: Callable[[str], bool] | None = None
    access_logs: tuple[AccessLog, ...] = ()


class Parts(Record):
    """Everything that a compiled bootstrap consists of."""

    message: Message
    errors: Errors
    node: Node
    context: FactoryContext
    clusters: ClusterManager
    listeners: ListenerManager
    client: AsyncClient
    admin: AdminConfig | None
    flush_interval_s: float
    log_format: str  # --log-format's pattern, or the bootstrap's own
    runtime: Runtime
    sinks: list[StatsSink]
    watcher: FileWatcher
    secrets: SecretManager
    dynamic: Dynamic
    sources: ConfigSources
    watchdog: Watchdog | None


def own_address(version: str = "v4") -> str:
    """This host's own address as a peer would see it, for spans and forwarding headers; loopback when it has none.

    Connecting a UDP socket sends nothing: it only asks the routing table which address would be used.
    """
    family, target = (socket.AF_INET6, "2001:db8::1") if version == "v6" else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "::1" if version == "v6" else "127.0.0.1"


def installed_lines() -> list[Line]:
    """What installed packages add to the table (proxy.extensions; entry-point groups ``outrider.<kind>``).

    An entry point's name is "<Envoy extension name> <full name of its configuration message>".
    """
    from importlib.metadata import entry_points

    lines: list[Line] = []
    installed = entry_points()  # reads a file of every installed package
    for group in ("filters", "tracers", "load_balancers", "access_loggers"):
        for entry in installed.select(group=f"outrider.{group}"):
            name, _, message = entry.name.partition(" ")
            lines.append((name, message or name, entry.value))
    return lines


def compile_bootstrap(
    loaded: Loaded,
    options: Options,
    dispatcher: Dispatcher,
    store: Store,
    environ: Mapping[str, str],
    resolver: Resolver,
    ids: Ids | None = None,
) -> Parts:
    """Compile everything; all findings are in ``Parts.errors``. Opens no listener and resolves no name.

    ids: where ids and chance come from; None: a source of its own
    """
    return _compile(loaded.reader(), loaded, options, dispatcher, store, environ, resolver, ids or Ids())


@reads(BOOTSTRAP)
def _compile(
    root: Reader,
    loaded: Loaded,
    options: Options,
    dispatcher: Dispatcher,
    store: Store,
    environ: Mapping[str, str],
    resolver: Resolver,
    ids: Ids,
) -> Parts:
    registry = Registry(EXTENSIONS, installed_lines)
    clock = dispatcher.clock
    stats_tags = tuple(
        Tag(name, value) for name, _, value in (tag.partition(":") for tag in options.stats_tags)
    )
    _compile_stats(root.sub("stats_config"), store, stats_tags)
    node = _compile_node(root.sub("node"), options)
    layers = compile_layers(root.sub("layered_runtime"), node.cluster, DISK)
    runtime = Runtime(layers, store.scope("runtime"), _report_layer)
    watcher = FileWatcher(dispatcher.loop)
    sources = ConfigSources(watcher, clock, options.reject_unknown_dynamic_fields)
    secrets = SecretManager(sources, store, clock)
    upstream = UpstreamContext(
        clock=clock,
        timers=dispatcher.timers,
        ids=ids,
        stats=store,
        registry=registry,
        connector=SocketConnector(dispatcher),
        resolver=resolver,
        runtime=runtime,
        default_resolver=compile_bootstrap_resolver(root),
        environ=environ,
        sources=sources,
        secrets=secrets,
    )
    clusters = ClusterManager(upstream)
    local_address = own_address(options.local_address_ip_version)
    client = AsyncClient(clusters, dispatcher.timers, clock, local_address)
    folder = os.path.dirname(options.config_path or loaded.locator.file) or "."
    context = _factory_context(upstream, clusters, client, dispatcher, node, options, local_address, folder)
    transport = Transport(client, dispatcher, ids, partial(node_message, node))
    sources.connect(transport, context)
    listeners = ListenerManager(dispatcher, context)
    listeners.drain_time_s = options.drain_time_s
    listeners.limit = _compile_limit(root, runtime)
    tracing = root.sub("tracing")
    context.tracing_provider = tracing.sub("http") if tracing is not None else None
    resources = root.sub("static_resources")
    if resources is not None:
        _compile_resources(resources, clusters, listeners, context, secrets)
    dynamic = compile_dynamic(root.sub("dynamic_resources"), sources, clusters, listeners, context)
    _warn_of_idle_tracing(root, context)
    admin = _compile_admin(root.sub("admin"), context)
    flush_s = root.seconds("stats_flush_interval", 5.0) or 5.0
    sinks = [sink for each in root.each("stats_sinks") if (sink := _compile_sink(each, context)) is not None]
    sources.finish()
    compile_rest(root)
    watchdog = _compile_watchdog(root, options, store, clock, ids)
    log_format = compile_log_format(
        root.sub("application_log_config"), options.log_format, DEFAULTS.log_format
    )
    for finding in unread(root):
        loaded.errors.add(finding)
    return Parts(
        message=loaded.message,
        errors=loaded.errors,
        node=node,
        context=context,
        clusters=clusters,
        listeners=listeners,
        client=client,
        admin=admin,
        flush_interval_s=flush_s,
        log_format=log_format,
        runtime=runtime,
        sinks=sinks,
        watcher=watcher,
        secrets=secrets,
        dynamic=dynamic,
        sources=sources,
        watchdog=watchdog,
    )


def _factory_context(
    upstream: UpstreamContext,
    clusters: ClusterManager,
    client: AsyncClient,
    dispatcher: Dispatcher,
    node: Node,
    options: Options,
    local_address: str,
    folder: str,
) -> FactoryContext:
    """What every extension is given. local_address: as ``own_address`` says; folder: of the configuration's file"""
    return FactoryContext(
        clock=upstream.clock,
        timers=upstream.timers,
        ids=upstream.ids,
        stats=upstream.stats,
        scope=upstream.stats.scope(""),
        clusters=clusters,
        registry=upstream.registry,
        http_client=client,
        node=node,
        local_address=local_address,
        flush_interval_s=options.file_flush_interval_ms / 1000.0,
        flush_min_bytes=options.file_flush_min_size_kb * 1024,
        resource_attributes=resource_attributes(upstream.environ),
        environ=dict(upstream.environ),
        runtime=upstream.runtime,
        folder=folder,
        tasks=LoopTasks(dispatcher),
        senders=NetworkSenders(dispatcher, clusters),
        sources=upstream.sources,
        secrets=upstream.secrets,
    )


@reads(BOOTSTRAP)
def _compile_limit(root: Reader, runtime: Runtime) -> ConnectionLimit:
    """Of downstream connections: the overload manager's, or else the runtime key's."""
    limit = compile_overload(root.sub("overload_manager"))
    if limit is None:
        return limit_by_runtime(runtime)
    if RUNTIME_KEY in runtime.snapshot.entries:
        root.warn("overload_manager", f"goes before the runtime key {RUNTIME_KEY}")
    return limit


@reads(BOOTSTRAP)
def _warn_of_idle_tracing(root: Reader, context: FactoryContext) -> None:
    """bootstrap.tracing is the provider of connection managers that name none; there may be no such one."""
    provider = context.tracing_provider
    if provider is not None and (
        not provider.has("typed_config") or f"{provider.path}.typed_config" in provider.unread()
    ):
        check_idle_provider(provider, context.registry)
        root.ignore("tracing", why="no connection manager traces without a provider of its own")


@reads(BOOTSTRAP)
def _compile_watchdog(
    root: Reader, options: Options, store: Store, clock: Clock, ids: Ids
) -> Watchdog | None:
    if not (root.has("watchdog") or root.has("watchdogs")):
        return None  # nor is the module imported
    from proxy.server.watchdog import compile_watchdogs

    return compile_watchdogs(root, store, clock.monotonic, ids.random, bool(options.supervised))


def _report_layer(name: str, reason: str) -> None:
    log.warning("runtime: layer %s is left out: %s", name, reason)


@reads("envoy.config.metrics.v3.StatsSink")
def _compile_sink(reader: Reader, context: FactoryContext) -> StatsSink | None:
    reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        if not reader.has("typed_config"):
            reader.fail("typed_config", context.registry.untyped("a statistics sink", reader.text("name")))
        return None
    if not context.registry.has(config.type_name, STATS_SINKS):
        unknown = context.registry.unknown("statistics sink", config.type_name, STATS_SINKS)
        reader.unsupported("typed_config", f"{unknown}; /stats/prometheus is there without one")
        return None
    made: StatsSink = context.registry.resolve(config.type_name)(config, context)
    return made


@reads("envoy.config.metrics.v3.StatsConfig")
def _compile_stats(reader: Reader | None, store: Store, tags: tuple[Tag, ...]) -> None:
    """The stats room may not know the api room, so its message is named here."""
    compile_stats_config(reader, store, tags)


@reads(f"{BOOTSTRAP}.StaticResources")
def _compile_resources(
    reader: Reader,
    clusters: ClusterManager,
    listeners: ListenerManager,
    context: FactoryContext,
    secrets: SecretManager,
) -> None:
    for secret in reader.each("secrets"):
        secrets.add_static(secret)
    clusters.compile(reader.in_turn("clusters"))
    for listener in reader.in_turn("listeners"):
        listeners.add(listener, context)
    secrets.finish()


@reads("envoy.config.core.v3.Node")
def _compile_node(reader: Reader | None, options: Options) -> Node:
    """bootstrap.node; --service-node, --service-cluster and --service-zone go before what it says, as in Envoy."""
    node = Node()
    if reader is not None:
        node.id = reader.text("id")
        node.cluster = reader.text("cluster")
        node.metadata = reader.struct("metadata")
        locality = reader.sub("locality")
        if locality is not None:
            node.region, node.zone = locality.text("region"), locality.text("zone")
            node.sub_zone = locality.text("sub_zone")
        reader.ignore(
            "user_agent_name",
            "user_agent_version",
            "user_agent_build_version",
            "extensions",
            "client_features",
            "listening_addresses",
            "dynamic_parameters",
            why="it is for a control plane only",
        )
    node.id = options.service_node or node.id
    node.cluster = options.service_cluster or node.cluster
    node.zone = options.service_zone or node.zone
    return node


@reads("envoy.config.bootstrap.v3.Admin")
def _compile_admin(reader: Reader | None, context: FactoryContext) -> AdminConfig | None:
    if reader is None:
        return None
    logs = compile_access_logs(reader.each("access_log"), context)
    reader.ignore("access_log_path", why="access_log says where the admin interface logs")
    allowed = [compile_string_matcher(one) for one in reader.each("allow_paths")]
    reader.ignore("profile_path", why="there is no built-in profiler")
    reader.ignore("ignore_global_conn_limit", why="the admin interface has a limit of its own")
    address = reader.sub("address")
    place = address.sub("socket_address") if address is not None else None
    if place is None:
        return None
    allow = (lambda path: any(matches(path.encode()) for matches in allowed)) if allowed else None
    config = AdminConfig(place.text("address"), place.number("port_value"), allow, logs)
    try:
        ip_address(config.ip)
    except ValueError:
        place.fail("address", f'"{config.ip}" is not an IP address; the admin interface needs one')
    return config
