"""What a matched request gets: Route, RouteAction, VirtualHost. Immutable after compile.

With weighted clusters each cluster has a Route of its own (same name, its own header operations and cluster), and
``RouteTable.find`` draws one of them; so everything here is decided before the request comes.
Source: envoy.config.route.v3.Route, RouteAction, VirtualHost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import StreamInfo
from proxy.router.direct import DirectResponse, Redirect
from proxy.router.header_ops import HeaderOps
from proxy.router.hedge import wants_hedging
from proxy.router.retry import RetryResources, RetryState
from proxy.router.retry_policy import NO_POLICY, RETRY_HEADERS, RetryPolicy
from proxy.router.rewrite import ORIGINAL_PATH, HostRewrite, PathRewrite, update_authority
from proxy.router.stream_limits import StreamLimits
from proxy.router.timeouts import expected_timeout_ms
from proxy.tracing.route_tracing import RouteTracing

if TYPE_CHECKING:
    from proxy.http.chain import FilterChain
    from proxy.http.filter import Filter
    from proxy.http.route_stats import RouteStats
    from proxy.http.stats import VirtualHostStats
    from proxy.router.filter_levels import Level
    from proxy.router.internal_redirect import InternalRedirectPolicy
    from proxy.router.mirror_policy import MirrorPolicy
    from proxy.router.virtual_cluster import VirtualClusters
    from proxy.upstream.proxy_protocol import ProxyProtocol

DEFAULT_TIMEOUT_S: Final = 15.0
NO_LIMIT: Final = (1 << 32) - 1


class RequestOp(Protocol):
    """One level of changes to a request head."""

    def apply(self, headers: RequestHeaders, stream: StreamInfo) -> None:
        """Change ``headers`` in place."""


class VirtualHost:
    """The facts of a virtual host that a stream asks for."""

    __slots__ = (
        "cluster_stats",
        "counted_routes",
        "include_attempt_count_in_response",
        "include_is_timeout_retry_header",
        "include_request_attempt_count",
        "metadata",
        "name",
        "require_tls",
        "stats",
        "virtual_clusters",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.include_request_attempt_count = False
        self.include_attempt_count_in_response = False
        self.metadata: dict[str, Any] = {}  # filter_metadata by its keys (%METADATA(VIRTUAL_HOST:...)%)
        self.require_tls = "NONE"
        self.include_is_timeout_retry_header = False
        self.virtual_clusters: VirtualClusters | None = None
        self.counted_routes: list[Route] = []  # those with a stat_prefix, each variant of it
        # set by the connection manager that serves the table
        self.stats: VirtualHostStats | None = None
        self.cluster_stats: list[
            RouteStats
        ] = []  # by virtual cluster, "other" last; none without virtual clusters


_ACTION_FIELDS: Final = (
    "asks_for_retries",
    "append_x_forwarded_host",
    "auto_host_rewrite",
    "cluster",
    "cluster_header",
    "cluster_not_found_status",
    "ends_tunnels",
    "expected_timeout",
    "hedges",
    "host_rewrite",
    "idle_timeout_s",
    "limits",
    "internal_redirect",
    "mirrors",
    "path_rewrite",
    "per_try_timeout_s",
    "priority",
    "request_ops",
    "retry",
    "rewrites",
    "tells_hosts",
    "timeout_s",
    "upgrades",
    "without_policy",
)


class RouteAction:
    """Forward to a cluster. Times in seconds, 0.0 for none.

    cluster: its name, or "" with ``cluster_header``, whose first value names it
    idle_timeout_s: None when the route says nothing (the connection manager's holds); 0.0 turns it off
    priority: 0 DEFAULT, 1 HIGH; cluster_not_found_status: 503, 404 or 500
    asks_for_retries: ``request_ops`` may add x-envoy-retry headers, so ``retry_state`` is to be asked in any case
    without_policy: the tries of a request that asks for some itself, while ``retry`` is None
    hedges: a try that takes too long goes on beside the next one (where there is one): see http.hedging
    upgrades: by lower-case protocol (``connect`` is a tunnel) whether it is taken; None: nothing is said
    ends_tunnels: what a CONNECT carries goes to the host as it is (connect_config); tells_hosts: behind a header that says
    who the client is, None: behind none
    auto_host_rewrite: the caller does it with ``rewrite_auto_host`` once a host is chosen
    """

    __slots__ = _ACTION_FIELDS

    def __init__(self, cluster: str = "", cluster_header: bytes = b"") -> None:
        self.cluster = cluster
        self.cluster_header = cluster_header
        self.cluster_not_found_status = 503
        self.timeout_s = DEFAULT_TIMEOUT_S
        self.idle_timeout_s: float | None = None
        self.limits: StreamLimits | None = None
        self.retry: RetryPolicy | None = None
        self.without_policy = NO_POLICY
        self.per_try_timeout_s = 0.0
        self.priority = 0
        self.request_ops: tuple[RequestOp, ...] = ()
        self.host_rewrite: HostRewrite | None = None
        self.path_rewrite: PathRewrite | None = None
        self.internal_redirect: InternalRedirectPolicy | None = None
        self.mirrors: tuple[MirrorPolicy, ...] = ()
        self.auto_host_rewrite = False
        self.append_x_forwarded_host = False
        self.asks_for_retries = False
        self.hedges = False
        self.expected_timeout = b""
        self.rewrites = False
        self.upgrades: dict[bytes, bool] | None = None
        self.ends_tunnels = False
        self.tells_hosts: ProxyProtocol | None = None

    def settle(self) -> None:
        """At configuration time, last: what every request would otherwise compute anew.

        expected_timeout: the value of x-envoy-expected-rq-timeout-ms of a first try, b"" for none; rewrites: whether
        finalize_request has anything to do.
        """
        if self.per_try_timeout_s >= self.timeout_s > 0.0:
            self.per_try_timeout_s = 0.0
        milliseconds = expected_timeout_ms(
            self.timeout_s, 0.0 if self.hedges else self.per_try_timeout_s, 0.0
        )
        self.expected_timeout = b"%d" % milliseconds if milliseconds else b""
        self.rewrites = bool(self.request_ops or self.host_rewrite or self.path_rewrite)

    def variant(self, cluster: str, cluster_header: bytes) -> RouteAction:
        """At configuration time: a copy that forwards to another cluster."""
        twin = RouteAction()
        for name in _ACTION_FIELDS:
            setattr(twin, name, getattr(self, name))
        twin.cluster = cluster
        twin.cluster_header = cluster_header
        return twin

    def choose_cluster(self, headers: RequestHeaders, stream: StreamInfo) -> str | None:
        """The cluster's name; None when the header that should name it is absent or empty."""
        if self.cluster:
            return self.cluster
        name = self.cluster_header
        value = headers.pseudo(name) if name[:1] == b":" or name == b"host" else headers.get(name)
        return value.decode("utf-8", "replace") if value else None

    def set_request_ops(self, ops: tuple[RequestOp, ...]) -> None:
        """At configuration time: the header operations, in order."""
        self.request_ops = ops
        added = (name for op in ops if isinstance(op, HeaderOps) for name in op.added_names())
        self.asks_for_retries = any(name in RETRY_HEADERS for name in added)
        self.settle()

    def finalize_request(
        self, headers: RequestHeaders, stream: StreamInfo, keep_original: bool = True
    ) -> None:
        """Header operations, then authority, then path: Envoy's order.

        keep_original: write x-envoy-original-host and -path (False under suppress_envoy_headers).
        """
        for op in self.request_ops:
            op.apply(headers, stream)
        if self.host_rewrite is not None:
            authority = self.host_rewrite.authority(headers, stream)
            if authority:
                update_authority(headers, authority, self.append_x_forwarded_host, keep_original)
        if self.path_rewrite is not None:
            path = self.path_rewrite.rewrite(headers.path, stream)
            if path is not None:
                if keep_original:
                    headers.set(ORIGINAL_PATH, headers.path)
                headers.path = path

    def rewrite_auto_host(self, headers: RequestHeaders, hostname: str, keep_original: bool = True) -> None:
        """auto_host_rewrite: after the host of a try is known; nothing when it has no name."""
        if hostname:
            update_authority(headers, hostname.encode(), self.append_x_forwarded_host, keep_original)

    def retry_state(
        self, headers: RequestHeaders, resources: RetryResources, ids: Ids, internal: bool
    ) -> RetryState | None:
        """The request's tries, None when it has only one. Call after ``finalize_request``, which may ask for some.

        Consumes the x-envoy-retry headers of internal requests; external ones have lost them before.
        """
        if not internal and not self.asks_for_retries:
            policy = self.retry
            if policy is None or not (policy.retry_on or self._needs_state(policy)):
                return None
            state = RetryState(policy, headers, resources, ids)
            if self.hedges:
                state.hedged = []
            return state
        state = RetryState(self.retry or self.without_policy, headers, resources, ids)
        state.merge_headers(headers)
        if wants_hedging(self.hedges, headers, internal):
            state.hedged = []
        headers.remove_all(RETRY_HEADERS)
        return state if state.retry_on or self._needs_state(state.policy) else None

    def _needs_state(self, policy: RetryPolicy) -> bool:
        """Whether a request has a RetryState though it is never retried: for its idle timeout, or because an internal
        redirect sends its body again."""
        return policy.per_try_idle_timeout_s > 0.0 or self.internal_redirect is not None


_ROUTE_FIELDS: Final = (
    "chain",
    "decorator_operation",
    "decorator_propagate",
    "direct_response",
    "filter_configs",
    "filter_levels",
    "forward",
    "has_special_stats",
    "metadata",
    "name",
    "redirect",
    "request_ops",
    "response_ops",
    "retry_buffer_bytes",
    "stat_prefix",
    "stats",
    "tracing",
    "upgrade_chains",
    "virtual_host",
)


class Route:
    """One route. Exactly one of ``forward``, ``redirect`` and ``direct_response`` is set.

    tracing: overrides of the connection manager's, None without ``tracing``
    metadata: filter_metadata by its keys (%METADATA(ROUTE:...)%)
    retry_buffer_bytes: how much of a body is kept for retries and mirrors, besides what the listener allows
    request_ops: for looking at; ``forward.finalize_request`` applies them
    filter_levels: typed_per_filter_config, the most specific level first; whoever serves the table makes of them
    chain: the filters that run on this route, None when they are the connection manager's own; upgrade_chains: the same by
    protocol, for upgrades that have filters of their own
    filter_configs: what each filter was given for this route, the most specific first; None when nothing was
    has_special_stats: its requests are counted beside, or apart from, those of the virtual host as a whole
    """

    __slots__ = _ROUTE_FIELDS

    def __init__(self, name: bytes, virtual_host: VirtualHost) -> None:
        self.name = name
        self.virtual_host = virtual_host
        self.forward: RouteAction | None = None
        self.redirect: Redirect | None = None
        self.direct_response: DirectResponse | None = None
        self.decorator_operation: bytes | None = None
        self.decorator_propagate = True
        self.tracing: RouteTracing | None = None
        self.filter_levels: tuple[Level, ...] = ()
        self.chain: FilterChain | None = None
        self.upgrade_chains: dict[bytes, FilterChain] | None = None
        self.filter_configs: dict[Filter, tuple[Any, ...]] | None = None
        self.metadata: dict[str, Any] = {}
        self.retry_buffer_bytes = NO_LIMIT
        self.stat_prefix = ""
        self.stats: RouteStats | None = None  # with a stat_prefix: set as VirtualHost.stats
        self.has_special_stats = False
        self.request_ops: tuple[RequestOp, ...] = ()
        self.response_ops: tuple[HeaderOps, ...] = ()

    def finalize_response(self, headers: ResponseHeaders | HeaderMap, stream: StreamInfo) -> None:
        """The response's header operations, most specific first."""
        for ops in self.response_ops:
            ops.apply(headers, stream)

    def variant(self) -> Route:
        """A copy to be changed at configuration time, for one of several weighted clusters."""
        twin = Route(self.name, self.virtual_host)
        for name in _ROUTE_FIELDS:
            setattr(twin, name, getattr(self, name))
        if self.stat_prefix:
            self.virtual_host.counted_routes.append(twin)
        return twin
