"""Trace headers at the upstream, spans at the collector, and the decision in x-request-id."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.client import request
from tests.support.config import Config, cluster, opentelemetry, route_to, virtual_host, zipkin
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World
from tests.support.upstream import Request, Reset, Steps, reply

TRACE, PARENT = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"
NARROW, GRANDPARENT = "d4aa5b6f7c8d9e01", "05e3ac9a4f6e3b90"
MULTI: Headers = [("X-B3-TraceId", TRACE), ("X-B3-SpanId", PARENT), ("X-B3-ParentSpanId", GRANDPARENT)]
SAMPLED = ("X-B3-Sampled", "1")
UUID = "3a8c1f2e-7b64-%s1d0-9a2b-5c6d7e8f9012"


def traced(direction: str, tracing: Config | None = None, **tracer: object) -> Callable[[World], Config]:
    """A traced listener; ``tracing`` joins the tracing message, ``tracer`` the Zipkin message."""

    def config(world: World) -> Config:
        routes = [
            {
                **route_to("up", prefix="/named"),
                "decorator": {"operation": "checkout", "propagate": False},
            },
            route_to("up", retry_policy={"retry_on": "reset", "num_retries": 1}),
        ]
        return world.bootstrap(
            [virtual_host(routes)],
            hcm={"tracing": zipkin("collector", tracing, **tracer)},
            clusters=[cluster("collector", world.collector.port)],
            traffic_direction=direction,
        )

    return config


def otel(direction: str, tracing: Config | None = None, **tracer: object) -> Callable[[World], Config]:
    """As ``traced``, with the OpenTelemetry tracer; a route with a tracing of its own."""

    def config(world: World) -> Config:
        tags = [{"tag": "lit", "literal": {"value": "route"}}, {"tag": "more", "value": "%RESPONSE_CODE%"}]
        routes = [
            {**route_to("up", prefix="/named"), "decorator": {"operation": "checkout", "propagate": False}},
            {
                **route_to("up", prefix="/own"),
                "tracing": {
                    "custom_tags": tags,
                    "operation": "%REQ(:METHOD)% own",
                    "upstream_operation": "try",
                },
            },
            route_to("up", retry_policy={"retry_on": "reset", "num_retries": 1}),
        ]
        return world.bootstrap(
            [virtual_host(routes)],
            hcm={"tracing": opentelemetry("collector", tracing, **tracer)},
            clusters=[cluster("collector", world.collector.port)],
            traffic_direction=direction,
        )

    return config


def otel_inputs(world: World) -> None:
    """10 spans."""
    agent = ("User-Agent", "tester")
    parent = f"00-{TRACE}-{PARENT}-01"
    grpc = ("content-type", "application/grpc")
    world.talk(
        request("GET", "/root?q=1", [agent]),
        request("GET", "/w3c", [("traceparent", parent), ("tracestate", "vendor=1,other=2")]),
        request("GET", "/unsampled", [("traceparent", f"00-{TRACE}-{PARENT}-00")]),
        request("POST", "/named", [agent], body=b"seven77"),
        request("GET", "/own"),
        request("GET", "/503"),
        request("GET", "/404"),
        request("GET", "/retried"),
        request("POST", "/grpc8", [grpc]),
        request("POST", "/grpc13", [grpc]),
        request("GET", "/" + "long" * 60, [("x-client-trace-id", "client-1")]),
    )


def otel_spawned(world: World) -> None:
    """10 spans: five requests, a try each."""
    world.talk(
        request("GET", "/root"),
        request("GET", "/w3c", [("traceparent", f"00-{TRACE}-{PARENT}-01")]),
        request("GET", "/own"),
        request("GET", "/503"),
        request("GET", "/404"),
    )


def otel_ratio(world: World) -> None:
    """Traces of many ids, of which a third is kept, roots aside."""
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}" for number in range(1, 31)]
    world.talk(*(request("GET", "/", [("traceparent", f"00-{one}-{PARENT}-00")]) for one in ids))


def otel_parents(world: World) -> None:
    """5 spans: what the parents say."""
    world.talk(
        *(request("GET", "/", [("traceparent", f"00-{TRACE}-{PARENT}-0{at % 2}")]) for at in range(10)),
        request("GET", "/root"),
    )


SAMPLERS = "type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3."


def ratio(numerator: int) -> Config:
    typed = {
        "@type": f"{SAMPLERS}TraceIdRatioBasedSamplerConfig",
        "sampling_percentage": {"numerator": numerator},
    }
    return {"name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based", "typed_config": typed}


def parent_based(root: Config) -> Config:
    typed = {"@type": f"{SAMPLERS}ParentBasedSamplerConfig", "wrapped_sampler": root}
    return {"name": "envoy.tracers.opentelemetry.samplers.parent_based", "typed_config": typed}


def spans_script() -> Callable[[Request], Steps]:
    tries = {"count": 0}

    def script(got: Request) -> Steps:
        if got.path == "/retried":
            tries["count"] += 1
            if tries["count"] % 2:
                return [Reset()]
        if got.path == "/503":
            return [reply(503, b"busy", reason="Service Unavailable")]
        if got.path.startswith("/grpc"):
            return [reply(200, b"", [("content-type", "application/grpc"), ("grpc-status", got.path[5:])])]
        if got.path == "/404":
            return [reply(404, b"no", reason="Not Found")]
        return [reply(200, b"fine")]

    return script


def b3_inputs(world: World) -> None:
    """15 spans: Envoy sends a batch at every fifth."""
    agent = ("User-Agent", "tester")
    world.talk(
        request("GET", "/root", [agent]),
        request("GET", "/multi?q=1", [*MULTI, SAMPLED, agent]),
        request("GET", "/narrow", [("x-b3-traceid", NARROW), ("x-b3-spanid", PARENT), ("x-b3-sampled", "1")]),
        request("GET", "/undecided", MULTI),
        request("GET", "/unsampled", [*MULTI, ("X-B3-Sampled", "0")]),
        request("GET", "/deny", [("X-B3-Sampled", "0")]),
        request("GET", "/single", [("b3", f"{TRACE}-{PARENT}-1-{GRANDPARENT}")]),
        request("GET", "/single-deny", [("b3", "0")]),
        request("GET", "/single-short", [("b3", f"{TRACE}-{PARENT}-1")]),
        request("POST", "/named", [agent], body=b"seven77"),
        request("GET", "/503"),
        request("GET", "/404"),
        request("GET", "/retried"),
        request("GET", "/tag", [("x-client-trace-id", "client-1"), ("X-Request-Id", UUID % "9")]),
        request("GET", "/12"),
        request("GET", "/13"),
        request("GET", "/14"),
        request("GET", "/15"),
    )


def w3c_inputs(world: World) -> None:
    """5 spans."""
    parent = f"00-{TRACE}-{PARENT}-01"
    world.talk(
        request("GET", "/root"),
        request("GET", "/w3c", [("traceparent", parent), ("tracestate", "vendor=1,other=2")]),
        request("GET", "/unsampled", [("traceparent", f"00-{TRACE}-{PARENT}-00")]),
        request("GET", "/b3", [*MULTI, SAMPLED]),
        request("GET", "/agreeing", [*MULTI, SAMPLED, ("traceparent", parent)]),
        request("GET", "/narrow", [("x-b3-traceid", NARROW), ("x-b3-spanid", PARENT), ("x-b3-sampled", "1")]),
    )


def decisions(world: World) -> None:
    """5 spans when random sampling is 0: the client's trace id, the three marks in x-request-id, B3."""
    world.talk(
        request("GET", "/none"),
        request("GET", "/client", [("x-client-trace-id", "from-client")]),
        request("GET", "/force", [("x-envoy-force-trace", "1")]),
        request("GET", "/id4", [("x-request-id", UUID % "4")]),
        request("GET", "/id9", [("x-request-id", UUID % "9")]),
        request("GET", "/ida", [("x-request-id", UUID % "a")]),
        request("GET", "/idb", [("x-request-id", UUID % "b")]),
        request("GET", "/b3", [*MULTI, SAMPLED]),
        request("GET", "/not-a-uuid", [("x-request-id", "plain")]),
    )


