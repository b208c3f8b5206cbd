"""Bytes that are not HTTP, through a real process: what parity does not show."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.scenarios.tcp import tells_hosts
from tests.support.client import request
from tests.support.config import (
    Config,
    bootstrap,
    cluster,
    http_listener,
    network_filter,
    raw_listener,
    route_to,
    tcp_proxy,
    virtual_host,
)
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.tcp_peer import TcpPeer, TcpUpstream, echo
from tests.support.wait import until


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def upstream() -> Iterator[TcpUpstream]:
    with TcpUpstream(echo) as made:
        yield made


def running(listeners: list[Config], clusters: list[Config] | None = None) -> Outrider:
    return Outrider(bootstrap(free_port(), listeners, clusters or []))


def test_echo_says_all_it_hears(port: int) -> None:
    with running([raw_listener(port, network_filter("echo", "echo.v3.Echo"))]):
        with TcpPeer.connect(port) as peer:
            peer.send(b"hello").end().listen()
            assert peer.story == "b'hello' end"
        with TcpPeer.connect(port) as peer:
            peer.send(b"x" * 300_000).end().listen()
            assert peer.story == "<300000 bytes> end"


def test_a_direct_response_comes_whole(port: int) -> None:
    body = {"inline_string": "no\n" * 100_000}
    with running(
        [raw_listener(port, network_filter("direct_response", "direct_response.v3.Config", response=body))]
    ):
        with TcpPeer.connect(port) as peer:
            peer.send(b"something that nobody reads").listen()
            assert peer.story == "<300000 bytes> end"
            peer.send(b"and more").end()


def test_weights_share_connections(port: int) -> None:
    with TcpUpstream(echo) as one, TcpUpstream(echo) as other:
        weights = {"clusters": [{"name": "one", "weight": 1}, {"name": "other", "weight": 3}]}
        with running(
            [raw_listener(port, tcp_proxy(weighted_clusters=weights))],
            [cluster("one", one.port), cluster("other", other.port)],
        ):
            for _ in range(60):
                with TcpPeer.connect(port) as peer:
                    peer.send(b"x").read(1)
        assert 2 <= len(one.stories()) <= 30 and len(one.stories()) + len(other.stories()) == 60


def test_another_host_is_tried(port: int, upstream: TcpUpstream) -> None:
    hosts = cluster("up", free_port(), upstream.port)
    with running([raw_listener(port, tcp_proxy("up", max_connect_attempts=2))], [hosts]) as proxy:
        for _ in range(4):
            with TcpPeer.connect(port) as peer:
                assert peer.send(b"x").read(1) == b"x"
        assert proxy.stats()["cluster.up.upstream_cx_connect_fail"] >= 1
        assert proxy.stats()["cluster.up.upstream_cx_connect_attempts_exceeded"] == 0


def test_a_client_that_does_not_read_stops_its_host(port: int) -> None:
    """What waits in the proxy stays near the limit, however much the host would say; then all of it comes."""
    count = 32 * 1024 * 1024
    sent = [0]

    def flood(peer: TcpPeer) -> None:
        piece = b"x" * 65536
        peer.sock.settimeout(30)
        while sent[0] < count:
            peer.sock.sendall(piece)
            sent[0] += len(piece)

    with TcpUpstream(flood) as upstream:
        up = cluster("up", upstream.port, per_connection_buffer_limit_bytes=65536)
        listener = raw_listener(port, tcp_proxy("up"), per_connection_buffer_limit_bytes=65536)
        with running([listener], [up]) as proxy:
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            raw.connect(("127.0.0.1", port))
            with TcpPeer(raw, 30) as peer:
                proxy.wait_for_stat("cluster.up.upstream_flow_control_paused_reading_total", 1)
                before = -1
                while before != sent[0]:  # until nothing moves any more
                    before = sent[0]
                    time.sleep(0.2)
                assert sent[0] < count, "the host could say everything"
                taken = proxy.stats()["cluster.up.upstream_cx_rx_bytes_total"]
                assert taken < 16 * 1024 * 1024, "what the system's buffers hold, and little more"
                peer.listen()
                got = sum(len(each) for each in peer.heard if isinstance(each, bytes))
                assert got == count > taken
                assert peer.heard[-1] == "end"


def test_what_a_host_has_not_taken_is_delivered_after_its_client_has_gone(port: int, tmp_path: Path) -> None:
    """The host ends its half and reads slowly; the client sends much, and closes."""
    count = 4 * 1024 * 1024
    got = [0]

    def slow(peer: TcpPeer) -> None:
        peer.end()
        while data := peer.sock.recv(65536):
            got[0] += len(data)
            time.sleep(0.002)

    with TcpUpstream(slow) as upstream:
        listener = raw_listener(port, tcp_proxy("up"), per_connection_buffer_limit_bytes=8 * 1024 * 1024)
        up = cluster("up", upstream.port, per_connection_buffer_limit_bytes=8 * 1024 * 1024)
        with running([listener], [up]) as proxy:
            with TcpPeer.connect(port, 30) as peer:
                peer.listen()
                peer.send(b"x" * count)
            until(lambda: got[0] == count, "all bytes at the host", 30)
            until(lambda: proxy.stats()["cluster.up.upstream_cx_active"] == 0, "the end of the flush")
            assert proxy.stats()["tcp.raw.upstream_flush_active"] == 0


@pytest.mark.parametrize("drains", [False, True])
def test_draining_lets_bytes_go_on_unless_it_is_told(port: int, upstream: TcpUpstream, drains: bool) -> None:
    listener = raw_listener(port, tcp_proxy("up", check_drain_close=drains))
    with running([listener], [cluster("up", upstream.port)]) as proxy:
        with TcpPeer.connect(port) as peer:
            peer.send(b"a").read(1)
            proxy.admin("/drain_listeners", method="POST")
            until(lambda: proxy.stats()["listener_manager.total_listeners_draining"] == 1, "draining")
            peer.send(b"b")
            if drains:
                peer.listen()
                assert peer.heard[-1] in ("end", "reset")
                assert proxy.stats()["tcp.raw.downstream_cx_drain_close"] == 1
            else:
                assert peer.read(1) == b"b"


def test_a_host_is_told_of_the_client_of_each_request(port: int) -> None:
    """HTTP as well: connections are not shared by clients, and each begins with its own header."""

    def answers(peer: TcpPeer) -> None:
        said = b""
        while data := peer.hears():
            said += data
            if said.endswith(b"\r\n\r\n"):  # the header may come before the request
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    with TcpUpstream(answers) as upstream:
        up = cluster("up", upstream.port, transport_socket=tells_hosts(version="V1"))
        with running([http_listener(port, [virtual_host([route_to("up")])])], [up]) as proxy:
            with TcpPeer.connect(port) as first, TcpPeer.connect(port) as second:
                for peer in (first, second, first, second):
                    peer.send(request("GET", "/"))
                    while b"".join(each for each in peer.heard if isinstance(each, bytes))[-2:] != b"ok":
                        assert peer.hears()
                    peer.heard.clear()
                clients = [peer.sock.getsockname()[1] for peer in (first, second)]
            assert proxy.stats()["cluster.up.upstream_cx_total"] == 2
        for number, peer in zip(clients, upstream.peers, strict=True):
            said = b"".join(each for each in peer.heard if isinstance(each, bytes))
            assert said.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\nGET / " % (number, port))
            assert said.count(b"PROXY") == 1 and said.count(b"GET / ") == 2
