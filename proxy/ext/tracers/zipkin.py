"""Zipkin: spans as JSON v2 or protobuf to a collector in a configured cluster (envoy.config.trace.v3.ZipkinConfig).

Source: the Zipkin API v2; the fields are those Envoy sends (contract/envoy.md 2.4). Ours beside them: ``debug`` for
a B3 debug trace, and a tag key that would make Zipkin take the body for version 1 is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from proxy.base.headers import CLIENT_TRACE_ID, CONTENT_TYPE
from proxy.formatter.flags import format_flags
from proxy.tracing.collector import Collector, check_cluster, compile_service
from proxy.tracing.context import DEBUG
from proxy.tracing.destination import HttpDestination
from proxy.tracing.reporter import Reporter
from proxy.tracing.span_tags import address_without_port, grpc_status, is_grpc, span_tags, text, url_of
from proxy.tracing.tracer import NARROW, NARROW_DATED, WIDE, WIDE_DATED
from proxy.tracing.zipkin_proto import encode_span, list_of_spans

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext
    from proxy.tracing.span import Span
    from proxy.tracing.tracer import TraceSampler

MICROSECONDS: Final = 1_000_000
SPAN_KIND: Final = {True: "SERVER", False: "CLIENT"}
SPECIAL: Final = CLIENT_TRACE_ID | CONTENT_TYPE
LAST_ANNOTATION: Final = {True: "ss", False: "cr"}

#: bytes that stand in a JSON string as they are
PLAIN: Final = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')
#: one usual span; the places are filled by encode_plain
TEMPLATE: Final = (
    b'{"traceId":"%%b","id":"%%b","kind":"%b","name":"%%b","timestamp":%%d,"duration":%%d,"localEndpoint":%b,'
    b'"annotations":[{"timestamp":%%d,"value":"%b"}],"tags":{%b,"http.url":"%%b","http.method":"%%b",'
    b'"http.protocol":"%%b","peer.address":"%%b","request_size":"%%d","response_size":"%%d",'
    b'"guid:x-request-id":"%%b","downstream_cluster":"%%b","user_agent":"%%b","upstream_cluster":"%%b",'
    b'"upstream_cluster.name":"%%b","http.status_code":"%%d","response_flags":"%%b"%%b}%b%%b}'
)


class ZipkinTracer:
    """The tracer of one configuration. Those with the same collector share its reporter."""

    __slots__ = (
        *("always_server", "formats", "names_direction", "report", "reporter", "root_ids"),
        *("sampler", "shared_span_context", "tries_are_clients"),
    )

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        wide = reader.flag("trace_id_128bit")
        if reader.flag("timestamp_trace_ids"):
            self.root_ids = WIDE_DATED if wide else NARROW_DATED
        else:
            self.root_ids = WIDE if wide else NARROW
        self.names_direction = False
        self.always_server = self.tries_are_clients = reader.flag("split_spans_for_request")
        self.sampler: TraceSampler | None = None
        self.shared_span_context: bool = reader.wrapped("shared_span_context", True)
        both = reader.enum("trace_context_option") == "USE_B3_WITH_W3C_PROPAGATION"
        self.formats: tuple[str, ...] = ("b3", "w3c") if both else ("b3",)
        version = reader.enum("collector_endpoint_version")
        if version == "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE":
            reader.fail("collector_endpoint_version", "must be set: HTTP_JSON or HTTP_PROTO")
        elif version not in ("HTTP_JSON", "HTTP_PROTO"):
            reader.unsupported(
                "collector_endpoint_version", f"{version} is not supported; HTTP_JSON and HTTP_PROTO are"
            )
        collector = compile_collector(reader, context)
        if version == "HTTP_PROTO":
            encoder: ZipkinEncoder = ZipkinProtoEncoder(context, collector, self.shared_span_context)
        else:
            encoder = ZipkinEncoder(context, collector, self.shared_span_context)
        self.reporter = shared_reporter(encoder, context)
        self.report = self.reporter.report

    def flush(self) -> None:
        """See Tracer.flush."""
        self.reporter.flush()


def compile_collector(reader: Reader, context: FactoryContext) -> Collector:
    """Where reports go: ``collector_service`` when it is set, else the three older fields, as Envoy."""
    service = reader.sub("collector_service")
    if service is not None:
        older = ("collector_cluster", "collector_endpoint", "collector_hostname")
        reader.ignore(*older, why="collector_service is set")
        return compile_service(service, context)
    cluster = reader.text("collector_cluster")
    endpoint = reader.text("collector_endpoint")
    if not cluster:
        reader.fail("collector_cluster", "either collector_cluster or collector_service must be specified")
    elif not endpoint:
        reader.fail("collector_endpoint", "must be specified when collector_cluster is")
    else:
        check_cluster(reader, "collector_cluster", cluster, context)
    host = reader.text("collector_hostname") or cluster
    return Collector(cluster, host.encode(), endpoint.encode())


def shared_reporter(encoder: ZipkinEncoder, context: FactoryContext) -> Reporter:
    """One reporter per collector and process, however many connection managers use it."""
    key = ("zipkin", encoder.content_type, encoder.key())
    reporter: Reporter | None = context.shared.get(key)
    if reporter is None:
        destination = HttpDestination(encoder.collector, (b"content-type", encoder.content_type))
        reporter = Reporter(encoder, destination, context, context.stats.scope("tracing.zipkin"))
        context.shared[key] = reporter
    return reporter


class ZipkinEncoder:
    """Spans to JSON (the Encoder of a Reporter)."""

    __slots__ = ("base_tags", "collector", "content_type", "endpoint", "plain", "shared")

    def __init__(
        self,
        context: FactoryContext,
        collector: Collector,
        shared: bool,
    ) -> None:
        self.collector = collector
        self.content_type = b"application/json"
        self.shared = shared
        address = context.local_address
        self.endpoint: dict[str, str | int] = {"ipv6" if ":" in address else "ipv4": address, "port": 0}
        service_name = context.node.cluster or context.resource_attributes.get("service.name", "")
        if service_name:
            self.endpoint["serviceName"] = service_name
        self.base_tags = {"component": "proxy"}
        if context.node.id:
            self.base_tags["node_id"] = context.node.id
        if context.node.zone:
            self.base_tags["zone"] = context.node.zone
        self.plain = {is_server: self._template(is_server) for is_server in (True, False)}

    def _template(self, is_server: bool) -> bytes:
        """TEMPLATE with everything that is the same in all spans of a kind."""
        parts = (
            SPAN_KIND[is_server].encode(),
            orjson.dumps(self.endpoint).replace(b"%", b"%%"),
            LAST_ANNOTATION[is_server].encode(),
            orjson.dumps(self.base_tags)[1:-1].replace(b"%", b"%%"),
            b',"shared":true' if is_server and self.shared else b"",
        )
        return TEMPLATE % parts

    def key(self) -> tuple[object, ...]:
        """Equal keys: the same reports to the same place."""
        return (self.collector.key(), self.shared)

    def encode_spans(self, spans: list[Span]) -> list[bytes]:
        """See Encoder.encode_spans: JSON objects."""
        return [self.encode_plain(span) or orjson.dumps(self.encode_span(span)) for span in spans]

    def body(self, spans: list[bytes]) -> bytes:
        """See Encoder.body: a JSON array."""
        body = b"[%b]" % b",".join(spans)
        if b'yAnnotations"' in body:  # Zipkin takes such a body for the v1 format, and refuses it as a whole
            body = body.replace(b'yAnnotations"', b'yAnnotation\\u0073"')
        return body

    def encode_plain(self, span: Span) -> bytes | None:
        """The JSON of a usual request's span, in half of encode_span's time; None when there is more to say."""
        head = span.request_headers
        if head is None or span.tags or span.annotations or span.response_trailers is not None:
            return None
        if span.extra is not None:
            return None
        context = span.context
        get = dict(head.fields[::-1]).get
        request_id, agent = get(b"x-request-id"), get(b"user-agent", b"-")
        caller = get(b"x-envoy-downstream-service-cluster", b"-")
        url = url_of(span, head, get)
        name, cluster, parent = span.name, span.cluster_name, context.parent_id_hex
        if not (request_id and agent and caller and cluster) or context.flags & DEBUG:
            return None
        if head.known & SPECIAL and (get(b"x-client-trace-id") or is_grpc(get(b"content-type", b""))):
            return None
        if b"".join((request_id, agent, caller, url, name, cluster, head.method)).translate(None, PLAIN):
            return None  # there is something to escape
        if span.response_headers is not None and grpc_status(span.response_headers):
            return None
        start = round(span.start_time * MICROSECONDS)
        duration = round(span.duration_s * MICROSECONDS) or 1
        status = span.status
        return self.plain[span.is_server] % (
            *(context.trace_id_hex, context.span_id_hex, name, start, duration, start + duration, url),
            *(head.method, span.protocol, address_without_port(span.peer_address).encode()),
            *(span.bytes_received, span.bytes_sent, request_id, caller, agent, cluster, cluster, status),
            format_flags(span.flags).encode() if span.flags else b"-",
            b"" if 0 < status < 500 else b',"error":"true"',
            b',"parentId":"%b"' % parent if parent else b"",
        )

    def encode_span(self, span: Span) -> dict[str, Any]:
        """One span as the JSON object's Python form."""
        context = span.context
        is_server = span.is_server
        start = round(span.start_time * MICROSECONDS)
        duration = round(span.duration_s * MICROSECONDS) or 1  # Zipkin knows no span without a duration
        fields: dict[str, Any] = {
            "traceId": context.trace_id_hex.decode(),
            "id": context.span_id_hex.decode(),
            "kind": SPAN_KIND[is_server],
            "name": text(span.name),
            "timestamp": start,
            "duration": duration,
            "localEndpoint": self.endpoint,
            "annotations": [{"timestamp": start + duration, "value": LAST_ANNOTATION[is_server]}],
            "tags": span_tags(span, self.base_tags),
        }
        if context.parent_id_hex:
            fields["parentId"] = context.parent_id_hex.decode()
        if is_server and self.shared:
            fields["shared"] = True
        if context.flags & DEBUG:
            fields["debug"] = True
        if span.annotations:
            fields["annotations"][:0] = [
                {"timestamp": round(at * MICROSECONDS), "value": value} for at, value in span.annotations
            ]
        if span.extra is not None:
            fields["annotations"][:0] = [
                {"timestamp": round(at * MICROSECONDS), "value": value} for at, value, _ in span.extra.events
            ]
        return fields


class ZipkinProtoEncoder(ZipkinEncoder):
    """The same spans as protobuf."""

    __slots__ = ()

    def __init__(self, context: FactoryContext, collector: Collector, shared: bool) -> None:
        ZipkinEncoder.__init__(self, context, collector, shared)
        self.content_type = b"application/x-protobuf"

    def encode_spans(self, spans: list[Span]) -> list[bytes]:
        """See Encoder.encode_spans."""
        return [encode_span(self.encode_span(span)) for span in spans]

    def body(self, spans: list[bytes]) -> bytes:
        """See Encoder.body."""
        return list_of_spans(spans)
