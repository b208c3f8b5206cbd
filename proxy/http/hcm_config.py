"""HttpConnectionManager (envoy.extensions.filters.network.http_connection_manager.v3) → ConnectionManager.

Every field read here is honoured; what is not read is refused by the reader, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, Final

from proxy.access_log.access_log import compile_access_logs
from proxy.api.networks import compile_networks
from proxy.api.reader import Reader, reads
from proxy.codec.http1 import Http1Settings
from proxy.http.client_cert import compile_client_cert
from proxy.http.connection_manager import ConnectionManager
from proxy.http.context import FactoryContext
from proxy.http.early_forwarding import compile_early_forwarding
from proxy.http.filter import PerRouteConfig
from proxy.http.filter_config import HTTP_FILTERS, ChainTable, NamedFilter, level_compiler
from proxy.http.forwarding import APPEND_IF_ABSENT, OVERWRITE, PASS_THROUGH, Forwarding, Network
from proxy.http.hcm_extensions import compile_extensions
from proxy.http.hcm_options import compile_codec_options, compile_http2_options, compile_request_options
from proxy.http.ip_detection import compile_detectors
from proxy.http.rds import compile_rds
from proxy.http.route_stats import make_table_stats
from proxy.router.route_table import compile_route_table
from proxy.runtime.config import MAX_REQUEST_HEADERS_COUNT, MAX_REQUEST_HEADERS_KB
from proxy.runtime.runtime import Runtime
from proxy.stats.http2 import Http2StatsOnDemand
from proxy.stats.store import Scope, Store
from proxy.tracing.compile import compile_tracing
from proxy.upstream.http2_options import compile_http2_settings

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
SERVER_TRANSFORMATIONS: Final = {
    "OVERWRITE": OVERWRITE,
    "APPEND_IF_ABSENT": APPEND_IF_ABSENT,
    "PASS_THROUGH": PASS_THROUGH,
}


@reads(HCM)
def compile_connection_manager(
    reader: Reader, context: FactoryContext, listener_scope: Scope
) -> ConnectionManager:
    """A runnable connection manager. Problems are collected in the reader; what comes back may then be incomplete
    and must not be run.

    listener_scope: ``listener.<address>.``, under which Envoy counts response classes once more.
    """
    stat_prefix = reader.text("stat_prefix")
    scope = context.stats.scope("http").scope(stat_prefix)
    context.http_scope = scope
    hcm = ConnectionManager(stat_prefix, scope, listener_scope, context.clock)
    codec_type = reader.enum("codec_type")
    if codec_type == "HTTP3":
        reader.unsupported("codec_type", "HTTP/3 is not supported; AUTO, HTTP1 and HTTP2 are")
    hcm.detects_http2 = codec_type == "AUTO"
    hcm.is_http2 = codec_type == "HTTP2"
    hcm.http2_stats = Http2StatsOnDemand(context.stats.scope(""))
    _compile_timeouts(reader, hcm, context.runtime)
    _compile_limits(reader, hcm, context.runtime, context.stats)
    hcm.forwarding = _compile_forwarding(reader, context)
    compile_request_options(reader, hcm, context)
    routes = reader.sub("route_config")
    if routes is not None:
        hcm.route_table = compile_route_table(
            routes, context, context.clusters.clusters, compile_level=level_compiler(context)
        )
        make_table_stats(hcm.route_table, context.stats.scope("vhost"))
    elif reader.which("route_specifier") is None:
        reader.fail("route_config", "is missing: a connection manager needs its routes")
    upgrades: dict[bytes, ChainTable] = {}
    hcm.upgrades = _compile_upgrades(reader, context, upgrades)
    rds = reader.sub("rds")
    hcm.rds = compile_rds(rds, hcm, context, scope) if rds is not None else None
    reader.unsupported("scoped_routes", "scoped routes are not supported; write route_config or rds")
    hcm.tracing = compile_tracing(reader.sub("tracing"), context, context.direction, scope)
    compile_extensions(reader, hcm, context)
    hcm.access_logs = compile_access_logs(reader.each("access_log"), context)
    chains = ChainTable(_compile_filters(reader, context), upgrades)
    hcm.chain = chains.own
    hcm.upgrade_chains = {name: table.own for name, table in upgrades.items()}
    if routes is not None and chains.named:
        chains.bind(hcm.route_table)
    if hcm.rds is not None:
        hcm.rds.bind(chains)
    return hcm


@reads(HCM)
def _compile_upgrades(
    reader: Reader, context: FactoryContext, chains: dict[bytes, ChainTable]
) -> dict[bytes, bool]:
    """By protocol, whether it is taken. Those with filters of their own are added to ``chains``."""
    upgrades: dict[bytes, bool] = {}
    for one in reader.each("upgrade_configs"):
        _compile_upgrade(one, context, upgrades, chains)
    return upgrades


@reads(f"{HCM}.UpgradeConfig")
def _compile_upgrade(
    reader: Reader, context: FactoryContext, upgrades: dict[bytes, bool], chains: dict[bytes, ChainTable]
) -> None:
    name = reader.text("upgrade_type").lower().encode()
    if name in upgrades:
        reader.fail("upgrade_type", f"duplicate upgrade_type {reader.text('upgrade_type')}")
    upgrades[name] = reader.wrapped("enabled", True)
    if name == b"connect-udp":
        reader.unsupported("upgrade_type", "CONNECT-UDP is not supported; CONNECT is")
    filters = _compile_chain(reader.each("filters"), context)
    if filters:
        chains[name] = ChainTable(filters)


@reads(HCM)
def _compile_filters(reader: Reader, context: FactoryContext) -> list[NamedFilter]:
    readers = reader.each("http_filters")
    if not readers:
        reader.unsupported(
            "",
            "without http_filters no request is answered; the last one is envoy.filters.http.router",
            whole=False,
        )
    return _compile_chain(readers, context)


def _compile_chain(readers: Sequence[Reader], context: FactoryContext) -> list[NamedFilter]:
    """Readers: of HttpFilter messages, in their order."""
    filters = [_compile_filter(each, context, each is readers[-1]) for each in readers]
    return [one for one in filters if one is not None]


@reads("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter")
def _compile_filter(reader: Reader, context: FactoryContext, last: bool) -> NamedFilter | None:
    name = reader.text("name")  # Envoy chooses by the type alone; the name is for people
    config = reader.any("typed_config")
    if config is None:
        if reader.which("config_type") is None:
            reader.fail("typed_config", context.registry.untyped("a filter", name))
        return None
    disabled = reader.flag("disabled")
    if not context.registry.has(config.type_name, HTTP_FILTERS):
        _unknown_filter(reader, context.registry.unknown("HTTP filter", config.type_name, HTTP_FILTERS))
        return None
    if (config.type_name == ROUTER) != last:
        reader.fail("", "the router must be the last filter, and the last filter must be the router")
    context.filter_name = name
    target: Any = context.registry.resolve(config.type_name)
    if issubclass(target, PerRouteConfig):
        reader.fail("", f"{config.type_name} configures a filter for a route; it is no filter")
        return None
    built: Any = target(config, context)
    if disabled and last:
        reader.fail("disabled", "the terminal filter cannot be disabled")
    return NamedFilter(name, context.registry.name(config.type_name), built, disabled, last)


@reads("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter")
def _unknown_filter(reader: Reader, message: str) -> None:
    if reader.flag("is_optional"):
        reader.ignore("typed_config", why=f"{message}; the filter is optional and left out")
    else:
        reader.unsupported("", message)


@reads(HCM)
def _compile_timeouts(reader: Reader, hcm: ConnectionManager, runtime: Runtime) -> None:
    hcm.request_timeout_s = reader.seconds("request_timeout", 0.0) or 0.0
    headers_s = reader.seconds("request_headers_timeout")
    if headers_s is not None:
        hcm.request_headers_timeout_s = headers_s
    hcm.stream_idle_timeout_s = _or_never(reader.seconds("stream_idle_timeout", 300.0))
    hcm.delayed_close_timeout_s = reader.seconds("delayed_close_timeout", 1.0) or 0.0
    drain_s = reader.seconds("drain_timeout")
    if drain_s is not None:
        hcm.drain_timeout_s = drain_s  # HTTP/1 connections close with the response after a drain begins
    common = reader.sub("common_http_protocol_options")
    hcm.max_headers_count = runtime.snapshot.integer(MAX_REQUEST_HEADERS_COUNT, 100)
    if common is not None:
        _compile_common(common, hcm)


@reads("envoy.config.core.v3.HttpProtocolOptions")
def _compile_common(reader: Reader, hcm: ConnectionManager) -> None:
    hcm.connection_idle_timeout_s = _or_never(reader.seconds("idle_timeout", 3600.0))
    duration_s = reader.seconds("max_connection_duration")
    hcm.max_connection_duration_s = _or_never(duration_s)
    if duration_s == 0.0:
        reader.warn("max_connection_duration", "is no limit here; Envoy ends each connection as it begins")
    hcm.max_stream_duration_s = reader.seconds("max_stream_duration", 0.0) or 0.0
    hcm.max_headers_count = reader.wrapped("max_headers_count", hcm.max_headers_count)
    hcm.max_requests_per_connection = reader.wrapped("max_requests_per_connection", 0)
    if reader.has("max_response_headers_kb"):
        reader.fail("max_response_headers_kb", "cannot be set on http_connection_manager")


def _or_never(seconds: float | None) -> float:
    """Envoy's durations where 0 (or nothing) means no limit."""
    return seconds or inf


