"""How large a host's head may be: a cluster's max_headers_count and max_response_headers_kb, over HTTP/1 and HTTP/2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.http2 import http2_cluster
from tests.support.client import request
from tests.support.config import Config, route_to, virtual_host
from tests.support.h2_upstream import H2Reply, H2Request
from tests.support.messages import Headers
from tests.support.parity.scenario import Http2, Scenario, World, told
from tests.support.upstream import Request, Steps, reply

LIMITS: Config = {"max_headers_count": 10, "max_response_headers_kb": 4}


def fields_of(path: str) -> Headers:
    """``/…/fields/<count>``: so many small fields; ``/…/bytes/<count>``: one field of this size."""
    _, kind, count = path.rsplit("/", 2)
    if kind == "fields":
        return [(f"x-{number}", "y") for number in range(int(count))]
    return [("x-long", "y" * int(count))]


def one(got: Request) -> Steps:
    return [reply(200, b"ok", fields_of(got.path))]


def two(got: H2Request, answer: H2Reply) -> None:
    answer.answer(b"ok", fields=fields_of(got.path))


def config(**limits: Any) -> Callable[[World], Config]:
    def made(world: World) -> Config:
        explicit: dict[str, Config] = {
            "one": {"explicit_http_config": {"http_protocol_options": {}}},
            "two": {"explicit_http_config": {"http2_protocol_options": {}}},
        }
        clusters = [
            http2_cluster(name, world.upstreams[name].port, common_http_protocol_options=limits, **kind)
            for name, kind in explicit.items()
        ]
        return world.bootstrap(
            [virtual_host([route_to("two", prefix="/two"), route_to("one")])], clusters=clusters
        )

    return made


def ask(*paths: str) -> Callable[[World], None]:
    def drive(world: World) -> None:
        for path in paths:
            world.talk(request("GET", path))

    return drive


def both(*paths: str) -> list[str]:
    return [f"/{name}/{path}" for name in ("one", "two") for path in paths]


SCENARIOS = [
    Scenario(
        name="limits_of_hosts",
        title="a cluster's max_headers_count and max_response_headers_kb",
        config=config(**LIMITS),
        drive=ask(*both("fields/1", "fields/9", "fields/10", "fields/11", "bytes/3000", "bytes/5000")),
        upstreams={"one": one, "two": Http2(two)},
        lines=12,
        expect=told(200, 200, 502, 502, 200, 502, 200, 503, 503, 503, 200, 503),
    ),
    Scenario(
        name="limits_by_default",
        title="a cluster without limits of its own: 100 fields; 80 KiB over HTTP/1, 60 KiB over HTTP/2",
        config=config(),
        drive=ask(
            *both("fields/90", "fields/110", "bytes/61000"),
            *("/two/bytes/61500", "/one/bytes/61500", "/one/bytes/81000", "/one/bytes/82000"),
        ),
        upstreams={"one": one, "two": Http2(two)},
        lines=10,
        expect=told(200, 502, 200, 200, 503, 200, 503, 200, 200, 502),
    ),
]
