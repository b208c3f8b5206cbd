"""A cluster: its hosts, how one of them is chosen, its limits and its stats (envoy.config.cluster.v3.Cluster)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from proxy.api.reader import reads
from proxy.codec.http1 import Http1Settings
from proxy.upstream.circuit_breaker import ResourceManager, Thresholds, compile_circuit_breakers
from proxy.upstream.dns import DnsSettings, EndpointConfig, StrictDns
from proxy.upstream.endpoints import compile_endpoints, compile_metadata, compile_overprovisioning
from proxy.upstream.host import Host
from proxy.upstream.load_balancer import BalancingPolicy, Chooser, HostSelector, LoadBalancer
from proxy.upstream.options import (
    HttpOptions,
    TcpKeepalive,
    check_transport_socket,
    compile_dns_settings,
    compile_http_options,
    compile_keepalive,
    ignore_dns_settings,
)
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.runtime_keys import follow_runtime
from proxy.upstream.stats import ClusterCodes, ClusterStats

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.upstream.context import UpstreamContext

LOAD_BALANCERS: Final = "envoy.load_balancing_policies."
_POLICIES: Final = {
    "ROUND_ROBIN": "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
    "LEAST_REQUEST": "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
}


@dataclass(slots=True, frozen=True)
class ClusterConfig:
    """What a Cluster is made from. dns is None for STATIC clusters. message: the protobuf message, for config_dump."""

    name: str
    alt_stat_name: str = ""
    connect_timeout_s: float = 5.0
    buffer_limit_bytes: int = 1024 * 1024
    http: HttpOptions = field(default_factory=HttpOptions)
    keepalive: TcpKeepalive | None = None
    thresholds: tuple[Thresholds, Thresholds] = (Thresholds(), Thresholds())
    policy: BalancingPolicy = field(default_factory=BalancingPolicy)
    endpoints: list[EndpointConfig] = field(default_factory=list)
    dns: DnsSettings | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    message: Any = None


class Cluster:
    """A set of hosts that can take the same requests.

    name: as routes call it; observability_name: as stats and admin call it
    choose_host(stream): the host of the next try, or None when there is none (counted); take it from the cluster each
    time, it changes with the hosts
    codes: responses by code; resources: circuit breakers by routing priority (0 DEFAULT, 1 HIGH)
    idle_timeout_s: None is no limit; max_requests_per_connection: 0 is no limit; keepalive: None is off
    hosts: all of them, of every priority, healthy or not; initialized: they are known (STRICT_DNS: after the first
    answer or failure); on_ready: called then; on_updated: called when they change later
    maintenance: the share of requests (0..1) to be refused, by the runtime; runtime: what keeps us as it says
    """

    __slots__ = (
        "_selector",
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
        "idle_timeout_s",
        "initialized",
        "keepalive",
        "maintenance",
        "max_requests_per_connection",
        "name",
        "name_bytes",
        "observability_name",
        "on_ready",
        "on_updated",
        "resources",
        "runtime",
        "stats",
    )

    choose_host: Chooser

    def __init__(
        self, config: ClusterConfig, make_balancer: Callable[[], LoadBalancer], context: UpstreamContext
    ) -> None:
        self.config = config
        self.name = config.name
        self.name_bytes = config.name.encode()
        self.observability_name = config.alt_stat_name or config.name
        scope = context.stats.scope("cluster").scope(self.observability_name)
        self.stats = ClusterStats(scope)
        self.codes = ClusterCodes(scope, self.stats)
        breakers = scope.scope("circuit_breakers")
        default, high = config.thresholds
        self.resources = (
            ResourceManager(default, breakers.scope("default")),
            ResourceManager(high, breakers.scope("high")),
        )
        self.connect_timeout_s = config.connect_timeout_s
        self.buffer_limit_bytes = config.buffer_limit_bytes
        self.idle_timeout_s = config.http.idle_timeout_s
        self.max_requests_per_connection = config.http.max_requests_per_connection
        self.keepalive = config.keepalive
        self.codec_settings = Http1Settings(enable_trailers=config.http.enable_trailers)
        self.connector = context.connector
        self.clock = context.clock
        self.hosts: list[Host] = []
        self.initialized = False
        self.on_ready: Callable[[Cluster], None] | None = None
        self.on_updated: Callable[[Cluster], None] | None = None
        self._selector = HostSelector(make_balancer, config.policy, self.stats, context.ids)
        self._selector.update([])
        self.choose_host = self._selector.choose_host
        self.discovery: StrictDns | None = None
        if config.dns is not None:
            self.discovery = StrictDns(self, config.endpoints, config.dns, context)
        self.maintenance = 0.0
        self.runtime = follow_runtime(self, context.runtime)

    @property
    def metadata(self) -> dict[str, Any]:
        """filter_metadata by its keys, as plain values (%CLUSTER_METADATA%)."""
        return self.config.metadata

    def start(self) -> None:
        """Find the hosts; ``on_ready(self)`` is called once they are known, which for STATIC is now."""
        self.stats.warming_state.set(0)
        if self.discovery is not None:
            self.discovery.start()
            return
        endpoints = self.config.endpoints
        if endpoints:
            self.stats.default_total_match_count.value += len(endpoints)
            self.update_hosts([self.make_host(endpoint.address, endpoint) for endpoint in endpoints])
        self.on_initialized()

    def make_host(self, ip: str, endpoint: EndpointConfig) -> Host:
        """A new host for one address of an endpoint, with its (empty) pools."""
        host = Host(self, ip, endpoint.port, endpoint.host)
        host.pools = (ConnectionPool(self, host, 0), ConnectionPool(self, host, 1))
        host.pool = host.pools[0]
        return host

    def update_hosts(self, hosts: list[Host]) -> None:
        """The hosts from now on. Those that are no longer among them drain: their streams finish, no new ones come."""
        gone = set(self.hosts) - set(hosts)
        self.hosts = hosts
        self._selector.update(hosts)
        self.choose_host = self._selector.choose_host
        self.stats.membership_change.value += 1
        self._show_membership()
        for host in gone:
            host.drain()
        if self.initialized and self.on_updated is not None:
            self.on_updated(self)

    def set_policy(self, policy: BalancingPolicy) -> None:
        """How hosts are weighed from the next change of hosts on."""
        self._selector.set_policy(policy)

    def on_initialized(self) -> None:
        """The hosts are known for the first time."""
        if not self.initialized:
            self.initialized = True
            self._show_membership()
            if self.on_ready is not None:
                self.on_ready(self)

    def stop(self) -> None:
        """Removed, or the program ends: no more discovery, every host drains."""
        if self.discovery is not None:
            self.discovery.stop()
        for host in self.hosts:
            host.drain()

    def _show_membership(self) -> None:
        stats, hosts = self.stats, self.hosts
        stats.membership_total.set(len(hosts))
        stats.membership_healthy.set(sum(host.healthy for host in hosts))
        stats.membership_degraded.set(sum(host.degraded for host in hosts))
        stats.membership_excluded.set(sum(host.excluded for host in hosts))
        if self.discovery is not None:
            stats.max_host_weight.set(max((host.weight for host in hosts), default=1))

    def __repr__(self) -> str:
        return f"Cluster({self.name})"


@reads("envoy.config.cluster.v3.Cluster")
def compile_cluster(reader: Reader, context: UpstreamContext) -> Cluster:
    """A Cluster, not yet started. Findings go to the reader; the cluster is usable only when there are none."""
    dns = _compile_discovery(reader)
    assignment = reader.sub("load_assignment")
    check_transport_socket(reader)
    _refuse_health(reader)
    config = ClusterConfig(
        name=reader.text("name"),
        alt_stat_name=reader.text("alt_stat_name"),
        connect_timeout_s=reader.seconds("connect_timeout", 5.0) or 5.0,
        buffer_limit_bytes=reader.wrapped("per_connection_buffer_limit_bytes", 1024 * 1024),
        http=compile_http_options(reader),
        keepalive=compile_keepalive(reader),
        thresholds=compile_circuit_breakers(reader.sub("circuit_breakers")),
        policy=BalancingPolicy(compile_overprovisioning(assignment), _compile_panic(reader)),
        endpoints=compile_endpoints(assignment, resolves_names=dns is not None),
        dns=dns,
        metadata=compile_metadata(reader.sub("metadata")),
        message=reader.message,
    )
    return Cluster(config, _compile_balancer(reader, context), context)


@reads("envoy.config.cluster.v3.Cluster")
def _compile_discovery(reader: Reader) -> DnsSettings | None:
    """None for STATIC; every other type but STRICT_DNS is refused."""
    reader.unsupported("cluster_type", "is not supported: write type, STATIC or STRICT_DNS")
    kind = reader.enum("type")
    if kind == "STATIC":
        ignore_dns_settings(reader)
        return None
    if kind != "STRICT_DNS":
        reader.unsupported("type", f"{kind} is not supported yet; STATIC and STRICT_DNS are")
        reader.settle("eds_cluster_config")
    return compile_dns_settings(reader)


@reads("envoy.config.cluster.v3.Cluster")
def _refuse_health(reader: Reader) -> None:
    """What would take hosts out of the rotation, by names that say more than the fields'."""
    reader.unsupported("health_checks", "active health checks are not supported yet")
    reader.unsupported("outlier_detection", "outlier detection is not supported yet")


