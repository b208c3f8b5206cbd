"""Keep-alive options of upstream sockets."""

from __future__ import annotations

import socket

from proxy.network.keepalive import keepalive_options, set_keepalive
from proxy.upstream.options import TcpKeepalive


def test_only_what_is_configured_is_set() -> None:
    on = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    assert keepalive_options(TcpKeepalive()) == [on]
    options = keepalive_options(TcpKeepalive(probes=3, interval_s=7))
    assert options == [
        on,
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 7),
    ]


def test_the_socket_has_them() -> None:
    with socket.socket() as sock:
        set_keepalive(sock, None)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        set_keepalive(sock, TcpKeepalive(probes=4))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4


def test_a_refused_option_does_not_stop_the_others() -> None:
    class Picky:
        def __init__(self) -> None:
            self.taken: list[int] = []

        def setsockopt(self, level: int, name: int, value: int, /) -> None:
            if value > 100:
                raise OSError(22, "Invalid argument")
            self.taken.append(value)

    sock = Picky()
    set_keepalive(sock, TcpKeepalive(probes=1000, time_s=30))
    assert sock.taken == [1, 30]