@reads(HCM)
def _compile_limits(reader: Reader, hcm: ConnectionManager, runtime: Runtime, stats: Store) -> None:
    default_kb = runtime.snapshot.integer(MAX_REQUEST_HEADERS_KB, 60)
    hcm.max_headers_bytes = reader.wrapped("max_request_headers_kb", default_kb) * 1024
    options = reader.sub("http_protocol_options")
    if options is not None:
        _compile_http1(options, hcm)
    hcm.http2_settings = compile_http2_settings(
        reader.sub("http2_protocol_options"), hcm.max_headers_bytes, hcm.max_headers_count
    )
    hcm.http2_settings = compile_http2_options(reader, hcm.http2_settings, stats.scope("http2"))
    settings = Http1Settings(
        max_headers_bytes=hcm.max_headers_bytes,
        max_headers_count=hcm.max_headers_count,
        accept_http_10=hcm.accept_http_10,
        enable_trailers=hcm.enable_trailers,
        refuse_https_targets=reader.wrapped("use_remote_address", False)
        and reader.number("xff_num_trusted_hops") == 0,
    )
    hcm.codec_settings = compile_codec_options(reader, settings, stats.scope("http1"))


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def _compile_http1(reader: Reader, hcm: ConnectionManager) -> None:
    hcm.accept_http_10 = reader.flag("accept_http_10")
    hcm.enable_trailers = reader.flag("enable_trailers")


