"""Backpressure both ways: who does not read stops who sends, and the proxy's memory does not grow meanwhile."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.client import Client, request
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet, rss_bytes, settled
from tests.support.upstream import Send, reply

MIB = 1 << 20
GIB = 1 << 30
GROWTH = 8 * MIB
PIECE = bytes(range(256)) * 1024  # 256 KiB


class Firehose:
    """An upstream that sends ``size`` bytes to whoever asks, or takes as many, as fast as it is let.

    reads: set when it may read request bodies; moved: bytes sent or received so far
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.moved = 0
        self.digest = hashlib.sha256()
        self.reads = threading.Event()
        self.closing = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            sock, _ = self.listener.accept()
            with sock:
                sock.settimeout(60)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(1)
                if head.startswith(b"GET"):
                    self._send(sock)
                else:
                    self._take(sock)
        except OSError:
            return

    def _send(self, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.size)
        while self.moved < self.size:
            self.moved += sock.send(memoryview(PIECE)[self.moved % len(PIECE) :])
        self.reads.wait(60)

    def _take(self, sock: socket.socket) -> None:
        self.reads.wait(60)
        while self.moved < self.size and not self.closing:
            data = sock.recv(MIB)
            if not data:
                return
            self.digest.update(data)
            self.moved += len(data)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    def close(self) -> None:
        self.closing = True
        self.reads.set()
        self.listener.close()
        self.thread.join(5)


@contextmanager
def firehose(size: int) -> Iterator[Firehose]:
    hose = Firehose(size)
    try:
        yield hose
    finally:
        hose.close()


def expected(size: int) -> bytes:
    digest = hashlib.sha256()
    for _ in range(size // len(PIECE)):
        digest.update(PIECE)
    return digest.digest()


def only_for(upstream: int, port: int) -> Config:
    """Only example.com goes upstream: other hosts are answered here."""
    everything = virtual_host([route_to("up")], ["example.com"])
    return bootstrap(free_port(), [http_listener(port, [everything])], [cluster("up", upstream)])


def warm(port: int) -> None:
    """Everything that the first request allocates, outside the count."""
    for _ in range(3):
        with Client(port) as client:
            client.send(request("GET", "/nowhere", host="warm")).read()


def download(client: Client, size: int) -> bytes:
    """Read a response of ``size`` bytes; the hash of its body."""
    client.wire.head()
    digest, left = hashlib.sha256(client.wire.buffer), size - len(client.wire.buffer)
    client.sock.settimeout(30)
    while left:
        data = client.sock.recv(min(left, MIB))
        assert data, f"cut with {left} bytes to go"
        digest.update(data)
        left -= len(data)
    return digest.digest()


@pytest.mark.parametrize(
    "size, reads_all", [(64 * MIB, True), (GIB, False), pytest.param(GIB, True, marks=pytest.mark.slow)]
)
def test_a_client_that_does_not_read(start_outrider, port, size, reads_all):
    with firehose(size) as hose:
        proxy = start_outrider(only_for(hose.port, port))
        warm(port)
        before = rss_bytes(proxy.pid)
        with Client(port) as client:
            client.send(request("GET", "/"))
            proxy.wait_for_stat("cluster.up.upstream_flow_control_paused_reading_total", 1)
            sent = settled(lambda: hose.moved)
            assert sent < 60 * MIB, f"{sent} bytes went to somebody who reads none"
            assert rss_bytes(proxy.pid) - before < GROWTH
            if reads_all:
                assert download(client, size) == expected(size)
                assert rss_bytes(proxy.pid) - before < GROWTH
            assert proxy.stats()["http.front.downstream_flow_control_paused_reading_total"] == 0
        assert_quiet(proxy)


@pytest.mark.parametrize(
    "size, reads_all", [(64 * MIB, True), (GIB, False), pytest.param(GIB, True, marks=pytest.mark.slow)]
)
def test_an_upstream_that_does_not_read(start_outrider, port, size, reads_all):
    with firehose(size) as hose:
        proxy = start_outrider(only_for(hose.port, port))
        warm(port)
        before = rss_bytes(proxy.pid)
        with Client(port) as client:
            client.send(request("POST", "/", [("Content-Length", str(size))]))
            sent = [0]

            def send() -> None:
                client.sock.settimeout(60 if reads_all else 1)
                try:
                    while sent[0] < size:
                        sent[0] += client.sock.send(memoryview(PIECE)[sent[0] % len(PIECE) :])
                except OSError:
                    return

            writer = threading.Thread(target=send, daemon=True)
            writer.start()
            took = settled(lambda: sent[0])
            assert took < 60 * MIB, f"{took} bytes were taken for somebody who reads none"
            assert rss_bytes(proxy.pid) - before < GROWTH
            assert proxy.stats()["http.front.downstream_flow_control_paused_reading_total"] >= 1
            assert proxy.stats()["cluster.up.upstream_flow_control_paused_reading_total"] == 0
            if reads_all:
                hose.reads.set()
                client.wire.timeout_s = 50
                assert client.read().status == 200
                assert hose.digest.digest() == expected(size)
                assert rss_bytes(proxy.pid) - before < GROWTH
            else:
                writer.join(10)
                client.reset()  # noticed though nobody reads
            writer.join(10)
            assert not writer.is_alive()
        assert_quiet(proxy)


def test_others_are_served_meanwhile(start_outrider, simple, port, upstream):
    """A stalled client costs one connection, not the loop."""
    upstream.script = lambda each: (
        [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n"), Send(b"x" * 8_000_000)]
        if each.path == "/big"
        else [reply()]
    )
    proxy = start_outrider(simple)
    with Client(port) as stalled, Client(port) as other:
        stalled.send(request("GET", "/big"))
        proxy.wait_for_stat("cluster.up.upstream_cx_rx_bytes_total", 100_000)
        began = time.monotonic()
        for _ in range(100):
            assert other.send(request("GET", "/")).read().status == 200
        assert time.monotonic() - began < 5
        assert len(stalled.read().body) == 8_000_000
    assert_quiet(proxy)
