"""TcpProxy: what all connections of one tcp_proxy filter share: where they go, how long they may last, their statistics
and logs. Made from configuration by ``ext.filters.network.tcp_proxy``; a connection is ``network.tcp_session``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from proxy.network.tcp_stream_info import TcpStreamInfo

if TYPE_CHECKING:
    from proxy.access_log.access_log import AccessLog
    from proxy.base.clock import Clock
    from proxy.base.ids import Ids
    from proxy.base.stream_info import ConnectionInfo, StreamInfo
    from proxy.network.tcp_upstream import Tunnels
    from proxy.stats.store import Scope
    from proxy.upstream.cluster import Cluster

#: What a filter before this one puts into ``ConnectionInfo.filter_state`` to choose the cluster.
CLUSTER_KEY: Final = "envoy.tcp_proxy.cluster"

#: upstream_connect_mode
AT_ONCE: Final = "IMMEDIATE"
WITH_DATA: Final = "ON_DOWNSTREAM_DATA"
WITH_TLS: Final = "ON_DOWNSTREAM_TLS_HANDSHAKE"


class TcpProxyStats:
    """Everything under ``tcp.<stat_prefix>.``."""

    __slots__ = (
        "downstream_cx_drain_close",
        "downstream_cx_no_route",
        "downstream_cx_rx_bytes_total",
        "downstream_cx_total",
        "downstream_cx_tx_bytes_total",
        "downstream_flow_control_paused_reading_total",
        "downstream_flow_control_resumed_reading_total",
        "early_data_received_count_total",
        "idle_timeout",
        "max_downstream_connection_duration",
        "upstream_flush_active",
        "upstream_flush_total",
    )

    def __init__(self, scope: Scope) -> None:
        self.downstream_cx_drain_close = scope.counter("downstream_cx_drain_close")
        self.downstream_cx_no_route = scope.counter("downstream_cx_no_route")
        self.downstream_cx_rx_bytes_total = scope.counter("downstream_cx_rx_bytes_total")
        self.downstream_cx_total = scope.counter("downstream_cx_total")
        self.downstream_cx_tx_bytes_total = scope.counter("downstream_cx_tx_bytes_total")
        self.downstream_flow_control_paused_reading_total = scope.counter(
            "downstream_flow_control_paused_reading_total"
        )
        self.downstream_flow_control_resumed_reading_total = scope.counter(
            "downstream_flow_control_resumed_reading_total"
        )
        self.early_data_received_count_total = scope.counter("early_data_received_count_total")
        self.idle_timeout = scope.counter("idle_timeout")
        self.max_downstream_connection_duration = scope.counter("max_downstream_connection_duration")
        self.upstream_flush_total = scope.counter("upstream_flush_total")
        self.upstream_flush_active = scope.gauge("upstream_flush_active", follows=self.upstream_flush_total)
        for name in ("downstream_cx_overload_close", "route_delayed_total"):
            scope.counter(name)  # what they count is not built
        for name in ("downstream_cx_rx_bytes_buffered", "downstream_cx_tx_bytes_buffered"):
            scope.gauge(name)


class Tlvs:
    """What a header of the PROXY protocol says of a client beyond its addresses."""

    __slots__ = ()

    def of(self, stream: StreamInfo) -> tuple[tuple[int, bytes], ...]:
        """(type, value) of a client, in order."""
        raise NotImplementedError


class TcpProxy:
    """cluster: the only one, "" where ``weighted`` is: [(sum of the weights so far, name)]
    clusters: all of the process, by name
    idle_timeout_s, max_duration_s: inf for none; duration_jitter: 0..1 of it that chance adds
    backoff_base_s, backoff_max_s: before another attempt chance waits up to the first, doubled each time up to the second;
    0 does not wait
    log_interval_s: of TcpPeriodic lines, inf for none; logs_start, logs_connected: lines for these moments as well
    tunnels: make the request that carries the bytes (tunneling_config), None: they go as they are
    drain_close: connections end with the next bytes; closes_on_drain: that is so once the listener drains
    connects_on: when a host is connected to (upstream_connect_mode)
    tlvs: of ours, None: those of the client's own header alone
    early_bytes: so many of a client's bytes are read before there is a host's connection; -1: not said, one read is
    """

    __slots__ = (
        "access_logs",
        "backoff_base_s",
        "backoff_max_s",
        "clock",
        "closes_on_drain",
        "cluster",
        "clusters",
        "connects_on",
        "drain_close",
        "duration_jitter",
        "early_bytes",
        "idle_timeout_s",
        "ids",
        "log_interval_s",
        "logs_connected",
        "logs_start",
        "max_connect_attempts",
        "max_duration_s",
        "stats",
        "tlvs",
        "tunnels",
        "weighted",
    )

    def __init__(self, scope: Scope, clusters: dict[str, Cluster], clock: Clock, ids: Ids) -> None:
        self.stats = TcpProxyStats(scope)
        self.clusters = clusters
        self.clock = clock
        self.ids = ids
        self.cluster = ""
        self.weighted: list[tuple[int, str]] = []
        self.idle_timeout_s = 3600.0
        self.max_duration_s = inf
        self.duration_jitter = 0.0
        self.max_connect_attempts = 1
        self.backoff_base_s = self.backoff_max_s = 0.0
        self.access_logs: tuple[AccessLog, ...] = ()
        self.log_interval_s = inf
        self.logs_start = self.logs_connected = False
        self.closes_on_drain = self.drain_close = False
        self.connects_on = AT_ONCE
        self.early_bytes = -1
        self.tunnels: Tunnels | None = None
        self.tlvs: Tlvs | None = None

    def choose_cluster(self, info: ConnectionInfo) -> Cluster | None:
        """Where a connection goes: what a filter before has said, or as configured. None: there is no such cluster."""
        state = info.filter_state
        named = state.get(CLUSTER_KEY) if state is not None else None
        name = named.plain().decode() if named is not None else self.cluster or self._draw()
        return self.clusters.get(name)

    def _draw(self) -> str:
        if not self.weighted:
            return ""
        at = self.ids.randrange(self.weighted[-1][0])
        for reached, name in self.weighted:
            if at < reached:
                return name
        return ""

    def duration_s(self) -> float:
        """How long the next connection may last."""
        if not self.duration_jitter or self.max_duration_s == inf:
            return self.max_duration_s
        return self.max_duration_s * (1.0 + self.ids.random() * self.duration_jitter)

    def begin(self, info: ConnectionInfo) -> TcpStreamInfo:
        """A connection comes; what logs will say of it."""
        stream = TcpStreamInfo(info, self.clock.wall(), info.started_at)
        stream.metadata = info.metadata
        return stream

    def log(self, stream: TcpStreamInfo, moment: bytes, now: float) -> None:
        """Write the lines of a moment."""
        stream.log_type = moment
        stream.ended_at = now
        for access_log in self.access_logs:
            access_log.log(stream)
