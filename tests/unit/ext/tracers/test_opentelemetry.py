"""OpenTelemetryTracer: what is posted, who we say we are, samplers, bounds, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.errors import ConfigError
from proxy.tracing.tracing import HttpTracing
from tests.support.collector import otlp_spans
from tests.support.config import opentelemetry
from tests.unit.tracing.world import World, travel

TRACE, PARENT = b"463ac35c9f6413ad48485a3953bb6124", b"a2fb4a1d1a96d312"
TYPES = "type.googleapis.com/envoy.extensions.tracers.opentelemetry."
ENVIRONMENT = {
    "name": "e",
    "typed_config": {"@type": f"{TYPES}resource_detectors.v3.EnvironmentResourceDetectorConfig"},
}


def static(**attributes: str) -> dict[str, Any]:
    name = f"{TYPES}resource_detectors.v3.StaticConfigResourceDetectorConfig"
    return {"name": "s", "typed_config": {"@type": name, "attributes": attributes}}


CLUSTER = {"envoy_grpc": {"cluster_name": "zipkin"}}


def compiled(world: World, direction: str = "INBOUND", tracing: Any = None, **more: Any) -> HttpTracing:
    config = opentelemetry("zipkin", tracing, **more)
    typed = config["provider"]["typed_config"]
    config["provider"]["typed_config"] = {name: value for name, value in typed.items() if value is not None}
    return world.compile(config, direction)


def spans(world: World, tracing: HttpTracing) -> list[dict[str, Any]]:
    world.client.sent.clear()
    tracing.flush()
    return [span for _, _, body, _ in world.client.sent for span in otlp_spans(body)]


def one(
    world: World, tracing: HttpTracing, *fields: tuple[bytes, bytes], status: int = 200
) -> dict[str, Any]:
    stream = world.stream(*fields)
    tracing.start(stream)
    world.end(tracing, stream, status)
    (span,) = spans(world, tracing)
    return span


def findings(world: World) -> list[tuple[str, str]]:
    return [(finding.kind, finding.message) for finding in world.findings if isinstance(finding, ConfigError)]


def test_a_report() -> None:
    world = World()
    tracing = compiled(world)
    span = one(world, tracing, (b"user-agent", b"ua"))
    cluster, head, _, timeout_s = world.client.sent[0]
    assert (cluster, head.authority, head.path, timeout_s) == (
        "zipkin",
        b"otlp.example.com",
        b"/v1/traces",
        5.0,
    )
    assert head.get(b"content-type") == b"application/x-protobuf"
    assert (span["name"], span["kind"], span["flags"], span["status"]) == ("ingress", 2, "0x103", (0, ""))
    assert "parentId" not in span and span["traceId"][16:] != span["id"]
    assert span["tags"]["http.url"] == "http://ex.com:80/hello"
    assert span["resource"]["service.name"] == "front" and span["scope"] == {"name": "outrider"}
    assert world.counter("tracing.opentelemetry.spans_sent") == 1


@pytest.mark.parametrize("extra", [(), ((b"x-client-trace-id", b"c"),)], ids=["plain", "with more"])
@pytest.mark.parametrize("agent", [b"ua", b"a" * 3000, "é".encode(), b"\xff\xfe"])
def test_both_ways_of_encoding_agree(agent: bytes, extra: tuple[tuple[bytes, bytes], ...]) -> None:
    """A usual span is encoded by a shorter way; it must say the same."""
    world = World()
    span = one(world, compiled(world), (b"user-agent", agent), *extra)
    usual = one(world, compiled(world), (b"user-agent", b"ua"))
    assert span["tags"]["user_agent"] == agent.decode("utf-8", "replace")
    ids = {"guid:x-client-trace-id", "guid:x-request-id"}  # the latter says who asked for the trace
    assert span["tags"].keys() - ids == usual["tags"].keys() - ids
    same = span["tags"].keys() - ids - {"user_agent"}
    assert {name: span["tags"][name] for name in same} == {name: usual["tags"][name] for name in same}


def test_the_plain_way_is_used_for_a_usual_request() -> None:
    world = World()
    tracing = compiled(world)
    stream = world.stream((b"user-agent", b"ua"))
    tracing.start(stream)
    span = stream.span
    world.end(tracing, stream)
    assert tracing.tracer is not None
    encoder = tracing.tracer.reporter.encoder  # type: ignore[attr-defined]
    assert encoder.encode_plain(span)


def test_a_child_knows_its_remote_parent() -> None:
    world = World()
    tracing = compiled(world, "OUTBOUND")
    fields = ((b"traceparent", b"00-%b-%b-01" % (TRACE, PARENT)), (b"tracestate", b"a=1"))
    span = one(world, tracing, *fields, status=404)
    assert (span["traceId"], span["parentId"]) == (TRACE.decode(), PARENT.decode())
    assert (span["name"], span["kind"], span["flags"]) == ("egress ex.com:80", 3, "0x301")
    assert (span["traceState"], span["status"]) == ("a=1", (2, ""))


def test_b3_is_continued_and_answered_in_b3_as_well() -> None:
    world = World()
    fields = [(b"x-b3-traceid", PARENT), (b"x-b3-spanid", PARENT), (b"x-b3-sampled", b"1")]
    sent = travel(compiled(world), world.stream(*fields))
    assert sent[b"traceparent"].startswith(b"00-%b%b-" % (b"0" * 16, PARENT))
    assert sent[b"x-b3-traceid"] == PARENT
    assert sent[b"traceparent"].split(b"-")[2] == sent[b"x-b3-spanid"]
    assert b"x-b3-traceid" not in travel(compiled(world), world.stream())


@pytest.mark.parametrize(("sampled", "kept"), [(b"01", True), (b"00", False)])
def test_a_received_decision_outlives_the_rates(sampled: bytes, kept: bool) -> None:
    world = World()
    stream = world.stream((b"traceparent", b"00-%b-%b-%b" % (TRACE, PARENT, sampled)))
    compiled(world, tracing={"random_sampling": {"value": 0}}).start(stream)
    assert stream.trace.sampled is kept


def sampler(name: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{TYPES}samplers.v3.{name}SamplerConfig", **config}}


ON, NONE = sampler("AlwaysOn"), sampler("TraceIdRatioBased", sampling_percentage={"numerator": 0})


@pytest.mark.parametrize(
    ("chosen", "rate", "parent", "kept"),
    [
        (ON, 100, b"00", True),
        (ON, 0, b"01", False),
        (NONE, 100, b"01", False),
        (NONE, 100, None, False),
        (sampler("ParentBased", wrapped_sampler=NONE), 100, b"01", True),
        (sampler("ParentBased", wrapped_sampler=NONE), 100, None, False),
        (sampler("ParentBased", wrapped_sampler=ON), 100, b"00", False),
        (sampler("ParentBased", wrapped_sampler=ON), 0, None, False),
    ],
)
def test_samplers(chosen: Any, rate: int, parent: bytes | None, kept: bool) -> None:
    world = World()
    fields = [(b"traceparent", b"00-%b-%b-%b" % (TRACE, PARENT, parent))] if parent is not None else []
    stream = world.stream(*fields)
    compiled(world, tracing={"random_sampling": {"value": rate}}, sampler=chosen).start(stream)
    assert not findings(world)
    assert bool(stream.trace.sampled) is kept
    assert (stream.span is not None) is kept


def test_the_environment_adds_to_the_resource() -> None:
    world = World(resource_attributes={"service.name": "from-env", "a": "b"})
    resource = one(world, compiled(world, service_name=""))["resource"]
    assert (resource["service.name"], resource["a"]) == ("from-env", "b")
    assert one(world, compiled(world))["resource"]["service.name"] == "front"


def test_detectors_are_merged_in_order() -> None:
    world = World(resource_attributes={"service.name": "from-env", "a": "b"})
    tracing = compiled(
        world,
        resource_detectors=[ENVIRONMENT, static(a="static", empty="")],
        set_telemetry_sdk_resource_attributes=False,
        set_service_name_resource_attribute=False,
        set_instrumentation_scope=False,
    )
    span = one(world, tracing)
    assert span["resource"] == {"service.name": "from-env", "a": "static"}
    assert span["scope"] == {"name": ""}


def test_a_service_without_a_name() -> None:
    world = World()
    assert (
        one(world, compiled(world, service_name=""))["resource"]["service.name"] == "unknown_service:outrider"
    )


def test_no_more_spans_wait_than_max_cache_size() -> None:
    world = World()
    tracing = compiled(world, max_cache_size=3)
    for _ in range(5):
        stream = world.stream()
        tracing.start(stream)
        world.end(tracing, stream)
    assert world.counter("tracing.opentelemetry.spans_dropped") == 2
    assert len(spans(world, tracing)) == 3


def grpc(**more: Any) -> dict[str, Any]:
    """What makes ``compiled`` report over gRPC."""
    return {
        "http_service": None,
        "grpc_service": {**({} if "google_grpc" in more else CLUSTER), **more},
    }


def test_over_grpc() -> None:
    world = World()
    metadata = [{"key": "X-Key", "value": "a%b"}]
    tracing = compiled(world, **grpc(timeout="2s", initial_metadata=metadata))
    assert not findings(world)
    stream = world.stream()
    tracing.start(stream)
    world.end(tracing, stream)
    tracing.flush()
    ((service, method, message),) = world.client.called
    assert (service.cluster, service.timeout_s) == ("zipkin", 2.0)
    assert service.metadata[0] == (b"x-key", b"a%b")
    assert method == b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    (span,) = otlp_spans(message)
    assert span["name"] == "ingress"
    assert world.counter("tracing.opentelemetry.reports_sent") == 1


@pytest.mark.parametrize(
    ("status", "tries", "counter"),
    [(14, 2, "reports_failed"), (8, 2, "reports_dropped"), (3, 1, "reports_dropped"), (0, 1, "reports_sent")],
)
def test_grpc_statuses(status: int, tries: int, counter: str) -> None:
    world = World()
    world.client.grpc_status = status
    tracing = compiled(world, **grpc())
    stream = world.stream()
    tracing.start(stream)
    world.end(tracing, stream)
    world.pass_time(5)
    assert len(world.client.called) == tries
    assert world.counter(f"tracing.opentelemetry.{counter}") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"grpc_service": {"envoy_grpc": {"cluster_name": "zipkin"}}}, "not both"),
        (grpc(envoy_grpc={"cluster_name": "nobody"}), "unknown cluster 'nobody'"),
        (grpc(google_grpc={"target_uri": "a:1", "stat_prefix": "x"}), "envoy_grpc is supported"),
        (grpc(retry_policy={"num_retries": 1}), "retries of gRPC calls of our own are not configurable"),
        (
            {"sampler": sampler("Dynatrace", tenant="t")},
            "DynatraceSamplerConfig is not supported; supported: ",
        ),
        (
            {
                "resource_detectors": [
                    {
                        "name": "d",
                        "typed_config": {
                            "@type": f"{TYPES}resource_detectors.v3.DynatraceResourceDetectorConfig"
                        },
                    }
                ]
            },
            "DynatraceResourceDetectorConfig is not supported; supported: ",
        ),
        ({"http_service": None}, "nobody to send spans to"),
    ],
)
def test_what_is_refused(more: dict[str, Any], message: str) -> None:
    world = World()
    compiled(world, **more)
    assert any(message in finding for _, finding in findings(world)), findings(world)
