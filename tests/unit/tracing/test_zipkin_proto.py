"""Zipkin's protobuf from its JSON's objects, read back with Envoy's descriptors."""

from __future__ import annotations

from typing import Any

from proxy.api.pool import new_message
from proxy.tracing.zipkin_proto import encode_span, list_of_spans

SPAN: dict[str, Any] = {
    "traceId": "0102030405060708",
    "id": "1112131415161718",
    "parentId": "2122232425262728",
    "kind": "CLIENT",
    "name": "n" * 300,
    "timestamp": 1 << 50,
    "duration": 300,
    "localEndpoint": {"ipv6": "2001:db8::1", "port": 8080, "serviceName": "front"},
    "annotations": [{"timestamp": 7, "value": "cr"}, {"timestamp": 8, "value": "\udcff"}],
    "tags": {"a": "", "b": "x" * 200, "c": "é\udcff"},
    "debug": True,
}


def read(*spans: dict[str, Any]) -> list[Any]:
    message: Any = new_message("zipkin.proto3.ListOfSpans")
    message.ParseFromString(list_of_spans([encode_span(span) for span in spans]))
    return list(message.spans)


def test_every_field() -> None:
    (span,) = read(SPAN)
    assert (span.trace_id.hex(), span.id.hex()) == ("0102030405060708", "1112131415161718")
    assert (span.parent_id.hex(), span.kind, span.name) == ("2122232425262728", 1, "n" * 300)
    assert (span.timestamp, span.duration) == (1 << 50, 300)
    end = span.local_endpoint
    assert (end.service_name, end.port, end.ipv4) == ("front", 8080, b"")
    assert end.ipv6.hex() == "20010db8000000000000000000000001"
    assert [(each.timestamp, each.value) for each in span.annotations] == [(7, "cr"), (8, "?")]
    assert dict(span.tags) == {"a": "", "b": "x" * 200, "c": "é?"}
    assert span.debug and not span.shared


def test_several_and_what_is_left_out() -> None:
    plain = {**SPAN, "localEndpoint": {"ipv4": "192.0.2.7", "port": 0}, "shared": True, "kind": "SERVER"}
    del plain["parentId"], plain["debug"]
    first, second = read(plain, SPAN)
    assert (first.parent_id, first.debug, first.shared, first.kind) == (b"", False, True, 2)
    assert (first.local_endpoint.ipv4.hex(), first.local_endpoint.service_name) == ("c0000207", "")
    assert second.id.hex() == "1112131415161718"
