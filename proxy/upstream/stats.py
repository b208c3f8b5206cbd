"""The stats of one cluster, by Envoy's names: found once, bumped many times.

An attribute is named like its stat; a stat with a dot in its name has its attribute in ``_DOTTED``. The lists below say
of which kind it is (the annotations say it again, for mypy): all of them exist at zero from the start (so /stats shows
them), codes with the first response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.stats.named import StatNames
from proxy.stats.store import CodeStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.stats.histogram import Histogram
    from proxy.stats.store import Counter, Gauge, Scope

_DOTTED: Final = {
    "default_total_match_count": "default.total_match_count",
    "http1_dropped_headers_with_underscores": "http1.dropped_headers_with_underscores",
    "http1_metadata_not_supported_error": "http1.metadata_not_supported_error",
    "http1_requests_rejected_with_underscores_in_headers": (
        "http1.requests_rejected_with_underscores_in_headers"
    ),
    "http1_response_flood": "http1.response_flood",
}

# Gauges that are back at zero after use, and the counters that tell that they were used.
_FOLLOWS: Final = {
    "upstream_cx_active": "upstream_cx_total",
    "upstream_cx_rx_bytes_buffered": "upstream_cx_rx_bytes_total",
    "upstream_rq_active": "upstream_rq_total",
    "upstream_rq_pending_active": "upstream_rq_pending_total",
}

_UNITS: Final = {"upstream_rq_per_cx": "", "upstream_rq_body_size": "bytes", "upstream_rs_body_size": "bytes"}

#: Envoy has these only with track_cluster_stats.request_response_sizes; here they are always kept.
BODY_SIZES: Final = ("upstream_rq_body_size", "upstream_rs_body_size")
#: Envoy has none: requests sent again because their kept-alive connection was dead (docs/differences.md).
OURS: Final = (*BODY_SIZES, "upstream_rq_retry_stale")


_COUNTERS: Final = (
    "assignment_stale",
    "assignment_timeout_received",
    "assignment_use_cached",
    "bind_errors",
    "default_total_match_count",
    "http1_dropped_headers_with_underscores",
    "http1_metadata_not_supported_error",
    "http1_requests_rejected_with_underscores_in_headers",
    "http1_response_flood",
    "lb_healthy_panic",
    "lb_local_cluster_not_ok",
    "lb_recalculate_zone_structures",
    "lb_subsets_created",
    "lb_subsets_fallback",
    "lb_subsets_fallback_panic",
    "lb_subsets_removed",
    "lb_subsets_selected",
    "lb_zone_cluster_too_small",
    "lb_zone_no_capacity_left",
    "lb_zone_routing_all_directly",
    "lb_zone_routing_cross_zone",
    "lb_zone_routing_sampled",
    "membership_change",
    "original_dst_host_invalid",
    "retry_or_shadow_abandoned",
    "update_attempt",
    "update_empty",
    "update_failure",
    "update_no_rebuild",
    "update_success",
    "upstream_cx_close_notify",
    "upstream_cx_connect_attempts_exceeded",
    "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout",
    "upstream_cx_connect_with_0_rtt",
    "upstream_cx_destroy",
    "upstream_cx_destroy_local",
    "upstream_cx_destroy_local_with_active_rq",
    "upstream_cx_destroy_remote",
    "upstream_cx_destroy_remote_with_active_rq",
    "upstream_cx_destroy_with_active_rq",
    "upstream_cx_http1_total",
    "upstream_cx_http2_total",
    "upstream_cx_http3_total",
    "upstream_cx_idle_timeout",
    "upstream_cx_max_duration_reached",
    "upstream_cx_max_requests",
    "upstream_cx_none_healthy",
    "upstream_cx_overflow",
    "upstream_cx_pool_overflow",
    "upstream_cx_preconnect_skipped",
    "upstream_cx_protocol_error",
    "upstream_cx_rx_bytes_total",
    "upstream_cx_total",
    "upstream_cx_tx_bytes_total",
    "upstream_flow_control_backed_up_total",
    "upstream_flow_control_drained_total",
    "upstream_flow_control_paused_reading_total",
    "upstream_flow_control_resumed_reading_total",
    "upstream_http3_broken",
    "upstream_internal_redirect_failed_total",
    "upstream_internal_redirect_succeeded_total",
    "upstream_rq_0rtt",
    "upstream_rq_active_overflow",
    "upstream_rq_cancelled",
    "upstream_rq_maintenance_mode",
    "upstream_rq_max_duration_reached",
    "upstream_rq_pending_failure_eject",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_total",
    "upstream_rq_per_try_idle_timeout",
    "upstream_rq_per_try_timeout",
    "upstream_rq_retry",
    "upstream_rq_retry_backoff_exponential",
    "upstream_rq_retry_backoff_ratelimited",
    "upstream_rq_retry_limit_exceeded",
    "upstream_rq_retry_overflow",
    "upstream_rq_retry_stale",
    "upstream_rq_retry_success",
    "upstream_rq_rx_reset",
    "upstream_rq_rx_reset_no_error",
    "upstream_rq_timeout",
    "upstream_rq_total",
    "upstream_rq_tx_reset",
)

_GAUGES: Final = (
    "lb_subsets_active",
    "max_host_weight",
    "membership_degraded",
    "membership_excluded",
    "membership_healthy",
    "membership_total",
    "upstream_cx_active",
    "upstream_cx_rx_bytes_buffered",
    "upstream_cx_tx_bytes_buffered",
    "upstream_queue_overloaded",
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "version",
    "warming_state",
)

_HISTOGRAMS: Final = (
    "upstream_cx_connect_ms",
    "upstream_cx_length_ms",
    "upstream_rq_body_size",
    "upstream_rq_per_cx",
    "upstream_rq_time",
    "upstream_rs_body_size",
)
_COUNTER_NAMES: Final = StatNames([_DOTTED.get(name, name) for name in _COUNTERS])
_GAUGE_NAMES: Final = StatNames(_GAUGES)


class ClusterStats:
    """Everything under "cluster.<name>." but response codes and circuit breakers. Histograms are milliseconds."""

    assignment_stale: Counter
    assignment_timeout_received: Counter
    assignment_use_cached: Counter
    bind_errors: Counter
    default_total_match_count: Counter
    http1_dropped_headers_with_underscores: Counter
    http1_metadata_not_supported_error: Counter
    http1_requests_rejected_with_underscores_in_headers: Counter
    http1_response_flood: Counter
    lb_healthy_panic: Counter
    lb_local_cluster_not_ok: Counter
    lb_recalculate_zone_structures: Counter
    lb_subsets_active: Gauge
    lb_subsets_created: Counter
    lb_subsets_fallback: Counter
    lb_subsets_fallback_panic: Counter
    lb_subsets_removed: Counter
    lb_subsets_selected: Counter
    lb_zone_cluster_too_small: Counter
    lb_zone_no_capacity_left: Counter
    lb_zone_routing_all_directly: Counter
    lb_zone_routing_cross_zone: Counter
    lb_zone_routing_sampled: Counter
    max_host_weight: Gauge
    membership_change: Counter
    membership_degraded: Gauge
    membership_excluded: Gauge
    membership_healthy: Gauge
    membership_total: Gauge
    original_dst_host_invalid: Counter
    retry_or_shadow_abandoned: Counter
    update_attempt: Counter
    update_empty: Counter
    update_failure: Counter
    update_no_rebuild: Counter
    update_success: Counter
    upstream_cx_active: Gauge
    upstream_cx_close_notify: Counter
    upstream_cx_connect_attempts_exceeded: Counter
    upstream_cx_connect_fail: Counter
    upstream_cx_connect_ms: Histogram
    upstream_cx_connect_timeout: Counter
    upstream_cx_connect_with_0_rtt: Counter
    upstream_cx_destroy: Counter
    upstream_cx_destroy_local: Counter
    upstream_cx_destroy_local_with_active_rq: Counter
    upstream_cx_destroy_remote: Counter
    upstream_cx_destroy_remote_with_active_rq: Counter
    upstream_cx_destroy_with_active_rq: Counter
    upstream_cx_http1_total: Counter
    upstream_cx_http2_total: Counter
    upstream_cx_http3_total: Counter
    upstream_cx_idle_timeout: Counter
    upstream_cx_length_ms: Histogram
    upstream_cx_max_duration_reached: Counter
    upstream_cx_max_requests: Counter
    upstream_cx_none_healthy: Counter
    upstream_cx_overflow: Counter
    upstream_cx_pool_overflow: Counter
    upstream_cx_preconnect_skipped: Counter
    upstream_cx_protocol_error: Counter
    upstream_cx_rx_bytes_buffered: Gauge
    upstream_cx_rx_bytes_total: Counter
    upstream_cx_total: Counter
    upstream_cx_tx_bytes_buffered: Gauge
    upstream_cx_tx_bytes_total: Counter
    upstream_flow_control_backed_up_total: Counter
    upstream_flow_control_drained_total: Counter
    upstream_flow_control_paused_reading_total: Counter
    upstream_flow_control_resumed_reading_total: Counter
    upstream_http3_broken: Counter
    upstream_internal_redirect_failed_total: Counter
    upstream_internal_redirect_succeeded_total: Counter
    upstream_queue_overloaded: Gauge
    upstream_rq_0rtt: Counter
    upstream_rq_active: Gauge
    upstream_rq_active_overflow: Counter
    upstream_rq_body_size: Histogram
    upstream_rq_cancelled: Counter
    upstream_rq_maintenance_mode: Counter
    upstream_rq_max_duration_reached: Counter
    upstream_rq_pending_active: Gauge
    upstream_rq_pending_failure_eject: Counter
    upstream_rq_pending_overflow: Counter
    upstream_rq_pending_total: Counter
    upstream_rq_per_cx: Histogram
    upstream_rq_per_try_idle_timeout: Counter
    upstream_rq_per_try_timeout: Counter
    upstream_rq_retry: Counter
    upstream_rq_retry_backoff_exponential: Counter
    upstream_rq_retry_backoff_ratelimited: Counter
    upstream_rq_retry_limit_exceeded: Counter
    upstream_rq_retry_overflow: Counter
    upstream_rq_retry_stale: Counter
    upstream_rq_retry_success: Counter
    upstream_rq_rx_reset: Counter
    upstream_rq_rx_reset_no_error: Counter
    upstream_rq_time: Histogram
    upstream_rq_timeout: Counter
    upstream_rq_total: Counter
    upstream_rq_tx_reset: Counter
    upstream_rs_body_size: Histogram
    version: Gauge
    warming_state: Gauge

    def __init__(self, scope: Scope) -> None:
        """scope: "cluster.<name>."."""
        for name, counter in zip(_COUNTERS, scope.counters(_COUNTER_NAMES), strict=True):
            setattr(self, name, counter)
        for name, gauge in zip(_GAUGES, scope.gauges(_GAUGE_NAMES), strict=True):
            setattr(self, name, gauge)
        for name, followed in _FOLLOWS.items():
            getattr(self, name).follows = getattr(self, followed)
        for name in _HISTOGRAMS:
            setattr(self, name, scope.histogram(name, _UNITS.get(name, "ms")))
        scope.store.alias(scope.prefix + "external.upstream_rq_time", self.upstream_rq_time)


class ClusterCodes:
    """Responses of a cluster by code, counted twice as Envoy does: plain, and under ``external.`` or, where the request
    was an internal one or one of our own, ``internal.`` (record_internal). Those of canaries count a third time.

    record(status): one response, from upstream or made here for want of one; record_time(elapsed_ms): the time from
    the whole request to the whole response, in upstream_rq_time. Both hot. record_retry(status): a response that is
    thrown away for another try.
    """

    __slots__ = (
        "_canary",
        "_canary_time",
        "_external_time",
        "_internal",
        "_internal_time",
        "_scope",
        "_time",
        "record",
        "record_retry",
        "record_time",
    )

    def __init__(self, scope: Scope, stats: ClusterStats) -> None:
        # exists from the start, its external twin with the first response
        scope.counter("upstream_rq_completed")
        self._scope = scope
        self._time = stats.upstream_rq_time
        self._internal: CodeStats | None = None
        self._canary: CodeStats | None = None
        self._internal_time: Histogram | None = None
        self._external_time: Histogram | None = (
            None  # while all requests are external: _time under another name
        )
        self._canary_time: Histogram | None = None
        self.record = CodeStats(scope, scope.scope("external"), prefix="upstream_rq_").record
        self.record_retry = CodeStats(scope.scope("retry"), prefix="upstream_rq_").record
        self.record_time: Callable[[float], None] = stats.upstream_rq_time.record

    def record_internal(self, status: int) -> None:
        """As record, for a request that is internal, or that the proxy itself has made."""
        if self._internal is None:
            self._internal = CodeStats(self._scope, self._scope.scope("internal"), prefix="upstream_rq_")
        self._internal.record(status)

    def record_canary(self, status: int) -> None:
        """Beside record or record_internal, for the response of a canary."""
        if self._canary is None:
            self._canary = CodeStats(self._scope.scope("canary"), prefix="upstream_rq_")
        self._canary.record(status)

    def record_internal_time(self, elapsed_ms: int) -> None:
        """As record_time, for an internal request. From the first one on external ones have a histogram of their own."""
        if self._internal_time is None:
            scope = self._scope
            self._internal_time = scope.scope("internal").histogram("upstream_rq_time")
            self._external_time = scope.store.split(scope.prefix + "external.upstream_rq_time")
            self.record_time = self._record_external_time
        self._time.record(elapsed_ms)
        self._internal_time.record(elapsed_ms)

    def record_canary_time(self, elapsed_ms: int) -> None:
        """Beside the time of the request, for the response of a canary."""
        if self._canary_time is None:
            self._canary_time = self._scope.scope("canary").histogram("upstream_rq_time")
        self._canary_time.record(elapsed_ms)

    def _record_external_time(self, elapsed_ms: float) -> None:
        assert self._external_time is not None
        self._time.record(elapsed_ms)
        self._external_time.record(elapsed_ms)


class TimeoutBudgets:
    """How much of their timeouts requests use, in percent (track_cluster_stats.timeout_budgets). A timeout that is
    off is never used, so that it counts as 0."""

    __slots__ = ("per_try", "whole")

    def __init__(self, scope: Scope) -> None:
        """scope: "cluster.<name>."."""
        self.whole = scope.histogram("upstream_rq_timeout_budget_percent_used", "")
        self.per_try = scope.histogram("upstream_rq_timeout_budget_per_try_percent_used", "")

    def record(self, elapsed_s: float, timeout_s: float) -> None:
        """A request is over; elapsed_s: since it had come whole."""
        self.whole.record(percent_used(elapsed_s, timeout_s))

    def record_try(self, elapsed_s: float, timeout_s: float) -> None:
        """A try is over; elapsed_s: since it began."""
        self.per_try.record(percent_used(elapsed_s, timeout_s))


def percent_used(elapsed_s: float, timeout_s: float) -> int:
    """Whole percent; 0 of no timeout."""
    return int(100.0 * elapsed_s / timeout_s) if timeout_s > 0.0 else 0
