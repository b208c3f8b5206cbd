"""Compiles envoy.config.route.v3.RouteAction: where to forward, and how; one Route per weighted cluster."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container
from itertools import accumulate
from sys import intern
from typing import Final

from proxy.api.matchers import compile_rewrite
from proxy.api.reader import Reader, reads
from proxy.api.scalars import near_cluster
from proxy.base.headers import RequestHeaders
from proxy.formatter import compile_format, compile_header_value
from proxy.router.filter_levels import FilterConfigs
from proxy.router.header_ops import compile_request_ops, compile_response_ops
from proxy.router.hedge import compile_hedging
from proxy.router.internal_redirect import compile_internal_redirect
from proxy.router.retry_policy import RetryPolicy, compile_retry_policy
from proxy.router.rewrite import HostRewrite, Matched, PathRewrite, SetAuthority
from proxy.router.route import DEFAULT_TIMEOUT_S, RequestOp, Route, RouteAction
from proxy.router.stream_limits import compile_stream_limits
from proxy.router.timeouts import unsigned
from proxy.runtime.runtime import Runtime
from proxy.runtime.slots import Watch
from proxy.runtime.snapshot import Snapshot
from proxy.upstream.proxy_protocol import ProxyProtocol

_NOT_FOUND_STATUS: Final = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_MAX_TOTAL_WEIGHT: Final = (1 << 32) - 1


UNREAD_LIMITS: Final = "there is no filter that asks a rate limit service"


@reads("envoy.config.route.v3.RouteAction")
def compile_action(
    reader: Reader,
    inherited_retry: RetryPolicy | None,
    inherited_hedging: bool,
    known_clusters: Container[str] | None,
    matched: Matched,
    without_policy: RetryPolicy,
) -> RouteAction:
    """envoy.config.route.v3.RouteAction, but for weighted_clusters. without_policy: see RouteAction."""
    reader.ignore(
        "hash_policy",
        why="no balancer hashes: ROUND_ROBIN, LEAST_REQUEST and RANDOM do not, in Envoy neither",
    )
    reader.ignore("early_data_policy", why="no request is ever sent as early data")
    reader.ignore("metadata_match", why="no cluster has subsets, and without them Envoy does not look at it")
    reader.ignore("rate_limits", "include_vh_rate_limits", why=UNREAD_LIMITS)
    action = RouteAction(intern(reader.text("cluster")), reader.text("cluster_header").lower().encode())
    if action.cluster and known_clusters is not None and action.cluster not in known_clusters:
        reader.fail(
            "cluster", f"unknown cluster '{action.cluster}'{near_cluster(action.cluster, known_clusters)}"
        )
    if reader.which("cluster_specifier") is None:
        reader.fail("", "one of cluster, cluster_header, weighted_clusters is required")
    action.cluster_not_found_status = _NOT_FOUND_STATUS.get(
        reader.enum("cluster_not_found_response_code"), 503
    )
    timeout = reader.seconds("timeout", DEFAULT_TIMEOUT_S)
    action.timeout_s = DEFAULT_TIMEOUT_S if timeout is None else timeout
    action.limits = compile_stream_limits(reader)
    if action.limits is not None and action.limits.is_new:
        action.timeout_s = 0.0
    action.idle_timeout_s = reader.seconds("idle_timeout")
    action.priority = 1 if reader.enum("priority") == "HIGH" else 0
    retry = reader.sub("retry_policy")
    action.retry = compile_retry_policy(retry, without_policy.knobs) if retry is not None else inherited_retry
    action.without_policy = without_policy
    action.hedges = compile_hedging(reader, inherited_hedging)
    redirect = reader.sub("internal_redirect_policy")
    if redirect is not None:
        action.internal_redirect = compile_internal_redirect(redirect)
        action.retry = action.retry or RetryPolicy(knobs=without_policy.knobs)
    action.per_try_timeout_s = action.retry.per_try_timeout_s if action.retry is not None else 0.0
    action.auto_host_rewrite = reader.wrapped("auto_host_rewrite", False)
    action.append_x_forwarded_host = reader.flag("append_x_forwarded_host")
    action.host_rewrite = _compile_host_rewrite(reader)
    action.path_rewrite = _compile_path_rewrite(reader, matched)
    action.upgrades = _compile_upgrades(reader, action)
    return action


@reads("envoy.config.route.v3.RouteAction")
def _compile_upgrades(reader: Reader, action: RouteAction) -> dict[bytes, bool] | None:
    upgrades: dict[bytes, bool] = {}
    for one in reader.each("upgrade_configs"):
        _compile_upgrade(one, upgrades, action)
    return upgrades or None


@reads("envoy.config.route.v3.RouteAction.UpgradeConfig")
def _compile_upgrade(reader: Reader, upgrades: dict[bytes, bool], action: RouteAction) -> None:
    name = reader.text("upgrade_type").lower().encode()
    if name in upgrades:
        reader.fail("upgrade_type", f"duplicate upgrade {name.decode()}")
    upgrades[name] = reader.wrapped("enabled", True)
    if name == b"connect-udp":
        reader.unsupported("upgrade_type", "CONNECT-UDP is not supported; CONNECT is")
    connect = reader.sub("connect_config")
    if connect is not None:
        if name != b"connect":
            reader.fail("connect_config", "Non-CONNECT upgrade type has ConnectConfig")
        action.ends_tunnels = True
        action.tells_hosts = _compile_connect(connect)


@reads("envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig")
def _compile_connect(reader: Reader) -> ProxyProtocol | None:
    reader.unsupported("allow_post", "only CONNECT is ended here, in TCP")
    header = reader.sub("proxy_protocol_config")
    return None if header is None else _compile_header(header)


@reads("envoy.config.core.v3.ProxyProtocolConfig")
def _compile_header(reader: Reader) -> ProxyProtocol:
    """Of a tunnel: it says who the client is, and no more, as in Envoy."""
    reader.ignore("pass_through_tlvs", "added_tlvs", why="a tunnel's header has no TLVs")
    return ProxyProtocol(2 if reader.enum("version") == "V2" else 1, None, {})


@reads("envoy.config.route.v3.RouteAction")
def _compile_host_rewrite(reader: Reader) -> HostRewrite | None:
    literal = reader.text("host_rewrite_literal").encode()
    if literal:
        return HostRewrite(literal)
    header = reader.text("host_rewrite_header").lower().encode()
    if header:
        return HostRewrite(header=header)
    regex = reader.sub("host_rewrite_path_regex")
    if regex is not None:
        return HostRewrite(substitute=compile_rewrite(regex))
    template = reader.text("host_rewrite")
    if not template:
        return None
    try:
        # Unlike in header values a missing value is "-" here: seen in Envoy 1.40.
        return HostRewrite(template=compile_format(template))
    except ValueError as error:
        reader.fail("host_rewrite", str(error))
        return None


@reads("envoy.config.route.v3.RouteAction")
def _compile_path_rewrite(reader: Reader, matched: Matched) -> PathRewrite | None:
    prefix = reader.text("prefix_rewrite").encode()
    regex = reader.sub("regex_rewrite")
    template = reader.text("path_rewrite")
    if bool(prefix) + (regex is not None) + bool(template) > 1:
        reader.fail("", "specify only one of prefix_rewrite, regex_rewrite or path_rewrite")
    if prefix:
        return PathRewrite(matched, prefix)
    if regex is not None:
        return PathRewrite(matched, substitute=compile_rewrite(regex))
    if not template:
        return None
    try:
        return PathRewrite(matched, template=compile_header_value(template))
    except ValueError as error:
        reader.fail("path_rewrite", str(error))
        return None


@reads("envoy.config.route.v3.WeightedCluster")
def compile_weighted(
    reader: Reader,
    route: Route,
    known_clusters: Container[str] | None,
    runtime: Runtime,
    filters: FilterConfigs,
) -> WeightedPick | None:
    """envoy.config.route.v3.WeightedCluster: draws one of ``route``'s variants, in proportion to the weights."""
    prefix = reader.text("runtime_key_prefix")
    reader.ignore("total_weight", why="the sum of the weights is used, as Envoy does")
    header = reader.text("header_name").lower().encode()
    weights = []
    variants = []
    for one in reader.each("clusters"):
        weights.append(one.wrapped("weight", 0))
        variants.append(_compile_variant(one, route, known_clusters, filters))
    total = sum(weights)
    if not total:
        reader.fail("clusters", "sum of weights in the weighted_cluster must be greater than 0")
        return None
    if total > _MAX_TOTAL_WEIGHT:
        reader.fail("clusters", f"the sum of weights of all weighted clusters exceeds {_MAX_TOTAL_WEIGHT}")
    pick = WeightedPick(variants, weights, header)
    if prefix:
        keys = [f"{prefix}.{one.text('name')}" for one in reader.each("clusters")]
        pick.follow_runtime(keys, runtime)
    return pick


