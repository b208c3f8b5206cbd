"""The admin server: endpoints by table (pages), served by serving.py. They answer at once: they only read memory."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from proxy.admin import ready
from proxy.admin.guard import Guard, is_loopback
from proxy.admin.names import AdminStats
from proxy.admin.serving import MAX_CONNECTIONS, HttpServer
from proxy.admin.state import AdminState, Reply, Request

if TYPE_CHECKING:
    import ssl


class AdminServer(HttpServer):
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
        super().__init__(AdminStats(state.store), state.clock, max_connections)
        self.state = state
        self.allowed_hosts = tuple(allowed_hosts)
        self.allow_path = allow_path
        self.guard = Guard(loopback=True, allowed_hosts=self.allowed_hosts)
        self.before_stats: Callable[[], None] | None = None  # called before an answer that shows statistics

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, given: socket.socket | None = None
    ) -> tuple[str, int]:
        """See HttpServer."""
        self.guard = Guard(is_loopback(host), self.allowed_hosts)
        return await super().start(host, port, tls, given)

    def refusal(self, method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """See guard.py."""
        return self.guard.refusal(method, headers)

    def readiness(self) -> Reply | None:
        """See HttpServer."""
        if self.allow_path is not None and not self.allow_path(ready.ENDPOINT.path):
            return None
        return ready.answer(self.state)

    def answer(self, request: Request) -> Reply:
        """The reply to one request that the guard let through. Never raises."""
        if self.allow_path is not None and not self.allow_path(request.path):
            return Reply(f"request to path {request.path} not allowed", 403)
        if self.before_stats is not None and request.path.startswith(("/stats", "/clusters")):
            self.before_stats()
        from proxy.admin.pages import dispatch  # see server.later.import_later

        return dispatch(self.state, request)
