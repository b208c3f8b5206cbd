"""What an operator may say of spans: custom tags of every kind, operations, the length of the path, sampling by route."""

from __future__ import annotations

from typing import Any

from tests.support.client import request
from tests.support.config import Config, address, cluster, route_to, virtual_host, zipkin
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

UUID = "3a8c1f2e-7b64-%s1d0-9a2b-5c6d7e8f9012"


def metadata(tag: str, kind: str, *path: str, default: str = "") -> Config:
    key: Config = {"key": path[0], "path": [{"key": step} for step in path[1:]]}
    return {"tag": tag, "metadata": {"kind": {kind: {}}, "metadata_key": key, "default_value": default}}


def header(tag: str, name: str, default: str = "") -> Config:
    return {"tag": tag, "request_header": {"name": name, "default_value": default}}


TAGS = [
    {"tag": "literal", "literal": {"value": "as it stands %PROTOCOL%"}},
    {"tag": "home", "environment": {"name": "NO_SUCH_VARIABLE", "default_value": "nowhere"}},
    {"tag": "unset", "environment": {"name": "NO_SUCH_VARIABLE"}},
    header("asked", "X-Asked", "not asked"),
    header("absent", "x-absent"),
    header("path", ":path"),
    {"tag": "format", "value": "%REQ(:METHOD)% %RESPONSE_CODE% %REQ(x-absent)%"},
    {"tag": "empty", "value": "%REQ(x-absent)%"},
    metadata("route", "route", "own", "text"),
    metadata("route number", "route", "own", "number"),
    metadata("route deep", "route", "own", "deep", "inner"),
    metadata("route struct", "route", "own", "deep"),
    metadata("route bool", "route", "own", "bool"),
    metadata("cluster", "cluster", "own", "text"),
    metadata("host", "host", "own", "text", default="no host"),
    metadata("request", "request", "own", "text", default="none set"),
    metadata("nothing", "route", "own", "missing"),
    {"tag": "twice", "literal": {"value": "first"}},
    {"tag": "twice", "literal": {"value": "second"}},
]


def own(text: str) -> Config:
    values = {"text": text, "number": 5, "bool": True, "deep": {"inner": "deep " + text}}
    return {"filter_metadata": {"own": values}}


def tagged(world: World) -> Config:
    up = cluster("up", metadata=own("of the cluster"))
    host = {"endpoint": {"address": address(world.upstreams["up"].port)}, "metadata": own("of the host")}
    up["load_assignment"]["endpoints"][0]["lb_endpoints"] = [host]
    over = [
        {"tag": "literal", "literal": {"value": "the route's"}},
        header("more", "x-asked", "of the route"),
    ]
    routes = [
        {**route_to("up", prefix="/over"), "tracing": {"custom_tags": over}},
        {**route_to("up"), "metadata": own("of the route")},
    ]
    return world.bootstrap(
        [virtual_host(routes, ["example.com"])],
        hcm={"tracing": zipkin("collector", {"custom_tags": TAGS})},
        clusters=[up, cluster("collector", world.collector.port)],
    )


def ask_tagged(world: World) -> None:
    world.talk(
        request("GET", "/", [("x-asked", "yes"), ("User-Agent", "t")]),
        request("GET", "/over", [("x-asked", "")]),
        request("GET", "/", host="elsewhere"),
    )


def traced(tracing: Config, routes: list[Config] | None = None, **more: Any) -> Any:
    def config(world: World) -> Config:
        return world.bootstrap(
            [virtual_host(routes or [route_to("up")])],
            hcm={"tracing": zipkin("collector", tracing)},
            clusters=[cluster("collector", world.collector.port)],
            **more,
        )

    return config


def by_route(world: World) -> Config:
    def sampled(prefix: str, **rates: int) -> Config:
        tracing = {f"{name}_sampling": {"numerator": rate} for name, rate in rates.items()}
        return {**route_to("up", prefix=prefix), "tracing": tracing}

    routes = [
        sampled("/none", random=0),
        sampled("/all", random=100),
        sampled("/off", overall=0),
        sampled("/no-client", client=0, random=0),
        route_to("up"),
    ]
    made: Config = traced({"random_sampling": {"value": 0}}, routes)(world)
    return made


CLIENT: Headers = [("x-client-trace-id", "c")]


def ask_by_route(world: World) -> None:
    for path in ("/none", "/all", "/off", "/no-client", "/default"):
        world.talk(request("GET", path), request("GET", path, CLIENT))


def by_key(world: World) -> Config:
    layer = {"tracing.random_sampling": 0, "tracing.client_enabled": 100, "tracing.global_enabled": 100}
    made: Config = traced({})(world)
    return {**made, "layered_runtime": {"layers": [{"name": "static", "static_layer": layer}]}}


def ask_by_key(world: World) -> None:
    world.talk(
        request("GET", "/"), request("GET", "/", CLIENT), request("GET", "/", [("x-request-id", UUID % "9")])
    )


def decorated(world: World) -> Config:
    routes = [
        {**route_to("up", prefix="/kept"), "decorator": {"operation": "kept", "propagate": False}},
        {**route_to("up", prefix="/told"), "decorator": {"operation": "told"}},
        route_to("up"),
    ]
    made: Config = traced({}, routes)(world)
    return made


def ask_decorated(world: World) -> None:
    theirs: Headers = [("x-envoy-decorator-operation", "the caller's")]
    for path in ("/kept", "/told", "/plain"):
        world.talk(request("GET", path), request("GET", path, theirs))


def _direction(made: Config) -> Config:
    made["static_resources"]["listeners"][0]["traffic_direction"] = "OUTBOUND"
    return made


def scenario(name: str, title: str, config: Any, drive: Any, codes: list[int], spans: int, answer: Headers | None = None) -> Scenario:  # fmt: skip
    return Scenario(
        name=f"tag_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": [reply(200, b"ok", answer or [])]},
        lines=len(codes),
        spans=spans,
        ignore_stats=("cluster.collector",) if spans > 4 else (),  # Envoy sends them in fives
        expect=told(*codes),
    )


LONG = "/" + "a" * 300 + "?" + "b" * 40
OPERATION = {"operation": "%REQ(:METHOD)% on %PROTOCOL%", "upstream_operation": "try %UPSTREAM_CLUSTER%"}

SCENARIOS = [
    scenario("kinds", "custom tags of every kind, a route's own", tagged, ask_tagged, [200, 200, 404], 3),
    scenario("path_length", "max_path_tag_length", traced({"max_path_tag_length": 20}),
             lambda world: world.talk(request("GET", LONG), request("GET", "/short?q")), [200, 200], 2),
    scenario("path_default", "the path without a limit of its own", traced({}),
             lambda world: world.talk(request("GET", LONG)), [200], 1),
    scenario("operation", "operation and upstream_operation, with a span a try",
             traced({**OPERATION, "spawn_upstream_span": True}), lambda world: world.talk(request("PUT", "/")), [200], 2),
    scenario("by_route", "sampling of a route", by_route, ask_by_route, [200] * 10, 4),
    scenario("by_key", "sampling by runtime keys", by_key, ask_by_key, [200] * 3, 2),
    scenario("decorator", "decorator, x-envoy-decorator-operation: inbound", decorated, ask_decorated, [200] * 6, 6),
    scenario("decorator_out", "decorator, x-envoy-decorator-operation: outbound",
             lambda world: _direction(decorated(world)), ask_decorated, [200] * 6, 6,
             [("x-envoy-decorator-operation", "the host's")]),
]  # fmt: skip