def denied(world: World) -> None:
    """No span when overall sampling is 0, and none asked for by B3."""
    world.talk(
        request("GET", "/none"),
        request("GET", "/client", [("x-client-trace-id", "from-client")]),
        request("GET", "/id9", [("x-request-id", UUID % "9")]),
    )


def few(world: World) -> None:
    """5 spans."""
    world.talk(
        request("GET", "/root"),
        request("GET", "/multi", [*MULTI, SAMPLED]),
        request("GET", "/503"),
        request("POST", "/named", body=b"seven77"),
        request("GET", "/404"),
    )


def are_dated(world: World) -> None:
    """The ids of the roots begin with the seconds since 1970, in hex; a received id stays."""
    now = int(time.time())
    ids = {got.path: str(got.one("x-b3-traceid")) for got in world.upstreams["up"].requests}
    assert ids.pop("/multi") == TRACE
    assert len(ids) == 4
    for trace_id in ids.values():
        assert 0 <= now - int(trace_id[:8], 16) < 60, trace_id


NEVER = {"random_sampling": {"value": 0}}
WIDE = {"trace_id_128bit": True}
#: our reporter sends larger batches over fewer requests
BATCHES = (r"cluster\.collector\.", r"^tracing\.zipkin\.(reports|timer)")

OTEL_ALLOW = {
    "traceparent-random-flag": r"^upstream up \d+ header traceparent$|^spans \d+ flags$",
    "empty-tracestate": r"^upstream up \d+ header( names| tracestate)$",
    "tracer-identity": r"^spans \d+ (resource\.telemetry\.sdk\.|scope\.)",
}

