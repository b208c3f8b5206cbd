"""How a cluster's hosts are chosen: its load balancing policy, by name or by type, and common_lb_config."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.api.reader import reads
from proxy.upstream.load_balancer import BalancingPolicy

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.upstream.context import UpstreamContext
    from proxy.upstream.load_balancer import LoadBalancer

LOAD_BALANCERS: Final = "envoy.load_balancing_policies."
_ROUND_ROBIN: Final = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin"
_LEAST_REQUEST: Final = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"
_RANDOM: Final = "envoy.extensions.load_balancing_policies.random.v3.Random"
_POLICIES: Final = {"ROUND_ROBIN": _ROUND_ROBIN, "LEAST_REQUEST": _LEAST_REQUEST, "RANDOM": _RANDOM}
_PROVIDED: Final = "CLUSTER_PROVIDED"
_ELSEWHERE: Final = "LOAD_BALANCING_POLICY_CONFIG"
_TYPED: Final = "load_balancing_policy says how hosts are chosen"
_NO_LOCAL_CLUSTER: Final = (
    "there is no local cluster to compare zones with (cluster_manager.local_cluster_name)"
)


class CommonConfig(NamedTuple):
    """Of common_lb_config: panic_percent, a whole number; fail_on_panic: a panic finds no host instead of any;
    renews_connections: whenever the hosts change."""

    panic_percent: float = 50.0
    fail_on_panic: bool = False
    renews_connections: bool = False


@reads("envoy.config.cluster.v3.Cluster")
def compile_balancing(
    reader: Reader, overprovisioning_percent: int, context: UpstreamContext
) -> tuple[Callable[[], LoadBalancer], BalancingPolicy]:
    """A factory of balancers (one is made for each list of hosts), and how the lists are weighed."""
    _refuse_balancers(reader)
    common = _compile_common(reader.sub("common_lb_config"))
    policy = reader.sub("load_balancing_policy")
    if policy is not None:
        if reader.enum("lb_policy") != _ELSEWHERE:
            reader.ignore("lb_policy", why=_TYPED)
        _ignore_older_configs(reader, _TYPED)
        make, fails = _compile_typed_policy(policy, context)
        # common_lb_config's own locality settings are for lb_policy only
        common = common._replace(fail_on_panic=fails)
    else:
        make = _compile_older_policy(reader, context)
    return make, BalancingPolicy(
        overprovisioning_percent, common.panic_percent, common.fail_on_panic, common.renews_connections
    )


@reads("envoy.config.cluster.v3.Cluster")
def compile_provided(
    reader: Reader, context: UpstreamContext
) -> tuple[Callable[[], LoadBalancer], BalancingPolicy]:
    """The same for a cluster that chooses its hosts itself: nothing else may be said to."""
    reader.unsupported("lb_subset_config", "subsets of hosts are not supported yet")
    reader.unsupported(
        "load_balancing_policy",
        "an ORIGINAL_DST cluster chooses its hosts itself; lb_policy CLUSTER_PROVIDED says so",
    )
    name = reader.enum("lb_policy")
    if name != _PROVIDED:
        reader.fail(
            "lb_policy",
            f"{name} is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed with cluster type"
            " 'ORIGINAL_DST'",
        )
    common = _compile_common(reader.sub("common_lb_config"))
    reader.ignore(
        "round_robin_lb_config",
        "least_request_lb_config",
        "ring_hash_lb_config",
        "maglev_lb_config",
        why="an ORIGINAL_DST cluster chooses its hosts itself",
    )
    return _factory(_ROUND_ROBIN, None, context), BalancingPolicy(panic_percent=common.panic_percent)


@reads("envoy.config.cluster.v3.Cluster")
def _refuse_balancers(reader: Reader) -> None:
    reader.unsupported("lb_subset_config", "subsets of hosts are not supported yet")
    name = reader.enum("lb_policy")
    if reader.has("load_balancing_policy"):
        return
    if name == _ELSEWHERE:
        reader.fail("lb_policy", f"{name} needs load_balancing_policy, which is missing")
    elif name == _PROVIDED and _has_foreign_type(reader):
        return  # which is refused; it may well provide one
    elif name == _PROVIDED:
        reader.fail("lb_policy", "cluster provided LB specified but the cluster did not provide one")
    elif name not in _POLICIES:
        reader.unsupported(
            "lb_policy", f"{name} is not supported yet; ROUND_ROBIN, LEAST_REQUEST and RANDOM are"
        )
        reader.settle("ring_hash_lb_config", "maglev_lb_config", "original_dst_lb_config")


@reads("envoy.config.cluster.v3.Cluster")
def _has_foreign_type(reader: Reader) -> bool:
    """Whether cluster_type names something that has been refused."""
    custom = reader.sub("cluster_type")
    return custom is not None and custom.is_settled("")


@reads("envoy.config.cluster.v3.Cluster.CommonLbConfig")
def _compile_common(reader: Reader | None) -> CommonConfig:
    if reader is None:
        return CommonConfig()
    reader.ignore("update_merge_window", why="changes of hosts are not delayed")
    reader.ignore("ignore_new_hosts_until_first_hc", why="there are no active health checks")
    reader.ignore("consistent_hashing_lb_config", why="there is no balancer that hashes")
    reader.ignore("override_host_status", why="nothing overrides the choice of a host")
    panic = float(round(reader.percent("healthy_panic_threshold", 50.0)))
    renews = reader.flag("close_connections_on_host_set_change")
    return CommonConfig(panic, _compile_locality(reader), renews)


@reads(
    "envoy.config.cluster.v3.Cluster.CommonLbConfig",
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig",
)
def _compile_locality(reader: Reader) -> bool:
    """Whether a panic finds no host. Zones need a local cluster to compare with, and there is none, so nothing else
    of zone_aware_lb_config can matter, in Envoy neither."""
    reader.unsupported(
        "locality_weighted_lb_config", "choosing hosts by weights of localities is not supported yet"
    )
    zones = reader.sub("zone_aware_lb_config")
    return zones is not None and _compile_zones(zones)


@reads(
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig",
)
def _compile_zones(reader: Reader) -> bool:
    reader.ignore("routing_enabled", "min_cluster_size", why=_NO_LOCAL_CLUSTER)
    return reader.flag("fail_traffic_on_panic")


@reads("envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig")
def _compile_typed_locality(reader: Reader | None) -> bool:
    """As _compile_locality, of a policy's own message, which can say more of zones."""
    if reader is None:
        return False
    zones = reader.sub("zone_aware_lb_config")
    if zones is not None:
        zones.ignore("force_locality_direct_routing", "force_local_zone", why=_NO_LOCAL_CLUSTER)
    return _compile_locality(reader)


