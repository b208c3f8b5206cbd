"""Retries: each word of retry_on, each header that asks for them, host predicates, what is counted.

A path says what the host answers, try by try: ``/503,200`` is a 503 and then a 200; the last answer is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import request
from tests.support.config import TYPES, Config, cluster, file_log, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Close, Request, Reset, Send, Stall, Steps, reply

WORDS: dict[str, Steps] = {
    "close": [Close()],
    "reset": [Reset()],
    "stall": [Stall()],
    "part": [Send(b"HTTP/1.1 200 OK\r\nconte"), Close()],
    "overloaded": [reply(503, b"no", [("x-envoy-overloaded", "true")])],
    "limited": [reply(429, b"no", [("x-envoy-ratelimited", "true")])],
    "marked": [reply(200, b"no", [("x-again", "yes")])],
    "other": [reply(200, b"no", [("x-again", "no")])],
}


def by_path(got: Request) -> Steps:
    """Which try it is the request says itself (include_request_attempt_count)."""
    answers = got.path.rpartition("/")[2].split(",")
    at = int(got.one("x-envoy-attempt-count") or 1)
    word = answers[min(at, len(answers)) - 1]
    if word.startswith("grpc"):
        return [reply(200, b"", [("content-type", "application/grpc"), ("grpc-status", word[4:])])]
    return WORDS.get(word) or [reply(int(word), word.encode())]


def retrying(
    policy: Config | None, host_policy: Config | None = None, **hcm: Any
) -> Callable[[World], Config]:
    def make(world: World) -> Config:
        more: Config = {} if host_policy is None else {"retry_policy": host_policy}
        action: Config = {} if policy is None else {"retry_policy": policy}
        host = virtual_host(
            [route_to("up", **action)],
            include_request_attempt_count=True,
            include_attempt_count_in_response=True,
            **more,
        )
        internal = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
        return world.bootstrap([host], hcm={"internal_address_config": internal, **hcm})

    return make


def asks(*paths: str, fields: Headers | None = None, tries: tuple[int, ...] = ()) -> Callable[[World], None]:
    return lambda world: world.talk(*(request("GET", path, fields) for path in paths), tries=tries)


def on(words: str, **more: Any) -> Config:
    back_off = {"base_interval": "0.001s", "max_interval": "0.002s"}
    return {"retry_on": words, "retry_back_off": back_off, **more}


def scenario(name: str, title: str, config: Callable[[World], Config], drive: Callable[[World], None], codes: list[int]) -> Scenario:  # fmt: skip
    return Scenario(
        name=f"retry_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": by_path},
        lines=len(codes),
        expect=told(*codes),
    )


def word(words: str, paths: dict[str, int], **more: Any) -> Scenario:
    """One word of retry_on (or several): paths → the code that reaches the client."""
    name = words.replace("-", "_").replace(",", "_and_")
    title = f"retry_on: {words}" + "".join(f", {key}" for key in more)
    return scenario(name, title, retrying(on(words, **more)), asks(*paths), list(paths.values()))


INTERNAL: Headers = [("x-forwarded-for", "10.1.1.1")]


def by_header(name: str, cases: list[tuple[Headers, str, int]], policy: Config | None = None) -> Scenario:
    """Internal requests that ask themselves, and external ones whose asking is ignored."""

    def drive(world: World) -> None:
        for fields, path, _ in cases:
            world.talk(request("GET", path, [*INTERNAL, *fields]))
        fields, path, _ = cases[0]
        world.talk(request("GET", path, fields))

    codes = [code for _, _, code in cases]
    first = cases[0][1].strip("/").split(",")[0]
    external = int(first) if first.isdigit() else 503
    title = f"{name.replace('_', '-')} of internal and external requests"
    return scenario(f"by_{name}", title, retrying(policy), drive, [*codes, external])


def grpc_asks(*paths: str) -> Callable[[World], None]:
    return asks(*paths, fields=[("content-type", "application/grpc"), ("te", "trailers")])


def other_hosts(world: World) -> Config:
    """Two hosts, of which a retry must take the other one."""
    predicate = {
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {"@type": f"{TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
    }
    policy = on("5xx", num_retries=3, retry_host_predicate=[predicate], host_selection_retry_max_attempts="5")
    both = cluster("both", world.upstreams["up"].port, world.upstreams["second"].port)
    host = virtual_host([route_to("both", retry_policy=policy)], include_request_attempt_count=True)
    logged = file_log(str(world.log), "CODE=%RESPONSE_CODE% | TRIES=%UPSTREAM_REQUEST_ATTEMPT_COUNT%\n")
    return world.bootstrap([host], clusters=[both], hcm={"access_log": [logged]})


def ask_both(world: World) -> None:
    """Which host is asked first is chance: it is called "up" afterwards."""
    world.talk(*(request("GET", "/503,200", [("x-request-id", f"ask-{at}")]) for at in range(4)))
    first, second = world.upstreams["up"], world.upstreams["second"]
    if first.requests[0].one("x-envoy-attempt-count") != "1":
        first.requests, second.requests = second.requests, first.requests


def bodies(world: World) -> None:
    chunked = request("POST", "/503,200", [("transfer-encoding", "chunked")])
    world.talk(
        request("POST", "/503,200", [], b"a" * 3000),
        chunked + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        request("PUT", "/reset,200", [], b"again"),
    )


def requests(world: World) -> None:
    asks("/503,200")(world)
    asks("/503,503,200", "/500,200", fields=[("x-safe", "1")])(world)


def large_bodies(world: World) -> None:
    """What is larger than the buffer is sent once."""
    world.talk(
        request("POST", "/503,200", [], b"a" * 4000),
        request("POST", "/503,200", [], b"a" * 40_000),
    )


def nobody(world: World) -> Config:
    policy = on("connect-failure", num_retries=2)
    routes = [
        route_to("nobody", prefix="/other", retry_policy=on("5xx")),
        route_to("nobody", retry_policy=policy),
    ]
    return world.bootstrap([virtual_host(routes)], clusters=[cluster("nobody", world.nobody)])


def header(name: str, **match: Any) -> Config:
    return {"name": name, **match}


SCENARIOS = [
    word("5xx", {"/503,200": 200, "/500,200": 200, "/404,200": 404, "/close,200": 200, "/reset,200": 200,
                 "/503,503,200": 503, "/overloaded,200": 200, "/limited,200": 429}),
    word("gateway-error", {"/502,200": 200, "/503,200": 200, "/504,200": 200, "/500,200": 500, "/reset,200": 200}),
    word("retriable-4xx", {"/409,200": 200, "/404,200": 404, "/400,200": 400, "/503,200": 503}),
    word("retriable-status-codes", {"/418,200": 200, "/429,200": 200, "/503,200": 503},
         retriable_status_codes=[418, 429]),
    word("retriable-headers", {"/marked,200": 200, "/other,200": 200, "/404,200": 404, "/503,200": 200},
         retriable_headers=[header("x-again", string_match={"exact": "yes"}),
                            header(":status", range_match={"start": 500, "end": 600})]),
    word("envoy-ratelimited", {"/limited,200": 200, "/429,200": 429, "/503,200": 503}),
    word("reset", {"/reset,200": 200, "/close,200": 200, "/part,200": 200, "/503,200": 503}),
    word("reset-before-request", {"/reset,200": 503, "/503,200": 503}),
    word("connect-failure", {"/reset,200": 503, "/503,200": 503}),
    word("5xx,retriable-4xx", {"/503,409,200": 200, "/409,409,409,200": 409, "/200": 200}, num_retries=2),
    word("gateway-error,nonsense", {"/503,200": 200, "/500,200": 500}),
    scenario("never", "num_retries: 0", retrying(on("5xx", num_retries=0)), asks("/503,200"), [503]),
    scenario("many", "num_retries: as many as it says", retrying(on("5xx", num_retries=4)),
             asks("/503,503,503,503,200", "/503,503,503,503,503,200", "/500,reset,close,503,200"), [200, 503, 200]),
    scenario("grpc", "retry_on: the gRPC words", retrying(on("cancelled,deadline-exceeded,internal,resource-exhausted,unavailable")),
             grpc_asks("/grpc1,grpc0", "/grpc4,grpc0", "/grpc13,grpc0", "/grpc8,grpc0", "/grpc14,grpc0", "/grpc5,grpc0"),
             [200] * 6),
    scenario("of_host", "the retry policy of the virtual host; a route's own takes its place",
             retrying(None, on("5xx", num_retries=2)), asks("/503,503,200", "/409,200"), [200, 409]),
    scenario("of_route", "a route's policy does not add to its virtual host's",
             retrying(on("retriable-4xx"), on("5xx", num_retries=2)), asks("/503,200", "/409,200"), [503, 200]),
    scenario("requests", "retriable_request_headers",
             retrying(on("5xx", retriable_request_headers=[header("x-safe", present_match=True),
                                                           header(":method", string_match={"exact": "HEAD"})])),
             requests,
             [503, 503, 200]),
    scenario("bodies", "bodies are sent again, whole", retrying(on("5xx")), bodies, [200, 200, 200]),
    Scenario(
        name="retry_large_bodies",
        title="a body beyond per_connection_buffer_limit_bytes is not sent again",
        config=lambda world: world.bootstrap(
            [virtual_host([route_to("up", retry_policy=on("5xx"))], include_request_attempt_count=True)],
            per_connection_buffer_limit_bytes=16_384,
        ),
        drive=large_bodies,
        upstreams={"up": by_path},
        lines=2,
        expect=told(200, 503),
    ),
    scenario("per_try", "per_try_timeout", retrying(on("5xx", per_try_timeout="0.3s", num_retries=2)),
             asks("/stall,200", "/stall,503,200", "/stall", tries=(2, 3, 3)), [200, 200, 504]),
    by_header("x_envoy_retry_on", [([("x-envoy-retry-on", "5xx")], "/503,200", 200),
                                   ([("x-envoy-retry-on", "retriable-4xx,nonsense")], "/409,200", 200),
                                   ([("x-envoy-retry-on", "")], "/503,200", 503)]),
    by_header("x_envoy_max_retries", [
        ([("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "3")], "/503,503,503,200", 200),
        ([("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "0")], "/503,200", 503),
        ([("x-envoy-max-retries", "2")], "/503,503,200", 503),
        ([("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "many")], "/503,200", 200)]),
    by_header("x_envoy_retriable_status_codes", [
        ([("x-envoy-retry-on", "retriable-status-codes"), ("x-envoy-retriable-status-codes", "418, 404")], "/404,200", 200),
        ([("x-envoy-retry-on", "retriable-status-codes"), ("x-envoy-retriable-status-codes", "x,503")], "/503,200", 200),
        ([("x-envoy-retriable-status-codes", "503")], "/503,200", 503)]),
    by_header("x_envoy_retriable_header_names", [
        ([("x-envoy-retry-on", "retriable-headers"), ("x-envoy-retriable-header-names", "X-Again")], "/503,200", 503),
        ([("x-envoy-retry-on", "retriable-headers"), ("x-envoy-retriable-header-names", "X-Again, b")], "/other,200", 200)]),
    by_header("x_envoy_retry_grpc_on", [([("x-envoy-retry-grpc-on", "cancelled")], "/503,200", 503),
                                        ([("x-envoy-retry-grpc-on", "cancelled,internal"), ("content-type", "application/grpc")],
                                         "/grpc13,grpc0", 200)]),
    by_header("x_envoy_retry_on_and_a_policy", [([("x-envoy-retry-on", "retriable-4xx")], "/409,200", 200),
                                                ([("x-envoy-max-retries", "3")], "/503,503,503,200", 200)],
              on("5xx")),
    Scenario(
        name="retry_connect_failure_retried",
        title="retry_on: connect-failure and 5xx, with nobody there",
        config=nobody,
        drive=lambda world: world.talk(request("GET", "/"), request("GET", "/other")),
        lines=2,
        expect=told(503, 503),
    ),
    Scenario(
        name="retry_other_hosts",
        title="previous_hosts: a retry takes another host",
        config=other_hosts,
        drive=ask_both,
        upstreams={"up": by_path, "second": by_path},
        lines=4,
        expect=told(200, 200, 200, 200),
    ),
]  # fmt: skip
