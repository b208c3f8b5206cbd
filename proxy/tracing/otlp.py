"""OTLP: finished spans as ExportTraceServiceRequest (opentelemetry-proto 1.x), as Envoy's OpenTelemetry tracer fills it.

The bytes are the message itself, for an HTTP body or for a gRPC frame. Kind, name, parent, trace state, times, status
and the standard tags as text attributes; what a filter set through OpenTelemetry's API keeps its type.
"""

from __future__ import annotations

from binascii import unhexlify
from struct import Struct
from typing import TYPE_CHECKING, Final

from proxy.base.headers import CLIENT_TRACE_ID, CONTENT_TYPE
from proxy.formatter.flags import format_flags
from proxy.tracing.context import NO_SPAN, RANDOM
from proxy.tracing.protobuf import field, utf8, varint
from proxy.tracing.span_tags import address_without_port, grpc_status, is_grpc, span_tags, url_of

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.tracing.span import Attribute, Span

NANOSECONDS: Final = 1_000_000_000
#: start_time_unix_nano, end_time_unix_nano
TIMES: Final = Struct("<cQcQ").pack
FIXED64: Final = Struct("<cQ").pack
DOUBLE: Final = Struct("<cd").pack
#: flags: a fixed32 whose tag takes two bytes
FLAGS: Final = Struct("<2sI").pack
FLAGS_TAG: Final = b"\x85\x01"
#: OTLP's flags: is_remote is known; the parent is remote
KNOWS_REMOTE: Final = 0x100
IS_REMOTE: Final = 0x200

SERVER, CLIENT = b"\x30\x02", b"\x30\x03"
STATUS_OK: Final = 1
STATUS_ERROR: Final = 2
ERROR: Final = b"\x7a\x02\x18\x02"
SPECIAL: Final = CLIENT_TRACE_ID | CONTENT_TYPE
#: gRPC codes that are an error of the server's span; of a client's all but 0 are
SERVER_GRPC_ERRORS: Final = frozenset({"2", "4", "12", "13", "14", "15"})
CACHED: Final = 512


def key(name: str) -> bytes:
    """The name of an attribute, encoded."""
    return field(b"\x0a", name.encode())


URL: Final = key("http.url")
METHOD: Final = key("http.method")
PROTOCOL: Final = key("http.protocol")
PEER: Final = key("peer.address")
REQUEST_SIZE: Final = key("request_size")
RESPONSE_SIZE: Final = key("response_size")
REQUEST_ID: Final = key("guid:x-request-id")
DOWNSTREAM: Final = key("downstream_cluster")
AGENT: Final = key("user_agent")
CLUSTER: Final = key("upstream_cluster")
CLUSTER_NAME: Final = key("upstream_cluster.name")
STATUS_CODE: Final = key("http.status_code")
RESPONSE_FLAGS: Final = key("response_flags")


def attribute(name: bytes, value: bytes) -> bytes:
    """One text attribute of a span (field 9). name: as ``key`` encodes it."""
    size = len(value)
    whole = size + len(name) + 4
    if whole < 0x80:
        return b"J%c%b\x12%c\x0a%c%b" % (whole, name, size + 2, size, value)
    return field(b"J", name + field(b"\x12", field(b"\x0a", value)))


def any_value(value: Attribute) -> bytes:
    """An AnyValue."""
    if isinstance(value, str):
        return field(b"\x0a", value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value)
    if isinstance(value, float):
        return DOUBLE(b"\x21", value)
    if isinstance(value, bytes):
        return field(b"\x3a", value)
    return field(b"\x2a", b"".join([field(b"\x0a", any_value(one)) for one in value]))


def key_value(name: str, value: Attribute) -> bytes:
    """A KeyValue, without the tag of the field that holds it."""
    return key(name) + field(b"\x12", any_value(value))


