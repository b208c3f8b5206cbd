"""A small HTTP/1.1 server, by h11: one protocol object per connection (connection.py). The admin interface, and the webhook.

Whoever serves answers at once, so a connection is: read a request, write its reply, next.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from proxy.admin.connection import AdminConnection
from proxy.admin.names import AdminStats
from proxy.admin.state import Reply, Request

if TYPE_CHECKING:
    import ssl

    from proxy.access_log.access_log import AccessLog
    from proxy.base.clock import Clock

MAX_CONNECTIONS = 100
BODY_LIMIT = 64 * 1024
IDLE_S = 60.0


class HttpServer:
    """Serves one address.

    max_connections: further ones are closed at once and counted; body_limit: bytes of a request's body, more is a 413
    idle_s: how long a connection waits for its next request; request_s: for a TLS handshake, for a first request, and from
    a request's first byte to its last
    """

    def __init__(
        self,
        stats: AdminStats,
        clock: Clock,
        max_connections: int = MAX_CONNECTIONS,
        body_limit: int = BODY_LIMIT,
        idle_s: float = IDLE_S,
        request_s: float = IDLE_S,
    ) -> None:
        self.stats = stats
        self.clock = clock
        self.max_connections = max_connections
        self.body_limit = body_limit
        self.idle_s = idle_s
        self.request_s = request_s
        self.access_logs: tuple[AccessLog, ...] = ()
        self.connections: set[AdminConnection] = set()
        self.stopped = False
        self._server: asyncio.Server | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """Where it listens."""
        return [] if self._server is None else list(self._server.sockets)

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, given: socket.socket | None = None
    ) -> tuple[str, int]:
        """Listen; returns the address that was bound (port 0: the one the system chose). Raises OSError.

        given: listens there already, for a process before us
        """
        loop = asyncio.get_running_loop()
        limit_s = self.request_s if tls is not None else None
        if given is not None:
            self._server = await loop.create_server(
                self._accept, sock=given, ssl=tls, ssl_handshake_timeout=limit_s
            )
        else:
            # A name that is a str is encoded as IDNA, whose tables would be imported for it.
            places: Any = [host.encode()] if host.isascii() else host
            self._server = await loop.create_server(
                self._accept, places, port, reuse_address=True, ssl=tls, ssl_handshake_timeout=limit_s
            )
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    def _accept(self) -> AdminConnection:
        return AdminConnection(self)

    def stop(self) -> None:
        """Stop listening and close every connection; replies already written are still sent, but nobody is answered
        after this: what was accepted and not yet read is closed as well."""
        self.stopped = True
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self.connections):
            connection.close()

    async def close(self) -> None:
        """``stop``, and let the connections see it."""
        self.stop()
        await asyncio.sleep(0)

    def refusal(self, method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Why a request with these (lower-case) headers is refused; "" when it may pass."""
        return ""

    def readiness(self) -> Reply | None:
        """The reply to GET /ready, 200 or 503; None: it is a request as others are."""
        return None

    def answer(self, request: Request) -> Reply:
        """The reply to one request that was not refused."""
        raise NotImplementedError
