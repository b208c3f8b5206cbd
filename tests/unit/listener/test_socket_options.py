"""Options of a listener's sockets: compiled, and set in their order."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from proxy.api.pool import new_message, pool
from proxy.api.reader import Errors, Reader
from proxy.listener.compile_listener import _with_options
from proxy.listener.place import IP_FREEBIND, Place
from proxy.listener.socket_options import BOUND, LISTENING, PREBIND, SocketOption, set_options

IDLE = socket.TCP_KEEPIDLE
TCP = socket.IPPROTO_TCP
HERE = Place("127.0.0.1", 0)


def compiled(places: tuple[Place, ...] = (HERE,), **fields: Any) -> tuple[tuple[Place, ...], str]:
    """The places as a Listener of these fields would have them, and what is said of it."""
    errors = Errors()
    message = ParseDict(fields, new_message("envoy.config.listener.v3.Listener"), descriptor_pool=pool())
    made = _with_options(Reader(message, errors=errors), places)
    return made, " ".join(str(one) for one in [*errors.findings, *errors.warnings])


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"socket_options": [{"level": 1, "name": 9, "int_value": 1}]}, [SocketOption(1, 9, 1)]),
        (
            {"socket_options": [{"level": 6, "name": 5, "buf_value": "AQ==", "state": "STATE_BOUND"}]},
            [SocketOption(6, 5, b"\1", BOUND)],
        ),
        (
            {"socket_options": [{"level": 1, "name": 36, "int_value": "4294967295", "type": {"stream": {}}}]},
            [SocketOption(1, 36, -1)],
        ),
        (
            {"socket_options": [{"level": 0, "name": 1, "ip_version": "SOCKET_IP_VERSION_IPV4"}]},
            [SocketOption(0, 1, 0, PREBIND, 4)],
        ),
        ({"tcp_keepalive": {}}, [SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]),
        (
            {"tcp_keepalive": {"keepalive_time": 11}},
            [SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), SocketOption(TCP, IDLE, 11)],
        ),
        ({"tcp_keepalive": {"keepalive_time": 11, "keepalive_probes": 0}}, []),
        ({"tcp_fast_open_queue_length": 7}, [SocketOption(TCP, socket.TCP_FASTOPEN, 7, LISTENING)]),
    ],
)
def test_what_is_configured(fields: dict[str, Any], expected: list[SocketOption]) -> None:
    (place,), findings = compiled(**fields)
    assert (list(place.options), findings) == (expected, "")


def test_options_of_datagram_sockets_are_warned_about() -> None:
    (place,), findings = compiled(socket_options=[{"level": 1, "name": 9, "type": {"datagram": {}}}])
    assert place.options == ()
    assert "socket_options[0].type.datagram: has no effect here" in findings


def test_additional_addresses_may_have_their_own() -> None:
    one = {"level": 1, "name": 2, "int_value": 1}
    more = [{}, {"socket_options": {"socket_options": []}}, {"tcp_keepalive": {"keepalive_interval": 0}}]
    places, _ = compiled((HERE,) * 4, socket_options=[one], tcp_keepalive={}, additional_addresses=more)
    kept = [[option.name for option in place.options] for place in places]
    assert kept == [[9, 2], [9, 2], [9], [2]]


def test_unix_sockets_have_those_alone_that_are_set_once_they_listen() -> None:
    (place,), _ = compiled((Place("/a", None),), tcp_keepalive={}, tcp_fast_open_queue_length=1)
    assert [option.state for option in place.options] == [LISTENING]


def test_a_bound_socket_has_them_and_connections_inherit_them() -> None:
    options = (
        SocketOption(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        SocketOption(TCP, IDLE, 33),
        SocketOption(TCP, IDLE, 44, version=6),
        SocketOption(TCP, socket.TCP_KEEPINTVL, (7).to_bytes(4, "little"), BOUND),
        SocketOption(TCP, socket.TCP_KEEPCNT, 9, LISTENING),
    )
    with HERE._replace(options=options).bind(True) as bound:
        bound.listen(1)
        bound.setblocking(True)
        set_options(bound, options, LISTENING)
        with socket.create_connection(bound.getsockname()), bound.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(TCP, IDLE) == 33
            assert accepted.getsockopt(TCP, socket.TCP_KEEPINTVL) == 7
            assert accepted.getsockopt(TCP, socket.TCP_KEEPCNT) == 9


def test_a_socket_that_is_taken_over_has_them_too() -> None:
    options = (SocketOption(TCP, IDLE, 33), SocketOption(TCP, socket.TCP_KEEPINTVL, 7, BOUND))
    with HERE.bind(True) as bound:
        bound.listen(1)
        HERE._replace(options=options).take_over(bound, freebind=True)
        assert bound.getsockopt(TCP, IDLE) == 33
        assert bound.getsockopt(TCP, socket.TCP_KEEPINTVL) == 7
        assert bound.getsockopt(socket.SOL_IP, IP_FREEBIND) == 1


def test_an_option_that_the_system_does_not_have_is_named() -> None:
    with pytest.raises(OSError, match="socket option 1/9999"):
        HERE._replace(options=(SocketOption(1, 9999, 1),)).bind(True)