@reads("envoy.config.cluster.v3.Cluster")
def _compile_older_policy(reader: Reader, context: UpstreamContext) -> Callable[[], LoadBalancer]:
    """lb_policy and its lb_config."""
    name = reader.enum("lb_policy")
    config: Reader | None = None
    if name == "ROUND_ROBIN":
        config = reader.sub("round_robin_lb_config")
    elif name == "LEAST_REQUEST":
        config = reader.sub("least_request_lb_config")
    if config is None and name in _POLICIES:
        _ignore_older_configs(reader, f"lb_policy {name} does not use it")
    return _factory(_POLICIES.get(name, _POLICIES["ROUND_ROBIN"]), config, context)


@reads("envoy.config.cluster.v3.Cluster")
def _ignore_older_configs(reader: Reader, why: str) -> None:
    """One of them can be set; Envoy does not look at one that is not the policy's."""
    reader.ignore(
        "round_robin_lb_config",
        "least_request_lb_config",
        "ring_hash_lb_config",
        "maglev_lb_config",
        "original_dst_lb_config",
        why=why,
    )


@reads("envoy.config.cluster.v3.LoadBalancingPolicy")
def _compile_typed_policy(
    reader: Reader, context: UpstreamContext
) -> tuple[Callable[[], LoadBalancer], bool]:
    """The first policy of the list that Envoy knows, and whether its panic finds no host."""
    chosen: Reader | None = None
    unknown = ""
    for entry in reader.each("policies"):
        if chosen is not None:
            entry.ignore("typed_extension_config", why="the policy before it is used")
            continue
        extension = entry.sub("typed_extension_config")
        if extension is None:
            entry.fail("typed_extension_config", "is missing")
            continue
        extension.text("name")  # the type decides; the name is for people
        config = extension.any("typed_config")
        if config is None:
            if not extension.has("typed_config"):
                untyped = context.registry.untyped("a load balancing policy", extension.text("name"))
                extension.fail("typed_config", untyped)
            continue
        if not context.registry.has(config.type_name, LOAD_BALANCERS):
            if config.type_name != config.message.DESCRIPTOR.full_name:  # a TypedStruct of no type of Envoy's
                unknown = config.type_name
                entry.ignore(
                    "typed_extension_config", why="Envoy has no such policy either, and takes the next"
                )
                continue
            message = context.registry.unknown("load balancing policy", config.type_name, LOAD_BALANCERS)
            extension.unsupported("", message)
        chosen = config
    if not reader.has("policies"):
        reader.fail("policies", "a load balancing policy is needed")
    elif chosen is None and unknown:
        reader.fail("policies", f"names no load balancing policy that Envoy has, only {unknown}")
    if chosen is None or not context.registry.has(chosen.type_name, LOAD_BALANCERS):
        return _factory(_POLICIES["ROUND_ROBIN"], None, context), False
    locality: Reader | None = None
    if chosen.type_name == _ROUND_ROBIN:  # noqa: SIM114  # proxy.api.support follows one name a branch
        locality = chosen.sub("locality_lb_config")
    elif chosen.type_name == _LEAST_REQUEST:  # noqa: SIM114
        locality = chosen.sub("locality_lb_config")
    elif chosen.type_name == _RANDOM:
        locality = chosen.sub("locality_lb_config")
    return _factory(chosen.type_name, chosen, context), _compile_typed_locality(locality)


def _factory(message: str, config: Reader | None, context: UpstreamContext) -> Callable[[], LoadBalancer]:
    balancer = context.registry.resolve(message)
    balancer(config, context)  # reads the configuration, so that its findings come with the cluster's

    def make() -> LoadBalancer:
        made: LoadBalancer = balancer(config, context)
        return made

    return make
