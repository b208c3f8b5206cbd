"""What lasts long goes on while the proxy leaves: WebSockets, gRPC streams both ways, bytes; until it ends, or the time is over."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack, closing
from typing import Any

import grpc
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.config import (
    bootstrap,
    cluster,
    http_listener,
    raw_listener,
    route_to,
    tcp_proxy,
    virtual_host,
)
from tests.support.grpc_service import http2_options
from tests.support.ports import free_port
from tests.support.tcp_peer import TcpPeer, TcpUpstream, echo
from tests.support.websocket import EchoServer, websocket

METHOD = "/chat.v1.Chat/Talk"


def talk(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    """Says every message back."""
    yield from requests


class Talk:
    """A client's gRPC stream."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call = channel.stream_stream(METHOD)(iter(self.said.get, None), timeout=60)

    def say(self, message: bytes) -> bytes:
        self.said.put(message)
        return bytes(next(self.call))

    def end(self) -> grpc.StatusCode:
        self.said.put(None)
        assert list(self.call) == []
        return self.call.code()


class Peers:
    """Three hosts, and a client's long stream to each."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.websockets = stack.enter_context(EchoServer())
        self.bytes = TcpUpstream(echo)
        stack.callback(self.bytes.close)
        self.grpc = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {"Talk": grpc.stream_stream_rpc_method_handler(talk)}
        self.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("chat.v1.Chat", handlers),))
        self.grpc_port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()
        stack.callback(lambda: self.grpc.stop(None).wait())
        self.http, self.raw = free_port(), free_port()

    def config(self) -> dict[str, Any]:
        routes = [route_to("grpc", "/chat.v1.Chat", timeout="0s"), route_to("websockets", timeout="0s")]
        hcm = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
        return bootstrap(
            free_port(),
            [
                http_listener(self.http, [virtual_host(routes)], hcm=hcm),
                raw_listener(self.raw, tcp_proxy("bytes"), name="raw"),
            ],
            [
                cluster("websockets", self.websockets.port),
                cluster("bytes", self.bytes.port),
                cluster("grpc", self.grpc_port, **http2_options()),
            ],
        )

    def connect(self) -> None:
        self.socket = self.stack.enter_context(websocket(self.http))
        self.peer = self.stack.enter_context(closing(TcpPeer.connect(self.raw)))
        self.talk = Talk(self.stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{self.http}")))

    def all_are_heard(self, text: str) -> None:
        self.socket.send(text)
        assert self.socket.recv(timeout=10) == text
        assert self.talk.say(text.encode()) == text.encode()
        self.peer.send(text.encode())
        assert self.peer.read(len(text)) == text.encode()

    def end(self) -> None:
        self.socket.close()
        assert self.socket.close_code == 1000
        assert self.talk.end() is grpc.StatusCode.OK
        assert self.peer.end().listen().heard[-1] == "end"


@pytest.fixture
def peers() -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(stack)


@pytest.mark.parametrize(
    "flags",
    [(), ("--drain-listen-s", "1"), ("--exit-on-zero-active-connections",)],
    ids=["", "listens", "zero"],
)
def test_they_go_on_after_sigterm_and_then_it_ends(start_outrider, peers: Peers, flags: tuple[str, ...]):
    proxy = start_outrider(peers.config(), "--drain-time-s", "30", *flags)
    peers.connect()
    peers.all_are_heard("before")
    proxy.signal(signal.SIGTERM)
    proxy.wait_until_draining()
    for number in range(20):
        peers.all_are_heard(f"while it drains {number}")
    assert proxy.process.poll() is None
    peers.end()
    assert proxy.wait(10) == 0


def test_they_end_with_the_drain_time(start_outrider, peers: Peers):
    proxy = start_outrider(peers.config(), "--drain-time-s", "1.5", "--drain-listen-s", "0.5")
    peers.connect()
    peers.all_are_heard("before")
    began = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0
    assert time.monotonic() - began > 1.4
    assert peers.peer.listen().heard[-1] in ("end", "reset")
    with pytest.raises(ConnectionClosed):
        peers.socket.recv(timeout=10)
    with pytest.raises(grpc.RpcError):
        next(peers.talk.call)


def test_a_second_sigterm_ends_them_at_once(start_outrider, peers: Peers):
    proxy = start_outrider(peers.config(), "--drain-time-s", "60")
    peers.connect()
    peers.all_are_heard("before")
    proxy.signal(signal.SIGTERM)
    proxy.wait_until_draining()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0
    assert peers.peer.listen().heard[-1] in ("end", "reset")


def test_they_go_on_in_the_old_process_while_a_new_one_serves(start_outrider, peers: Peers, tmp_path):
    path = ("--socket-path", str(tmp_path / "upgrade"), "--drain-time-s", "30")
    config = peers.config()
    old = start_outrider(config, "--restart-epoch", "0", *path)
    peers.connect()
    peers.all_are_heard("before")
    new = start_outrider(config, "--restart-epoch", "1", *path)
    deadline = time.monotonic() + 20
    while "a successor serves" not in old.output():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for number in range(20):
        peers.all_are_heard(f"while the other serves {number}")
    with ExitStack() as stack:
        later = websocket(peers.http)
        stack.enter_context(later)
        later.send("new")
        assert later.recv(timeout=10) == "new"
    peers.end()
    assert old.wait(10) == 0
    assert new.wait_for_stat("http.front.downstream_cx_upgrades_total", 2) == 2
    assert new.wait_for_stat("cluster.grpc.upstream_rq_2xx", 1) == 1


def test_draining_listeners_keeps_them(start_outrider, peers: Peers):
    proxy = start_outrider(peers.config())
    peers.connect()
    peers.all_are_heard("before")
    for query in ("?graceful&skip_exit", ""):
        assert proxy.admin(f"/drain_listeners{query}", "POST")[0] == 200
        peers.all_are_heard("after")
    with pytest.raises(OSError):
        TcpPeer.connect(peers.raw)
    peers.end()
