"""Connections to one host that carry many streams each (HTTP/2).

As ``upstream.pool``, with these differences: a connection stays among ``ready`` as long as it can take another stream;
connections are made by how many streams wait beyond what is being connected for; a GOAWAY makes a connection DRAINING.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mypy_extensions import trait

from proxy.base.errors import NO_POOL, NO_ROOM, OVERFLOW
from proxy.upstream.pool import _CONNECTS_AT_ONCE, ConnectionPool
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


@trait
class Multiplexed:
    """What an HTTP/2 connection tells its pool beyond a PoolConnection."""

    __slots__ = ()

    def stream_limit(self) -> int:
        """How many streams it may carry at a time, by both sides' settings."""
        raise NotImplementedError

    def active_streams(self) -> int:
        """How many it carries, as the pool has counted them."""
        raise NotImplementedError

    def count_streams(self, by: int) -> int:
        """The pool counts one more, or one less; how many that makes."""
        raise NotImplementedError

    def open_stream(self, request: PoolRequest) -> PoolConnection:
        """A stream for the request: what ``on_pool_ready`` is given."""
        raise NotImplementedError


def _many(connection: object) -> Multiplexed:
    return cast(Multiplexed, connection)


class Http2ConnectionPool(ConnectionPool):
    """The HTTP/2 connections of one host and one routing priority."""

    __slots__ = ()

    def __init__(self, cluster: Cluster, host: Host, priority: int) -> None:
        ConnectionPool.__init__(self, cluster, host, priority)
        self.alpn = ("h2",)

    # -- for requests -------------------------------------------------------------------------------------------

    def new_stream(self, request: PoolRequest) -> None:
        """A stream on the first connection that can take one; else wait for a connection, or refuse."""
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
        """The connection that was dead is gone already; those that are left carry other streams."""
        self.new_stream(request)

    # -- for connections ----------------------------------------------------------------------------------------

    def on_stream_over(self, connection: PoolConnection) -> None:
        """A stream of the connection is over, however it ended."""
        self._release()
        many = _many(connection)
        active = many.count_streams(-1)
        state = connection.pool_state
        if state == DRAINING:
            if not active:
                connection.pool_state = DONE
                connection.close()
            return
        if state == BUSY and active < many.stream_limit():
            self._serve(connection)
        elif state == READY:
            self._serve_pending()
            if self.draining and not many.active_streams():
                self._retire(connection)

    def on_limit_changed(self, connection: PoolConnection) -> None:
        """The host allows another number of streams."""
        fits = _many(connection).active_streams() < _many(connection).stream_limit()
        if connection.pool_state == READY and not fits:
            self.ready.remove(connection)
            connection.pool_state = BUSY
        elif connection.pool_state == BUSY and fits:
            self._serve(connection)

    def on_going(self, connection: PoolConnection) -> None:
        """The host will take no further streams on it (GOAWAY)."""
        if connection.pool_state in (READY, BUSY):
            self.stats.upstream_cx_close_notify.value += 1
            self._leave(connection)

    def on_max_duration(self, connection: PoolConnection) -> None:
        state = connection.pool_state
        if state in (READY, BUSY):
            self.stats.upstream_cx_max_duration_reached.value += 1
            self._leave(connection)

    def _leave(self, connection: PoolConnection) -> None:
        """It takes no further streams, and closes with its last."""
        if connection.pool_state == READY:
            self.ready.remove(connection)
        connection.pool_state = DRAINING
        if not _many(connection).active_streams():
            connection.pool_state = DONE
            connection.close()

    def renew(self) -> None:
        for connection in tuple(self.connections):
            if connection.pool_state in (READY, BUSY):
                self._leave(connection)

    def on_idle_timeout(self, connection: PoolConnection) -> None:
        if not _many(connection).active_streams():
            ConnectionPool.on_idle_timeout(self, connection)

    def on_closed(self, connection: PoolConnection, remote: bool = False) -> None:
        """It is gone with all its streams, which are released here."""
        own = connection
        state = own.pool_state
        if state in (CLOSED, CONNECTING):
            ConnectionPool.on_closed(self, connection, remote)
            return
        if state == READY:
            self.ready.remove(own)
        active = _many(own).active_streams()
        if active:
            self._count_cut_stream(remote)
        for _ in range(active):
            _many(own).count_streams(-1)
            self._release()
        self.stats.upstream_rq_per_cx.record(own.requests_served)
        self._forget(own, remote)
        self._connect_for_pending()
        self._rest()

    def drain(self) -> None:
        """Close what is idle, and from now on every connection when its last stream is over."""
        self.draining = True
        for connection in tuple(self.ready):
            if not _many(connection).active_streams():
                self._retire(connection)
        if not self.pending:
            for connection in tuple(self.connections):
                if connection.pool_state == CONNECTING:
                    connection.close()

    # -- inside -------------------------------------------------------------------------------------------------

    def _attach(self, request: PoolRequest) -> None:
        """A stream for the request, unless too many requests are active."""
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
        connection = self.ready[0]
        many = _many(connection)
        streams = many.count_streams(1)
        served = connection.requests_served + 1
        connection.requests_served = served
        if served == self._max_requests:
            self.ready.remove(connection)
            connection.pool_state = DRAINING
            self.stats.upstream_cx_max_requests.value += 1
        elif streams >= many.stream_limit():
            self.ready.remove(connection)
            connection.pool_state = BUSY
        host = self.host
        host.rq_total += 1
        host.rq_active += 1
        self._rq_total.value += 1
        self._rq_active.value += 1
        request.on_pool_ready(many.open_stream(request))

    def _serve(self, connection: PoolConnection) -> None:
        """A connection can take streams (again): first come, first served."""
        connection.pool_state = READY
        self.ready.append(connection)
        self._serve_pending()
        if self.draining:
            for idle in tuple(self.ready):
                if not _many(idle).active_streams():
                    self._retire(idle)

    def _serve_pending(self) -> None:
        while self.pending and self.ready:
            request = self.pending.popleft()
            self._left_pending()
            self._attach(request)
        self._connect_for_pending()

    def _connect_for_pending(self) -> None:
        """One connection under way is enough for as many streams as a connection may carry."""
        per_connection = self.cluster.config.http.http2_streams
        if self._max_requests:
            per_connection = min(per_connection, self._max_requests)
        for _ in range(_CONNECTS_AT_ONCE):
            if len(self.pending) <= self.connecting * per_connection:
                return
            within = self._may_connect()
            if not within:
                self.stats.upstream_cx_overflow.value += 1
            if within or not self.connections:
                self._connect()
            if not within:
                return

    def count_protocol(self) -> None:
        self.stats.upstream_cx_http2_total.value += 1
