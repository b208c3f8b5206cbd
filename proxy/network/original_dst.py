"""Where a connection was going before the kernel's NAT sent it here: SO_ORIGINAL_DST and its IPv6 sister.

A connection that no rule has touched has no entry in conntrack, or one that says where it is: both mean "not redirected".
Under TPROXY the socket's own address is the original one, and nothing needs to be looked up.
"""

from __future__ import annotations

import socket
from typing import Any, Final, Protocol

#: linux/netfilter_ipv4.h SO_ORIGINAL_DST, linux/netfilter_ipv6/ip6_tables.h IP6T_SO_ORIGINAL_DST
SO_ORIGINAL_DST: Final = 80
#: linux/in.h, linux/in6.h
IP_TRANSPARENT: Final = 19
IPV6_TRANSPARENT: Final = 75
_SOCKADDR_IN: Final = 16
_SOCKADDR_IN6: Final = 28


class Socket(Protocol):
    """The part of a socket that is asked; uvloop's stand-ins have it too."""

    @property
    def family(self) -> int: ...
    def getsockopt(self, level: int, name: int, length: int, /) -> bytes: ...
    def getsockname(self) -> Any: ...


def original_destination(sock: Socket | None) -> tuple[str, int] | None:
    """(ip, port) as conntrack knows it, None where it knows none. An IPv4 client of a dual-stack socket is IPv4.

    A transparent socket's own address is the original one.
    """
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    if _is_transparent(sock):
        name = sock.getsockname()
        return str(name[0]).removeprefix("::ffff:"), int(name[1])
    levels = (
        (socket.SOL_IP, _SOCKADDR_IN),
        (socket.IPPROTO_IPV6, _SOCKADDR_IN6),
    )
    # a dual-stack socket may carry either; an IPv4 one carries only IPv4
    for level, length in levels if sock.family == socket.AF_INET else (levels[1], levels[0]):
        try:
            return parse_sockaddr(sock.getsockopt(level, SO_ORIGINAL_DST, length))
        except (OSError, ValueError):
            continue
    return None


def _is_transparent(sock: Socket) -> bool:
    level, name = (
        (socket.SOL_IP, IP_TRANSPARENT)
        if sock.family == socket.AF_INET
        else (socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
    )
    try:
        return any(sock.getsockopt(level, name, 4))
    except OSError:
        return False


def parse_sockaddr(raw: bytes) -> tuple[str, int]:
    """A sockaddr_in or sockaddr_in6 as the kernel fills it: family in the machine's order, port and address in the
    network's. Raises ValueError."""
    if len(raw) >= _SOCKADDR_IN6:
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4], "big")
    if len(raw) < 8:
        raise ValueError(f"a socket address of {len(raw)} bytes")
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), int.from_bytes(raw[2:4], "big")
