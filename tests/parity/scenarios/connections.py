"""Connections: kept alive, pipelined, closed; and the upstream connections behind them."""

from __future__ import annotations

from collections.abc import Callable

from tests.parity.scenarios.http2 import http2_cluster
from tests.support.client import Client, request
from tests.support.config import Config, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Hold, Request, Steps, reply

HTTP1: dict[str, Config] = {"explicit_http_config": {"http_protocol_options": {}}}


def one_route(world: World) -> Config:
    return world.bootstrap([virtual_host([route_to("up")])])


def keep_alive_and_pipelining(world: World) -> None:
    world.talk(
        request("GET", "/1"), request("GET", "/2", [("Connection", "keep-alive")]), request("GET", "/3")
    )
    pipelined = request("GET", "/a") + request("POST", "/b", body=b"body of b") + request("HEAD", "/c")
    with Client(world.front) as client:
        world.sent += pipelined
        client.send(pipelined)
        for head_only in (False, False, True):
            world.listen(client, head_only)
    last = request("GET", "/last", [("Connection", "close")])
    with Client(world.front) as client:
        world.sent += last
        world.listen(client.send(last), patient=True)


def echo_path(got: Request) -> Steps:
    return [reply(200, got.path.encode(), [("Connection", "keep-alive")])]


def breakers(**options: Config) -> Callable[[World], Config]:
    """options: what the clusters speak, HTTP/1 by default"""

    def config(world: World) -> Config:
        slow = breaking("slow", world, max_connections=1, max_pending_requests=1)
        busy = breaking("busy", world, max_requests=1)
        return world.bootstrap(
            [virtual_host([route_to("busy", prefix="/busy"), route_to("slow")])], clusters=[slow, busy]
        )

    def breaking(name: str, world: World, **limits: int) -> Config:
        made = http2_cluster(name, world.upstreams[name].port, **(options or HTTP1))
        return {**made, "circuit_breakers": {"thresholds": [limits]}}

    return config


def first_held(got: Request) -> Steps:
    return [Hold(), reply()] if got.path.endswith("/first") else [reply()]


def overflow(world: World) -> None:
    """The first request runs, the second waits for its connection, the third is one too many."""
    assert world.proxy is not None
    with Client(world.front) as first, Client(world.front) as second:
        first.send(request("GET", "/first"))
        world.upstreams["slow"].wait_for(1)
        second.send(request("GET", "/second"))
        world.proxy.wait_for_stat("cluster.slow.upstream_rq_pending_active", 1)
        world.talk(request("GET", "/third"))
        world.upstreams["slow"].let_go()
        world.listen(first)
        world.listen(second)
    with Client(world.front) as first:
        first.send(request("GET", "/busy/first"))
        world.upstreams["busy"].wait_for(1)
        world.talk(request("GET", "/busy/second"))
        world.upstreams["busy"].let_go()
        world.listen(first)


SCENARIOS = [
    Scenario(
        name="keep_alive",
        title="keep-alive, pipelining, Connection: close; upstream connections are reused",
        config=one_route,
        drive=keep_alive_and_pipelining,
        upstreams={"up": echo_path},
        lines=7,
        expect=told(200, 200, 200, 200, 200, 200, 200, "closed"),
    ),
    Scenario(
        name="breakers",
        title="circuit breakers: pending overflow, request overflow",
        config=breakers(),
        drive=overflow,
        upstreams={"slow": first_held, "busy": first_held},
        lines=5,
        expect=told(503, 200, 200, 503, 200),
    ),
    Scenario(
        name="breakers_either",
        title="circuit breakers of a cluster that speaks what its clients speak",
        config=breakers(use_downstream_protocol_config={"http2_protocol_options": {}}),
        drive=overflow,
        upstreams={"slow": first_held, "busy": first_held},
        lines=5,
        expect=told(503, 200, 200, 503, 200),
    ),
]
