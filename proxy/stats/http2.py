"""The stats of HTTP/2 codecs: ``http2.`` for clients' connections, ``cluster.<name>.http2.`` for hosts'.

Envoy's names, plus two budgets that Envoy does not have: ``inbound_unknown_frames_flood`` and
``inbound_stray_data_flood``.
"""

from __future__ import annotations

from typing import Final

from proxy.stats.store import Counter, Gauge, Scope

COUNTERS: Final = (
    "goaway_sent",
    "header_list_size_too_large",
    "header_overflow",
    "inbound_empty_frames_flood",
    "inbound_priority_frames_flood",
    "inbound_stray_data_flood",
    "inbound_unknown_frames_flood",
    "inbound_window_update_frames_flood",
    "keepalive_timeout",
    "nghttp2_downstream_connections",
    "nghttp2_upstream_connections",
    "outbound_control_flood",
    "outbound_flood",
    "rx_messaging_error",
    "rx_reset",
    "stream_refused_errors",
    "trailers",
    "tx_flush_timeout",
    "tx_reset",
)
#: Counters that stay at zero; Envoy shows them.
STILL_COUNTERS: Final = (
    "cookies_total_bytes_too_large",
    "dropped_headers_with_underscores",
    "headers_cb_no_stream",
    "metadata_empty_frames",
    "oghttp2_downstream_connections",
    "oghttp2_upstream_connections",
    "requests_rejected_with_underscores_in_headers",
)
GAUGES: Final = (
    "deferred_stream_close",
    "outbound_control_frames_active",
    "outbound_frames_active",
    "pending_send_bytes",
)


class Http2Stats:
    """Counters as attributes of Envoy's names; ``streams_active`` is a gauge.

    The other gauges stand at zero: output leaves within the turn it is made in.
    """

    __slots__ = (
        "goaway_sent",
        "header_list_size_too_large",
        "header_overflow",
        "inbound_empty_frames_flood",
        "inbound_priority_frames_flood",
        "inbound_stray_data_flood",
        "inbound_unknown_frames_flood",
        "inbound_window_update_frames_flood",
        "keepalive_timeout",
        "nghttp2_downstream_connections",
        "nghttp2_upstream_connections",
        "outbound_control_flood",
        "outbound_flood",
        "rx_messaging_error",
        "rx_reset",
        "stream_refused_errors",
        "streams_active",
        "trailers",
        "tx_flush_timeout",
        "tx_reset",
    )

    goaway_sent: Counter
    header_list_size_too_large: Counter
    header_overflow: Counter
    inbound_empty_frames_flood: Counter
    inbound_priority_frames_flood: Counter
    inbound_stray_data_flood: Counter
    inbound_unknown_frames_flood: Counter
    inbound_window_update_frames_flood: Counter
    keepalive_timeout: Counter
    nghttp2_downstream_connections: Counter
    nghttp2_upstream_connections: Counter
    outbound_control_flood: Counter
    outbound_flood: Counter
    rx_messaging_error: Counter
    rx_reset: Counter
    stream_refused_errors: Counter
    trailers: Counter
    tx_flush_timeout: Counter
    tx_reset: Counter

    def __init__(self, scope: Scope) -> None:
        """scope: the store's root or "cluster.<name>."."""
        scope = scope.scope("http2")
        for name in COUNTERS:
            setattr(self, name, scope.counter(name))
        for name in STILL_COUNTERS:
            scope.counter(name)
        for name in GAUGES:
            scope.gauge(name)
        self.streams_active: Gauge = scope.gauge("streams_active")

    def count_flood(self, name: str) -> None:
        """One of the floods, by its attribute's name."""
        counter: Counter = getattr(self, name)
        counter.value += 1


class Http2StatsOnDemand:
    """The Http2Stats of a scope, made with the first connection that needs them (as Envoy does): call it."""

    __slots__ = ("_made", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._made: Http2Stats | None = None

    def __call__(self) -> Http2Stats:
        if self._made is None:
            self._made = Http2Stats(self._scope)
        return self._made