@reads(HCM)
def _compile_forwarding(reader: Reader, context: FactoryContext) -> Forwarding:
    forwarding = compile_early_forwarding(reader, context)
    forwarding.local_address = context.local_address.encode()
    forwarding.use_remote_address = reader.wrapped("use_remote_address", False)
    forwarding.detectors = compile_detectors(reader, context)
    forwarding.trusted_hops = reader.number("xff_num_trusted_hops")
    forwarding.skip_xff_append = reader.flag("skip_xff_append")
    forwarding.via = reader.text("via").encode()
    forwarding.generate_request_id = reader.wrapped("generate_request_id", True)
    forwarding.preserve_request_id = reader.flag("preserve_external_request_id")
    forwarding.always_set_request_id = reader.flag("always_set_request_id_in_response")
    forwarding.server_name = (reader.text("server_name") or "envoy").encode()
    forwarding.server_transformation = SERVER_TRANSFORMATIONS[reader.enum("server_header_transformation")]
    if reader.wrapped("add_user_agent", False):
        forwarding.add_user_agent = True
        forwarding.user_agent = context.node.cluster.encode()
        forwarding.user_node = context.node.id.encode()
    forwarding.internal_networks = _compile_internal(reader.sub("internal_address_config"))
    forwarding.client_cert = compile_client_cert(reader)
    return forwarding


@reads(f"{HCM}.InternalAddressConfig")
def _compile_internal(reader: Reader | None) -> tuple[Network, ...]:
    return () if reader is None else compile_networks(reader.each("cidr_ranges"))
