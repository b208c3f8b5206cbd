"""Is the peer still there? SO_KEEPALIVE for upstream sockets (envoy.config.core.v3.TcpKeepalive), and a look at TCP's own
state for connections that are not read just now."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from proxy.upstream.options import TcpKeepalive


class _Socket(Protocol):
    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...
    def getsockopt(self, level: int, name: int, length: int, /) -> bytes: ...


#: The first byte of Linux's struct tcp_info: the peer has sent FIN (8), or the connection is gone (7).
_GONE: Final = frozenset((7, 8))


def has_left(sock: _Socket | None) -> bool:
    """Whether the peer has ended a TCP connection, though nobody reads from it. False where the system cannot tell."""
    if sock is None or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _GONE
    except (OSError, IndexError):  # a unix socket has no such option
        return False


def keepalive_options(keepalive: TcpKeepalive) -> list[tuple[int, int, int]]:
    """(level, name, value) for setsockopt; what is not configured is left to the operating system.

    macOS has TCP_KEEPALIVE in place of TCP_KEEPIDLE; a system that has neither keeps its own times.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    wanted = (
        (("TCP_KEEPCNT",), keepalive.probes),
        (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), keepalive.time_s),
        (("TCP_KEEPINTVL",), keepalive.interval_s),
    )
    for names, value in wanted:
        name = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
        if value is not None and name is not None:
            options.append((socket.IPPROTO_TCP, name, value))
    return options


def set_keepalive(sock: _Socket, keepalive: TcpKeepalive | None) -> None:
    """Apply a cluster's ``keepalive`` to a connected socket; None leaves it alone. A refused option is no error."""
    for option in keepalive_options(keepalive) if keepalive is not None else []:
        try:
            sock.setsockopt(*option)
        except OSError:  # out of the system's range, or the peer has gone already
            continue
