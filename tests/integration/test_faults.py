"""A nasty client and a nasty upstream on real sockets: nothing hangs, nothing leaks, nobody else suffers."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from select import select

import pytest

from tests.support.client import Client, get, request
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.messages import Closed
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet, cpu_s, settled
from tests.support.upstream import Close, Reset, Send, Stall, Wait, chunked, reply

POST = request("POST", "/p", body=b"0123456789")
CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("raw", [POST, CHUNKED], ids=["length", "chunked"])
def test_byte_at_a_time_heads_and_bodies(start_outrider, simple, port, upstream, raw):
    proxy = start_outrider(simple)
    with Client(port) as client:
        for byte in raw:
            client.send(bytes([byte]))
        assert client.read().status == 200
    assert upstream.requests[0].body in (b"0123456789", b"hello")
    assert_quiet(proxy)


def test_responses_byte_at_a_time(start_outrider, simple, port, upstream):
    whole = chunked([b"abc", b"defg"]).data
    upstream.script = [step for byte in whole for step in (Send(bytes([byte])), Wait(0.0005))]
    proxy = start_outrider(simple)
    assert get(port).body == b"abcdefg"
    assert_quiet(proxy)


@pytest.mark.parametrize("end", ["half_close", "reset", "close"])
@pytest.mark.parametrize("raw", [POST, CHUNKED], ids=["length", "chunked"])
def test_every_end_at_every_byte(start_outrider, simple, port, upstream, raw, end):
    upstream.script = [Wait(0.02), reply()]
    proxy = start_outrider(simple)
    with ExitStack() as stack:
        for cut in range(len(raw) + 1):
            client = stack.enter_context(Client(port))
            client.send(raw[:cut])
            getattr(client, end)()
        assert get(port).status == 200
    assert_quiet(proxy)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["fin", "rst"])
@pytest.mark.parametrize(
    "whole", [reply(200, b"0123456789").data, chunked([b"0123", b"456"]).data], ids=["length", "chunked"]
)
def test_an_upstream_that_ends_at_every_byte(start_outrider, simple, port, upstream, whole, end):
    cuts = iter(range(len(whole)))
    upstream.script = lambda _: [Send(whole[: next(cuts)]), Wait(0.002), end]
    proxy = start_outrider(simple)
    for cut in range(len(whole)):
        try:
            answer = get(port)
        except Closed as closed:
            assert closed.data == b"" or cut > whole.index(b"\r\n\r\n"), (cut, closed)
        else:
            assert answer.status in (502, 503), cut
    upstream.script = [reply()]
    assert get(port).status == 200
    assert_quiet(proxy)


def test_reset_in_a_body_while_the_upstream_answers(start_outrider, simple, port, upstream):
    upstream.script = [
        Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n"),
        Send(b"x" * 5_000_000),
        Stall(),
    ]
    proxy = start_outrider(simple)
    for _ in range(10):
        client = Client(port)
        client.send(request("GET", "/"))
        client.wire.more()
        client.reset()
    assert_quiet(proxy)
    assert proxy.stats()["cluster.up.upstream_cx_active"] == 0


def test_an_upstream_that_answers_before_it_is_asked(start_outrider, simple, port):
    listening = socket.create_server(("127.0.0.1", 0))
    simple["static_resources"]["clusters"] = [cluster("up", listening.getsockname()[1])]
    stop = threading.Event()

    def serve() -> None:
        listening.settimeout(0.1)
        while not stop.is_set():
            try:
                sock, _ = listening.accept()
            except TimeoutError:
                continue
            with sock:
                sock.sendall(reply(200, b"too early").data)
                sock.settimeout(0.05)
                try:
                    while sock.recv(65536):
                        pass
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        proxy = start_outrider(simple)
        statuses = {get(port).status for _ in range(10)}
        assert statuses <= {200, 502, 503}
        assert_quiet(proxy)
    finally:
        stop.set()
        thread.join(5)
        listening.close()


def test_garbage_after_a_response_reaches_nobody(start_outrider, simple, port, upstream):
    upstream.script = [Send(reply(200, b"mine").data + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")]
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(50):
            assert client.send(request("GET", "/")).read().body == b"mine"
    assert_quiet(proxy)


def test_a_pipeline_of_thousands(start_outrider, simple, port):
    proxy = start_outrider(simple)
    count = 3000
    with Client(port, timeout_s=20) as client:
        writer = threading.Thread(target=client.send, args=(request("GET", "/") * count,))
        writer.start()
        assert all(client.read().status == 200 for _ in range(count))
        writer.join(5)
    assert_quiet(proxy)
    assert proxy.stats()["http.front.downstream_rq_total"] == count


def test_a_pipeline_nobody_reads(start_outrider, simple, port, upstream):
    upstream.script = [reply(200, b"x" * 100_000)]
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.sock.settimeout(1.0)
        try:
            client.sock.sendall(request("GET", "/") * 20_000)
        except TimeoutError:
            pass  # the proxy takes no more: as it should
        settled(lambda: proxy.stats()["cluster.up.upstream_rq_total"])
        before = cpu_s(proxy.pid)
        time.sleep(0.5)
        assert cpu_s(proxy.pid) - before < 0.2, "it spins"
        assert get(port).status == 200
        client.reset()
    assert_quiet(proxy)


def test_a_pipeline_behind_a_slow_reader_comes_out_whole(start_outrider, simple, port, upstream):
    upstream.script = [reply(200, b"x" * 3_000_000)]
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(request("GET", "/") * 5)
        settled(lambda: proxy.stats()["cluster.up.upstream_cx_rx_bytes_total"])
        for _ in range(5):
            assert len(client.read().body) == 3_000_000
    assert_quiet(proxy)


def test_slowloris_holds_nobody_up(start_outrider, simple, port):
    simple["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"][
        "request_headers_timeout"
    ] = "1s"
    proxy = start_outrider(simple)
    with ExitStack() as stack:
        slow = [stack.enter_context(Client(port)) for _ in range(100)]
        began = time.monotonic()
        while time.monotonic() - began < 1.3:
            for client in slow:
                try:
                    client.send(b"G" if client.wire.buffer == b"" and began else b"x")
                except OSError:
                    pass
            assert get(port).status == 200
            time.sleep(0.1)
        assert all(client.is_closed() or client.read().status in (400, 408) for client in slow)
    assert_quiet(proxy)
    assert proxy.stats()["http.front.downstream_cx_total"] >= 100


def test_bytes_of_every_kind(start_outrider, simple, port):
    proxy = start_outrider(simple)
    kinds = [
        bytes(range(256)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n" * 1000,
        b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n\x16\x03",
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x05hello",
    ]
    for raw in kinds:
        for _ in range(3):
            with Client(port, timeout_s=3) as client:
                client.send(raw)
                client.half_close()
                try:
                    client.wire.rest()
                except TimeoutError:
                    raise AssertionError(f"a hang after {raw[:40]!r}") from None
    assert get(port).status == 200
    assert_quiet(proxy)


def test_too_few_descriptors(start_outrider, simple, port, upstream):
    """200 connections for a process that may open 64 files: it serves those it has, idles, and recovers."""
    proxy = start_outrider(simple)
    import resource

    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (64, 64))
    with ExitStack() as stack:
        clients = []
        for _ in range(200):
            try:
                clients.append(stack.enter_context(Client(port, timeout_s=3)))
            except OSError:
                break
        answered = refused = 0
        for client in clients:
            try:
                client.sock.settimeout(0.2)
                client.send(request("GET", "/"))
                client.wire.timeout_s = 0.2
                answered += client.read().status in (200, 503)
            except (OSError, Closed):
                refused += 1
        assert answered >= 10
        before = cpu_s(proxy.pid)
        time.sleep(1.0)
        assert cpu_s(proxy.pid) - before < 0.5, "it spins on accept"
    deadline = time.monotonic() + 5
    while True:
        try:
            assert get(port).status == 200
            break
        except (OSError, Closed, AssertionError):
            assert time.monotonic() < deadline, "it does not recover"
            time.sleep(0.05)
    assert_quiet(proxy)


def test_a_silent_upstream_port(start_outrider, port):
    """Its backlog is full: connecting takes until the connect timeout, and leaks nothing."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    try:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        assert select([], fillers[:1], [], 5.0)[1], "the place in the backlog is not taken"
        config = bootstrap(
            free_port(),
            [http_listener(port, [virtual_host([route_to("up")])])],
            [cluster("up", full.getsockname()[1], connect_timeout="0.3s")],
        )
        proxy = start_outrider(config)
        for _ in range(3):
            answer = get(port)
            assert (answer.status, answer.body[-18:]) == (503, b"connection timeout")
        assert_quiet(proxy)
        assert proxy.stats()["cluster.up.upstream_cx_active"] == 0
    finally:
        for filler in fillers:
            filler.close()
        full.close()


def test_many_clients_that_come_and_go(start_outrider, simple, port, upstream):
    """A few seconds of everything at once; afterwards the proxy is as it was."""
    proxy = start_outrider(simple)
    get(port)
    descriptors = len(list((proxy.folder / f"/proc/{proxy.pid}/fd").iterdir()))

    def behave(number: int) -> None:
        for turn in range(30):
            with Client(port) as client:
                raw = (POST, CHUNKED, request("GET", "/"))[(number + turn) % 3]
                cut = (number * 7 + turn * 13) % (len(raw) * 2)
                client.send(raw[:cut])
                if cut >= len(raw):
                    client.read()
                (client.close, client.reset, client.half_close)[turn % 3]()

    threads = [threading.Thread(target=behave, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert_quiet(proxy)
    upstream.reset()
    deadline = time.monotonic() + 3
    while len(list((proxy.folder / f"/proc/{proxy.pid}/fd").iterdir())) > descriptors:
        assert time.monotonic() < deadline, "descriptors leak"
        time.sleep(0.05)
