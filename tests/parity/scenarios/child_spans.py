"""The router's own start_child_span: a span for each try, without spawn_upstream_span."""

from __future__ import annotations

from collections.abc import Callable

from tests.parity.scenarios.tracing import MULTI, SAMPLED, spans_script, traced
from tests.support.client import request
from tests.support.config import Config
from tests.support.parity.scenario import Scenario, World


def asked(direction: str, **tracer: object) -> Callable[[World], Config]:
    """As ``traced``, and the router asks for spans of tries."""

    def config(world: World) -> Config:
        made = traced(direction, {"upstream_operation": "try %REQ(:METHOD)%"}, **tracer)(world)
        chain = made["static_resources"]["listeners"][0]["filter_chains"][0]
        chain["filters"][0]["typed_config"]["http_filters"][-1]["typed_config"]["start_child_span"] = True
        return made

    return config


def tries(world: World) -> None:
    """10 spans: four requests, two of them with two tries."""
    world.talk(
        request("GET", "/root"),
        request("GET", "/retried"),
        request("GET", "/503", [*MULTI, SAMPLED]),
        request("GET", "/retried", [*MULTI, SAMPLED]),
        request("GET", "/unsampled", [*MULTI, ("X-B3-Sampled", "0")]),
    )


def scenario(name: str, title: str, direction: str, **tracer: object) -> Scenario:
    return Scenario(
        name=f"child_{name}",
        title=f"start_child_span, {title}",
        config=asked(direction, **tracer),
        drive=tries,
        upstreams={"up": spans_script()},
        lines=5,
        spans=10,
        ignore_stats=("cluster.collector",),
    )


SCENARIOS = [
    scenario("shared", "INBOUND: a span of the request's own id", "INBOUND"),
    scenario("below", "INBOUND: below the request's span", "INBOUND", shared_span_context=False),
    scenario("outbound", "OUTBOUND", "OUTBOUND"),
    scenario("split", "OUTBOUND, split_spans_for_request", "OUTBOUND", split_spans_for_request=True),
]
