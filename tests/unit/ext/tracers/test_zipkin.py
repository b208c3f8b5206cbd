"""Zipkin's JSON, field by field as Envoy 1.40.0 posts it for the same facts, and where it is posted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.base.errors import ResponseFlag
from proxy.base.headers import Field, HeaderMap, ResponseHeaders
from proxy.http.context import Node
from tests.unit.tracing.world import World, travel, zipkin

#: what Envoy sent for GET /hello from 127.0.0.1, answered 200 "ok" (ids, times and own address are the world's)
ENVOYS = {
    "traceId": "1234567890123456",
    "id": "aaaaaaaaaaaaaaaa",
    "parentId": "bbbbbbbbbbbbbbbb",
    "kind": "SERVER",
    "shared": True,
    "name": "ex.com:80",
    "timestamp": 1_000_100_000_000,
    "duration": 5000,
    "localEndpoint": {"ipv4": "192.0.2.7", "port": 0, "serviceName": "front-proxy"},
    "annotations": [{"timestamp": 1_000_100_005_000, "value": "ss"}],
    "tags": {
        "component": "proxy",
        "downstream_cluster": "-",
        "guid:x-request-id": "b1b2b3b4-1234-9abc-8abc-123456789012",
        "http.method": "GET",
        "http.protocol": "HTTP/1.1",
        "http.status_code": "200",
        "http.url": "http://ex.com:80/hello",
        "node_id": "node-1",
        "peer.address": "127.0.0.1",
        "request_size": "0",
        "response_flags": "-",
        "response_size": "2",
        "upstream_cluster": "back",
        "upstream_cluster.name": "back",
        "user_agent": "-",
    },
}
CONTEXT = [
    (b"x-b3-traceid", b"1234567890123456"),
    (b"x-b3-spanid", b"aaaaaaaaaaaaaaaa"),
    (b"x-b3-parentspanid", b"bbbbbbbbbbbbbbbb"),
    (b"x-b3-sampled", b"1"),
]


def report(
    *fields: Field,
    status: int = 200,
    flags: int = 0,
    config: dict[str, Any] | None = None,
    world: World | None = None,
    response: ResponseHeaders | None = None,
    trailers: HeaderMap | None = None,
    **pseudo: bytes,
) -> dict[str, Any]:
    """One request through a proxy that traces; the span it reported."""
    world = world or World()
    tracing = world.compile(config or {"provider": zipkin()})
    assert world.findings == []
    stream = world.stream(*fields, **pseudo)
    travel(tracing, stream)
    stream.bytes_sent = 2
    stream.flags = flags
    stream.response_headers = response
    stream.response_trailers = trailers
    world.end(tracing, stream, status)
    tracing.flush()
    ((_, _, body, _),) = world.client.sent
    (span,) = orjson.loads(body)
    assert isinstance(span, dict)
    return span


def test_the_same_facts_give_envoys_fields() -> None:
    assert report(*CONTEXT) == ENVOYS


def test_a_root_has_no_parent_and_is_shared_all_the_same() -> None:
    span = report()
    assert "parentId" not in span
    assert span["shared"] is True
    assert span["traceId"] == span["id"]


def test_not_shared_when_configured() -> None:
    assert "shared" not in report(config={"provider": zipkin(shared_span_context=False)})


def test_debug_is_told_to_the_collector() -> None:
    assert report(*CONTEXT[:2], (b"x-b3-flags", b"1"))["debug"] is True
    assert "debug" not in report(*CONTEXT)


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ([(b"user-agent", b"curl/8")], {"user_agent": "curl/8"}),
        ([(b"user-agent", b"")], {"user_agent": None}),
        ([(b"user-agent", b'\xff"\\')], {"user_agent": '\N{REPLACEMENT CHARACTER}"\\'}),
        ([(b"x-envoy-downstream-service-cluster", b"web")], {"downstream_cluster": "web"}),
        ([(b"x-client-trace-id", b"cid")], {"guid:x-client-trace-id": "cid"}),
        ([(b"x-forwarded-proto", b"https")], {"http.url": "https://ex.com:80/hello"}),
        ([(b"x-envoy-original-path", b"/old?x=1")], {"http.url": "http://ex.com:80/old?x=1"}),
        (
            [(b"content-type", b"application/grpc+proto"), (b"grpc-timeout", b"5S")],
            {
                "grpc.path": "/hello",
                "grpc.authority": "ex.com:80",
                "grpc.content_type": "application/grpc+proto",
                "grpc.timeout": "5S",
            },
        ),
    ],
)
def test_tags_from_request_headers(fields: list[Field], tags: dict[str, str | None]) -> None:
    got = report(*fields)["tags"]
    assert {name: got.get(name) for name in tags} == tags


@pytest.mark.parametrize(
    ("status", "flags", "error", "text"),
    [
        (404, 0, None, "-"),
        (500, 0, "true", "-"),
        (503, ResponseFlag.UF, "true", "UF"),
        (503, ResponseFlag.UC | ResponseFlag.URX, "true", "URX,UC"),
        (0, ResponseFlag.DC, "true", "DC"),
    ],
)
def test_errors(status: int, flags: int, error: str | None, text: str) -> None:
    tags = report(status=status, flags=flags)["tags"]
    assert tags.get("error") == error
    assert tags["http.status_code"] == str(status)
    assert tags["response_flags"] == text


@pytest.mark.parametrize(("code", "error"), [(b"0", None), (b"5", None), (b"13", "true"), (b"14", "true")])
@pytest.mark.parametrize("where", ["response", "trailers"])
def test_grpc_status(code: bytes, error: str | None, where: str) -> None:
    fields = [(b"grpc-status", code), (b"grpc-message", b"why")]
    facts: dict[str, Any] = {"response": ResponseHeaders(200, fields), "trailers": HeaderMap(fields)}
    tags = report(**{where: facts[where]})["tags"]
    assert tags["grpc.status_code"] == code.decode()
    assert tags["grpc.message"] == "why"
    assert tags.get("error") == error


def test_custom_tags_replace_standard_ones() -> None:
    custom = [{"tag": "http.method", "literal": {"value": "MINE"}}, {"tag": "none", "literal": {"value": ""}}]
    tags = report(config={"provider": zipkin(), "custom_tags": custom[:1]})["tags"]
    assert tags["http.method"] == "MINE"


def test_a_tag_that_zipkin_would_mistake_for_version_1() -> None:
    world = World()
    custom = [{"tag": "binaryAnnotations", "literal": {"value": "v"}}]
    span = report(world=world, config={"provider": zipkin(), "custom_tags": custom})
    assert span["tags"]["binaryAnnotations"] == "v"
    assert b'yAnnotations"' not in world.client.sent[0][2]


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ({"node": Node("n", "from-node"), "resource_attributes": {"service.name": "from-otel"}}, "from-node"),
        ({"node": Node("n", ""), "resource_attributes": {"service.name": "from-otel"}}, "from-otel"),
        ({"node": Node("n", "")}, None),
    ],
)
def test_service_name(context: dict[str, Any], name: str | None) -> None:
    assert report(world=World(**context))["localEndpoint"].get("serviceName") == name


def test_zone_and_ipv6() -> None:
    span = report(world=World(node=Node(cluster="c", zone="z1"), local_address="2001:db8::1"))
    assert span["localEndpoint"] == {"ipv6": "2001:db8::1", "port": 0, "serviceName": "c"}
    assert span["tags"]["zone"] == "z1"
    assert "node_id" not in span["tags"]


def sent(**config: Any) -> tuple[str, bytes, bytes, list[Field], float]:
    world = World()
    report(world=world, config={"provider": zipkin(**config)})
    cluster, head, _, timeout_s = world.client.sent[0]
    assert head.method == b"POST"
    return cluster, head.authority, head.path, head.fields, timeout_s


JSON = [(b"content-type", b"application/json")]


def test_where_it_is_posted() -> None:
    assert sent() == ("zipkin", b"zipkin", b"/api/v2/spans", JSON, 5.0)
    assert sent(collector_hostname="z.example")[1] == b"z.example"


@pytest.mark.parametrize(
    ("uri", "host", "path"),
    [
        ("https://z.example:9411/api/v2/spans", b"z.example:9411", b"/api/v2/spans"),
        ("http://z.example", b"z.example", b"/"),
        ("/api/v2/spans?a=b", b"zipkin", b"/api/v2/spans?a=b"),
    ],
)
def test_collector_service(uri: str, host: bytes, path: bytes) -> None:
    service = {
        "http_uri": {"uri": uri, "cluster": "zipkin", "timeout": "2s"},
        "request_headers_to_add": [{"header": {"key": "X-Token", "value": "t"}}],
    }
    got = sent(collector_service=service, collector_cluster="", collector_endpoint="")
    assert got == ("zipkin", host, path, [*JSON, (b"x-token", b"t")], 2.0)


def test_connection_managers_share_a_reporter() -> None:
    world = World()
    first, second, other = (
        world.compile({"provider": zipkin(collector_endpoint=path)}).tracer for path in ("/a", "/a", "/b")
    )
    assert first.reporter is second.reporter is not other.reporter  # type: ignore[union-attr]