@reads("envoy.config.cluster.v3.Cluster")
def _compile_panic(reader: Reader) -> float:
    """common_lb_config.healthy_panic_threshold as a whole number of percent, 50 by default."""
    common = reader.sub("common_lb_config")
    if common is None:
        return 50.0
    common.ignore("update_merge_window", why="changes of hosts are not delayed")
    return float(round(common.percent("healthy_panic_threshold", 50.0)))


@reads("envoy.config.cluster.v3.Cluster")
def _compile_balancer(reader: Reader, context: UpstreamContext) -> Callable[[], LoadBalancer]:
    """A factory of balancers: one is made for each list of hosts."""
    policy = reader.sub("load_balancing_policy")
    name = reader.enum("lb_policy")
    config: Reader | None
    if policy is not None:
        return _compile_typed_policy(policy, context)
    if name not in _POLICIES:
        reader.unsupported("lb_policy", f"{name} is not supported yet; ROUND_ROBIN and LEAST_REQUEST are")
        reader.settle("ring_hash_lb_config", "maglev_lb_config", "original_dst_lb_config")
        name = "ROUND_ROBIN"
    config = reader.sub("round_robin_lb_config" if name == "ROUND_ROBIN" else "least_request_lb_config")
    return _factory(_POLICIES[name], config, context)


