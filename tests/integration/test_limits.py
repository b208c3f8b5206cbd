"""Breakers and limits with real connections: what is too much is refused, counted, and forgotten afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.support.client import Client, get, request
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet
from tests.support.upstream import Hold, Upstream, Wait, reply

ALL = 20  # requests at once, more than any limit here


def start(start_outrider, port, upstream, **limits):
    thresholds = {"circuit_breakers": {"thresholds": [{"track_remaining": True, **limits}]}}
    listener = http_listener(port, [virtual_host([route_to("up")])])
    return start_outrider(bootstrap(free_port(), [listener], [cluster("up", upstream.port, **thresholds)]))


def all_at_once(port: int, count: int, then: Callable[[], object] = lambda: None) -> list[int]:
    """The statuses; ``then``: done between the last request and the first look at an answer."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(count)]
        for client in clients:
            client.send(request("GET", "/"))
        then()
        return [client.read().status for client in clients]


def let_go(upstream: Upstream, proxy: Outrider, counter: str, refused: int) -> None:
    """Nothing that runs ends before what is too much has been refused."""
    proxy.wait_for_stat(f"cluster.up.upstream_rq_{counter}", refused)
    upstream.let_go(ALL)


def test_max_connections_makes_the_others_wait(start_outrider, port, upstream):
    upstream.script = [Wait(0.02), reply()]
    proxy = start(start_outrider, port, upstream, max_connections=3)
    assert all_at_once(port, 30) == [200] * 30
    assert upstream.connections <= 3
    assert proxy.stats()["cluster.up.upstream_cx_overflow"] > 0
    assert_quiet(proxy)


def test_max_pending_refuses_the_others(start_outrider, port, upstream):
    upstream.script = [Hold(), reply()]
    proxy = start(start_outrider, port, upstream, max_connections=1, max_pending_requests=2)
    statuses = all_at_once(port, ALL, lambda: let_go(upstream, proxy, "pending_overflow", 17))
    served = statuses.count(200)
    assert served in (2, 3), "those that wait, and the one that they made room for, if it was quick enough"
    stats = proxy.stats()
    assert stats["cluster.up.upstream_rq_pending_overflow"] == statuses.count(503) == ALL - served
    assert stats["cluster.up.circuit_breakers.default.remaining_pending"] == 2
    assert_quiet(proxy)
    assert get(port).status == 200


def test_max_requests(start_outrider, port, upstream):
    upstream.script = [Hold(), reply()]
    proxy = start(start_outrider, port, upstream, max_requests=4)
    statuses = all_at_once(port, ALL, lambda: let_go(upstream, proxy, "active_overflow", 16))
    assert statuses.count(200) >= 4
    assert statuses.count(200) + statuses.count(503) == ALL
    assert len(upstream.requests) <= 4
    assert_quiet(proxy)
    assert proxy.stats()["cluster.up.circuit_breakers.default.remaining_rq"] == 4
    assert get(port).status == 200


def test_a_dead_cluster_refuses_everything_quickly(start_outrider, port):
    class Dead:
        port = free_port()

    proxy = start(start_outrider, port, Dead)
    began = time.monotonic()
    assert all_at_once(port, 200) == [503] * 200
    assert time.monotonic() - began < 5
    assert_quiet(proxy)
    stats = proxy.stats()
    assert stats["cluster.up.upstream_cx_active"] == 0
    assert stats["cluster.up.circuit_breakers.default.remaining_cx"] == 1024


@pytest.mark.parametrize(
    "head, status",
    [
        (b"x: " + b"y" * 62_000, 431),
        (b"\r\n".join(b"x-%d: 1" % n for n in range(101)), 431),
        (b"\r\n".join(b"x-%d: 1" % n for n in range(90)), 200),
        (b"x: " + b"y" * 50_000, 200),
    ],
    ids=["too long", "too many", "many", "long"],
)
def test_heads(start_outrider, simple, port, head, status):
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        answer = client.read()
        assert answer.status == status
        if status != 200:
            assert answer.one("connection") == "close"
            assert client.is_closed()
    assert_quiet(proxy)


def test_a_head_without_end_is_cut_off(start_outrider, simple, port):
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        writer = threading.Thread(target=_send_for_ever, args=(client,), daemon=True)
        writer.start()
        assert client.read().status == 431
        writer.join(5)
        assert not writer.is_alive(), "it reads for ever"
    assert_quiet(proxy)


def _send_for_ever(client: Client) -> None:
    deadline = time.monotonic() + 5
    try:
        while time.monotonic() < deadline:
            client.sock.sendall(b"x: " + b"y" * 1000 + b"\r\n")
    except OSError:
        return


def test_a_hundred_slow_connections_and_no_limit(start_outrider, simple, port, upstream):
    upstream.script = [Wait(0.1), reply()]
    proxy = start_outrider(simple)
    assert all_at_once(port, 100) == [200] * 100
    assert_quiet(proxy)
