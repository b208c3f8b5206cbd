"""Connections to one host for one routing priority, and the requests that wait for one. Opens no socket.

A request asks ``new_stream`` and is answered exactly once: ``on_pool_ready`` with a connection of its own, or
``on_pool_failure``. Whoever takes the request back before that says ``cancel``.

A connection's life, told to the pool by the connection itself:

    connector.connect -> CONNECTING --on_connected--> READY --(hand-out)--> BUSY --on_idle--> READY ...
    CONNECTING --on_connect_failure--> CLOSED      any of READY, BUSY, DRAINING, DONE --on_closed--> CLOSED
    BUSY --on_stream_done--> DONE (the stream is over, the connection will not serve another)
    DRAINING is BUSY that must not be reused: the pool closes it when its stream is over.

HTTP/1: one stream per connection; idle ones are used most recently used first, waiting requests first come first
served, as Envoy does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from proxy.base.errors import (
    CONNECTION_TIMEOUT,
    LOCAL_CONNECTION_FAILURE,
    NO_POOL,
    NO_ROOM,
    OVERFLOW,
    REMOTE_CONNECTION_FAILURE,
    ResetReason,
)
from proxy.upstream.pool_connection import (
    BUSY,
    CLOSED,
    CONNECTING,
    DONE,
    DRAINING,
    READY,
    PoolConnection,
    PoolRequest,
)

if TYPE_CHECKING:
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host
    from proxy.upstream.pool_either import NegotiatedPool
    from proxy.upstream.proxy_protocol import ProxyProtocolPool

# Envoy starts at most this many connections at a time for the requests that wait.
_CONNECTS_AT_ONCE: Final = 3


class ConnectionPool:
    """The connections of one host and one routing priority.

    sni: the server name of their handshakes, in place of the configured one; peer_name: what the host's certificate has
    to name; "" for neither
    preface: what its connections say first of all, b"" for nothing; keeper: of one pool among many of a host, told when
    it is idle
    alpn: the protocols that its handshakes offer where no alpn_protocols are configured; negotiated: where those say what
    the host speaks, who decides whose its connections are
    """

    __slots__ = (
        "_max_requests",
        "_rq_active",
        "_rq_total",
        "alpn",
        "cluster",
        "connecting",
        "connections",
        "draining",
        "host",
        "keeper",
        "negotiated",
        "peer_name",
        "pending",
        "preface",
        "purging",
        "ready",
        "resources",
        "sni",
        "stats",
        "used",
    )

    def __init__(self, cluster: Cluster, host: Host, priority: int) -> None:
        self.sni = self.peer_name = ""
        self.alpn: tuple[str, ...] = ("http/1.1",)
        self.negotiated: NegotiatedPool | None = None
        self.cluster = cluster
        self.host = host
        self.stats = cluster.stats
        self.resources = cluster.resources[priority]
        self.ready: list[PoolConnection] = []  # idle, the most recently used last
        self.connections: set[PoolConnection] = set()  # all that are not CLOSED
        self.connecting = 0
        self.pending: deque[PoolRequest] = deque()
        self.purging: deque[PoolRequest] = deque()  # being failed just now; a cancel may still come for one
        self.draining = False
        self.used = False  # counted as a pool
        self.preface = b""
        self.keeper: ProxyProtocolPool | None = None
        self._max_requests = cluster.max_requests_per_connection  # 0: no limit
        self._rq_total = self.stats.upstream_rq_total
        self._rq_active = self.stats.upstream_rq_active

    def name(self, sni: str, peer_name: str) -> None:
        """Before the first connection: see sni, peer_name."""
        self.sni, self.peer_name = sni, peer_name

    def begin_with(self, preface: bytes, keeper: ProxyProtocolPool | None) -> None:
        """Before the first connection: see preface, keeper."""
        self.preface, self.keeper = preface, keeper

    @property
    def is_used(self) -> bool:
        """Whether there are connections, or requests that wait for one."""
        return self.used

    @property
    def busy(self) -> int:
        """Connections with a stream, or closing."""
        return len(self.connections) - len(self.ready) - self.connecting

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self.pending)

    # -- for requests -------------------------------------------------------------------------------------------

    def new_stream(self, request: PoolRequest) -> None:
        """Answer the request now (an idle connection, or no room) or let it wait for a connection."""
        if self.ready:
            self._attach(request)
        elif not self.used and not self.resources.can_add_pool():
            self.stats.upstream_cx_pool_overflow.value += 1
            request.on_pool_failure(NO_POOL, b"")
        elif self.resources.can_wait():
            self._wait(request)
        else:
            self.stats.upstream_rq_pending_overflow.value += 1
            request.on_pool_failure(NO_ROOM, b"")

    def new_stream_anew(self, request: PoolRequest) -> None:
        """Let the request wait for a new connection (or for one that is in use now), though there be idle ones: it
        comes from one that was dead, and they may be as old. At the limit the oldest of them makes room."""
        if not self.resources.can_wait():
            self.stats.upstream_rq_pending_overflow.value += 1
            request.on_pool_failure(NO_ROOM, b"")
            return
        if self.ready and not self._may_connect():
            self._retire(self.ready[0])
        self._wait(request)

    def cancel(self, request: PoolRequest) -> None:
        """The waiting request no longer wants an answer. Nothing happens when it does not wait."""
        for queue in (self.pending, self.purging):
            if request in queue:
                queue.remove(request)
                self._left_pending()
                self.stats.upstream_rq_cancelled.value += 1
                self._rest()
                return

    # -- for connections ----------------------------------------------------------------------------------------

    def on_connected(self, connection: PoolConnection) -> None:
        """Connected (and its handshake done): it takes the first waiting request, or idles."""
        if connection.pool_state != CONNECTING:
            return
        self.connecting -= 1
        self.stats.upstream_cx_connect_ms.record(self._age_ms(connection))
        self._serve(connection)

    def give(self, connection: PoolConnection, other: ConnectionPool, instead: PoolConnection) -> None:
        """A connection that is being made turns out to be one of the other pool of its host, where another object stands
        for it. The requests that wait go with it."""
        self.connections.discard(connection)
        self.connecting -= 1
        connection.pool_state = CLOSED
        instead.pool_state = CONNECTING
        instead.requests_served = 0
        instead.created_at = connection.created_at
        other.connections.add(instead)
        other.connecting += 1
        other.pending.extend(self.pending)
        self.pending.clear()
        if not other.used:
            other.used = True
            self.resources.add_pool()
        self._rest()

    def on_connect_failure(self, connection: PoolConnection, reason: ResetReason, detail: bytes) -> None:
        """Not connected, for whichever reason: every waiting request fails with it, so that it can go elsewhere.

        reason: REMOTE_CONNECTION_FAILURE, LOCAL_CONNECTION_FAILURE or CONNECTION_TIMEOUT (counted here).
        """
        if connection.pool_state != CONNECTING:
            return
        self.stats.upstream_cx_connect_fail.value += 1
        self.host.cx_connect_fail += 1
        if reason is CONNECTION_TIMEOUT:
            self.stats.upstream_cx_connect_timeout.value += 1
        self._not_connected(connection, reason, detail)

    def _not_connected(self, connection: PoolConnection, reason: ResetReason, detail: bytes) -> None:
        self.connecting -= 1
        self._forget(connection, remote=reason is REMOTE_CONNECTION_FAILURE)
        self._purge(reason, detail)
        self._connect_for_pending()
        self._rest()

    def on_idle(self, connection: PoolConnection) -> None:
        """Its stream is over and it can serve another. Closes it instead when it has served its last. Hot."""
        state = connection.pool_state
        if state == BUSY:
            resources = self.resources  # as _release, without the call
            if resources.requests == resources.max_requests or resources.remaining is not None:
                self._release()
            else:
                resources.requests -= 1
                self.host.rq_active -= 1
                self._rq_active.value -= 1
            if self.pending or self.draining:
                self._serve(connection)
            else:
                connection.pool_state = READY
                self.ready.append(connection)
        elif state == DRAINING:
            self._release()
            connection.pool_state = DONE
            connection.close()

    def on_stream_done(self, connection: PoolConnection) -> None:
        """Its stream is over in good order but it cannot serve another; the caller closes it."""
        if connection.pool_state in (BUSY, DRAINING):
            self._release()
            connection.pool_state = DONE

    def on_max_duration(self, connection: PoolConnection) -> None:
        """It has lived as long as it may: closed now, or when its stream is over."""
        state = connection.pool_state
        if state in (READY, BUSY):
            self.stats.upstream_cx_max_duration_reached.value += 1
            if state == READY:
                self._retire(connection)
            else:
                connection.pool_state = DRAINING

    def on_idle_timeout(self, connection: PoolConnection) -> None:
        """It has been idle for too long: counted and closed. Nothing happens when it is not idle."""
        if connection.pool_state == READY:
            self.stats.upstream_cx_idle_timeout.value += 1
            self._retire(connection)

    def on_closed(self, connection: PoolConnection, remote: bool = False) -> None:
        """It is gone, with or without a stream. remote: the peer closed it. A stream on it is released here; its
        request learns of it from the connection, not from the pool."""
        state = connection.pool_state
        if state == CLOSED:
            return
        if state == CONNECTING:
            if remote:
                self.on_connect_failure(connection, REMOTE_CONNECTION_FAILURE, b"")
            else:  # nobody waits for it any more, or its host goes: no failure of the host's
                self._not_connected(connection, LOCAL_CONNECTION_FAILURE, b"")
            return
        if state == READY:
            self.ready.remove(connection)
        elif state != DONE:
            self._release()
            self._count_cut_stream(remote)
        self.stats.upstream_rq_per_cx.record(connection.requests_served)
        self._forget(connection, remote)
        self._connect_for_pending()
        self._rest()

    # -- for the cluster ----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Close what is idle, and from now on every connection when its stream is over."""
        self.draining = True
        for connection in tuple(self.ready):
            self._retire(connection)
        if not self.pending:
            for connection in tuple(self.connections):
                if connection.pool_state == CONNECTING:
                    connection.close()

    def renew(self) -> None:
        """Whoever comes from now on gets a new connection: idle ones close, the others with their stream."""
        for connection in tuple(self.ready):
            self._retire(connection)
        for connection in self.connections:
            if connection.pool_state == BUSY:
                connection.pool_state = DRAINING

    def close(self) -> None:
        """Close every connection now, streams or not."""
        for connection in tuple(self.connections):
            connection.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _attach(self, request: PoolRequest) -> None:
        """Hand the connection used last to the request, unless too many requests are active. Hot."""
        resources = self.resources
        active = resources.requests + 1
        if active >= resources.max_requests:
            if active > resources.max_requests:
                self.stats.upstream_rq_active_overflow.value += 1
                request.on_pool_failure(OVERFLOW, b"")
                return
            resources.rq_open.value = 1
        resources.requests = active
        if resources.remaining is not None:
            resources.show_remaining()
        connection = self.ready.pop()
        served = connection.requests_served + 1
        connection.requests_served = served
        if served == self._max_requests:
            connection.pool_state = DRAINING
            self.stats.upstream_cx_max_requests.value += 1
        else:
            connection.pool_state = BUSY
        host = self.host
        host.rq_total += 1
        host.rq_active += 1
        self._rq_total.value += 1
        self._rq_active.value += 1
        request.on_pool_ready(connection)

    def _release(self) -> None:
        """A handed-out stream is over. Hot."""
        resources = self.resources
        if resources.requests == resources.max_requests:
            resources.rq_open.value = 0
        resources.requests -= 1
        if resources.remaining is not None:
            resources.show_remaining()
        self.host.rq_active -= 1
        self._rq_active.value -= 1

    def _serve(self, connection: PoolConnection) -> None:
        """A connection has become free: first come, first served; then it idles, or closes when draining."""
        connection.pool_state = READY
        self.ready.append(connection)
        while self.pending and self.ready:
            request = self.pending.popleft()
            self._left_pending()
            self._attach(request)
        self._connect_for_pending()
        if self.draining:
            for idle in tuple(self.ready):
                self._retire(idle)

    def _wait(self, request: PoolRequest) -> None:
        self.pending.append(request)
        self.resources.add_pending()
        self.stats.upstream_rq_pending_total.value += 1
        self.stats.upstream_rq_pending_active.value += 1
        self._connect_for_pending()

    def _left_pending(self) -> None:
        self.resources.remove_pending()
        self.stats.upstream_rq_pending_active.value -= 1

    def _purge(self, reason: ResetReason, detail: bytes) -> None:
        """Fail every request that waits now; those that come meanwhile (retries) wait anew."""
        self.purging.extend(self.pending)
        self.pending.clear()
        while self.purging:
            request = self.purging.popleft()
            self._left_pending()
            self.stats.upstream_rq_pending_failure_eject.value += 1
            request.on_pool_failure(reason, detail)

    def _connect_for_pending(self) -> None:
        """Start connections for waiting requests that none is being made for, within the limit.

        A pool without any connection may always make one: a limit used up by other hosts must not strand it.
        """
        for _ in range(_CONNECTS_AT_ONCE):
            if len(self.pending) <= self.connecting:
                return
            within = self._may_connect()
            if not within:
                self.stats.upstream_cx_overflow.value += 1
            if within or not self.connections:
                self._connect()
            if not within:
                return

    def _may_connect(self) -> bool:
        """Whether the limits of the cluster and of its hosts allow one more connection."""
        resources = self.resources
        return resources.can_connect() and self.host.cx_active < resources.max_connections_per_host

    def _connect(self) -> None:
        if not self.used:
            self.used = True
            self.resources.add_pool()
        connection = self.cluster.connector.connect(self, self.host)
        connection.pool_state = CONNECTING
        connection.requests_served = 0
        connection.created_at = self.cluster.clock.monotonic()
        self.connections.add(connection)
        self.connecting += 1
        self.resources.add_connection()
        self.host.cx_total += 1
        self.host.cx_active += 1
        self.stats.upstream_cx_total.value += 1
        self.stats.upstream_cx_active.value += 1
        if self.negotiated is None:
            self.count_protocol()

    def count_protocol(self) -> None:
        """One more connection of the pool's protocol, which is known."""
        self.stats.upstream_cx_http1_total.value += 1

    def _retire(self, connection: PoolConnection) -> None:
        """Close an idle connection; it cannot be handed out even when its close is reported later."""
        self.ready.remove(connection)
        connection.pool_state = DONE
        connection.close()

    def _forget(self, connection: PoolConnection, remote: bool) -> None:
        connection.pool_state = CLOSED
        self.connections.discard(connection)
        self.resources.remove_connection()
        self.host.cx_active -= 1
        stats = self.stats
        stats.upstream_cx_active.value -= 1
        stats.upstream_cx_destroy.value += 1
        if remote:
            stats.upstream_cx_destroy_remote.value += 1
        else:
            stats.upstream_cx_destroy_local.value += 1
        stats.upstream_cx_length_ms.record(self._age_ms(connection))

    def _rest(self) -> None:
        """A pool without connections and requests is none, as far as limits of pools are concerned."""
        if self.used and not self.connections and not self.pending:
            self.used = False
            self.resources.remove_pool()
            if self.keeper is not None:
                self.keeper.on_rest(self)

    def _count_cut_stream(self, remote: bool) -> None:
        stats = self.stats
        stats.upstream_cx_destroy_with_active_rq.value += 1
        if remote:
            stats.upstream_cx_destroy_remote_with_active_rq.value += 1
        else:
            stats.upstream_cx_destroy_local_with_active_rq.value += 1

    def _age_ms(self, connection: PoolConnection) -> int:
        return int((self.cluster.clock.monotonic() - connection.created_at) * 1000)
