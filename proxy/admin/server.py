"""The admin server: HTTP/1.1 by h11, one small protocol object per connection, endpoints by table.

Endpoints answer at once (they only read memory), so a connection is: read a request, write its reply, next.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable

from proxy.admin import (
    certs,
    clusters,
    config_dump,
    control,
    facts,
    listeners,
    logging,
    prometheus,
    ready,
    runtime,
    server_info,
    stats,
)
from proxy.admin.connection import AdminConnection
from proxy.admin.guard import Guard, is_loopback
from proxy.admin.help import help_text, home_page
from proxy.admin.names import AdminStats
from proxy.admin.state import AdminState, Endpoint, Reply, Request

MAX_CONNECTIONS = 100


def _help(state: AdminState, request: Request) -> Reply:
    return Reply(help_text(ROUTES))


def _home(state: AdminState, request: Request) -> Reply:
    return home_page(ROUTES)


ROUTES: tuple[Endpoint, ...] = (
    Endpoint("/", "Admin home page", _home),
    certs.ENDPOINT,
    clusters.ENDPOINT,
    config_dump.ENDPOINT,
    control.DRAIN,
    control.FAIL,
    control.RECOVER,
    Endpoint("/help", "print out list of admin commands", _help),
    facts.HOT_RESTART_VERSION,
    facts.INIT_DUMP,
    listeners.ENDPOINT,
    logging.ENDPOINT,
    facts.MEMORY,
    control.QUIT,
    ready.ENDPOINT,
    control.REOPEN,
    control.RESET,
    runtime.PRINT,
    runtime.MODIFY,
    server_info.ENDPOINT,
    stats.ENDPOINT,
    prometheus.ENDPOINT,
)

_TABLE = {endpoint.path: endpoint for endpoint in ROUTES}


def dispatch(state: AdminState, request: Request) -> Reply:
    """The reply to one request."""
    endpoint = _TABLE.get(request.path)
    if endpoint is None:
        return Reply("invalid path. " + help_text(ROUTES), 404)
    if endpoint.post_only and request.method != "POST":
        return Reply(f"Method {request.method} not allowed, POST required.", 405)
    return endpoint.answer(state, request)


class AdminServer:
    """Serves the admin interface on one address.

    allowed_hosts: names that may stand in Host on a loopback listener, see guard.py
    allow_path: bootstrap.admin.allow_paths compiled: says whether a path may be asked for (None: every path)
    max_connections: further ones are closed at once and counted (listener.admin.downstream_cx_overflow)
    """

    def __init__(
        self,
        state: AdminState,
        allowed_hosts: Iterable[str] = (),
        allow_path: Callable[[str], bool] | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.state = state
        self.allowed_hosts = tuple(allowed_hosts)
        self.allow_path = allow_path
        self.max_connections = max_connections
        self.guard = Guard(loopback=True, allowed_hosts=self.allowed_hosts)
        self.stats = AdminStats(state.store)
        self.connections: set[AdminConnection] = set()
        self.before_stats: Callable[[], None] | None = None  # called before an answer that shows statistics
        self._server: asyncio.Server | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """Where it listens."""
        return [] if self._server is None else list(self._server.sockets)

    async def start(self, host: str, port: int, given: socket.socket | None = None) -> tuple[str, int]:
        """Listen; returns the address that was bound (port 0: the one the system chose). Raises OSError.

        given: listens there already, for a process before us
        """
        loop = asyncio.get_running_loop()
        self.guard = Guard(is_loopback(host), self.allowed_hosts)
        if given is not None:
            self._server = await loop.create_server(lambda: AdminConnection(self), sock=given)
        else:
            self._server = await loop.create_server(
                lambda: AdminConnection(self), host, port, reuse_address=True
            )
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def close(self) -> None:
        """Stop listening and close every connection; replies already written are still sent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in list(self.connections):
            connection.close()
        await asyncio.sleep(0)

    def answer(self, request: Request) -> Reply:
        """The reply to one request that the guard let through. Never raises."""
        if self.allow_path is not None and not self.allow_path(request.path):
            return Reply(f"request to path {request.path} not allowed", 403)
        if self.before_stats is not None and request.path.startswith(("/stats", "/clusters")):
            self.before_stats()
        return dispatch(self.state, request)
