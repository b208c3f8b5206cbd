"""Connections that are kept, and when they are not."""

from __future__ import annotations

import pytest

from tests.support.client import Client, get, request
from tests.support.quiet import assert_quiet
from tests.support.upstream import Close, Reset, Send, reply


def test_one_connection_each_for_many_requests(start_outrider, simple, port, upstream):
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(200):
            assert client.send(request("GET", "/")).read().status == 200
    assert upstream.connections == 1
    stats = proxy.stats()
    assert stats["http.front.downstream_cx_total"] == 1
    assert stats["cluster.up.upstream_cx_total"] == 1
    assert stats["cluster.up.upstream_rq_200"] == 200
    assert_quiet(proxy)


def test_clients_share_upstream_connections(start_outrider, simple, port, upstream):
    proxy = start_outrider(simple)
    for _ in range(20):
        assert get(port).status == 200
    assert upstream.connections == 1
    assert proxy.stats()["http.front.downstream_cx_total"] == 20
    assert_quiet(proxy)


def test_connection_close_of_the_client_does_not_close_upstream(start_outrider, simple, port, upstream):
    proxy = start_outrider(simple)
    for _ in range(3):
        with Client(port) as client:
            answer = client.send(request("GET", "/", [("Connection", "close")])).read()
            assert answer.one("connection") == "close"
            assert client.is_closed()
    assert upstream.connections == 1
    assert_quiet(proxy)


def test_connection_close_of_the_upstream_does_not_close_the_client(start_outrider, simple, port, upstream):
    upstream.script = [reply(200, b"ok", [("Connection", "close")]), Close()]
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(5):
            answer = client.send(request("GET", "/")).read()
            assert (answer.status, answer.one("connection")) == (200, None)
    assert upstream.connections == 5
    assert_quiet(proxy)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["fin", "rst"])
def test_an_upstream_that_ends_idle_connections(start_outrider, simple, port, upstream, end):
    """Between two requests: the next one goes to a new connection."""
    upstream.script = [reply(), end]
    proxy = start_outrider(simple)
    statuses = []
    with Client(port) as client:
        for ended in range(30):
            statuses.append(client.send(request("GET", "/")).read().status)
            proxy.wait_for_stat("cluster.up.upstream_cx_destroy", ended + 1)
    assert statuses == [200] * 30
    assert_quiet(proxy)


def test_max_requests_on_both_sides(start_outrider, simple, port, upstream):
    common = {"common_http_protocol_options": {"max_requests_per_connection": 3}}
    listener = simple["static_resources"]["listeners"][0]
    listener["filter_chains"][0]["filters"][0]["typed_config"].update(common)
    simple["static_resources"]["clusters"][0]["max_requests_per_connection"] = 2
    proxy = start_outrider(simple)
    for _ in range(2):
        with Client(port) as client:
            closes = [client.send(request("GET", "/")).read().one("connection") for _ in range(3)]
            assert closes == [None, None, "close"]
            assert client.is_closed()
    assert upstream.connections == 3
    assert proxy.stats()["cluster.up.upstream_cx_max_requests"] == 3
    assert_quiet(proxy)


def test_a_response_that_lies_about_its_length(start_outrider, simple, port, upstream):
    """More bytes than declared: the client gets what was declared, and the connection goes."""
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokMORE")]
    proxy = start_outrider(simple)
    with Client(port) as client:
        for _ in range(5):
            assert client.send(request("GET", "/")).read().body == b"ok"
    assert upstream.connections == 5
    assert_quiet(proxy)
