"""start_child_span of the router: which span a try has, and under which id it travels."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.base.headers import RequestHeaders
from tests.unit.tracing.world import World, travel, zipkin

B3 = [(b"x-b3-traceid", b"1" * 16), (b"x-b3-spanid", b"a" * 16), (b"x-b3-sampled", b"1")]
W3C = [(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"a" * 16 + b"-01")]


def spans_of(
    direction: str, fields: list[tuple[bytes, bytes]], **tracer: Any
) -> tuple[dict[str, Any], dict[str, Any], RequestHeaders]:
    """(the try's span, the request's, what travelled)"""
    world = World()
    tracing = world.compile({"provider": zipkin(**tracer)}, direction)
    stream = world.stream(*fields)
    stream.cluster_name = b"back"
    headers = stream.request_headers
    assert headers is not None
    tracing.start(stream)
    span = tracing.start_upstream(stream, headers, True)
    assert span is not None
    tracing.finish_upstream(span, stream, 200, protocol=b"HTTP/1.1")
    world.end(tracing, stream)
    tracing.flush()
    tried, request = (span for _, _, body, _ in world.client.sent for span in orjson.loads(body))
    assert tried["name"] == "router back egress"
    return tried, request, headers


@pytest.mark.parametrize(
    ("direction", "tracer", "kinds"),
    [
        ("OUTBOUND", {}, ("CLIENT", "CLIENT")),
        ("INBOUND", {"shared_span_context": False}, ("SERVER", "SERVER")),
        ("INBOUND", {"split_spans_for_request": True}, ("CLIENT", "SERVER")),
        ("OUTBOUND", {"split_spans_for_request": True}, ("CLIENT", "SERVER")),
    ],
)
def test_below_the_request(direction: str, tracer: dict[str, Any], kinds: tuple[str, str]) -> None:
    tried, request, headers = spans_of(direction, B3, **tracer)
    assert (tried["kind"], request["kind"]) == kinds
    assert tried["parentId"] == request["id"] != tried["id"]
    assert (headers.get(b"x-b3-spanid"), headers.get(b"x-b3-parentspanid")) == (
        tried["id"].encode(),
        request["id"].encode(),
    )


def test_a_shared_id_is_that_of_both() -> None:
    tried, request, headers = spans_of("INBOUND", B3)
    assert (tried["kind"], tried["id"], tried["shared"]) == ("SERVER", "a" * 16, True)
    assert (request["kind"], request["id"], request["shared"]) == ("SERVER", "a" * 16, True)
    assert headers.get(b"x-b3-spanid") == b"a" * 16


def test_an_id_of_traceparent_is_never_shared() -> None:
    tried, request, headers = spans_of("INBOUND", W3C, trace_context_option="USE_B3_WITH_W3C_PROPAGATION")
    assert tried["parentId"] == request["id"] != tried["id"]
    assert headers.get(b"traceparent").split(b"-")[2] == tried["id"].encode()  # type: ignore[union-attr]


def test_who_is_not_kept_travels_all_the_same() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()}, "OUTBOUND")
    stream = world.stream(*B3[:2], (b"x-b3-sampled", b"0"))
    before = travel(tracing, stream)
    headers = stream.request_headers
    assert headers is not None
    assert tracing.start_upstream(stream, headers, True) is None
    assert headers.get(b"x-b3-parentspanid") == before[b"x-b3-spanid"]
    assert headers.get(b"x-b3-sampled") == b"0"
