"""Options of the router filter; limits of a cluster's tries; what our own 400 does to a connection."""

from __future__ import annotations

import time

from tests.parity.scenarios.http2 import GRPC, http2_cluster, say
from tests.support.client import request
from tests.support.config import TYPES, Config, route_to, virtual_host
from tests.support.h2_client import H2Client
from tests.support.h2_upstream import H2Reply, H2Request
from tests.support.messages import Headers
from tests.support.parity.scenario import Http2, Scenario, World, told
from tests.support.upstream import Request, Script, Steps, reply

INTERNAL: Headers = [("x-forwarded-for", "10.1.1.1")]
PRIVATE = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
RQ = "x-envoy-upstream-rq"
CHECKED = [f"{RQ}-timeout-ms", f"{RQ}-per-try-timeout-ms", "x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retry-grpc-on"]  # fmt: skip
ODD = [
    *((f"{RQ}-timeout-ms", value) for value in ("1.5", "99999999999999999999", " 900")),
    (f"{RQ}-per-try-timeout-ms", "abc"),
    ("x-envoy-max-retries", "-1"),
    *(("x-envoy-retry-on", value) for value in ("5xx, reset", "5xx,bogus", "")),
    ("x-envoy-retry-grpc-on", "5xx"),
]


def ok(got: Request) -> Steps:
    return [reply(200, b"ok")]


def config(world: World) -> Config:
    """strict_check_headers; respect_expected_rq_timeout."""
    options = {"strict_check_headers": CHECKED, "respect_expected_rq_timeout": True}
    typed = {"@type": f"{TYPES}.filters.http.router.v3.Router", **options}
    hcm = {"internal_address_config": PRIVATE, "http_filters": [{"name": "router", "typed_config": typed}]}
    bad: Config = {"match": {"prefix": "/400"}, "direct_response": {"status": 400}}
    return world.bootstrap([virtual_host([bad, route_to("up")])], hcm=hcm)


def headers(world: World) -> None:
    for name, value in ODD:
        world.talk(request("POST", "/", [*INTERNAL, (name, value)], b"x"))
    world.talk(request("GET", "/", [("x-envoy-max-retries", "3.0")]))
    world.talk(request("GET", "/400", [*INTERNAL, ("x-envoy-max-retries", "3.0")]))
    expected = ("x-envoy-expected-rq-timeout-ms", "4300")
    for fields in ([expected], [expected, (f"{RQ}-timeout-ms", "900")], [(expected[0], "bad")]):
        world.talk(request("GET", "/", [*INTERNAL, *fields]))
    world.talk(request("GET", "/", [expected]))


def lasting(got: H2Request, answer: H2Reply) -> None:
    """Hangs; /head: behind its head; /again: the first time."""
    if got.path == "/head":
        answer.headers(200, GRPC)
    elif got.path == "/ok" or ("x-envoy-attempt-count", "2") in got.headers:
        answer.answer()


def limited(world: World) -> Config:
    options: dict[str, Config] = {
        "explicit_http_config": {"http2_protocol_options": {}},
        "common_http_protocol_options": {
            "max_stream_duration": "0.2s",
            "headers_with_underscores_action": "DROP_HEADER",
        },
    }
    retried = route_to("up", "/again", retry_policy={"retry_on": "reset", "num_retries": 1})
    hosts = virtual_host([retried, route_to("up")], include_request_attempt_count=True)
    return world.bootstrap([hosts], clusters=[http2_cluster("up", world.upstreams["up"].port, **options)])


def streams(world: World) -> None:
    with H2Client(world.front) as client:
        for path, fields in (
            ("/ok", [("x_y", "1")]),
            ("/hang", []),
            ("/hang", GRPC),
            ("/head", GRPC),
            ("/again", []),
        ):
            say(world, client.get(path, headers=fields))
        stream = client.start("/hang", "POST", end=False)
        client.data(stream, b"half")
        say(world, client.wait(stream))


def pinged(world: World) -> Config:
    """PINGs ahead of what is asked after a pause."""
    keepalive = {"connection_idle_interval": "0.3s", "timeout": "0.3s"}
    options: Config = {
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}}
    }
    up = http2_cluster("up", world.upstreams["up"].port, **options)
    return world.bootstrap([virtual_host([route_to("up")])], clusters=[up])


def pauses(world: World) -> None:
    """Two requests, a pause, two more; a pause, and five at a time; a pause, and a host that is dead."""
    host = world.upstreams["up"]
    with H2Client(world.front) as client:
        for pause in (0.0, 0.5):
            time.sleep(pause)
            for _ in range(2):
                say(world, client.get("/ok"))
                world.note(f"pings after {len(world.said)}", str(host.pings))
        time.sleep(0.5)
        for stream in [client.start("/ok") for _ in range(5)]:
            say(world, client.wait(stream))
        world.note("pings after the burst", str(host.pings))
        time.sleep(0.5)
        host.stalled.set()
        say(world, client.get("/ok"))
        host.stalled.clear()
        say(world, client.get("/ok"))


UP: dict[str, Script | Http2] = {"up": ok}
SCENARIOS: list[Scenario] = [
    Scenario(
        "router_headers",
        "strict_check_headers, respect_expected_rq_timeout, a 400 of our own",
        config,
        headers,
        UP,
        lines=len(ODD) + 6,
    ),
    Scenario(
        "cluster_idle_ping",
        "connection_idle_interval: a PING ahead of the first stream after a pause",
        pinged,
        pauses,
        {"up": Http2(lasting)},
        lines=11,
        expect=told(*[200] * 9, 503, 200),
    ),
    Scenario(
        "cluster_stream_duration",
        "max_stream_duration of a cluster's tries",
        limited,
        streams,
        {"up": Http2(lasting)},
        lines=6,
        expect=told(200, 504, 200, 200, 200, 408),
    ),
]
