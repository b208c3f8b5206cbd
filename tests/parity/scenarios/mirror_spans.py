"""Spans of mirrored requests, and what is told of failed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.routing import name_script
from tests.support.client import request
from tests.support.config import Config, cluster, opentelemetry, route_to, virtual_host, zipkin
from tests.support.parity.scenario import Scenario, World
from tests.support.upstream import Request, Stall, Steps, reply
from tests.support.wait import until


def mirrors_traced(tracer: Callable[..., Config]) -> Callable[[World], Config]:
    def mirror(path: str, name: str, **more: object) -> Config:
        policies = [{"cluster": name, **more}]
        return route_to("up", prefix=path, timeout="0.5s", request_mirror_policies=policies)

    def config(world: World) -> Config:
        routes = [
            mirror("/ok", "copy"),
            mirror("/refused", "refused"),
            mirror("/empty", "empty"),
            mirror("/kept", "copy", trace_sampled=True),
            mirror("/not-kept", "copy", trace_sampled=False),  # as Istio mirrors
        ]
        tracing = {"tracing": tracer("collector", {"custom_tags": [{"tag": "t", "literal": {"value": "x"}}]})}
        named = [*world.upstreams.items(), ("collector", world.collector)]
        clusters = [
            cluster("refused", 1),
            cluster("empty"),
            *(cluster(name, one.port) for name, one in named),
        ]
        return world.bootstrap([virtual_host(routes)], hcm=tracing, clusters=clusters)

    return config


def copy_script(request: Request) -> Steps:
    if request.path == "/ok/silent":
        return [Stall()]
    return [reply(503 if request.path == "/ok/503" else 200)]


def ask_traced(*not_sampled: tuple[str, str]) -> Callable[[World], None]:
    paths = ["/ok", "/ok/503", "/ok/silent", "/refused", "/empty", "/kept", "/not-kept"]
    asked = [request("GET", path) for path in paths]
    asked += [request("GET", path, list(not_sampled)) for path in ("/kept", "/ok")]

    def drive(world: World) -> None:
        copies = 0
        proxy = world.proxy
        assert proxy is not None
        for data in asked:
            world.talk(data)
            copies += b"/refused" not in data and b"/empty" not in data
            world.upstreams["copy"].wait_for(copies)
            until(lambda: proxy.stats()["cluster.copy.upstream_rq_active"] == 0, "the copy's answer")

    return drive


def spans(
    name: str, tracer: Callable[..., Config], not_sampled: list[tuple[str, str]], **more: Any
) -> Scenario:
    return Scenario(
        name=f"mirror_spans_{name}",
        title=f"spans of mirrors ({name}): answered, failed, late, nobody there; trace_sampled",
        config=mirrors_traced(tracer),
        drive=ask_traced(*not_sampled),
        upstreams={"up": name_script("up"), "copy": copy_script},
        lines=9,
        spans=14,
        ignore_stats=(r"cluster\.collector\.", r"^tracing\."),
        **more,
    )


OTEL_ALLOW = {
    "traceparent-random-flag": r"^upstream (up|copy) \d+ header traceparent$|^spans \d+ flags$",
    "empty-tracestate": r"^upstream (up|copy) \d+ header( names| tracestate)$",
    "tracer-identity": r"^spans \d+ (resource\.telemetry\.sdk\.|scope\.)",
}
B3 = [("x-b3-traceid", "1" * 16), ("x-b3-spanid", "2" * 16), ("x-b3-sampled", "0")]
W3C = [("traceparent", f"00-{'1' * 32}-{'2' * 16}-00")]
SCENARIOS = [
    spans("zipkin", zipkin, B3),
    spans("opentelemetry", opentelemetry, W3C, allow=OTEL_ALLOW),
]
