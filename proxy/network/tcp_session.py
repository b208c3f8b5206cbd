"""TcpProxyConnection: a client's connection whose bytes go to a host and back (envoy.filters.network.tcp_proxy).

Its life, and what ends it:

1. accepted -> connecting, at once or with the first bytes or the TLS handshake: a cluster and a host are chosen, a
   connection is asked of the host's pool; another attempt follows a failure, as many as configured. Then the client is
   closed without an answer.
2. connecting -> joined: bytes go both ways through a ``network.joint.Joint``.
3. joined -> over. The last half ends: whoever ended it has closed, the other is closed once all is written. One side is
   reset: so is the other. Idle for too long, or there for too long: both are closed at once.
4. over, with bytes that the host has not taken: they are still delivered ("upstream flush").
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, cast

from proxy.base.errors import CONNECTION_TIMEOUT, REMOTE_CONNECTION_FAILURE, ResetReason, ResponseFlag
from proxy.network.joint import Joint
from proxy.network.layer import TransportLayer
from proxy.network.raw_connection import RawConnection
from proxy.network.tcp_proxy import AT_ONCE, WITH_DATA, WITH_TLS
from proxy.network.tcp_upstream import TcpFarEnd, TcpUpstreamConnection, TcpUpstreamOwner, TunnelEnd
from proxy.network.tls_transport import TlsTransport
from proxy.upstream.pool_connection import PoolConnection, PoolRequest
from proxy.upstream.pool_tcp import tcp_pool

if TYPE_CHECKING:
    from proxy.base.stream_info import ConnectionInfo
    from proxy.base.tls_info import TlsInfo
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher
    from proxy.network.tcp_proxy import TcpProxy
    from proxy.network.tcp_stream_info import TcpStreamInfo
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.connection import UpstreamStream
    from proxy.upstream.pool import ConnectionPool


class TcpProxyConnection(RawConnection, PoolRequest, TcpUpstreamOwner):
    """pool: of which a connection is asked just now; tunnel: the request that is made of it, with tunneling_config
    upstream: the host's end
    backoff_s: the last interval from which chance has drawn how long to wait for another attempt
    active_at: when bytes last moved; unwritten: what both sides had not taken at the last look
    awaits: what must come before a host is connected to, as ``TcpProxy.connects_on``; "" once it has
    """

    __slots__ = (
        "active_at",
        "asked_at",
        "asking",
        "awaits",
        "backoff_s",
        "joint",
        "log_deadline",
        "pool",
        "proxy",
        "retry_deadline",
        "stream",
        "tunnel",
        "unwritten",
        "upstream",
    )

    def __init__(self, listener: Listener, proxy: TcpProxy, dispatcher: Dispatcher) -> None:
        RawConnection.__init__(self, listener, dispatcher)
        self.proxy = proxy
        self.joint = Joint(self)
        self.stream: TcpStreamInfo
        self.pool: ConnectionPool | None = None
        self.upstream: TcpFarEnd | None = None
        self.tunnel: TunnelEnd | None = None
        self.asking = False
        self.asked_at = self.active_at = 0.0
        self.log_deadline = self.retry_deadline = inf
        self.backoff_s = 0.0
        self.unwritten = 0
        self.awaits = ""

    @property
    def protocol(self) -> bytes:
        """None that a pool could follow."""
        return b""

    @property
    def client(self) -> ConnectionInfo:
        return self.info

    # -- the beginning -------------------------------------------------------------------------------------------

    def on_accepted(self, now: float) -> None:
        RawConnection.on_accepted(self, now)
        proxy = self.proxy
        proxy.stats.downstream_cx_total.value += 1
        self.stream = proxy.begin(self.info)
        self.duration_deadline = now + proxy.duration_s()
        self.log_deadline = now + proxy.log_interval_s
        first = min(self.duration_deadline, self.log_deadline)
        if first < inf:
            self.watch(first)

    def on_new_connection(self) -> None:
        """It is tcp_proxy's turn: connect, or wait for what has to come before."""
        proxy = self.proxy
        self.stream.name(proxy.ids)
        if proxy.logs_start:
            proxy.log(self.stream, b"TcpConnectionStart", self.info.started_at)
        self.active_at = self.dispatcher.clock.monotonic()
        if proxy.idle_timeout_s < inf:
            self.watch(self.active_at + proxy.idle_timeout_s)
        if proxy.early_bytes > 0:
            self.joint.early_bytes = proxy.early_bytes
        mode = proxy.connects_on
        if mode != AT_ONCE and (mode == WITH_DATA or self._awaits_handshake()):
            self.awaits = mode
        else:
            self._choose()

    def _awaits_handshake(self) -> bool:
        """Whether it is behind TLS whose handshake is not over."""
        layer: Any = self.transport
        while isinstance(layer, TransportLayer) and not isinstance(layer, TlsTransport):
            layer = layer.transport
        return self.info.tls is None and isinstance(layer, TlsTransport)

    def on_secure(self, info: TlsInfo) -> None:
        RawConnection.on_secure(self, info)
        if self.awaits != WITH_TLS:
            return
        self.awaits = ""
        try:
            self._choose()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def _choose(self) -> None:
        """Choose a cluster, and connect to one of its hosts."""
        cluster = self.proxy.choose_cluster(self.info)
        if cluster is None:
            self.proxy.stats.downstream_cx_no_route.value += 1
            self._give_up(ResponseFlag.NC, 3)
            return
        self.stream.cluster = cluster
        self.stream.cluster_name = cluster.name_bytes
        tlvs = self.proxy.tlvs
        if tlvs is not None:
            self.info.tlvs = tlvs.of(self.stream)
        self._connect(cluster)

    def _connect(self, cluster: Cluster) -> None:
        """Ask for connections until one is being made, or there is none to be had. A pool that answers at once says no
        (``on_pool_failure``), and leaves it to this loop to go on."""
        stream = self.stream
        while self.upstream is None and self.open and not self.closing:
            if not cluster.resources[0].can_connect():
                cluster.stats.upstream_cx_overflow.value += 1
                self._give_up(ResponseFlag.UO, 2)
                return
            if stream.attempt_count >= self.proxy.max_connect_attempts:
                cluster.stats.upstream_cx_connect_attempts_exceeded.value += 1
                self._give_up(ResponseFlag.URX_OF_BYTES, 0)
                return
            host = cluster.choose_host(stream)
            if host is None:
                self._give_up(ResponseFlag.UH, 1)
                return
            stream.attempt_count += 1
            stream.upstream_host = host
            stream.tried.append(host)
            if not self.asked_at:
                self.asked_at = self.dispatcher.clock.monotonic()
            self.asking = True
            tunnels = self.proxy.tunnels
            if tunnels is None:
                self.pool = tcp_pool(host)
                self.pool.new_stream(self)
            else:
                self.pool = host.pools[0]
                self.tunnel = tunnels.make(self, host, stream)
                self.tunnel.begin()
            self.asking = False
            if self.pool is not None or self.retry_deadline < inf:
                return  # it is on its way, or will be

    def on_pool_failure(self, reason: ResetReason, detail: bytes) -> None:
        self.pool = self.tunnel = None
        stream = self.stream
        stream.upstream_pool_wait_s = self.dispatcher.clock.monotonic() - self.asked_at
        stream.upstream_transport_failure_reason = detail
        if reason is REMOTE_CONNECTION_FAILURE or reason is CONNECTION_TIMEOUT:
            stream.flags |= ResponseFlag.UF
        proxy = self.proxy
        if proxy.backoff_base_s and stream.attempt_count < proxy.max_connect_attempts:
            interval_s = min(
                self.backoff_s * 2.0 if self.backoff_s else proxy.backoff_base_s, proxy.backoff_max_s
            )
            self.backoff_s = interval_s
            self.retry_deadline = self.dispatcher.clock.monotonic() + proxy.ids.random() * interval_s
            self.watch(self.retry_deadline)
        elif not self.asking and stream.cluster is not None:
            self._connect(stream.cluster)

    def on_pool_ready(self, connection: PoolConnection) -> None:
        upstream = cast(TcpUpstreamConnection, connection)
        upstream.owner = self
        self.on_joined(upstream, upstream)

    def on_joined(self, far: TcpFarEnd, upstream: UpstreamStream) -> None:
        """There is a host's end, and the connection it is on."""
        stream = self.stream
        self.pool = None
        self.tunnel = None
        if self.closing:
            far.let_go()
            far.close_now()
            return
        self.upstream = far
        now = self.active_at = self.dispatcher.clock.monotonic()
        stream.upstream_pool_wait_s = now - self.asked_at
        stream.upstream_connection_id = upstream.connection_id
        stream.upstream_local_address = upstream.local_address
        stream.upstream_remote_address = upstream.remote_address
        stream.upstream_tls = upstream.tls
        stream.upstream_connect_start_at = upstream.created_at
        stream.upstream_connected_at = upstream.connected_at
        proxy = self.proxy
        if proxy.logs_connected:
            proxy.log(stream, b"TcpUpstreamConnected", now)
        waiting = len(self.joint.waiting)
        if waiting:
            self._count_received(waiting)
        self.joint.join(far)

    def _give_up(self, flag: int, why: int) -> None:
        """There is no host for it. why: as Envoy numbers (and spells) the reasons"""
        stream = self.stream
        stream.flags |= flag
        if stream.cluster is not None and stream.upstream_pool_wait_s < 0.0:
            stream.upstream_pool_wait_s = 0.0
        self.close_for(b"tcp_initializion_failure:%d" % why)

    def close_for(self, reason: bytes) -> None:
        self.info.local_close_reason = reason
        if self.joint.waiting:
            self.reset()  # so that the client knows that nobody has got its bytes
        else:
            self.abort()

    # -- bytes ---------------------------------------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Hot."""
        if self.upstream is None:
            self._on_early(data)
            return
        self._count_received(len(data))
        self.active_at = self.dispatcher.clock.monotonic()
        self.joint.from_near(data)
        if self.proxy.drain_close:
            self._close_draining()

    def _on_early(self, data: bytes) -> None:
        """Bytes before there is a host's end."""
        self.joint.from_near(data)
        proxy = self.proxy
        if proxy.early_bytes >= 0:
            proxy.stats.early_data_received_count_total.value += 1
        if self.awaits == WITH_DATA:
            self.awaits = ""
            self._choose()
        if proxy.drain_close:
            self._close_draining()

    def _count_received(self, count: int) -> None:
        stream = self.stream
        stream.bytes_received += count
        stream.request_wire_bytes += count
        stream.upstream_bytes_sent += count
        self.proxy.stats.downstream_cx_rx_bytes_total.value += count

    def on_upstream_data(self, data: bytes) -> None:
        """Hot."""
        self.active_at = self.dispatcher.clock.monotonic()
        self.stream.upstream_bytes_received += len(data)
        self.joint.from_far(data)
        if self.proxy.drain_close:
            self._close_draining()

    def write(self, data: bytes) -> None:
        """Hot."""
        if self.open and not self.closing:
            count = len(data)
            stream = self.stream
            stream.bytes_sent += count
            stream.response_wire_bytes += count
            self.proxy.stats.downstream_cx_tx_bytes_total.value += count
            self.transport.write(data)

    def on_blocked(self, blocked: bool) -> None:
        self.joint.block_near(blocked)

    def on_upstream_blocked(self, blocked: bool) -> None:
        stats = self.proxy.stats
        if blocked:
            stats.downstream_flow_control_paused_reading_total.value += 1
        else:
            stats.downstream_flow_control_resumed_reading_total.value += 1
        self.joint.block_far(blocked)

    # -- the end -------------------------------------------------------------------------------------------------

    def on_end(self) -> None:
        if self.upstream is None and self.proxy.early_bytes >= 0:
            self.proxy.stats.early_data_received_count_total.value += 1
        self.joint.end_near()
        if self.joint.is_over:  # the host had ended before: this is the client's close
            self.left = True
            self.finish_upstream()
            self.close_flushed()

    def on_upstream_end(self) -> None:
        self.joint.end_far()
        upstream = self.upstream
        if upstream is not None and self.joint.is_over:
            self._let_go()
            self._finish(upstream, True)

    def on_upstream_gone(self, was_reset: bool) -> None:
        self._let_go()
        if was_reset:
            self.stream.upstream_end = b"RemoteReset"
            self.stream.flags |= ResponseFlag.UR
            self.info.close_type = b"LocalReset"
            self.reset()
        else:
            self.close_flushed()

    def _let_go(self) -> TcpFarEnd | None:
        """The host's connection is no longer this one's; which it was."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.let_go()
        self.joint.part()
        return upstream

    def finish_upstream(self) -> None:
        """Nothing more comes from the client, and nobody is there for what the host says: what it has not taken yet is
        still delivered."""
        upstream = self._let_go()
        if upstream is not None:
            self._finish(upstream, False)

    def _finish(self, upstream: TcpFarEnd, remote: bool) -> None:
        proxy = self.proxy
        if upstream.finish(remote, proxy.idle_timeout_s, proxy.stats.upstream_flush_active):
            proxy.stats.upstream_flush_total.value += 1

    def end_both(self, reason: bytes) -> None:
        """Close both sides at once."""
        if self.upstream is not None:
            upstream = self._let_go()
            assert upstream is not None
            self.stream.upstream_reason = reason
            upstream.close_now()
        self.close_for(reason)

    def _close_draining(self) -> None:
        if not self.closing:
            self.proxy.stats.downstream_cx_drain_close.value += 1
            self.finish_upstream()
            self.close_flushed()

    def on_lost(self, exc: Exception | None) -> None:
        pool, self.pool = self.pool, None
        if self.tunnel is not None:
            self.tunnel.close_now()
            self.tunnel = None
            self.stream.flags |= ResponseFlag.UF  # as Envoy, which has failed to get it
        elif pool is not None:
            pool.cancel(self)
            self.stream.upstream_host = None  # there was none yet
        if self.upstream is None:
            return
        if isinstance(exc, ConnectionResetError):
            self.info.close_type = b"RemoteReset"
            upstream = self._let_go()
            if upstream is not None:
                upstream.reset()
        elif self.closing:
            upstream = self._let_go()
            if upstream is not None:
                upstream.close_now()
        else:
            self.finish_upstream()

    def count_end(self, length_s: float) -> None:
        self.proxy.log(self.stream, b"TcpConnectionEnd", self.info.started_at + length_s)

    def detach(self) -> None:
        self._let_go()

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        if self.closing:
            return RawConnection.on_due(self, now)
        if now >= self.duration_deadline:
            self.proxy.stats.max_downstream_connection_duration.value += 1
            self.stream.flags |= ResponseFlag.DT
            self.end_both(b"max_connection_duration_reached")
            return inf
        if now >= self.log_deadline:
            self.log_deadline = now + self.proxy.log_interval_s
            self.proxy.log(self.stream, b"TcpPeriodic", now)
        if now >= self.retry_deadline:
            self.retry_deadline = inf
            if self.stream.cluster is not None:
                self._connect(self.stream.cluster)
        if self.closing:
            return self.close_deadline
        return min(self._idle_until(now), self.duration_deadline, self.log_deadline, self.retry_deadline)

    def _idle_until(self, now: float) -> float:
        """When to look whether it has been idle for too long; ends it when it has. Bytes that a side still takes are no
        idleness."""
        upstream = self.upstream
        idle_s = self.proxy.idle_timeout_s
        if idle_s == inf:
            return inf
        if now >= self.active_at + idle_s:
            unwritten = self.transport.get_write_buffer_size()
            if upstream is not None:
                unwritten += upstream.unwritten
            if unwritten == self.unwritten:
                self.proxy.stats.idle_timeout.value += 1
                self.end_both(b"tcp_session_idle_timeout")
                return inf
            self.unwritten = unwritten
            self.active_at = now
        return self.active_at + idle_s