SCENARIOS = [
    Scenario(
        name="otel_inbound",
        title="OpenTelemetry over HTTP, INBOUND: names, kinds, status, attributes, resource, own routes",
        config=otel(
            "INBOUND",
            {"custom_tags": [{"tag": "lit", "literal": {"value": "x"}}], "max_path_tag_length": 128},
        ),
        drive=otel_inputs,
        upstreams={"up": spans_script()},
        lines=11,
        spans=10,
        allow=OTEL_ALLOW,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="otel_outbound",
        title="OpenTelemetry over HTTP, OUTBOUND: verbose, statuses of clients",
        config=otel("OUTBOUND", {"verbose": True}),
        drive=otel_inputs,
        upstreams={"up": spans_script()},
        lines=11,
        spans=10,
        allow=OTEL_ALLOW,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="otel_spawned",
        title="OpenTelemetry with spawn_upstream_span: a span a try",
        config=otel("OUTBOUND", {"spawn_upstream_span": True, "upstream_operation": "up %REQ(:METHOD)%"}),
        drive=otel_spawned,
        upstreams={"up": spans_script()},
        lines=5,
        spans=10,
        allow=OTEL_ALLOW,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="otel_ratio",
        title="OpenTelemetry, trace_id_ratio_based: both keep the same traces",
        config=otel("INBOUND", None, sampler=ratio(40)),
        drive=otel_ratio,
        upstreams={"up": spans_script()},
        lines=30,
        spans=10,
        allow=OTEL_ALLOW,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="otel_parent_based",
        title="OpenTelemetry, parent_based: the parent's decision, a ratio of 0 for roots",
        config=otel("INBOUND", None, sampler=parent_based(ratio(0))),
        drive=otel_parents,
        upstreams={"up": spans_script()},
        lines=11,
        spans=5,
        allow=OTEL_ALLOW,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="b3_inbound",
        title="Zipkin, INBOUND: B3 in every form; spans, tags, errors, retries, decorator",
        config=traced("INBOUND"),
        drive=b3_inputs,
        upstreams={"up": spans_script()},
        lines=18,
        spans=15,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="b3_outbound",
        title="Zipkin, OUTBOUND: 128 bit, children instead of shared ids, tags, verbose",
        config=traced(
            "OUTBOUND",
            {
                "custom_tags": [
                    {"tag": "zone", "literal": {"value": "z1"}},
                    {"tag": "agent", "request_header": {"name": "user-agent", "default_value": "none"}},
                ],
                "max_path_tag_length": 8,
            },
            **WIDE,
        ),
        drive=b3_inputs,
        upstreams={"up": spans_script()},
        lines=18,
        spans=15,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="b3_with_w3c",
        title="Zipkin with USE_B3_WITH_W3C_PROPAGATION",
        config=traced("OUTBOUND", None, trace_context_option="USE_B3_WITH_W3C_PROPAGATION", **WIDE),
        drive=w3c_inputs,
        upstreams={"up": [reply()]},
        lines=6,
        spans=5,
        allow={"traceparent-random-flag": r"^upstream up \d+ header traceparent$"},
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="sampling_none",
        title="random sampling 0: what x-request-id, x-client-trace-id and B3 decide",
        config=traced("INBOUND", NEVER),
        drive=decisions,
        upstreams={"up": [reply()]},
        lines=9,
        spans=5,
        ignore_stats=BATCHES,
    ),
    Scenario(
        name="sampling_off",
        title="overall sampling 0: ids are sent, marks are taken back",
        config=traced("INBOUND", {"overall_sampling": {"value": 0}}),
        drive=denied,
        upstreams={"up": [reply()]},
        lines=3,
        ignore_stats=BATCHES,
    ),
    *(
        Scenario(
            name=f"zipkin_split_{direction.lower()}",
            title=f"Zipkin with split_spans_for_request, {direction}",
            config=traced(direction, None, split_spans_for_request=True),
            drive=few,
            upstreams={"up": spans_script()},
            lines=5,
            spans=5,
            ignore_stats=BATCHES,
        )
        for direction in ("INBOUND", "OUTBOUND")
    ),
    *(
        Scenario(
            name=f"zipkin_dated_{64 * (1 + wide)}",
            title=f"Zipkin with timestamp_trace_ids, {64 * (1 + wide)} bit",
            config=traced("INBOUND", None, timestamp_trace_ids=True, trace_id_128bit=wide),
            drive=few,
            upstreams={"up": spans_script()},
            lines=5,
            spans=5,
            expect=are_dated,
            ignore_stats=BATCHES,
        )
        for wide in (False, True)
    ),
]
