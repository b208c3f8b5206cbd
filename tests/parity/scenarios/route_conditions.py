"""Rarer conditions and settings of routes: cookies, metadata, TLS, buffers, headers for internal requests only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.matching import says
from tests.parity.scenarios.retrying import by_path, on
from tests.support.client import request
from tests.support.config import Config, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

PRIVATE = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}


def cookie(name: str, value: str, **more: Any) -> Config:
    return {"name": name, "string_match": {"exact": value}, **more}


COOKIES = [
    says("both", {"prefix": "/both", "cookies": [cookie("a", "1"), cookie("b", "2")]}),
    says("exact", {"prefix": "/one", "cookies": [cookie("a", "1")]}),
    says("inverted", {"prefix": "/not", "cookies": [cookie("a", "1", invert_match=True)]}),
    says("prefix", {"prefix": "/prefix", "cookies": [{"name": "a", "string_match": {"prefix": "1"}}]}),
    says("folded", {"prefix": "/fold", "cookies": [{"name": "a", "string_match": {"exact": "x", "ignore_case": True}}]}),
]  # fmt: skip
SENT: list[Headers] = [
    [],
    [("cookie", "a=1")],
    [("cookie", "a=1; b=2")],
    [("cookie", "b=2; a=1;")],
    [("cookie", "a=1"), ("cookie", "b=2")],
    [("cookie", "a=2; a=1")],
    [("cookie", "a=1; a=2")],
    [("cookie", 'a="1"')],
    [("cookie", " a = 1 ")],
    [("cookie", "A=1")],
    [("cookie", "a=12")],
    [("cookie", "a=X")],
    [("cookie", "a")],
    [("cookie", "a=")],
]


def with_cookies(world: World) -> None:
    for path in ("/both", "/one", "/not", "/prefix", "/fold"):
        world.talk(*(request("GET", path, fields) for fields in SENT))


def metadata(value: Config, **more: Any) -> Config:
    return {"filter": "own", "path": [{"key": "key"}], "value": value, **more}


METADATA = [
    says("present", {"prefix": "/present", "dynamic_metadata": [metadata({"present_match": True})]}),
    says(
        "absent",
        {"prefix": "/inverted", "dynamic_metadata": [metadata({"present_match": True}, invert=True)]},
    ),
    says("null", {"prefix": "/null", "dynamic_metadata": [metadata({"null_match": {}})]}),
    says("not there", {"prefix": "/false", "dynamic_metadata": [metadata({"present_match": False})]}),
    says("text", {"prefix": "/text", "dynamic_metadata": [metadata({"string_match": {"exact": ""}})]}),
]
TLS = [
    says("presented", {"prefix": "/presented", "tls_context": {"presented": True}}),
    says("not presented", {"prefix": "/not-presented", "tls_context": {"presented": False}}),
    says("validated", {"prefix": "/validated", "tls_context": {"validated": True}}),
    says("anything", {"prefix": "/any", "tls_context": {}}),
]


def routed(routes: list[Config], **table: Any) -> Callable[[World], Config]:
    def config(world: World) -> Config:
        made = {"name": "table", "virtual_hosts": [virtual_host(routes)], **table}
        return world.bootstrap([], hcm={"route_config": made, "internal_address_config": PRIVATE})

    return config


def ask(*paths: str) -> Callable[[World], None]:
    return lambda world: world.talk(*(request("GET", path) for path in paths))


def buffered(world: World) -> Config:
    """The smaller limit of route and listener; a route's own goes before its virtual host's."""
    policy: Config = {"retry_policy": on("5xx")}
    routes = [
        {**route_to("up", prefix="/route", **policy), "per_request_buffer_limit_bytes": 2000},
        {**route_to("up", prefix="/large", **policy), "per_request_buffer_limit_bytes": 900_000},
        route_to("up", **policy),
    ]
    host = virtual_host(routes, include_request_attempt_count=True, per_request_buffer_limit_bytes=5000)
    return world.bootstrap([host], per_connection_buffer_limit_bytes=16_384)


def send_bodies(world: World) -> None:
    for path, size in (
        ("/route", 1500),
        ("/route", 3000),
        ("/host", 3000),
        ("/host", 9000),
        ("/large", 9000),
    ):
        world.talk(request("POST", f"{path}/503,200", body=b"a" * size))


def with_internals(world: World) -> None:
    fields: Headers = [("X-Secret", "1"), ("x-other", "2"), ("x-secret", "3")]
    world.talk(request("GET", "/", fields), request("GET", "/", [("x-forwarded-for", "10.1.1.1"), *fields]))


def scenario(name: str, title: str, config: Callable[[World], Config], drive: Callable[[World], None], codes: list[int], upstream: Any = None) -> Scenario:  # fmt: skip
    return Scenario(
        name=f"route_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": upstream or [reply()]},
        lines=len(codes),
        expect=told(*codes),
    )


def hits(*patterns: str) -> list[int]:
    return [{"+": 200, "-": 404}[one] for one in "".join(patterns)]


SCENARIOS = [
    scenario("cookies", "cookies: exact, inverted, prefix, folded; repeated, quoted, without a value", routed(COOKIES),
             with_cookies, hits(
                 "--+++---------", "-++++-++------", "+----+--++++++", "-++++-++--+---", "-----------+--")),
    scenario("metadata", "dynamic_metadata, of which no filter has set any", routed(METADATA),
             ask("/present", "/inverted", "/null", "/false", "/text"), hits("-+---")),
    scenario("tls", "tls_context of a plain request", routed(TLS), ask("/presented", "/not-presented", "/validated", "/any"),
             hits("-+-+")),
    scenario("buffers", "per_request_buffer_limit_bytes of hosts and routes", buffered, send_bodies,
             [200, 503, 200, 503, 200], by_path),
    scenario("internal_only", "internal_only_headers", routed([route_to("up")], internal_only_headers=["x-secret"]),
             with_internals, [200, 200]),
    scenario("limits_unread", "rate_limits and hedge_policy without anybody who acts on them", routed([{
        **route_to("up", rate_limits=[{"actions": [{"remote_address": {}}]}], hedge_policy={"hedge_on_per_try_timeout": False}),
    }]), ask("/"), [200]),
]  # fmt: skip
