"""Options of a listener's sockets (envoy.config.core.v3.SocketOption, TcpKeepalive), which accepted connections inherit."""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

from proxy.api.reader import Reader, reads
from proxy.network.keepalive import keepalive_options
from proxy.upstream.options import TcpKeepalive, c_int

PREBIND: Final = "STATE_PREBIND"
BOUND: Final = "STATE_BOUND"
LISTENING: Final = "STATE_LISTENING"
_VERSIONS: Final = {"SOCKET_IP_VERSION_IPV4": 4, "SOCKET_IP_VERSION_IPV6": 6}


class SocketOption(NamedTuple):
    """One setsockopt(level, name, value). state: when; version: 4 or 6 for sockets of that IP version alone, 0: of any"""

    level: int
    name: int
    value: int | bytes
    state: str = PREBIND
    version: int = 0


Options = tuple[SocketOption, ...]


def set_options(sock: socket.socket, options: Options, state: str) -> None:
    """Those of one state. Raises OSError whose text names the option."""
    version = 6 if sock.family == socket.AF_INET6 else 4
    for option in options:
        if option.state != state or option.version not in (0, version):
            continue
        try:
            sock.setsockopt(option.level, option.name, option.value)
        except OSError as error:
            words = f"socket option {option.level}/{option.name}: {error.strerror}"
            raise OSError(error.errno, words) from None


@reads("envoy.config.core.v3.SocketOption")
def compile_socket_options(readers: list[Reader]) -> Options:
    """The options, without those of datagram sockets, which are warned about."""
    found = []
    for reader in readers:
        reader.text("description")
        kind = reader.sub("type")
        value = reader.blob("buf_value") or c_int(reader.number("int_value"))
        option = SocketOption(
            c_int(reader.number("level")),
            c_int(reader.number("name")),
            value,
            reader.enum("state"),
            _VERSIONS.get(reader.enum("ip_version"), 0),
        )
        if kind is None or _is_of_streams(kind):
            found.append(option)
    return tuple(found)


@reads("envoy.config.core.v3.SocketOption.SocketType")
def _is_of_streams(reader: Reader) -> bool:
    stream, datagram = reader.sub("stream"), reader.sub("datagram")
    if datagram is not None and stream is None:
        reader.ignore("datagram", why="a listener's sockets are TCP sockets")
        return False
    return True


@reads("envoy.config.core.v3.TcpKeepalive")
def compile_keepalive(reader: Reader | None) -> Options:
    """tcp_keepalive. None of it where any of its numbers is 0, as in Envoy."""
    if reader is None:
        return ()
    numbers = [
        reader.wrapped(field, None) for field in ("keepalive_probes", "keepalive_time", "keepalive_interval")
    ]
    if 0 in numbers:
        return ()
    return tuple([SocketOption(*option) for option in keepalive_options(TcpKeepalive(*numbers))])


def fast_open(queue: int | None) -> Options:
    """tcp_fast_open_queue_length; None for the system's own way."""
    if queue is None:
        return ()
    return (SocketOption(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, queue, LISTENING),)
