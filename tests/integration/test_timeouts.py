"""Timeouts with a real clock: that the wheel turns by itself."""

from __future__ import annotations

import time

from tests.support.client import Client, get, request
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet, cpu_s
from tests.support.upstream import Send, Stall, reply


def start(start_outrider, port, upstream, hcm=None, **action):
    listener = http_listener(port, [virtual_host([route_to("up", **action)])], hcm=hcm)
    return start_outrider(bootstrap(free_port(), [listener], [cluster("up", upstream.port)]))


def test_route_timeout_and_the_connection_lives_on(start_outrider, port, upstream):
    upstream.script = lambda each: [Stall()] if each.path == "/slow" else [reply()]
    proxy = start(start_outrider, port, upstream, timeout="0.3s")
    with Client(port) as client:
        for _ in range(3):
            began = time.monotonic()
            answer = client.send(request("GET", "/slow")).read()
            assert (answer.status, answer.body) == (504, b"upstream request timeout")
            assert 0.29 < time.monotonic() - began < 1.0
            assert client.send(request("GET", "/")).read().status == 200
    assert proxy.stats()["cluster.up.upstream_rq_timeout"] == 3
    assert_quiet(proxy)


def test_a_hundred_timeouts_at_once(start_outrider, port, upstream):
    upstream.script = [Stall()]
    proxy = start(start_outrider, port, upstream, timeout="0.5s")
    clients = [Client(port) for _ in range(100)]
    began = time.monotonic()
    for client in clients:
        client.send(request("GET", "/"))
    assert {client.read().status for client in clients} == {504}
    assert time.monotonic() - began < 3
    for client in clients:
        client.close()
    assert_quiet(proxy)
    assert proxy.stats()["cluster.up.upstream_cx_active"] == 0


def test_headers_timeout_of_a_dribbling_client(start_outrider, port, upstream):
    proxy = start(start_outrider, port, upstream, hcm={"request_headers_timeout": "0.5s"})
    with Client(port) as client:
        began = time.monotonic()
        for byte in b"GET / HT":
            client.send(bytes([byte]))
            time.sleep(0.05)
        answer = client.read()
        assert (answer.status, answer.body) == (408, b"request header timeout")
        assert time.monotonic() - began < 1.5
        assert client.is_closed()
    assert_quiet(proxy)


def test_idle_timeouts_close_both_sides(start_outrider, port, upstream):
    idle = {"common_http_protocol_options": {"idle_timeout": "0.4s"}}
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=idle)
    proxy = start_outrider(bootstrap(free_port(), [listener], [cluster("up", upstream.port, **idle)]))
    with Client(port) as client:
        began = time.monotonic()  # before it is idle: whoever looks later has seen less than passed
        assert client.send(request("GET", "/")).read().status == 200
        assert client.is_closed(3)
        assert 0.3 < time.monotonic() - began < 1.5
    proxy.wait_for_stat("cluster.up.upstream_cx_idle_timeout", 1)
    assert proxy.stats()["cluster.up.upstream_cx_active"] == 0
    assert proxy.stats()["http.front.downstream_cx_idle_timeout"] == 1
    assert_quiet(proxy)


def test_stream_idle_timeout_of_a_stuck_response(start_outrider, port, upstream):
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), Stall()]
    proxy = start(start_outrider, port, upstream, hcm={"stream_idle_timeout": "0.4s"}, timeout="0s")
    with Client(port) as client:
        client.send(request("GET", "/"))
        client.wire.head()
        assert client.wire.rest() == b"half"
    assert_quiet(proxy)


def test_nothing_to_do_costs_nothing(start_outrider, port, upstream):
    """Idle connections with deadlines do not keep the loop busy."""
    proxy = start(start_outrider, port, upstream)
    clients = [Client(port) for _ in range(50)]
    for client in clients:
        assert client.send(request("GET", "/")).read().status == 200
    proxy.stats()  # what the responses left to do is done before this is answered
    before = cpu_s(proxy.pid)
    time.sleep(1.5)
    assert cpu_s(proxy.pid) - before < 0.1
    for client in clients:
        client.close()
    assert get(port).status == 200
    assert_quiet(proxy)
