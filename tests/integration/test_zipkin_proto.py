"""Zipkin's protobuf: what it says is what Envoy's says, read with Envoy's descriptors; but for the order of ids' bytes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from proxy.api.pool import new_message, pool
from tests.support.client import Client, request
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host, zipkin
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply
from tests.support.wait import until

TRACE, SPAN, PARENT = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312", "0020000000000001"
B3 = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-parentspanid", PARENT), ("x-b3-sampled", "1")]


def spans(collector: Upstream) -> list[Any]:
    found: list[Any] = []
    for post in collector.requests:
        assert post.one("content-type") == "application/x-protobuf"
        message: Any = new_message("zipkin.proto3.ListOfSpans")
        message.ParseFromString(post.body)
        found += message.spans
    return found


def shown(span: Any) -> dict[str, Any]:
    """What does not change from run to run, nor with the order of ids' bytes."""
    made = json_format.MessageToDict(span, descriptor_pool=pool())
    for name in ("id", "parentId", "timestamp", "duration"):
        made.pop(name, None)
    for annotation in made["annotations"]:
        assert int(annotation.pop("timestamp")) > 0
    made["tags"].pop("guid:x-request-id")
    return made


def traced(kind: type[Outrider] | type[Envoy], trace_128: bool) -> list[Any]:
    port = free_port()
    with Upstream([reply(202, b"")]) as collector, Upstream([reply(200, b"ok")]) as upstream:
        tracing = zipkin("collector", collector_endpoint_version="HTTP_PROTO", trace_id_128bit=trace_128)
        listener = http_listener(port, [virtual_host([route_to("up")])], hcm={"tracing": tracing})
        clusters = [cluster("up", upstream.port), cluster("collector", collector.port)]
        with kind(bootstrap(free_port(), [listener], clusters)), Client(port) as client:
            for _ in range(5):
                assert client.send(request("GET", "/a?b=c", B3)).read().status == 200
            until(lambda: len(spans(collector)) >= 5, "five spans")
            return spans(collector)


def test_ids_are_in_the_order_of_their_digits() -> None:
    for span in traced(Outrider, True):
        assert (span.trace_id.hex(), span.id.hex(), span.parent_id.hex()) == (TRACE, SPAN, PARENT)
        assert (span.kind, span.shared, span.name) == (2, True, "example.com")
        assert span.timestamp > 0 and span.duration > 0


@pytest.mark.parity
@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
def test_protobuf_says_what_envoys_says() -> None:
    ours, envoys = traced(Outrider, False)[0], traced(Envoy, False)[0]
    assert shown(ours) == shown(envoys)
    assert ours.id == envoys.id[::-1]
