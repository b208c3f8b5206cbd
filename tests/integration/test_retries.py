"""Retries against real sockets: who is asked again, and with what."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.client import Client, get, request
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet
from tests.support.upstream import Close, Reset, Send, Stall, Upstream, Wait, reply


def config(
    port: int,
    *upstreams: int,
    policy: dict[str, Any],
    cluster_more: dict[str, Any] | None = None,
    **action: Any,
) -> Any:
    routes = [route_to("up", retry_policy=policy, **action)]
    return bootstrap(
        free_port(),
        [http_listener(port, [virtual_host(routes)])],
        [cluster("up", *upstreams, **(cluster_more or {}))],
    )


@pytest.mark.parametrize("first", [[reply(503, b"no")], [Reset()], [Close()]], ids=["503", "rst", "fin"])
def test_a_second_try_succeeds(start_outrider, port, upstream, first):
    upstream.script = [first, [reply(200, b"second")]]
    proxy = start_outrider(config(port, upstream.port, policy={"retry_on": "5xx,reset", "num_retries": 2}))
    assert (get(port).status, len(upstream.requests)) == (200, 2)
    stats = proxy.stats()
    assert stats["cluster.up.upstream_rq_retry"] == 1
    assert stats["cluster.up.upstream_rq_retry_success"] == 1
    assert_quiet(proxy)


def test_a_dead_host_is_stepped_over(start_outrider, port, upstream):
    dead = free_port()
    policy = {"retry_on": "connect-failure", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"}}
    proxy = start_outrider(config(port, dead, upstream.port, policy=policy))
    assert [get(port).status for _ in range(20)] == [200] * 20
    assert proxy.stats()["cluster.up.upstream_cx_connect_fail"] >= 5
    assert_quiet(proxy)


def test_a_megabyte_is_too_big_and_half_of_it_is_not(start_outrider, port, upstream):
    upstream.script = lambda each: [reply(503 if len(upstream.requests) % 2 else 200)]
    policy = {"retry_on": "5xx", "num_retries": 1}
    proxy = start_outrider(config(port, upstream.port, policy=policy))
    kept = bytes(range(256)) * 2048
    with Client(port) as client:
        assert client.send(request("POST", "/", body=kept)).read().status == 200
        assert [each.body for each in upstream.requests] == [kept, kept]
        assert client.send(request("POST", "/", body=kept * 3)).read().status == 503
    assert proxy.stats()["cluster.up.retry_or_shadow_abandoned"] == 1
    assert_quiet(proxy)


def test_a_try_that_takes_too_long(start_outrider, port, upstream):
    upstream.script = [[Stall()], [reply(200, b"second")]]
    policy = {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"}
    proxy = start_outrider(config(port, upstream.port, policy=policy))
    assert get(port).body == b"second"
    assert proxy.stats()["cluster.up.upstream_rq_per_try_timeout"] == 1
    assert_quiet(proxy)


def test_an_upstream_that_refuses_in_the_middle_of_an_upload(start_outrider, port):
    """Each try gets the body from its beginning, also while it is still coming."""
    body = bytes(range(256)) * 1000
    with Upstream([[reply(500)], [reply(500)], [reply(200)]]) as upstream:
        policy = {"retry_on": "5xx", "num_retries": 5, "retry_back_off": {"base_interval": "0.001s"}}
        proxy = start_outrider(config(port, upstream.port, policy=policy))
        with Client(port) as client:
            client.send(request("POST", "/", [("Content-Length", str(len(body)))]))
            for at in range(0, len(body), 10_000):
                client.send(body[at : at + 10_000])
            assert client.read().status == 200
        assert {each.body for each in upstream.requests} == {body}
        assert_quiet(proxy)


def test_retries_of_many_at_once_stay_within_the_breaker(start_outrider, port, upstream):
    upstream.script = [Wait(0.01), reply(503, b"no")]
    policy = {"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.05s"}}
    limits = {"circuit_breakers": {"thresholds": [{"max_retries": 2}]}}
    proxy = start_outrider(config(port, upstream.port, policy=policy, cluster_more=limits))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(get(port).status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert statuses == [503] * 30
    stats = proxy.stats()
    assert stats["cluster.up.upstream_rq_retry_overflow"] > 0
    assert stats["cluster.up.upstream_rq_503"] == 30
    assert_quiet(proxy)


def test_no_retry_after_the_first_byte(start_outrider, port, upstream):
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), Reset()]
    proxy = start_outrider(config(port, upstream.port, policy={"retry_on": "5xx,reset", "num_retries": 3}))
    with Client(port) as client:
        client.send(request("GET", "/"))
        assert client.wire.head().start_line == "HTTP/1.1 200 OK"
        assert b"half".startswith(client.wire.rest())
    assert len(upstream.requests) == 1
    assert_quiet(proxy)
