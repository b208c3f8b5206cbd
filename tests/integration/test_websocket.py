"""WebSocket through the proxy, client and server by the ``websockets`` library: messages, pings, closes, many at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.config import Config, bootstrap, cluster, file_log, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.wait import until
from tests.support.websocket import EchoServer, websocket

FORMAT = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION%\n"
MIB = 1024 * 1024


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        yield server


@pytest.fixture
def port() -> int:
    return free_port()


HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ALLOWS = {"http2_protocol_options": {"allow_connect": True}}


@pytest.fixture(params=["http1", "http2"])
def config(request, port, echo, tmp_path) -> Config:
    """Over http2 the proxy is its own host: WebSocket travels as an extended CONNECT between its two listeners."""
    second = free_port()
    to = "echo" if request.param == "http1" else "hop"
    routes = [
        route_to(to, "/off", upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}]),
        route_to(to),
    ]
    hcm = {
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "access_log": [file_log(str(tmp_path / "log"), FORMAT)],
    }
    listeners = [
        http_listener(port, [virtual_host(routes)], hcm=hcm),
        http_listener(
            second,
            [virtual_host([route_to("echo")])],
            hcm={"upgrade_configs": [{"upgrade_type": "websocket"}], **ALLOWS},
            stat_prefix="second",
        ),
    ]
    typed = {HTTP2: {"@type": f"type.googleapis.com/{HTTP2}", "explicit_http_config": ALLOWS}}
    hop = cluster("hop", second, typed_extension_protocol_options=typed)
    return bootstrap(free_port(), listeners, [cluster("echo", echo.port), hop])


@pytest.fixture
def proxy(config) -> Iterator[Outrider]:
    with Outrider(config) as started:
        yield started
        stats = started.stats()
        assert stats["server.envoy_bug_failures"] == 0
        assert (
            stats["cluster.echo.upstream_cx_active"] == stats["http.front.downstream_cx_upgrades_active"] == 0
        )


def over(proxy: Outrider, count: int) -> None:
    """Wait until so many tunnels are over on both sides."""
    proxy.wait_for_stat("http.front.downstream_cx_destroy", count)
    proxy.wait_for_stat("cluster.echo.upstream_cx_destroy", count)


def test_messages_of_every_kind_and_size(proxy, port, echo, tmp_path):
    with websocket(port, "/chat?room=1") as peer:
        for message in ("text", "", "ä" * 1000, b"", bytes(range(256)), b"x" * MIB, "y" * MIB):
            peer.send(message)
            assert peer.recv(timeout=10) == message
        assert peer.ping(b"are you there").wait(5)
        peer.send(["in ", "frag", "ments"])
        assert peer.recv(timeout=5) == "in fragments"
    assert echo.wait_closed(1) == [(1000, "")]
    over(proxy, 1)
    until(lambda: bool((tmp_path / "log").read_text()), "the log line")
    line = (tmp_path / "log").read_text()
    assert line.startswith("101 ")
    received, sent = map(int, line.split()[3:5])
    assert received > 2 * MIB and sent > 2 * MIB


def test_a_thousand_messages_keep_their_order(proxy, port):
    with websocket(port) as peer:
        sender = threading.Thread(target=lambda: [peer.send(f"message {n}") for n in range(1000)])
        sender.start()
        got = [peer.recv(timeout=10) for _ in range(1000)]
        sender.join(10)
    assert got == [f"message {n}" for n in range(1000)]
    over(proxy, 1)


def test_close_codes_of_the_server(proxy, port):
    for count, code in enumerate((1000, 1001, 1008, 1011, 3000, 4999), 1):
        with websocket(port) as peer:
            peer.send(f"close {code} because of it")
            with pytest.raises(ConnectionClosed):
                peer.recv(timeout=5)
            assert (peer.close_code, peer.close_reason) == (code, "because of it")
        over(proxy, count)


def test_close_codes_of_the_client(proxy, port, echo):
    with websocket(port) as peer:
        peer.close(4001, "enough")
    assert echo.wait_closed(1) == [(4001, "enough")]
    over(proxy, 1)


def test_a_client_that_vanishes_is_an_abnormal_end_for_the_server(proxy, port, echo):
    with websocket(port) as peer:
        peer.send("x")
        peer.recv(timeout=5)
        peer.socket.shutdown(socket.SHUT_RDWR)
        assert echo.wait_closed(1) == [(1006, "")]
    over(proxy, 1)


def test_a_server_that_vanishes_is_an_abnormal_end_for_the_client(proxy, port, echo):
    with websocket(port) as peer:
        peer.send("x")
        peer.recv(timeout=5)
        echo.close()
        with pytest.raises(ConnectionClosed):
            peer.recv(timeout=5)
    over(proxy, 1)


def test_many_at_once_do_not_mix(proxy, port):
    wrong: list[object] = []

    def talk(number: int) -> None:
        with websocket(port, f"/{number}") as peer:
            for count in range(20):
                message = f"{number} {count} " + "x" * (number * 100)
                peer.send(message)
                if (got := peer.recv(timeout=20)) != message:
                    wrong.append(got)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong and not any(thread.is_alive() for thread in threads)
    assert proxy.stats()["http.front.downstream_cx_upgrades_total"] == 30
    over(proxy, 30)


def test_a_route_that_refuses(proxy, port):
    with pytest.raises(InvalidStatus) as refused, websocket(port, "/off"):
        pass
    assert refused.value.response.status_code == 403


def test_a_tunnel_lives_through_a_drain_until_it_is_over(config, port):
    with Outrider(config) as proxy, websocket(port) as peer:
        peer.send("before")
        assert peer.recv(timeout=5) == "before"
        proxy.signal()
        proxy.wait_until_draining()
        peer.send("during")
        assert peer.recv(timeout=5) == "during"
        assert proxy.stats()["http.front.downstream_cx_upgrades_active"] == 1
