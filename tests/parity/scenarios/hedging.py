"""A try that takes too long and goes on beside the next one: who wins, what is counted, what is told of the upstream."""

from __future__ import annotations

from typing import Any

from tests.parity.scenarios.http2 import http2_cluster
from tests.support.client import request
from tests.support.config import Config, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Close, Request, Stall, Steps, Wait, reply

INTERNAL: Headers = [("x-forwarded-for", "10.1.1.1")]
PRIVATE = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
#: a try's timeout is 0.6 s: the first one's answers come while the second waits, which begins 0.6 s later than it
LATE, LATER = 0.85, 1.3

#: by path: what each try meets
TRIES: dict[str, list[Steps]] = {
    "/second": [[Stall()], [reply(200, b"second")]],
    "/first": [[Wait(LATE), reply(200, b"first")], [Stall()]],
    "/better": [[Wait(LATE), reply(503, b"bad")], [Wait(0.45), reply(200, b"better")]],
    "/waits": [[Wait(LATER), reply(200, b"first")], [reply(503, b"bad")]],
    "/bad": [[Wait(LATE), reply(503, b"first")], [Wait(0.45), reply(503, b"second")]],
    "/third": [[Stall()], [reply(503, b"bad")], [reply(200, b"third")]],
    "/ends": [[Wait(LATE), Close()], [Wait(LATER), reply(200, b"second")]],
    "/both-end": [[Wait(LATE), Close()], [Close()]],
    "/bad-ends": [[Wait(LATE), Close()], [reply(503, b"bad")]],
    "/none": [[Stall()], [Stall()], [Stall()]],
    "/alone": [[Wait(LATE), reply(200, b"alone")]],
    "/fast": [[reply(200, b"fast")]],
}


def hosts(got: Request) -> Steps:
    path = "/" + got.path.split("/")[-1]
    attempt = int(got.one("x-envoy-attempt-count") or 1)
    return TRIES[path][attempt - 1]


def hedged(prefix: str, retries: int, timeout: str = "9.9s", **policy: Any) -> Config:
    retry = {
        "retry_on": "5xx",
        "num_retries": retries,
        "per_try_timeout": "0.6s",
        "retry_back_off": {"base_interval": "0.001s"},
        **policy,
    }
    return route_to(
        "up",
        prefix=prefix,
        timeout=timeout,
        retry_policy=retry,
        hedge_policy={"hedge_on_per_try_timeout": True},
    )


def drive(world: World) -> None:
    for path in ("/1/second", "/1/first", "/1/better", "/1/waits", "/1/bad", "/2/third"):
        world.talk(request("GET", path))
    world.talk(request("GET", "/2/none"), tries=(3,))


def ends(world: World) -> None:
    for path in (
        "/1/ends",
        "/1/both-end",
        "/1/bad-ends",
        "/1/second",
    ):  # with a body: no stale connection is mended
        world.talk(request("POST", path, body=b"a body"))
    for path in ("/0/alone", "/never/alone", "/1/fast"):
        world.talk(request("GET", path))
    asks = ("x-envoy-hedge-on-per-try-timeout", "true")
    own: Headers = [*INTERNAL, ("x-envoy-retry-on", "5xx"), ("x-envoy-upstream-rq-per-try-timeout-ms", "600")]
    world.talk(request("GET", "/own/first", [*own, asks]))
    world.talk(request("GET", "/own/second", own))
    world.talk(
        request("GET", "/own/alone", [*INTERNAL, ("x-envoy-upstream-rq-per-try-timeout-ms", "600"), asks])
    )
    world.talk(request("GET", "/1/second", [*INTERNAL, (asks[0], "false")]))


def lasting(world: World) -> Config:
    """A try may last for a second."""
    up = http2_cluster(
        "up",
        world.upstreams["up"].port,
        explicit_http_config={"http_protocol_options": {}},
        common_http_protocol_options={"max_stream_duration": "1s"},
    )
    host = virtual_host([hedged("/1/", 1)], include_request_attempt_count=True)
    return world.bootstrap([host], clusters=[up])


def lasts(world: World) -> None:
    for path in ("/1/first", "/1/better", "/1/waits", "/1/none"):
        world.talk(request("GET", path))


def config(world: World) -> Config:
    routes = [
        hedged("/1/", 1),
        hedged("/2/", 2, timeout="2.08s"),
        hedged("/0/", 0),
        hedged("/never/", 1, retry_on=""),
        route_to("up", prefix="/own/", timeout="9.9s"),
    ]
    host = virtual_host(routes, include_request_attempt_count=True, include_is_timeout_retry_header=True)
    return world.bootstrap([host], hcm={"internal_address_config": PRIVATE})


SCENARIOS = [
    Scenario(
        name="hedging",
        title="hedge_on_per_try_timeout: who is first, who is better, who is left",
        config=config,
        drive=drive,
        upstreams={"up": hosts},
        lines=7,
        expect=told(200, 200, 200, 200, 503, 200, 504),
    ),
    Scenario(
        name="hedging_ends",
        title="the same where hosts hang up, with a body, without a retry left, asked for in a header",
        config=config,
        drive=ends,
        upstreams={"up": hosts},
        lines=11,
        expect=told(200, 503, 503, 200, 200, 200, 200, 200, 200, 200, 200),
    ),
    Scenario(
        name="hedging_duration",
        title="hedging where a cluster has a max_stream_duration, which the first try reaches",
        config=lasting,
        drive=lasts,
        upstreams={"up": hosts},
        lines=4,
        expect=told(200, 200, 504, 504),
    ),
]
