"""envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy → what the connections of one chain share."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from proxy.access_log.access_log import compile_access_logs
from proxy.api.reader import Reader, reads
from proxy.base.headers import REQUEST_JOINED
from proxy.ext.filters.network.tcp_proxy.tlvs import compile_tlvs
from proxy.ext.filters.network.tcp_proxy.tunnel import HttpTunnels
from proxy.formatter import Formatter, compile_header_value
from proxy.http.context import FactoryContext
from proxy.http.hcm_extensions import compile_request_id
from proxy.network.tcp_proxy import AT_ONCE, TcpProxy
from proxy.network.tcp_session import TcpProxyConnection
from proxy.router.header_ops import HeaderOps, compile_addition

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher

TCP_PROXY: Final = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
IDLE_TIMEOUT_S: Final = 3600.0
_MAX_TOTAL_WEIGHT: Final = (1 << 32) - 1


class TcpProxyFilter:
    """The filter of one chain."""

    __slots__ = ("proxy",)

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        scope = context.stats.scope("tcp").scope(config.text("stat_prefix"))
        proxy = self.proxy = TcpProxy(scope, context.clusters.clusters, context.clock, context.ids)
        _compile_clusters(config, proxy)
        _compile_times(config, proxy)
        _compile_logs(config, proxy, context)
        proxy.tlvs = compile_tlvs(config, context)
        tunnel = config.sub("tunneling_config")
        if tunnel is not None:
            proxy.tunnels = _compile_tunnels(tunnel, context)
        _refuse(config)

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> AcceptedConnection:
        """The protocol object of one accepted connection."""
        return TcpProxyConnection(listener, self.proxy, dispatcher)

    def drain(self, begin: bool = True) -> None:
        """Bytes have no ends at which to close: connections go on unless ``check_drain_close`` says otherwise."""
        self.proxy.drain_close = begin and self.proxy.closes_on_drain


@reads(TCP_PROXY)
def _compile_clusters(config: Reader, proxy: TcpProxy) -> None:
    proxy.cluster = config.text("cluster")
    weighted = config.sub("weighted_clusters")
    if weighted is not None:
        _compile_weighted(weighted, proxy)
    if config.which("cluster_specifier") is None:
        config.fail("", "one of cluster, weighted_clusters is required")
    config.ignore("metadata_match", why="no cluster has subsets, and without them Envoy does not look at it")
    config.ignore(
        "hash_policy",
        why="no balancer hashes: ROUND_ROBIN, LEAST_REQUEST and RANDOM do not, in Envoy neither",
    )


@reads(f"{TCP_PROXY}.WeightedCluster")
def _compile_weighted(reader: Reader, proxy: TcpProxy) -> None:
    total = 0
    for each in reader.each("clusters"):
        total += _compile_weight(each, total, proxy)
    if total > _MAX_TOTAL_WEIGHT:
        reader.fail("clusters", f"the sum of weights of all weighted clusters exceeds {_MAX_TOTAL_WEIGHT}")


@reads(f"{TCP_PROXY}.WeightedCluster.ClusterWeight")
def _compile_weight(reader: Reader, before: int, proxy: TcpProxy) -> int:
    reader.ignore("metadata_match", why="no cluster has subsets, and without them Envoy does not look at it")
    weight = reader.number("weight")
    proxy.weighted.append((before + weight, reader.text("name")))
    return weight


@reads(TCP_PROXY)
def _compile_times(config: Reader, proxy: TcpProxy) -> None:
    proxy.idle_timeout_s = config.seconds("idle_timeout", IDLE_TIMEOUT_S) or inf  # 0 is none
    proxy.max_duration_s = config.seconds("max_downstream_connection_duration", inf) or inf
    jitter = config.sub("max_downstream_connection_duration_jitter_percentage")
    if jitter is not None:
        proxy.duration_jitter = _percent(jitter) / 100.0
    proxy.max_connect_attempts = config.wrapped("max_connect_attempts", 1)
    backoff = config.sub("backoff_options")
    if backoff is not None:
        _compile_backoff(backoff, proxy)
    proxy.closes_on_drain = config.wrapped("check_drain_close", False)
    proxy.connects_on = config.enum("upstream_connect_mode")
    proxy.early_bytes = config.wrapped("max_early_data_bytes", -1)
    if proxy.connects_on != AT_ONCE and proxy.early_bytes < 0:
        config.fail(
            "max_early_data_bytes",
            "must be set where hosts are not connected to at once (upstream_connect_mode)",
        )


@reads("envoy.config.core.v3.BackoffStrategy")
def _compile_backoff(reader: Reader, proxy: TcpProxy) -> None:
    """The longest interval is ten times the base where none is given, as in Envoy."""
    base_s = reader.seconds("base_interval", 0.001) or 0.001
    longest_s = reader.seconds("max_interval", base_s * 10) or base_s * 10
    if longest_s < base_s:
        reader.fail("max_interval", "must be greater than or equal to the base_interval")
    proxy.backoff_base_s, proxy.backoff_max_s = base_s, longest_s


@reads("envoy.type.v3.Percent")
def _percent(reader: Reader) -> float:
    return reader.real("value")


@reads(TCP_PROXY)
def _compile_logs(config: Reader, proxy: TcpProxy, context: FactoryContext) -> None:
    proxy.access_logs = compile_access_logs(config.each("access_log"), context)
    options = config.sub("access_log_options")
    if options is not None:
        for field in ("access_log_flush_interval", "flush_access_log_on_connected"):
            if config.has(field):
                config.fail(field, "only one of it and access_log_options may be given")
        _compile_log_options(options, proxy)
    if config.has("access_log_flush_interval"):
        proxy.log_interval_s = config.seconds("access_log_flush_interval", inf) or inf
    if config.flag("flush_access_log_on_connected"):
        proxy.logs_connected = True


@reads(f"{TCP_PROXY}.TcpAccessLogOptions")
def _compile_log_options(reader: Reader, proxy: TcpProxy) -> None:
    proxy.log_interval_s = reader.seconds("access_log_flush_interval", inf) or inf
    proxy.logs_connected = reader.flag("flush_access_log_on_connected")
    proxy.logs_start = reader.flag("flush_access_log_on_start")


@reads(f"{TCP_PROXY}.TunnelingConfig")
def _compile_tunnels(reader: Reader, context: FactoryContext) -> HttpTunnels:
    hostname: bytes | Formatter = b""
    try:
        hostname = compile_header_value(reader.text("hostname"))
    except ValueError as error:
        reader.fail("hostname", str(error))
    path = reader.text("post_path").encode()
    if reader.flag("use_post"):
        path = path or b"/"
        if path[:1] != b"/":
            reader.fail("post_path", "must begin with /")
    elif path:
        reader.fail("post_path", "can't be set where POST is not used")
    additions = [compile_addition(one) for one in reader.each("headers_to_add")]
    reader.unsupported("formatters", "is not supported here")
    ops = HeaderOps(frozenset(), [one for one in additions if one is not None], REQUEST_JOINED)
    tunnels = HttpTunnels(hostname, path, ops)
    tunnels.leaves_headers = reader.flag("propagate_response_headers")
    tunnels.leaves_trailers = reader.flag("propagate_response_trailers")
    _compile_ids(reader, tunnels, context)
    return tunnels


@reads(f"{TCP_PROXY}.TunnelingConfig")
def _compile_ids(reader: Reader, tunnels: HttpTunnels, context: FactoryContext) -> None:
    extension = reader.sub("request_id_extension")
    if extension is None or not compile_request_id(extension):
        reader.ignore(
            "request_id_header",
            "request_id_metadata_key",
            why="without a request_id_extension there is no id",
        )
        return
    tunnels.ids = context.ids
    tunnels.id_header = reader.text("request_id_header").lower().encode() or tunnels.id_header
    tunnels.id_key = reader.text("request_id_metadata_key") or tunnels.id_key


@reads(TCP_PROXY)
def _refuse(config: Reader) -> None:
    config.unsupported("on_demand", "clusters on demand need xDS, which is not supported yet")
    config.ignore(
        "downstream_idle_timeout",
        "upstream_idle_timeout",
        why="Envoy has no use for it; idle_timeout is for both sides",
    )
