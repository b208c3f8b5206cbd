"""Opening an upstream socket: to an address or to a unix socket, from a source address, with socket options.

A host without any of it is connected to by the event loop alone; what is here costs only those who configure it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from proxy.upstream.host import format_address

if TYPE_CHECKING:
    from proxy.upstream.host import Host
    from proxy.upstream.options import BindConfig, SocketOption

_IP_FREEBIND: Final = getattr(socket, "IP_FREEBIND", 15)  # linux/in.h
_STREAM: Final = socket.SOCK_STREAM
#: what connect() itself says, before anything has been sent
_IMMEDIATE: Final = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


class LocalFailure(Exception):
    """A connection that failed on our side, before anything was sent. words: for the log, b"" for none;
    bind: whether it was the source address."""

    def __init__(self, words: bytes = b"", bind: bool = False) -> None:
        super().__init__(words.decode())
        self.words = words
        self.bind = bind


async def open_connection(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], Any], host: Host, bind: BindConfig | None
) -> None:
    """Connect to the host: to its unix socket, or to the first of its addresses that takes the connection.

    Raises LocalFailure, or OSError with what the last address said.
    """
    if host.path:
        await _connect_unix(loop, protocol, host.path)
        return
    if bind is None and not host.other_ips:
        await loop.create_connection(protocol, host.ip, host.port)
        return
    failure: OSError | None = None
    for ip in (host.ip, *host.other_ips):
        try:
            await _connect(loop, protocol, ip, host.port, bind)
        except OSError as error:
            failure = error
            continue
        return
    assert failure is not None
    raise failure


async def _connect(
    loop: asyncio.AbstractEventLoop, protocol: Callable[[], Any], ip: str, port: int, bind: BindConfig | None
) -> None:
    if bind is None:
        await loop.create_connection(protocol, ip, port)
        return
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sock = socket.socket(family, _STREAM)
    try:
        sock.setblocking(False)
        _prepare(sock, ip, bind)
        await loop.sock_connect(sock, (ip, port))
    except BaseException:  # a cancelled connect as well
        sock.close()
        raise
    await loop.create_connection(protocol, sock=sock)


def _prepare(sock: socket.socket, ip: str, bind: BindConfig) -> None:
    """Options that come before bind(), bind(), and those that come after it."""
    version = ip_address(ip).version
    _set_options(sock, [option for option in bind.options if not option.bound])
    if bind.freebind:
        _set(sock, socket.SOL_IP, _IP_FREEBIND, 1)
    source = bind.source(version)
    if source is not None:
        try:
            if ip_address(source[0]).version != version:  # bind() would say it in the resolver's words
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            sock.bind(source)
        except OSError as error:
            place = format_address(*source)
            words = f"failed to bind to {place}: {error.strerror or error}"
            raise LocalFailure(words.encode(), bind=True) from None
    _set_options(sock, [option for option in bind.options if option.bound])


def _set_options(sock: socket.socket, options: list[SocketOption]) -> None:
    for option in options:
        _set(sock, option.level, option.name, option.value)


def _set(sock: socket.socket, level: int, name: int, value: int | bytes) -> None:
    try:
        sock.setsockopt(level, name, value)
    except OSError as error:
        raise LocalFailure from error


async def _connect_unix(loop: asyncio.AbstractEventLoop, protocol: Callable[[], Any], path: str) -> None:
    """A leading "@" names a socket in Linux's abstract space, as in Envoy."""
    sock = socket.socket(socket.AF_UNIX, _STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, "\0" + path[1:] if path.startswith("@") else path)
    except BaseException:  # a cancelled connect as well
        sock.close()
        raise
    await loop.create_unix_connection(protocol, sock=sock)


def failure_words(error: OSError, host: Host) -> bytes:
    """What the log says of a failed connect, in Envoy's words."""
    why = error.strerror or str(error)
    if host.path or error.errno in _IMMEDIATE:
        return f"immediate connect error: {why}|remote address:{host.address}".encode()
    return f"delayed connect error: {why}".encode()
