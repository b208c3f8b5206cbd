"""A cluster: its hosts, how one of them is chosen, its limits and its stats (envoy.config.cluster.v3.Cluster)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.api.reader import reads
from proxy.base.init import InitManager
from proxy.stats.http2 import Http2StatsOnDemand
from proxy.upstream.balancing import compile_balancing, compile_provided
from proxy.upstream.circuit_breaker import ResourceManager, Thresholds, compile_circuit_breakers
from proxy.upstream.dns import Discovery, DnsDiscovery, DnsSettings, EndpointConfig
from proxy.upstream.dns_config import (
    DNS_CLUSTER,
    compile_default_dns_cluster,
    compile_dns_cluster,
    compile_dns_settings,
    ignore_dns_settings,
)
from proxy.upstream.eds import EdsDiscovery, compile_eds
from proxy.upstream.endpoints import compile_endpoints, compile_metadata, compile_overprovisioning
from proxy.upstream.host import Host
from proxy.upstream.load_balancer import BalancingPolicy, Chooser, HostSelector, LoadBalancer
from proxy.upstream.options import (
    BindConfig,
    HttpOptions,
    TcpKeepalive,
    compile_bind_config,
    compile_http_options,
    compile_keepalive,
)
from proxy.upstream.original_dst import OriginalDst, OriginalDstSettings, compile_original_dst
from proxy.upstream.pool_either import make_pool
from proxy.upstream.runtime_keys import follow_runtime
from proxy.upstream.stats import ClusterCodes, ClusterStats, TimeoutBudgets
from proxy.upstream.transport_socket import TransportSockets, compile_transport_sockets

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.stats.store import Scope
    from proxy.upstream.context import UpstreamContext
    from proxy.upstream.dns import ResolverOptions

_DNS_TYPE: Final = "envoy.cluster.dns"
_CLUSTER_TYPES: Final = ("envoy.cluster.static", "envoy.cluster.strict_dns", "envoy.cluster.logical_dns")


_NO_METADATA: Final[Mapping[str, Any]] = {}


class ClusterConfig(NamedTuple):
    """What a Cluster is made from. dns is None for STATIC and ORIGINAL_DST clusters, original_dst for all but the
    latter. message: the protobuf message, for config_dump."""

    name: str
    alt_stat_name: str = ""
    connect_timeout_s: float = 5.0
    buffer_limit_bytes: int = 1024 * 1024
    http: HttpOptions = HttpOptions()
    keepalive: TcpKeepalive | None = None
    bind_config: BindConfig | None = None
    thresholds: tuple[Thresholds, Thresholds] = (Thresholds(), Thresholds())
    policy: BalancingPolicy = BalancingPolicy()
    endpoints: Sequence[EndpointConfig] = ()
    dns: DnsSettings | None = None
    original_dst: OriginalDstSettings | None = None
    timeout_budgets: bool = False
    metadata: Mapping[str, Any] = _NO_METADATA
    message: Any = None


class Cluster:
    """A set of hosts that can take the same requests.

    name: as routes call it; observability_name: as stats and admin call it
    timeout_budgets: None unless they are kept
    choose_host(stream): the host of the next try, or None when there is none (counted); take it from the cluster each
    time, it changes with the hosts
    codes: responses by code; resources: circuit breakers by routing priority (0 DEFAULT, 1 HIGH)
    idle_timeout_s, max_connection_duration_s: None is no limit; max_requests_per_connection: 0 is no limit;
    max_stream_duration_s: of a try, 0.0 is no limit; keepalive: None is off; bind_config: where connections come from, None for anywhere
    hosts: all of them, of every priority, healthy or not; initialized: they are known (STRICT_DNS: after the first
    answer or failure) and so is all else that ``init`` waits for; on_ready: called then; on_updated: called when they change later
    added_via_api: it came while we run, in that version, at updated_at (wall-clock seconds)
    maintenance: the share of requests (0..1) to be refused, by the runtime; runtime: what keeps us as it says
    """

    __slots__ = (
        "_selector",
        "added_via_api",
        "bind_config",
        "buffer_limit_bytes",
        "choose_host",
        "clock",
        "codec_settings",
        "codes",
        "config",
        "connect_timeout_s",
        "connector",
        "discovery",
        "hosts",
        "http2_stats",
        "idle_timeout_s",
        "init",
        "initialized",
        "keepalive",
        "maintenance",
        "max_connection_duration_s",
        "max_requests_per_connection",
        "max_stream_duration_s",
        "name",
        "name_bytes",
        "observability_bytes",
        "observability_name",
        "on_ready",
        "on_updated",
        "original_dst",
        "resources",
        "runtime",
        "scope",
        "sockets",
        "stats",
        "timeout_budgets",
        "updated_at",
        "version",
    )

    choose_host: Chooser

    def __init__(
        self, config: ClusterConfig, make_balancer: Callable[[], LoadBalancer], context: UpstreamContext
    ) -> None:
        self.config = config
        self.name = config.name
        self.added_via_api = False
        self.version = ""
        self.updated_at = context.clock.wall()
        self.name_bytes = config.name.encode()
        self.observability_name = config.alt_stat_name or config.name
        self.observability_bytes = self.observability_name.encode()
        scope = self.scope = context.stats.scope("cluster").scope(self.observability_name)
        self.sockets = TransportSockets()
        self.stats = scope.group("ClusterStats", ClusterStats)
        self.codes = scope.group("ClusterCodes", self._make_codes)
        breakers = scope.scope("circuit_breakers")
        default, high = config.thresholds
        self.timeout_budgets = TimeoutBudgets(scope) if config.timeout_budgets else None
        self.resources = (
            ResourceManager(default, breakers.scope("default")),
            ResourceManager(high, breakers.scope("high")),
        )
        self.connect_timeout_s = config.connect_timeout_s
        self.buffer_limit_bytes = config.buffer_limit_bytes
        self.idle_timeout_s = config.http.idle_timeout_s
        self.max_requests_per_connection = config.http.max_requests_per_connection
        self.max_connection_duration_s = config.http.max_connection_duration_s
        self.max_stream_duration_s = config.http.max_stream_duration_s
        self.keepalive = config.keepalive
        self.bind_config = config.bind_config
        self.http2_stats = Http2StatsOnDemand(scope)
        self.codec_settings = config.http.http1
        self.connector = context.connector
        self.clock = context.clock
        self.hosts: list[Host] = []
        self.initialized = False
        self.init = InitManager(f"Cluster {config.name}")
        self.on_ready: Callable[[Cluster], None] | None = None
        self.on_updated: Callable[[Cluster], None] | None = None
        self._selector = HostSelector(make_balancer, config.policy, self.stats, context.ids)
        self.choose_host = self._selector.choose_host
        self.discovery: Discovery | None = None
        if config.dns is not None:
            self.discovery = DnsDiscovery(self, config.endpoints, config.dns, context)
        self.original_dst: OriginalDst | None = None
        if config.original_dst is not None:
            self.original_dst = OriginalDst(self, config.original_dst, context.timers)
            self.choose_host = self.original_dst.choose_host
        self.maintenance = 0.0
        self.runtime = follow_runtime(self, context.runtime)

    def _make_codes(self, scope: Scope) -> ClusterCodes:
        return ClusterCodes(scope, self.stats)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """filter_metadata by its keys, as plain values (%CLUSTER_METADATA%)."""
        return self.config.metadata

    @property
    def is_eds(self) -> bool:
        """Whether its hosts come by EDS."""
        return isinstance(self.discovery, EdsDiscovery)

    def start(self) -> None:
        """Find the hosts; ``on_ready(self)`` is called once they are known, which for STATIC is now."""
        self.stats.warming_state.set(0)
        if self.discovery is not None:
            self.discovery.start()
            return
        if self.original_dst is not None:
            self.original_dst.start()
        endpoints = self.config.endpoints
        if endpoints:
            self.stats.default_total_match_count.value += len(endpoints)
            hosts = [self.make_host(endpoint.address, endpoint) for endpoint in endpoints]
            self.update_hosts(hosts, len({host.priority for host in hosts}))
        self.on_initialized()

    def make_host(self, ip: str, endpoint: EndpointConfig) -> Host:
        """A new host for one address of an endpoint, with its (empty) pools."""
        host = Host(self, ip, endpoint.port, endpoint.host, endpoint.path)
        transport_socket = self.sockets.of(endpoint.host.metadata, self.scope)
        host.tls, host.proxy_protocol = transport_socket.tls, transport_socket.proxy
        host.pools = (make_pool(self, host, 0), make_pool(self, host, 1))
        return host

    def choose_elsewhere(self, stream: StreamInfo | None, tried: set[int]) -> Host | None:
        """The host of a retry in another priority than those tried; None where there is none (``choose_host`` then)."""
        return None if self.original_dst is not None else self._selector.choose_elsewhere(stream, tried)

    def update_hosts(self, hosts: list[Host], changed: int = 1) -> None:
        """The hosts from now on. Those that are no longer among them drain: their streams finish, no new ones come.

        changed: in how many priorities they are other ones (for membership_change).
        """
        gone = set(self.hosts) - set(hosts)
        self.hosts = hosts
        self._selector.update(hosts)
        self.choose_host = self._selector.choose_host
        self.stats.membership_change.value += changed
        self._show_membership()
        for host in gone:
            host.leave()
        if self.config.policy.renews_connections:
            for host in hosts:
                for pool in host.pools:
                    pool.renew()
        if self.initialized and self.on_updated is not None:
            self.on_updated(self)

    def add_host(self, host: Host) -> None:
        """One more, of a cluster that chooses its hosts itself (``original_dst``)."""
        self.hosts.append(host)
        self._show_change()

    def remove_hosts(self, gone: list[Host]) -> None:
        """Those of such a cluster that are no longer used."""
        leaving = set(gone)
        self.hosts = [host for host in self.hosts if host not in leaving]
        self._show_change()
        for host in gone:
            host.leave()

    def _show_change(self) -> None:
        self.stats.membership_change.value += 1
        self._show_membership()

    def set_policy(self, policy: BalancingPolicy) -> None:
        """How hosts are weighed from the next change of hosts on."""
        self._selector.set_policy(policy)

    def on_initialized(self) -> None:
        """The hosts are known for the first time; certificates that come by SDS may still be on their way."""
        if not self.init.begun:
            self._show_membership()
            self.init.initialize(self._on_warm)

    def _on_warm(self) -> None:
        self.initialized = True
        if self.on_ready is not None:
            self.on_ready(self)

    def stop(self) -> None:
        """Removed, or the program ends: no more discovery, every host drains."""
        if self.discovery is not None:
            self.discovery.stop()
        if self.original_dst is not None:
            self.original_dst.stop()
        for host in self.hosts:
            host.drain()
        for side in self.sockets.sides():
            if side.release is not None:
                side.release()

    def _show_membership(self) -> None:
        stats, hosts = self.stats, self.hosts
        stats.membership_total.set(len(hosts))
        stats.membership_healthy.set(sum(host.healthy for host in hosts))
        stats.membership_degraded.set(sum(host.degraded for host in hosts))
        stats.membership_excluded.set(sum(host.excluded for host in hosts))
        if self.discovery is not None and self.discovery.shows_weights:
            stats.max_host_weight.set(max((host.weight for host in hosts), default=1))

    def __repr__(self) -> str:
        return f"Cluster({self.name})"


@reads("envoy.config.cluster.v3.Cluster")
def compile_cluster(reader: Reader, context: UpstreamContext) -> Cluster:
    """A Cluster, not yet started. Findings go to the reader; the cluster is usable only when there are none."""
    dns = _compile_discovery(reader, context.default_resolver)
    assignment = reader.sub("load_assignment")
    _refuse_others(reader)
    original_dst = compile_original_dst(reader)
    if original_dst is None:
        make_balancer, policy = compile_balancing(reader, compile_overprovisioning(assignment), context)
    else:
        make_balancer, policy = compile_provided(reader, context)
    config = ClusterConfig(
        name=reader.text("name"),
        alt_stat_name=reader.text("alt_stat_name"),
        connect_timeout_s=reader.seconds("connect_timeout", 5.0) or 5.0,
        buffer_limit_bytes=reader.wrapped("per_connection_buffer_limit_bytes", 1024 * 1024),
        http=compile_http_options(reader),
        keepalive=compile_keepalive(reader),
        bind_config=compile_bind_config(reader.sub("upstream_bind_config")),
        thresholds=compile_circuit_breakers(reader.sub("circuit_breakers")),
        policy=policy,
        endpoints=_compile_endpoints(reader, assignment, dns),
        dns=dns,
        original_dst=original_dst,
        timeout_budgets=_compile_tracked(reader),
        metadata=compile_metadata(reader.sub("metadata")),
        message=reader.message,
    )
    cluster = Cluster(config, make_balancer, context)
    if _is_eds(reader):
        cluster.discovery = compile_eds(reader, cluster, context)
    cluster.sockets = compile_transport_sockets(reader, context, cluster.scope, cluster.init)
    if config.http.negotiates and not cluster.sockets.are_tls:
        reader.fail(
            "transport_socket", "auto_config needs TLS for all hosts: handshakes say what they speak (ALPN)"
        )
    return cluster


@reads("envoy.config.cluster.v3.Cluster")
def _is_eds(reader: Reader) -> bool:
    return reader.which("cluster_discovery_type") == "type" and reader.enum("type") == "EDS"


@reads("envoy.config.cluster.v3.Cluster")
def _compile_endpoints(
    cluster: Reader, assignment: Reader | None, dns: DnsSettings | None
) -> list[EndpointConfig]:
    """A LOGICAL_DNS cluster has exactly one, whose priority does not count."""
    endpoints = compile_endpoints(assignment, resolves_names=dns is not None)
    if dns is None or not dns.logical:
        return endpoints
    if len(endpoints) != 1:
        cluster.fail("load_assignment", "a LOGICAL_DNS cluster needs exactly one endpoint")
    return [each._replace(host=each.host._replace(priority=0)) for each in endpoints]


@reads("envoy.config.cluster.v3.Cluster")
def _compile_discovery(reader: Reader, default: ResolverOptions) -> DnsSettings | None:
    """None for STATIC and ORIGINAL_DST; every other type but STRICT_DNS and LOGICAL_DNS is refused."""
    custom = reader.sub("cluster_type")
    if custom is not None:
        return _compile_cluster_type(custom, reader, default)
    kind = reader.enum("type")
    if kind in ("STATIC", "ORIGINAL_DST", "EDS"):
        ignore_dns_settings(reader)
        return None
    if kind not in ("STRICT_DNS", "LOGICAL_DNS"):
        reader.unsupported(
            "type",
            f"{kind} is not supported yet; STATIC, STRICT_DNS, LOGICAL_DNS, EDS and ORIGINAL_DST are",
        )
    return compile_dns_settings(reader, default, logical=kind == "LOGICAL_DNS")


@reads("envoy.config.cluster.v3.Cluster.CustomClusterType")
def _compile_cluster_type(reader: Reader, cluster: Reader, default: ResolverOptions) -> DnsSettings | None:
    """envoy.cluster.dns with its configuration, or one of the older types by its long name."""
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is not None and config.type_name == DNS_CLUSTER:
        return compile_dns_cluster(config, cluster, default)
    if config is None and name == _DNS_TYPE:
        return compile_default_dns_cluster(cluster, default)
    if config is not None or name not in _CLUSTER_TYPES:
        known = ", ".join([_DNS_TYPE, *_CLUSTER_TYPES])
        reader.unsupported("", f"cluster type {name} is not supported yet; {known} are")
        return DnsSettings()  # whatever it would be, its hosts may have names
    if name == "envoy.cluster.static":
        ignore_dns_settings(cluster)
        return None
    return compile_dns_settings(cluster, default, logical=name == "envoy.cluster.logical_dns")


@reads("envoy.config.cluster.v3.Cluster")
def _refuse_others(reader: Reader) -> None:
    """What people are most likely to have, by names that say more than the fields'."""
    reader.unsupported("health_checks", "active health checks are not supported yet")
    reader.unsupported("outlier_detection", "outlier detection is not supported yet")
    reader.unsupported("preconnect_policy", "connections ahead of requests are not supported yet")
    reader.unsupported(
        "connection_pool_per_downstream_connection", "is not supported: a host has one pool for all clients"
    )
    reader.unsupported("lrs_server", "load reports to a control plane are not supported")
    reader.unsupported("filters", "network filters of upstream connections are not supported")
    reader.ignore(
        "close_connections_on_host_health_failure",
        "ignore_health_on_host_removal",
        why="there are no active health checks",
    )


@reads("envoy.config.cluster.v3.Cluster")
def _compile_tracked(reader: Reader) -> bool:
    """Whether to keep the timeout budgets' histograms."""
    tracked = reader.sub("track_cluster_stats")
    budgets = reader.flag("track_timeout_budgets")
    return budgets if tracked is None else _compile_track_stats(tracked) or budgets


@reads("envoy.config.cluster.v3.TrackClusterStats")
def _compile_track_stats(reader: Reader) -> bool:
    reader.ignore("request_response_sizes", why="sizes of bodies are always counted, those of heads are not")
    reader.ignore("per_endpoint_stats", why="/clusters has the counts of each host")
    return reader.flag("timeout_budgets")
