"""The stats of one HTTP connection manager: ``http.<stat_prefix>.`` (contract/envoy.md 2.7, appendix)."""

from __future__ import annotations

from typing import Final

from proxy.stats.store import CodeStats, Counter, Gauge, Scope

#: Counters, each under Envoy's own name, and attributes of HcmStats.
COUNTERS: Final = (
    "downstream_cx_total",
    "downstream_cx_http1_total",
    "downstream_cx_http2_total",
    "downstream_cx_destroy",
    "downstream_cx_destroy_active_rq",
    "downstream_cx_destroy_local",
    "downstream_cx_destroy_local_active_rq",
    "downstream_cx_destroy_remote",
    "downstream_cx_destroy_remote_active_rq",
    "downstream_cx_drain_close",
    "downstream_cx_idle_timeout",
    "downstream_cx_max_duration_reached",
    "downstream_cx_max_requests_reached",
    "downstream_cx_protocol_error",
    "downstream_cx_delayed_close_timeout",
    "downstream_cx_upgrades_total",
    "downstream_cx_rx_bytes_total",
    "downstream_cx_tx_bytes_total",
    "downstream_flow_control_paused_reading_total",
    "downstream_flow_control_resumed_reading_total",
    "downstream_rq_total",
    "downstream_rq_http1_total",
    "downstream_rq_http2_total",
    "downstream_rq_too_many_premature_resets",
    "downstream_rq_failed_path_normalization",
    "downstream_rq_redirected_with_normalized_path",
    "downstream_rq_rejected_via_ip_detection",
    "downstream_rq_header_timeout",
    "downstream_rq_idle_timeout",
    "downstream_rq_max_duration_reached",
    "downstream_rq_non_relative_path",
    "downstream_rq_response_before_rq_complete",
    "downstream_rq_rx_reset",
    "downstream_rq_timeout",
    "downstream_rq_too_large",
    "downstream_rq_tx_reset",
    "downstream_rq_ws_on_non_ws_route",
    "no_cluster",
    "no_route",
    "passthrough_internal_redirect_bad_location",
    "passthrough_internal_redirect_no_route",
    "passthrough_internal_redirect_predicate",
    "passthrough_internal_redirect_too_many_redirects",
    "passthrough_internal_redirect_unsafe_scheme",
    "rq_direct_response",
    "rq_redirect",
    "rq_total",
    "rs_too_large",
    "rq_reset_after_downstream_response_started",
)
#: Counters that stay at zero until their feature is built; Envoy shows them from the start.
STILL_COUNTERS: Final = (
    "downstream_cx_http3_total",
    "downstream_cx_overload_disable_keepalive",
    "downstream_cx_ssl_total",
    "downstream_rq_http3_total",
    "downstream_rq_overload_close",
    "rq_overload_local_reply",
)
#: The same for gauges.
STILL_GAUGES: Final = (
    *("downstream_cx_http3_active", "downstream_cx_ssl_active"),
    "downstream_cx_http1_soft_drain",
    *("downstream_cx_rx_bytes_buffered", "downstream_cx_tx_bytes_buffered"),
)