class WeightedPick:
    """Draws one of several Routes."""

    __slots__ = ("_bounds", "_header", "_routes", "_total", "watch")

    def __init__(self, routes: list[Route], weights: list[int], header: bytes = b"") -> None:
        """header: a request header whose number decides instead of chance; b"" for none."""
        self._routes = routes
        self._bounds = list(accumulate(weights))
        self._total = self._bounds[-1]
        self._header = header
        self.watch: Watch | None = None  # what keeps the weights as the runtime says

    def follow_runtime(self, keys: list[str], runtime: Runtime) -> None:
        """From now on a cluster's weight is what the runtime has under its key, or else what it was."""
        configured = [high - low for low, high in zip([0, *self._bounds], self._bounds, strict=False)]

        def refresh(snapshot: Snapshot) -> None:
            weights = map(snapshot.integer, keys, configured)
            self._bounds = list(accumulate(weights))
            self._total = self._bounds[-1] if self._bounds[-1] <= _MAX_TOTAL_WEIGHT else 0

        self.watch = runtime.watch(refresh)

    def has_weight(self, headers: RequestHeaders, random: float) -> bool:
        """A condition of the route: when the runtime leaves no weight, or too much of it, the next one is tried."""
        return self._total > 0

    def pick(self, headers: RequestHeaders, random: float) -> Route:
        """The Route whose share of [0, total) the draw falls into. random: in [0, 1)."""
        draw = int(random * self._total)
        if self._header:
            value = headers.get(self._header)
            number = unsigned(value) if value is not None else None
            if number is not None:
                draw = number % self._total
        return self._routes[bisect_right(self._bounds, draw)]