@reads("envoy.config.cluster.v3.LoadBalancingPolicy")
def _compile_typed_policy(reader: Reader, context: UpstreamContext) -> Callable[[], LoadBalancer]:
    """The first policy of the list. Envoy knows them all, so it would never come to one after it."""
    chosen: Reader | None = None
    for entry in reader.each("policies"):
        if chosen is not None:
            entry.ignore("typed_extension_config", why="the policy before it is used")
            continue
        extension = entry.sub("typed_extension_config")
        if extension is None:
            entry.fail("typed_extension_config", "is missing")
            continue
        config = extension.any("typed_config")
        if config is None:
            continue
        extension.text("name")  # the type decides; the name is for people
        chosen = config
        if not context.registry.has(config.type_name):
            message = context.registry.unknown("load balancing policy", config.type_name, LOAD_BALANCERS)
            extension.unsupported("", message)
    if not reader.has("policies"):
        reader.fail("policies", "a load balancing policy is needed")
    if chosen is None or not context.registry.has(chosen.type_name):
        return _factory(_POLICIES["ROUND_ROBIN"], None, context)
    return _factory(chosen.type_name, chosen, context)


def _factory(message: str, config: Reader | None, context: UpstreamContext) -> Callable[[], LoadBalancer]:
    balancer = context.registry.resolve(message)
    balancer(config, context)  # reads the configuration, so that its findings come with the cluster's

    def make() -> LoadBalancer:
        made: LoadBalancer = balancer(config, context)
        return made

    return make