class HcmStats:
    """Counters, gauges and histograms as attributes of Envoy's names.

    Ours, beyond Envoy: ``downstream_rq_body_size`` and ``downstream_rs_body_size``, histograms of body bytes.
    """

    __slots__ = (
        *COUNTERS,
        "downstream_cx_active",
        "downstream_cx_http1_active",
        "downstream_cx_http2_active",
        "downstream_cx_length_ms",
        "downstream_cx_upgrades_active",
        "downstream_rq_active",
        "downstream_rq_body_size",
        "downstream_rq_time",
        "downstream_rs_body_size",
    )

    downstream_cx_total: Counter
    downstream_cx_http1_total: Counter
    downstream_cx_http2_total: Counter
    downstream_cx_destroy: Counter
    downstream_cx_destroy_active_rq: Counter
    downstream_cx_destroy_local: Counter
    downstream_cx_destroy_local_active_rq: Counter
    downstream_cx_destroy_remote: Counter
    downstream_cx_destroy_remote_active_rq: Counter
    downstream_cx_drain_close: Counter
    downstream_cx_idle_timeout: Counter
    downstream_cx_max_duration_reached: Counter
    downstream_cx_max_requests_reached: Counter
    downstream_cx_protocol_error: Counter
    downstream_cx_delayed_close_timeout: Counter
    downstream_cx_upgrades_total: Counter
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_tx_bytes_total: Counter
    downstream_flow_control_paused_reading_total: Counter
    downstream_flow_control_resumed_reading_total: Counter
    downstream_rq_total: Counter
    downstream_rq_http1_total: Counter
    downstream_rq_http2_total: Counter
    downstream_rq_too_many_premature_resets: Counter
    downstream_rq_failed_path_normalization: Counter
    downstream_rq_redirected_with_normalized_path: Counter
    downstream_rq_rejected_via_ip_detection: Counter
    downstream_rq_header_timeout: Counter
    downstream_rq_idle_timeout: Counter
    downstream_rq_max_duration_reached: Counter
    downstream_rq_non_relative_path: Counter
    downstream_rq_response_before_rq_complete: Counter
    downstream_rq_rx_reset: Counter
    downstream_rq_timeout: Counter
    downstream_rq_too_large: Counter
    downstream_rq_tx_reset: Counter
    downstream_rq_ws_on_non_ws_route: Counter
    no_cluster: Counter
    no_route: Counter
    passthrough_internal_redirect_bad_location: Counter
    passthrough_internal_redirect_no_route: Counter
    passthrough_internal_redirect_predicate: Counter
    passthrough_internal_redirect_too_many_redirects: Counter
    passthrough_internal_redirect_unsafe_scheme: Counter
    rq_direct_response: Counter
    rq_redirect: Counter
    rq_total: Counter
    rs_too_large: Counter
    rq_reset_after_downstream_response_started: Counter

    def __init__(self, scope: Scope) -> None:
        for name in COUNTERS:
            setattr(self, name, scope.counter(name))
        for name in STILL_COUNTERS:
            scope.counter(name)
        for name in STILL_GAUGES:
            scope.gauge(name)
        self.downstream_cx_active: Gauge = scope.gauge(
            "downstream_cx_active", follows=self.downstream_cx_total
        )
        self.downstream_cx_http1_active: Gauge = scope.gauge(
            "downstream_cx_http1_active", follows=self.downstream_cx_total
        )
        self.downstream_cx_http2_active: Gauge = scope.gauge(
            "downstream_cx_http2_active", follows=self.downstream_cx_http2_total
        )
        self.downstream_cx_upgrades_active: Gauge = scope.gauge(
            "downstream_cx_upgrades_active", follows=self.downstream_cx_upgrades_total
        )
        self.downstream_rq_active: Gauge = scope.gauge(
            "downstream_rq_active", follows=self.downstream_rq_total
        )
        self.downstream_rq_time = scope.histogram("downstream_rq_time")
        self.downstream_cx_length_ms = scope.histogram("downstream_cx_length_ms")
        self.downstream_rq_body_size = scope.histogram("downstream_rq_body_size", unit="bytes")
        self.downstream_rs_body_size = scope.histogram("downstream_rs_body_size", unit="bytes")


class VirtualHostStats:
    """``vhost.<name>.vcluster.other.``: every request of a virtual host.

    Envoy has these names (and their tags) only where virtual clusters are configured, for what matches none of them;
    here they are always kept, since no other stat tells virtual hosts apart. The body sizes are ours.
    """

    __slots__ = ("codes", "rq_body_size", "rq_time", "rq_total", "rs_body_size")

    def __init__(self, scope: Scope) -> None:
        self.codes = CodeStats(scope, prefix="upstream_rq_")
        self.rq_total = scope.counter("upstream_rq_total")
        self.rq_time = scope.histogram("upstream_rq_time")
        self.rq_body_size = scope.histogram("upstream_rq_body_size", unit="bytes")
        self.rs_body_size = scope.histogram("upstream_rs_body_size", unit="bytes")
