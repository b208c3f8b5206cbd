"""Statistics of single routes (``stat_prefix``) and of virtual clusters: ``vhost.<host>.route.<prefix>.`` and
``vhost.<host>.vcluster.<name>.``. Only requests of virtual hosts and routes that have some come here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.errors import ResponseFlag
from proxy.http.stats import VirtualHostStats
from proxy.router.retry import OVERFLOWED

if TYPE_CHECKING:
    from proxy.http.stream_state import StreamState
    from proxy.router.route import Route
    from proxy.router.route_table import RouteTable
    from proxy.stats.store import Scope


class RouteStats(VirtualHostStats):
    """Envoy's counters of requests and of their tries; codes, times and (ours) body sizes as VirtualHostStats."""

    __slots__ = ("limit_exceeded", "overflow", "retry", "success", "timeout")

    def __init__(self, scope: Scope) -> None:
        VirtualHostStats.__init__(self, scope)
        self.retry = scope.counter("upstream_rq_retry")
        self.limit_exceeded = scope.counter("upstream_rq_retry_limit_exceeded")
        self.overflow = scope.counter("upstream_rq_retry_overflow")
        self.success = scope.counter("upstream_rq_retry_success")
        self.timeout = scope.counter("upstream_rq_timeout")

    def count_tries(self, stream: StreamState) -> None:
        """What ``upstream_rq_total`` and the codes do not say of a request that was forwarded, or was to be."""
        tries = stream.attempt_count
        retry = stream.retry
        sent = tries - (0 if stream.upstream_tx_start_at else 1) - (retry.unsent if retry is not None else 0)
        # the request itself has been counted: Envoy counts tries that were sent
        self.rq_total.value += sent - 1
        self.retry.value += max(tries - 1, 0)
        if stream.details == b"response_timeout":
            self.timeout.value += 1
        if retry is None:
            return
        if stream.flags & ResponseFlag.URX:
            self.limit_exceeded.value += 1
        if retry.outcome is OVERFLOWED:
            self.overflow.value += 1
        if retry.succeeded:
            self.success.value += 1


def count_special(stream: StreamState, route: Route, elapsed_ms: int) -> VirtualHostStats:
    """Count a request of a route with ``has_special_stats``; the stats of its virtual cluster, "other" or not."""
    host = route.virtual_host
    stats = host.stats
    assert stats is not None
    if route.forward is None:
        return stats
    if route.stats is not None:
        own = route.stats
        own.rq_total.value += 1
        own.rq_time.record(elapsed_ms)
        own.rq_body_size.record(stream.bytes_received)
        own.rs_body_size.record(stream.bytes_sent)
        if stream.status:
            own.codes.record(stream.status)
        own.count_tries(stream)
    if host.cluster_stats:
        special = host.cluster_stats[stream.virtual_cluster]
        special.count_tries(stream)
        return special
    return stats


def make_table_stats(table: RouteTable, vhosts: Scope) -> None:
    """Find every stat that the table's requests are counted in. vhosts: ``vhost.``."""
    for host in table.virtual_hosts:
        scope = vhosts.scope(host.name.decode())
        clusters = scope.scope("vcluster")
        if host.virtual_clusters is None:
            host.stats = VirtualHostStats(clusters.scope("other"))
        else:
            other = RouteStats(clusters.scope("other"))
            host.stats = other
            named = [RouteStats(clusters.scope(name)) for name in host.virtual_clusters.names]
            host.cluster_stats = [*named, other]  # -1 is "other"
        routes = scope.scope("route")
        for route in host.counted_routes:
            route.stats = RouteStats(routes.scope(route.stat_prefix))
