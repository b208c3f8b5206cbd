"""Zipkin's spans as protobuf (zipkin.proto3.ListOfSpans), from the same objects that its JSON is made of."""

from __future__ import annotations

from binascii import unhexlify
from ipaddress import ip_address
from struct import Struct
from typing import Any, Final

from proxy.tracing.protobuf import field, varint

FIXED64: Final = Struct("<cQ").pack
KINDS: Final = {"CLIENT": b"\x20\x01", "SERVER": b"\x20\x02"}


def list_of_spans(spans: list[bytes]) -> bytes:
    """A report of encoded spans."""
    return b"".join([field(b"\x0a", span) for span in spans])


def encode_span(span: dict[str, Any]) -> bytes:
    """One span, given as its JSON object. Ids are their bytes in order, as Zipkin reads them."""
    parts = [field(b"\x0a", unhexlify(span["traceId"]))]
    if "parentId" in span:
        parts.append(field(b"\x12", unhexlify(span["parentId"])))
    parts += [
        field(b"\x1a", unhexlify(span["id"])),
        KINDS[span["kind"]],
        field(b"*", span["name"].encode()),
        FIXED64(b"\x31", span["timestamp"]),
        b"\x38" + varint(span["duration"]),
        field(b"B", encode_endpoint(span["localEndpoint"])),
    ]
    for annotation in span["annotations"]:
        words = field(b"\x12", annotation["value"].encode("utf-8", "replace"))
        parts.append(field(b"R", FIXED64(b"\x09", annotation["timestamp"]) + words))
    for name, value in span["tags"].items():
        pair = field(b"\x0a", name.encode("utf-8", "replace")) + field(
            b"\x12", value.encode("utf-8", "replace")
        )
        parts.append(field(b"Z", pair))
    if span.get("debug"):
        parts.append(b"\x60\x01")
    if span.get("shared"):
        parts.append(b"\x68\x01")
    return b"".join(parts)


def encode_endpoint(endpoint: dict[str, Any]) -> bytes:
    """Who we are."""
    parts = []
    if "serviceName" in endpoint:
        parts.append(field(b"\x0a", endpoint["serviceName"].encode()))
    for name, tag in (("ipv4", b"\x12"), ("ipv6", b"\x1a")):
        if name in endpoint:
            parts.append(field(tag, ip_address(endpoint[name]).packed))
    if endpoint.get("port"):
        parts.append(b"\x20" + varint(endpoint["port"]))
    return b"".join(parts)