@reads("envoy.config.route.v3.WeightedCluster.ClusterWeight")
def _compile_variant(
    reader: Reader, route: Route, known_clusters: Container[str] | None, filters: FilterConfigs
) -> Route:
    """The route as it is when this cluster is drawn. The cluster's header operations always come first."""
    reader.ignore("metadata_match", why="no cluster has subsets, and without them Envoy does not look at it")
    name = reader.text("name")
    header = reader.text("cluster_header").lower().encode()
    if bool(name) == bool(header):
        reader.fail("name", "exactly one of name and cluster_header must be given")
    if name and known_clusters is not None and name not in known_clusters:
        reader.fail("name", f"unknown weighted cluster '{name}'{near_cluster(name, known_clusters)}")
    ops: tuple[RequestOp, ...] = compile_request_ops(reader)
    authority = reader.text("host_rewrite_literal").encode()
    if authority:
        ops = (*ops, SetAuthority(authority))
    variant = route.variant()
    filters.give(variant, filters.of(reader), *route.filter_levels)
    variant.request_ops = (*ops, *route.request_ops)
    variant.response_ops = (*compile_response_ops(reader), *route.response_ops)
    if route.forward is not None:
        variant.forward = route.forward.variant(name, header)
        variant.forward.set_request_ops(variant.request_ops)
    return variant