class OtlpEncoder:
    """Spans of one service. resource: its attributes; base_tags: what the span of every request says.

    scope: name and version of the instrumentation, "" for none
    """

    __slots__ = ("base", "base_tags", "common", "head", "names", "scope")

    def __init__(
        self, resource: dict[str, str], scope_name: str, scope_version: str, base_tags: dict[str, str]
    ) -> None:
        self.base_tags = base_tags
        self.base = b"".join([attribute(key(name), value.encode()) for name, value in base_tags.items()])
        attributes = [field(b"\x0a", key_value(name, value)) for name, value in sorted(resource.items())]
        self.head = field(b"\x0a", b"".join(attributes))
        self.scope = b""
        if scope_name:
            self.scope = field(
                b"\x0a", field(b"\x0a", scope_name.encode()) + field(b"\x12", scope_version.encode())
            )
        self.names: dict[str, bytes] = {}
        self.common: dict[tuple[bytes, bytes, bytes, int, int, bool], bytes] = {}

    def body(self, spans: list[bytes]) -> bytes:
        """The ExportTraceServiceRequest that holds encoded spans."""
        scope_spans = field(b"\x12", self.scope + b"".join([field(b"\x12", span) for span in spans]))
        return field(b"\x0a", self.head + scope_spans)

    def encode_spans(self, spans: list[Span]) -> list[bytes]:
        """Each span as a Span message."""
        return [self.encode_plain(span) or self.encode_span(span) for span in spans]

    def encode_plain(self, span: Span) -> bytes:
        """A usual request's span, in a fraction of encode_span's time; b"" when there is more to say."""
        head = span.request_headers
        if head is None or span.tags or span.annotations or span.extra is not None:
            return b""
        if span.response_trailers is not None:
            return b""
        get = dict(head.fields[::-1]).get
        request_id = get(b"x-request-id", b"")
        agent = get(b"user-agent", b"-")
        caller = get(b"x-envoy-downstream-service-cluster", b"-")
        if not (request_id and agent and caller and span.cluster_name):
            return b""
        if head.known & SPECIAL and (get(b"x-client-trace-id") or is_grpc(get(b"content-type", b""))):
            return b""
        if span.response_headers is not None and grpc_status(span.response_headers):
            return b""
        url = url_of(span, head, get)
        if not b"".join((request_id, agent, caller, url, span.name)).isascii():
            return b""
        common = self._common(span, head)
        parts = (
            self._opening(span),
            self.base,
            attribute(URL, url),
            attribute(PEER, address_without_port(span.peer_address).encode()),
            attribute(REQUEST_SIZE, b"%d" % span.bytes_received),
            attribute(RESPONSE_SIZE, b"%d" % span.bytes_sent),
            attribute(REQUEST_ID, request_id),
            attribute(DOWNSTREAM, caller),
            attribute(AGENT, agent),
            common,
        )
        return b"".join(parts)

    def _common(self, span: Span, head: RequestHeaders) -> bytes:
        """The attributes that many spans share, and the status."""
        name = (head.method, span.protocol, span.cluster_name, span.status, span.flags, span.is_server)
        found = self.common.get(name)
        if found is None:
            tags = [(METHOD, head.method), (PROTOCOL, span.protocol), (CLUSTER, span.cluster_name)]
            tags += [(CLUSTER_NAME, span.cluster_name), (STATUS_CODE, b"%d" % span.status)]
            tags += [(RESPONSE_FLAGS, format_flags(span.flags).encode() if span.flags else b"-")]
            if span.status >= 500 or not span.status:
                tags.append((key("error"), b"true"))
            found = b"".join([attribute(one, utf8(value)) for one, value in tags])
            if span.status >= (500 if span.is_server else 400):
                found += ERROR
            if len(self.common) >= CACHED:
                self.common.clear()
            self.common[name] = found
        return found

    def _opening(self, span: Span) -> bytes:
        """Everything before the attributes, and the flags."""
        context = span.context
        trace_id = context.trace_id_hex
        if len(trace_id) == 16:
            trace_id = NO_SPAN + trace_id
        start = round(span.start_time * NANOSECONDS)
        end = start + (round(span.duration_s * NANOSECONDS) or 1)
        flags = KNOWS_REMOTE | 1 | context.flags & RANDOM
        parent = context.parent_id_hex
        if parent and span.request_headers is not None:
            flags |= IS_REMOTE
        name = span.name
        return b"".join(
            (
                b"\x0a\x10%b\x12\x08%b" % (unhexlify(trace_id), unhexlify(context.span_id_hex)),
                field(b"\x1a", context.tracestate) if context.tracestate else b"",
                b"\x22\x08" + unhexlify(parent) if parent else b"",
                b"*%c%b" % (len(name), name) if len(name) < 0x80 else field(b"*", name),
                SERVER if span.is_server else CLIENT,
                TIMES(b"\x39", start, b"\x41", end),
                FLAGS(FLAGS_TAG, flags),
            )
        )

    def encode_span(self, span: Span) -> bytes:
        """Any span as a Span message."""
        tags = span_tags(span, self.base_tags)
        extra = span.extra
        name = span.name
        if not name.isascii():
            span.name = utf8(name)
        parts = [self._opening(span)]
        for tag, value in tags.items():
            if extra is None or tag not in extra.attributes:
                parts.append(attribute(self._key(tag), value.encode("utf-8", "replace")))
        events: list[tuple[float, str, dict[str, Attribute]]] = [
            (at, text, {}) for at, text in span.annotations or ()
        ]
        if extra is not None:
            parts += [field(b"J", key_value(tag, value)) for tag, value in extra.attributes.items()]
            events += extra.events
            if extra.dropped:
                parts.append(b"\x50" + varint(extra.dropped))
        parts += [event(at, text, attributes) for at, text, attributes in events]
        parts.append(status_of(span, tags))
        return b"".join(parts)

    def _key(self, name: str) -> bytes:
        found = self.names.get(name)
        if found is None:
            if len(self.names) >= CACHED:
                self.names.clear()
            found = self.names[name] = key(name)
        return found


def event(at: float, name: str, attributes: dict[str, Attribute]) -> bytes:
    """An Event of a span (field 11). at: wall seconds."""
    parts = [FIXED64(b"\x09", round(at * NANOSECONDS)), field(b"\x12", name.encode("utf-8", "replace"))]
    parts += [field(b"\x1a", key_value(tag, value)) for tag, value in attributes.items()]
    return field(b"Z", b"".join(parts))


def status_code(span: Span, tags: dict[str, str]) -> int:
    """OpenTelemetry's status: what a filter said; else an error by the HTTP status or the gRPC status in the tags."""
    extra = span.extra
    if extra is not None and extra.status_code:
        return extra.status_code
    http = tags.get("http.status_code", "")
    if http.isdecimal() and http.isascii() and int(http) >= (500 if span.is_server else 400):
        return STATUS_ERROR
    grpc = tags.get("grpc.status_code", "")
    if grpc and (grpc in SERVER_GRPC_ERRORS if span.is_server else grpc != "0"):
        return STATUS_ERROR
    return 0


def status_of(span: Span, tags: dict[str, str]) -> bytes:
    """The Status of a span (field 15), b"" when it is unset."""
    code = status_code(span, tags)
    if not code:
        return b""
    text = span.extra.status_text if span.extra is not None else ""
    message = field(b"\x12", text.encode("utf-8", "replace")) if text and code == STATUS_ERROR else b""
    return field(b"\x7a", message + b"\x18%c" % code)
