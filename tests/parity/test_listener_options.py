"""What a Listener's own fields do, beside Envoy: options of its sockets, metadata, drain_type, chains without filters."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, request
from tests.support.config import (
    Config,
    address,
    bootstrap,
    file_log,
    http_listener,
    network_filter,
    raw_listener,
    virtual_host,
)
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.proc_net import keepalive_s
from tests.support.process import ProxyFailed
from tests.support.tcp_peer import TcpPeer
from tests.support.wait import until

KINDS = pytest.mark.parametrize(
    "kind",
    [
        Outrider,
        pytest.param(Envoy, marks=pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)),
    ],
)
IDLE_33 = {
    "level": socket.IPPROTO_TCP,
    "name": socket.TCP_KEEPIDLE,
    "int_value": 33,
    "state": "STATE_LISTENING",
}
LOGGED = "%METADATA(LISTENER:a:b)% %METADATA(LISTENER_FILTER_CHAIN:a)% %FILTER_CHAIN_NAME% %DOWNSTREAM_LOCAL_CLOSE_REASON%\n"


def echoing(port: int, **more: Any) -> Config:
    return {**raw_listener(port, network_filter("echo", "echo.v3.Echo"), name=f"on {port}"), **more}


def metadata(value: str) -> Config:
    return {"filter_metadata": {"a": {"b": value}}}


@KINDS
def test_what_listeners_do(kind: Any, tmp_path: Path) -> None:
    alive, override, own, none, told, bare = (free_port() for _ in range(6))
    log = tmp_path / "log"
    chain = {"name": "c", "metadata": metadata("chain"), "filters": [network_filter("echo", "echo.v3.Echo")]}
    listeners = [
        echoing(
            alive,
            tcp_keepalive={"keepalive_time": 1100},
            additional_addresses=[
                {
                    "address": address(override),
                    "socket_options": {"socket_options": [{**IDLE_33, "int_value": 555}]},
                },
                {"address": address(own), "tcp_keepalive": {"keepalive_time": 77}},
                {"address": address(none), "tcp_keepalive": {"keepalive_time": 0}},
            ],
            tcp_fast_open_queue_length=3,
        ),
        echoing(
            told,
            metadata=metadata("listener"),
            filter_chains=[chain],
            access_log=[file_log(str(log), LOGGED)],
        ),
        echoing(bare, filter_chains=[{"name": "bare"}], access_log=[file_log(str(log), LOGGED)]),
    ]
    with kind(bootstrap(free_port(), listeners, [])) as proxy:
        for port, seconds in ((alive, 1100), (override, 555), (own, 77), (none, 0)):
            with TcpPeer.connect(port) as peer:
                assert peer.send(b"x").read(1) == b"x"
                assert abs(keepalive_s(port) - seconds) <= 15, port
        for count, (port, data, story) in enumerate(((told, b"x", "b'x' end"), (bare, b"", "end"))):
            with TcpPeer.connect(port) as peer:
                if data:
                    peer.send(data).read(1)  # Envoy's echo loses what comes with the end
                    peer.end()
                assert peer.listen().story == story
            until(lambda: log.exists() and len(log.read_text().splitlines()) > count, "the line")  # noqa: B023
        stats = proxy.stats()
        assert stats[f"listener.127.0.0.1_{bare}.network_extension_config_missing"] == 1
        assert stats[f"listener.127.0.0.1_{bare}.downstream_cx_destroy"] == 1
    assert log.read_text().splitlines() == ['listener {"b":"chain"} c -', "- - bare no_filters"]


@KINDS
def test_health_drains_those_that_say_so(kind: Any) -> None:
    default, modify_only = free_port(), free_port()
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    listeners = [
        http_listener(default, [virtual_host([answer])], stat_prefix="default"),
        http_listener(modify_only, [virtual_host([answer])], stat_prefix="modify", drain_type="MODIFY_ONLY"),
    ]
    with kind(bootstrap(free_port(), listeners, [])) as proxy:
        proxy.admin("/healthcheck/fail", "POST")
        for port, words in ((default, "close"), (modify_only, None)):
            with Client(port) as client:
                client.send(request("GET", "/"))
                assert client.read().one("connection") == words


@KINDS
def test_an_option_that_is_none(kind: Any, tmp_path: Path) -> None:
    listener = echoing(free_port(), socket_options=[{"level": 1, "name": 9999, "int_value": 1}])
    with pytest.raises(ProxyFailed, match="socket option"):
        kind(bootstrap(free_port(), [listener], []), folder=tmp_path).start()


def test_an_option_that_a_listening_socket_does_not_take(tmp_path: Path) -> None:
    """docs/differences.md: listening-options."""
    option = {"level": 1, "name": 9999, "int_value": 1, "state": "STATE_LISTENING"}
    port = free_port()
    with pytest.raises(ProxyFailed, match=f"cannot listen on 127.0.0.1:{port}: socket option 1/9999"):
        Outrider(
            bootstrap(free_port(), [echoing(port, socket_options=[option])], []), folder=tmp_path
        ).start()
