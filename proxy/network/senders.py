"""Bytes of our own that nobody answers: datagrams to an address, or a stream to a host of a cluster.

``NetworkSenders`` implements ``proxy.http.context.Senders``. Off the path of requests.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, cast

from proxy.base.timers import Timed
from proxy.network.tcp_upstream import TcpUpstreamConnection, TcpUpstreamOwner
from proxy.stats.store import Gauge
from proxy.upstream.pool_connection import PoolConnection, PoolRequest
from proxy.upstream.pool_tcp import tcp_pool

if TYPE_CHECKING:
    from proxy.base.errors import ResetReason
    from proxy.base.stream_info import ConnectionInfo
    from proxy.network.dispatcher import Dispatcher
    from proxy.stats.store import Counter
    from proxy.upstream.manager import ClusterManager
    from proxy.upstream.pool import ConnectionPool

#: datagrams of one turn; the next ones go a moment later, so that a large page does not hold up requests
AT_ONCE: Final = 256
PAUSE_S: Final = 0.005
MAX_WAITING: Final = 500_000  # datagrams
MAX_BUFFERED: Final = 16 * 1024 * 1024  # bytes, for a connection; as Envoy's statsd
LAST_BYTES_S: Final = 5.0  # a host that takes none of the last bytes for so long is left


class NetworkSenders:
    """See ``proxy.http.context.Senders``."""

    __slots__ = ("clusters", "dispatcher")

    def __init__(self, dispatcher: Dispatcher, clusters: ClusterManager) -> None:
        self.dispatcher = dispatcher
        self.clusters = clusters

    def datagrams(self, ip: str, port: int, dropped: Counter) -> DatagramSender:
        """See ``Senders.datagrams``."""
        return DatagramSender(ip, port, self.dispatcher, dropped)

    def stream(self, cluster: str, dropped: Counter) -> StreamSender:
        """See ``Senders.stream``."""
        return StreamSender(cluster, self.clusters, dropped)


class DatagramSender(Timed):
    """Over UDP, ``AT_ONCE`` datagrams in a turn of the loop."""

    __slots__ = ("dispatcher", "dropped", "ip", "port", "sock", "waiting")

    def __init__(self, ip: str, port: int, dispatcher: Dispatcher, dropped: Counter) -> None:
        self.ip = ip
        self.port = port
        self.dispatcher = dispatcher
        self.dropped = dropped
        self.waiting: deque[bytes] = deque()
        self.due = inf
        self.sock: socket.socket | None = None

    def send(self, parts: Sequence[bytes]) -> None:
        """See ``Sender.send``: a datagram each."""
        was_idle = not self.waiting
        for datagram in parts:
            if len(self.waiting) >= MAX_WAITING:
                self.dropped.value += 1
            else:
                self.waiting.append(datagram)
        if was_idle:
            now = self.dispatcher.clock.monotonic()
            self.dispatcher.timers.watch(self, self.on_due(now))

    def on_due(self, now: float) -> float:
        """The wheel's call: some more."""
        self._send_some(AT_ONCE)
        return now + PAUSE_S if self.waiting else inf

    def _send_some(self, most: int) -> None:
        while self.waiting and most:
            most -= 1
            datagram = self.waiting.popleft()
            try:
                if self.sock is None:
                    self.sock = self._open()
                self.sock.sendto(datagram, (self.ip, self.port))
            except OSError:  # no room in the socket, or for one
                self.dropped.value += 1

    def _open(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self.ip else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        """See ``Sender.close``."""
        self.dispatcher.timers.forget(self)
        self._send_some(MAX_WAITING)
        self.waiting.clear()
        if self.sock is not None:
            self.sock.close()


class StreamSender(PoolRequest, TcpUpstreamOwner):
    """One connection to a host of the cluster, made when there is something to send and kept.

    What a connection could not take is gone with it, as in Envoy's statsd. pool: of which one is asked just now
    """

    __slots__ = ("buffer", "cluster", "clusters", "connection", "dropped", "finishing", "pool")

    def __init__(self, cluster: str, clusters: ClusterManager, dropped: Counter) -> None:
        self.cluster = cluster
        self.clusters = clusters
        self.dropped = dropped
        self.buffer = bytearray()  # for the connection that is to come
        self.pool: ConnectionPool | None = None
        self.connection: TcpUpstreamConnection | None = None
        self.finishing = Gauge()  # connections that still have something to write; on no page

    def send(self, parts: Sequence[bytes]) -> None:
        """See ``Sender.send``: one after the other."""
        if not parts:
            return
        data = b"".join(parts)
        connection = self._usable()
        waiting = len(self.buffer) if connection is None else connection.unwritten
        if waiting + len(data) > MAX_BUFFERED:
            self.dropped.value += 1
        elif connection is not None:
            connection.write(data)
        else:
            self.buffer += data
            if self.pool is None:
                self._connect()

    def _usable(self) -> TcpUpstreamConnection | None:
        """The connection; one to a host that is no longer the cluster's is left."""
        connection = self.connection
        if connection is not None and connection.pool.draining:
            self._leave()
            return None
        return connection

    def _connect(self) -> None:
        cluster = self.clusters.get(self.cluster)
        host = cluster.choose_host(None) if cluster is not None else None
        if cluster is None or host is None:
            self._lose()
        elif not cluster.resources[0].can_connect():
            cluster.stats.upstream_cx_overflow.value += 1
            self._lose()
        else:
            self.pool = tcp_pool(host)
            self.pool.new_stream(self)

    def _lose(self) -> None:
        self.dropped.value += 1
        self.buffer.clear()

    def _leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.let_go()
            connection.finish(False, LAST_BYTES_S, self.finishing)

    def close(self) -> None:
        """See ``Sender.close``."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.cancel(self)
        self.buffer.clear()
        self._leave()

    # -- upstream.pool_connection.PoolRequest -------------------------------------------------------------------------------

    @property
    def protocol(self) -> bytes:
        """None that a pool could follow."""
        return b""

    @property
    def client(self) -> ConnectionInfo | None:
        """Nobody's."""
        return None

    def server_name(self, header: bytes) -> bytes:
        """None is asked for."""
        return b""

    def on_pool_ready(self, connection: PoolConnection) -> None:
        upstream = cast(TcpUpstreamConnection, connection)
        upstream.owner = self
        self.pool = None
        self.connection = upstream
        data = bytes(self.buffer)
        self.buffer.clear()
        upstream.write(data)

    def on_pool_failure(self, reason: ResetReason, detail: bytes) -> None:
        self.pool = None
        self._lose()

    # -- tcp_upstream.TcpUpstreamOwner ---------------------------------------------------------------------------

    def on_upstream_data(self, data: bytes) -> None:
        """Nothing was asked."""

    def on_upstream_end(self) -> None:
        """The next bytes go over a new connection: who says no more may hear no more."""
        self._leave()

    def on_upstream_blocked(self, blocked: bool) -> None:
        """What the host does not take is bounded by ``send``."""

    def on_upstream_gone(self, was_reset: bool) -> None:
        self.connection = None
