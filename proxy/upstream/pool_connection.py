"""What a pool deals with: connections, the requests that want one, and who opens them. See ``upstream.pool``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mypy_extensions import trait

from proxy.base.timers import Timed

if TYPE_CHECKING:
    from proxy.base.errors import ResetReason
    from proxy.base.stream_info import ConnectionInfo
    from proxy.upstream.host import Host
    from proxy.upstream.pool import ConnectionPool

CONNECTING: Final = 0
READY: Final = 1
BUSY: Final = 2
DRAINING: Final = 3
DONE: Final = 4
CLOSED: Final = 5


class PoolConnection(Timed):
    """An upstream connection as its pool sees it.

    The three attributes belong to the pool, which sets them when ``Connector.connect`` has returned; the connection
    only makes room for them.
    """

    __slots__ = ("created_at", "pool_state", "requests_served")

    pool_state: int  # CONNECTING ... CLOSED
    requests_served: int  # streams handed out on it so far, the current one included
    created_at: float  # monotonic seconds

    def close(self) -> None:
        """Close without waiting. The pool is told by ``on_closed`` (``on_connect_failure`` while connecting), once,
        during this call or later."""
        raise NotImplementedError


@trait
class PoolRequest:
    """A request that wants a connection."""

    __slots__ = ()

    @property
    def protocol(self) -> bytes:
        """What its client speaks: b"HTTP/1.1", b"HTTP/2"."""
        raise NotImplementedError

    def server_name(self, header: bytes) -> bytes:
        """The authority it asks for, or rather the value of that header where it has one (b"": none is asked)."""
        raise NotImplementedError

    @property
    def client(self) -> ConnectionInfo | None:
        """The connection that it came on; None for a request of our own."""
        raise NotImplementedError

    def on_pool_ready(self, connection: PoolConnection) -> None:
        """The connection is this request's until ``on_idle``, ``on_stream_done`` or ``on_closed``."""
        raise NotImplementedError

    def on_pool_failure(self, reason: ResetReason, detail: bytes) -> None:
        """There will be no connection. detail: b"" or the transport's words ("delayed connect error:
        Connection refused")."""
        raise NotImplementedError


class Connector(Protocol):
    """Opens connections; supplied by the network room."""

    def connect(self, pool: ConnectionPool, host: Host) -> PoolConnection:
        """Start connecting and return at once; never calls the pool back before it has returned.

        The connection keeps ``pool.cluster.connect_timeout_s`` itself and reports ``CONNECTION_TIMEOUT``.
        """
        ...

    def make(self, pool: ConnectionPool, host: Host) -> PoolConnection:
        """A connection of the pool's protocol that does not connect: it takes another's place."""
        ...
