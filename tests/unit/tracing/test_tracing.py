"""HttpTracing: spans from start to finish, decorators, spawned spans, and what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.base.errors import ResponseFlag
from proxy.base.headers import ResponseHeaders
from proxy.tracing.compile import compile_route_tracing, compile_tracing
from proxy.tracing.span import moments
from proxy.tracing.tracing import HttpTracing
from tests.unit.tracing.world import World, travel, zipkin

DECORATOR = b"x-envoy-decorator-operation"
SHARED = [(b"x-b3-traceid", b"1" * 16), (b"x-b3-spanid", b"a" * 16), (b"x-b3-sampled", b"1")]


class Route:
    tracing = None

    def __init__(self, operation: bytes | None = b"our-op", propagate: bool = True) -> None:
        self.decorator_operation = operation
        self.decorator_propagate = propagate


class Host:
    address = "127.0.0.1:8080"


def spans(world: World, tracing: HttpTracing) -> list[dict[str, Any]]:
    """Everything reported so far."""
    tracing.flush()
    return [span for _, _, body, _ in world.client.sent for span in orjson.loads(body)]


def test_not_configured_means_no_tracing() -> None:
    world = World()
    assert compile_tracing(None, world.context, "INBOUND", world.stats.scope("http.in")) is None


@pytest.mark.parametrize(
    ("direction", "kind"), [("INBOUND", "SERVER"), ("UNSPECIFIED", "SERVER"), ("OUTBOUND", "CLIENT")]
)
def test_kind_follows_the_direction(direction: str, kind: str) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()}, direction)
    stream = world.stream()
    tracing.start(stream)
    world.end(tracing, stream)
    (span,) = spans(world, tracing)
    assert span["kind"] == kind
    assert span["annotations"][-1]["value"] == ("ss" if kind == "SERVER" else "cr")


def test_a_span_has_the_ids_that_travel() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(trace_id_128bit=True)}, "OUTBOUND")
    stream = world.stream(*SHARED)
    sent = travel(tracing, stream)
    assert stream.span.trace_id_hex == sent[b"x-b3-traceid"]
    assert stream.span.span_id_hex == sent[b"x-b3-spanid"]
    world.end(tracing, stream)
    (span,) = spans(world, tracing)
    assert (span["traceId"], span["id"], span["parentId"]) == (
        "1" * 16,
        sent[b"x-b3-spanid"].decode(),
        "a" * 16,
    )


def test_a_wide_root() -> None:
    """The span id of a root is the lower half of its trace id, as in Envoy."""
    world = World()
    sent = travel(world.compile({"provider": zipkin(trace_id_128bit=True)}), world.stream())
    assert len(sent[b"x-b3-traceid"]) == 32
    assert sent[b"x-b3-spanid"] == sent[b"x-b3-traceid"][16:]


def test_an_unsampled_request_builds_no_span_and_reports_nothing() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "random_sampling": {"value": 0}})
    stream = world.stream()
    assert travel(tracing, stream)[b"x-b3-sampled"] == b"0"
    assert stream.trace is not None
    world.end(tracing, stream)
    assert spans(world, tracing) == []


# -- decorators ---------------------------------------------------------------------------------------------------


def respond(tracing: HttpTracing, stream: Any, *fields: tuple[bytes, bytes]) -> bytes | None:
    headers = ResponseHeaders(200, fields)
    tracing.respond(stream, headers)
    return headers.get(DECORATOR)


def test_ingress_names_its_span_and_tells_the_caller() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()})
    stream = world.stream()
    stream.route = Route()
    tracing.start(stream)
    assert stream.span.name == b"our-op"
    assert stream.request_headers is not None
    assert DECORATOR not in stream.request_headers
    assert respond(tracing, stream, (DECORATOR, b"theirs")) == b"our-op"


def test_ingress_believes_the_caller() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()})
    stream = world.stream((DECORATOR, b"caller"))
    stream.route = Route()
    tracing.start(stream)
    assert stream.span.name == b"caller"
    assert stream.request_headers is not None
    assert DECORATOR not in stream.request_headers
    assert respond(tracing, stream) is None


def test_ingress_does_not_tell_when_told_not_to() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()})
    stream = world.stream()
    stream.route = Route(propagate=False)
    tracing.start(stream)
    assert respond(tracing, stream) is None


def test_egress_tells_the_upstream_and_believes_it() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()}, "OUTBOUND")
    stream = world.stream()
    stream.route = Route()
    tracing.start(stream)
    assert stream.request_headers is not None
    assert stream.request_headers.get(DECORATOR) == b"our-op"
    assert respond(tracing, stream, (DECORATOR, b"theirs")) is None
    assert stream.span.name == b"theirs"


def test_an_unsampled_request_is_decorated_too() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "random_sampling": {"value": 0}})
    stream = world.stream((DECORATOR, b"caller"))
    tracing.start(stream)
    assert stream.request_headers is not None
    assert DECORATOR not in stream.request_headers


def test_a_configured_operation_wins_and_knows_the_outcome() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "operation": "op %REQ(:METHOD)% %RESPONSE_CODE%"})
    stream = world.stream()
    stream.route = Route()
    tracing.start(stream)
    assert respond(tracing, stream) is None
    world.end(tracing, stream, 404)
    assert spans(world, tracing)[0]["name"] == "op GET 404"


# -- spans of tries -----------------------------------------------------------------------------------------------


def test_nothing_is_spawned_unless_configured() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()})
    stream = world.stream()
    tracing.start(stream)
    assert stream.request_headers is not None
    assert tracing.start_upstream(stream, stream.request_headers) is None
    assert len(stream.request_headers) == 1


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
def test_every_try_has_a_span_of_its_own(direction: str) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "spawn_upstream_span": True}, direction)
    stream = world.stream(*SHARED)
    stream.cluster_name, stream.upstream_host = b"back", Host()
    assert travel(tracing, stream)[b"x-b3-spanid"] == b"a" * 16
    headers = stream.request_headers
    assert headers is not None
    for attempt, status, canceled in ((1, 503, True), (2, 200, False)):
        stream.attempt_count = attempt
        world.time.now += 0.25
        span = tracing.start_upstream(stream, headers)
        assert span is not None
        assert headers.get(b"x-b3-spanid") == span.span_id_hex
        assert headers.get(b"x-b3-parentspanid") == b"a" * 16
        world.time.now += 0.001
        tracing.finish_upstream(span, stream, status, protocol=b"HTTP/1.1", canceled=canceled)
    world.end(tracing, stream)
    first, second, server = spans(world, tracing)
    assert (server["kind"], server["id"], server["shared"]) == ("SERVER", "a" * 16, True)
    assert first["id"] != second["id"]
    for span_json in (first, second):
        assert (span_json["kind"], span_json["name"]) == ("CLIENT", "router back egress")
        assert (span_json["parentId"], span_json["duration"]) == ("a" * 16, 1000)
        assert "shared" not in span_json
    assert second["timestamp"] - first["timestamp"] == 251_000
    assert first["tags"] == {
        "component": "proxy",
        "http.protocol": "HTTP/1.1",
        "upstream_address": "127.0.0.1:8080",
        "peer.address": "127.0.0.1:8080",
        "upstream_cluster": "back",
        "upstream_cluster.name": "back",
        "http.status_code": "503",
        "response_flags": "-",
        "error": "true",
        "canceled": "true",
    }
    assert second["tags"]["retry.count"] == "1"
    assert "error" not in second["tags"]


def test_a_try_that_never_got_a_connection() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "spawn_upstream_span": True})
    stream = world.stream()
    stream.cluster_name, stream.upstream_host = b"dead", Host()
    tracing.start(stream)
    assert stream.request_headers is not None
    span = tracing.start_upstream(stream, stream.request_headers)
    assert span is not None
    tracing.finish_upstream(span, stream, 0, ResponseFlag.UF, reset_reason=b"remote connection failure")
    tags = spans(world, tracing)[0]["tags"]
    assert tags["error.reason"] == "remote connection failure"
    assert (tags["http.protocol"], tags["http.status_code"], tags["response_flags"]) == ("-", "0", "UF")


def test_an_unsampled_try_travels_under_its_own_id_too() -> None:
    world = World()
    config = {"provider": zipkin(), "spawn_upstream_span": True, "random_sampling": {"value": 0}}
    tracing = world.compile(config)
    stream = world.stream()
    tracing.start(stream)
    headers = stream.request_headers
    assert headers is not None
    tracing.inject(stream, headers)
    assert tracing.start_upstream(stream, headers) is None
    assert headers.get(b"x-b3-parentspanid") == stream.trace.span_id_hex
    assert headers.get(b"x-b3-sampled") == b"0"


def test_the_name_of_a_try_can_be_configured() -> None:
    world = World()
    tracing = world.compile(
        {"provider": zipkin(), "spawn_upstream_span": True, "upstream_operation": "up %REQ(:METHOD)%"}
    )
    stream = world.stream()
    tracing.start(stream)
    assert stream.request_headers is not None
    span = tracing.start_upstream(stream, stream.request_headers)
    assert span is not None
    tracing.finish_upstream(span, stream, 200)
    assert spans(world, tracing)[0]["name"] == "up GET"


# -- what is configured -------------------------------------------------------------------------------------------


def test_verbose_spans_tell_the_moments() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "verbose": True})
    stream = world.stream()
    tracing.start(stream)
    stream.rx_end_at = stream.started_at + 0.001
    stream.tx_start_at = stream.started_at + 0.002
    world.end(tracing, stream)
    (span,) = spans(world, tracing)
    start = span["timestamp"]
    assert [(one["value"], one["timestamp"] - start) for one in span["annotations"]] == [
        ("last_downstream_rx_byte_received", 1000),
        ("first_downstream_tx_byte_sent", 2000),
        ("ss", 5000),
    ]


def test_a_verbose_try_tells_its_own_side_only() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "verbose": True, "spawn_upstream_span": True}, "OUTBOUND")
    stream = world.stream()
    stream.cluster_name, stream.upstream_host = b"back", Host()
    travel(tracing, stream)
    headers = stream.request_headers
    assert headers is not None
    span = tracing.start_upstream(stream, headers)
    assert span is not None
    stream.rx_end_at = stream.tx_start_at = stream.started_at + 0.001
    stream.upstream_tx_start_at = stream.started_at + 0.002
    tracing.finish_upstream(span, stream, 200, protocol=b"HTTP/1.1")
    world.end(tracing, stream)
    attempt = next(one for one in spans(world, tracing) if one["name"] == "router back egress")
    assert [one["value"] for one in attempt["annotations"]] == ["first_upstream_tx_byte_sent", "cr"]


def test_seven_moments_in_envoys_order() -> None:
    stream = World().stream()
    for at, name in enumerate(
        (
            "rx_end",
            "upstream_tx_start",
            "upstream_tx_end",
            "upstream_rx_start",
            "upstream_rx_end",
            "tx_start",
            "tx_end",
        )
    ):
        setattr(stream, f"{name}_at", stream.started_at + at + 1)
    assert [name for _, name in moments(stream)] == [
        "last_downstream_rx_byte_received",
        "first_upstream_tx_byte_sent",
        "last_upstream_tx_byte_sent",
        "first_upstream_rx_byte_received",
        "last_upstream_rx_byte_received",
        "first_downstream_tx_byte_sent",
        "last_downstream_tx_byte_sent",
    ]


def test_long_paths_are_cut() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "max_path_tag_length": 7})
    stream = world.stream(path=b"/abcdefghijk")
    tracing.start(stream)
    world.end(tracing, stream)
    assert spans(world, tracing)[0]["tags"]["http.url"] == "http://ex.com:80/abcdef"


@pytest.mark.parametrize(
    ("config", "path", "kind"),
    [
        ({"provider": {"name": "x"}}, "provider.typed_config", "invalid"),
        ({"operation": "%NO_SUCH_OPERATOR%"}, "operation", "invalid"),
        (
            {"provider": zipkin(collector_endpoint_version="GRPC")},
            "provider.typed_config.collector_endpoint_version",
            "unsupported",
        ),
        (
            {"provider": zipkin(collector_cluster="nowhere")},
            "provider.typed_config.collector_cluster",
            "invalid",
        ),
        ({"provider": zipkin(collector_cluster="")}, "provider.typed_config.collector_cluster", "invalid"),
        ({"provider": zipkin(collector_endpoint="")}, "provider.typed_config.collector_endpoint", "invalid"),
        (
            {
                "provider": {
                    "name": "x",
                    "typed_config": {"@type": "type.googleapis.com/envoy.config.trace.v3.DatadogConfig"},
                }
            },
            "provider",
            "unsupported",
        ),
    ],
)
def test_refused(config: dict[str, Any], path: str, kind: str) -> None:
    world = World()
    world.compile(config)
    assert [(finding.path, finding.kind) for finding in world.findings] == [(path, kind)]


def test_zipkins_split_makes_server_spans_on_the_egress_side_too() -> None:
    """Without spawn_upstream_span that is all that it does in Envoy: no second span."""
    world = World()
    stream = world.stream((b"x-b3-traceid", b"a" * 16), (b"x-b3-spanid", b"b" * 16), (b"x-b3-sampled", b"1"))
    tracing = world.compile({"provider": zipkin(split_spans_for_request=True)}, "OUTBOUND")
    tracing.start(stream)
    assert stream.span.is_server and stream.trace.span_id_hex == b"b" * 16
    assert tracing.start_upstream(stream, stream.request_headers) is None


@pytest.mark.parametrize("wide", [False, True])
def test_dated_ids(wide: bool) -> None:
    world = World()
    provider = zipkin(timestamp_trace_ids=True, trace_id_128bit=wide)
    stream = world.stream()
    world.compile({"provider": provider}).start(stream)
    trace_id, span_id = stream.trace.trace_id_hex, stream.trace.span_id_hex
    assert int(trace_id[:8], 16) == int(world.time.wall())
    assert len(trace_id) == (32 if wide else 16)
    assert (trace_id[16:] == span_id) is wide


class OwnRoute:
    """A route with a tracing of its own."""

    decorator_operation = b"decorated"
    decorator_propagate = True

    def __init__(self, world: World, **config: Any) -> None:
        reader = world.reader(config, "envoy.config.route.v3.Tracing")
        self.tracing = compile_route_tracing(reader, {"HOME": "/root"}, world.context.runtime)


def literal(tag: str, value: str) -> dict[str, Any]:
    return {"tag": tag, "literal": {"value": value}}


def test_a_routes_tags_and_operations_go_before_the_managers() -> None:
    world = World()
    manager = {
        "provider": zipkin(),
        "operation": "manager",
        "upstream_operation": "manager's try",
        "spawn_upstream_span": True,
        "custom_tags": [literal("a", "manager"), literal("c", "c")],
    }
    tracing = world.compile(manager)
    stream = world.stream()
    environment = {"tag": "e", "environment": {"name": "HOME"}}
    stream.route = OwnRoute(  # type: ignore[assignment]
        world, operation="%REQ(:METHOD)% own", custom_tags=[literal("a", "own"), environment]
    )
    tracing.start(stream)
    headers = stream.request_headers
    assert headers is not None
    tried = tracing.start_upstream(stream, headers)
    assert tried is not None
    tracing.finish_upstream(tried, stream, 200)
    world.end(tracing, stream)
    assert (stream.span.name, tried.name) == (b"GET own", b"manager's try")
    assert stream.span.tags == tried.tags == {"a": "own", "c": "c", "e": "/root"}
    answer = ResponseHeaders(200)
    tracing.respond(stream, answer)
    assert DECORATOR not in answer


def test_an_operation_that_comes_out_empty_leaves_the_host() -> None:
    """And the decorator stays out of it: seen in Envoy."""
    world = World()
    tracing = world.compile({"provider": zipkin()})
    stream = world.stream()
    stream.route = OwnRoute(world, operation="%REQ(nope)%")  # type: ignore[assignment]
    tracing.start(stream)
    world.end(tracing, stream)
    assert stream.span.name == b"ex.com:80"
