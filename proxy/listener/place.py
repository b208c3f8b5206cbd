"""Where a listener listens: an IP address and port, or a unix socket (envoy.config.core.v3.Address)."""

from __future__ import annotations

import os
import socket
import stat
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from proxy.api.reader import Reader, reads
from proxy.listener.socket_options import BOUND, PREBIND, Options, set_options
from proxy.network.original_dst import IP_TRANSPARENT, IPV6_TRANSPARENT

#: linux/in.h, linux/in6.h
IP_FREEBIND: Final = 15
IPV6_FREEBIND: Final = 78
IPPROTO_MPTCP: Final = 262
#: sockaddr_un.sun_path, with its final NUL
MAX_PATH: Final = 107


class Place(NamedTuple):
    """host: an IP address, or the path of a unix socket ("@name" in Linux's abstract space) where port is None.

    ipv4_compat: an IPv6 wildcard takes IPv4 too; mode: permissions of a unix socket, 0: as the umask makes them
    options: of its socket; protocol: 0 or IPPROTO_MPTCP
    """

    host: str
    port: int | None
    ipv4_compat: bool = False
    mode: int = 0
    options: Options = ()
    protocol: int = 0

    @property
    def text(self) -> str:
        """As Envoy prints it: "ip:port", "[ip]:port", or the path."""
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def bind(self, reuse_port: bool, transparent: bool = False, freebind: bool = False) -> socket.socket:
        """A bound socket that does not listen yet. Raises OSError when the place cannot be had.

        transparent: it may stand for any address (TPROXY; needs CAP_NET_ADMIN); freebind: one this host does not have
        """
        if self.port is None:
            sock = self._pipe()
        else:
            sock = self._ip(self.port, reuse_port, transparent, freebind)
        sock.setblocking(False)
        return sock

    def take_over(self, sock: socket.socket, transparent: bool = False, freebind: bool = False) -> None:
        """A bound socket of a process before us gets the options of one that is bound here, as in Envoy. Raises OSError
        when the system refuses one."""
        if self.port is not None:
            self._prepare(sock, transparent, freebind)
            set_options(sock, self.options, BOUND)

    def _prepare(self, sock: socket.socket, transparent: bool, freebind: bool) -> None:
        """What is set before bind()."""
        v6 = ":" in self.host
        options = [IPV6_TRANSPARENT if v6 else IP_TRANSPARENT] if transparent else []
        options += [IPV6_FREEBIND if v6 else IP_FREEBIND] if freebind else []
        for option in options:
            sock.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.SOL_IP, option, 1)
        set_options(sock, self.options, PREBIND)

    def _ip(self, port: int, reuse_port: bool, transparent: bool, freebind: bool) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM, self.protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port and hasattr(socket, "SO_REUSEPORT"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if self.ipv4_compat else 1)
            self._prepare(sock, transparent, freebind)
            sock.bind((self.host, port))
            set_options(sock, self.options, BOUND)
        except OSError:
            sock.close()
            raise
        return sock

    def _pipe(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self.host.startswith("@"):
                sock.bind("\0" + self.host[1:])
                return sock
            self._remove_stale()
            sock.bind(self.host)
            if self.mode:
                os.chmod(self.host, self.mode)
        except OSError:
            sock.close()
            raise
        return sock

    def _remove_stale(self) -> None:
        """What an earlier process has left goes, as in Envoy; a file that is no socket stays, and bind() fails."""
        try:
            if stat.S_ISSOCK(os.lstat(self.host).st_mode):
                os.unlink(self.host)
        except FileNotFoundError:
            return


NOWHERE: Final = Place("0.0.0.0", 0)


@reads("envoy.config.core.v3.Address")
def compile_place(reader: Reader) -> Place:
    """The place of an Address; after a finding one that must not be bound."""
    reader.unsupported("envoy_internal_address", "internal listeners are not supported; socket_address is")
    pipe = reader.sub("pipe")
    if pipe is not None:
        return _compile_pipe(pipe)
    address = reader.sub("socket_address")
    return NOWHERE if address is None else _compile_socket_address(address)


@reads("envoy.config.core.v3.Pipe")
def _compile_pipe(reader: Reader) -> Place:
    path, mode = reader.text("path"), reader.number("mode")
    if len(os.fsencode(path)) > MAX_PATH:
        reader.fail("path", f"exceeds maximum UNIX domain socket path size of {MAX_PATH + 1}")
    if path.startswith("@") and mode:
        reader.fail("mode", "cannot be set for sockets in the abstract namespace")
    return Place(path, None, mode=mode)


@reads("envoy.config.core.v3.SocketAddress")
def _compile_socket_address(reader: Reader) -> Place:
    ip, port, compat = reader.text("address"), reader.number("port_value"), reader.flag("ipv4_compat")
    if reader.enum("protocol") != "TCP":
        reader.unsupported("protocol", "listening on UDP is not supported")
    try:
        address = ip_address(ip)
    except ValueError:
        if not reader.has("resolver_name"):  # which is refused, and would make one of it
            reader.fail("address", f'"{ip}" is not an IP address; a listener needs one')
        return NOWHERE
    if compat and not (
        isinstance(address, IPv6Address) and (address == IPv6Address("::") or address.ipv4_mapped)
    ):
        reader.fail("ipv4_compat", f'is only for the IPv6 address "::" or an IPv4-mapped one, not for {ip}')
    return Place(ip, port, compat)
