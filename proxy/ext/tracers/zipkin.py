"""Zipkin: spans as JSON v2, posted to a collector in a configured cluster (envoy.config.trace.v3.ZipkinConfig).

Source: the Zipkin API v2; the fields are those Envoy sends (contract/envoy.md 2.4). Ours beside them: ``debug`` for
a B3 debug trace, and a tag key that would make Zipkin take the body for version 1 is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from proxy.base.headers import RequestHeaders
from proxy.formatter.flags import format_flags
from proxy.tracing.context import DEBUG
from proxy.tracing.reporter import TIMEOUT_S, Reporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.api.reader import Reader
    from proxy.base.headers import Field, HeaderMap
    from proxy.http.context import FactoryContext
    from proxy.tracing.span import Span

MICROSECONDS = 1_000_000
SPAN_KIND = {True: "SERVER", False: "CLIENT"}
LAST_ANNOTATION = {True: "ss", False: "cr"}

ORIGINAL_PATH = b"x-envoy-original-path"
#: tag, request header, value when the header is missing (b"": no tag)
HEADER_TAGS = (
    ("guid:x-request-id", b"x-request-id", b""),
    ("guid:x-client-trace-id", b"x-client-trace-id", b""),
    ("downstream_cluster", b"x-envoy-downstream-service-cluster", b"-"),
    ("user_agent", b"user-agent", b"-"),
)

#: gRPC codes that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL,
#: UNAVAILABLE, DATA_LOSS
GRPC_SERVER_ERRORS = frozenset({b"2", b"4", b"8", b"12", b"13", b"14", b"15"})


class ZipkinTracer:
    """The tracer of one configuration. Those with the same collector share its reporter."""

    __slots__ = ("formats", "report", "reporter", "shared_span_context", "trace_id_128bit")

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.trace_id_128bit = reader.flag("trace_id_128bit")
        self.shared_span_context: bool = reader.wrapped("shared_span_context", True)
        both = reader.enum("trace_context_option") == "USE_B3_WITH_W3C_PROPAGATION"
        self.formats: tuple[str, ...] = ("b3", "w3c") if both else ("b3",)
        version = reader.enum("collector_endpoint_version")
        if version == "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE":
            reader.fail("collector_endpoint_version", "must be set; HTTP_JSON is the one supported here")
        elif version != "HTTP_JSON":
            reader.unsupported("collector_endpoint_version", f"{version}; HTTP_JSON is")
        encoder = compile_encoder(reader, context, self.shared_span_context)
        self.reporter = shared_reporter(encoder, context)
        self.report = self.reporter.report

    def flush(self) -> None:
        """See Tracer.flush."""
        self.reporter.flush()


def compile_encoder(reader: Reader, context: FactoryContext, shared: bool) -> ZipkinEncoder:
    """Where reports go: ``collector_service`` when it is set, else the three older fields, as Envoy."""
    service = reader.sub("collector_service")
    if service is not None:
        older = ("collector_cluster", "collector_endpoint", "collector_hostname")
        reader.ignore(*older, why="collector_service is set")
        return compile_service(service, context, shared)
    cluster = reader.text("collector_cluster")
    endpoint = reader.text("collector_endpoint")
    if not cluster:
        reader.fail("collector_cluster", "either collector_cluster or collector_service must be specified")
    elif not endpoint:
        reader.fail("collector_endpoint", "must be specified when collector_cluster is")
    else:
        check_cluster(reader, "collector_cluster", cluster, context)
    host = reader.text("collector_hostname") or cluster
    return ZipkinEncoder(context, cluster, host.encode(), endpoint.encode(), (), TIMEOUT_S, shared)


def compile_service(reader: Reader, context: FactoryContext, shared: bool) -> ZipkinEncoder:
    """core.v3.HttpService: a URI (or a path alone), its cluster, a timeout, and headers to set."""
    uri = reader.sub("http_uri")
    if uri is None:
        reader.fail("http_uri", "is missing")
        return ZipkinEncoder(context, "", b"", b"", (), TIMEOUT_S, shared)
    cluster = uri.text("cluster")
    check_cluster(uri, "cluster", cluster, context)
    _, is_absolute, rest = uri.text("uri").partition("://")
    host, _, path = rest.partition("/") if is_absolute else (cluster, "", uri.text("uri").removeprefix("/"))
    headers: list[Field] = []
    for option in reader.each("request_headers_to_add"):
        header = option.sub("header")
        if header is not None:
            value = header.text("value")
            if "%" in value:
                header.unsupported("value", "command operators in a collector's header")
            headers.append((header.text("key").lower().encode(), value.encode()))
    timeout_s = uri.seconds("timeout", TIMEOUT_S) or TIMEOUT_S
    return ZipkinEncoder(
        context, cluster, host.encode(), b"/" + path.encode(), tuple(headers), timeout_s, shared
    )


def check_cluster(reader: Reader, field: str, cluster: str, context: FactoryContext) -> None:
    """Refuse a collector's cluster that the configuration does not have."""
    if context.clusters.get(cluster) is None:
        reader.fail(field, f"unknown cluster '{cluster}'")


def shared_reporter(encoder: ZipkinEncoder, context: FactoryContext) -> Reporter:
    """One reporter per collector and process, however many connection managers use it."""
    key = ("zipkin", encoder.key())
    reporter: Reporter | None = context.shared.get(key)
    if reporter is None:
        reporter = Reporter(encoder, context, context.stats.scope("tracing.zipkin"))
        context.shared[key] = reporter
    return reporter


class ZipkinEncoder:
    """Spans to JSON (the Encoder of a Reporter)."""

    __slots__ = ("base_tags", "cluster", "endpoint", "extra", "host", "path", "shared", "timeout_s")

    def __init__(
        self,
        context: FactoryContext,
        cluster: str,
        host: bytes,
        path: bytes,
        extra: tuple[Field, ...],
        timeout_s: float,
        shared: bool,
    ) -> None:
        self.cluster = cluster
        self.host = host
        self.path = path
        self.extra = extra
        self.timeout_s = timeout_s
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

    def key(self) -> tuple[object, ...]:
        """Equal keys: the same reports to the same place."""
        return (self.cluster, self.host, self.path, self.extra, self.timeout_s, self.shared)

    def headers(self) -> RequestHeaders:
        """See Encoder.headers."""
        head = RequestHeaders(
            b"POST", self.path, self.host, b"http", [(b"content-type", b"application/json")]
        )
        for name, value in self.extra:
            head.set(name, value)
        return head

    def is_accepted(self, status: int) -> bool:
        """Zipkin answers 202; others that speak its API answer 200 or 204."""
        return 200 <= status < 300

    def encode(self, spans: list[Span]) -> bytes:
        """See Encoder.encode: a JSON array."""
        body = orjson.dumps([self.encode_span(span) for span in spans])
        if b'yAnnotations"' in body:  # Zipkin takes such a body for the v1 format, and refuses it as a whole
            body = body.replace(b'yAnnotations"', b'yAnnotation\\u0073"')
        return body

    def encode_span(self, span: Span) -> dict[str, Any]:
        """One span as the JSON object's Python form."""
        context = span.context
        is_server = span.is_server
        start = round(span.start_time * MICROSECONDS)
        duration = max(round(span.duration_s * MICROSECONDS), 1)  # Zipkin knows no span without a duration
        fields: dict[str, Any] = {
            "traceId": context.trace_id_hex.decode(),
            "id": context.span_id_hex.decode(),
            "kind": SPAN_KIND[is_server],
            "name": text(span.name),
            "timestamp": start,
            "duration": duration,
            "localEndpoint": self.endpoint,
            "annotations": [{"timestamp": start + duration, "value": LAST_ANNOTATION[is_server]}],
            "tags": self.server_tags(span) if span.request_headers is not None else upstream_tags(span),
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
        return fields

    def server_tags(self, span: Span) -> dict[str, str]:
        """The tags of a request's own span; later ones replace earlier ones. What is empty is left out."""
        head = span.request_headers
        assert head is not None
        get = dict(head.fields[::-1]).get  # the first of several wins
        tags = self.base_tags.copy()
        path = get(ORIGINAL_PATH, head.path)[: span.max_path_tag_length]
        scheme = get(b"x-forwarded-proto") or head.scheme
        tags["http.url"] = text(b"%b://%b%b" % (scheme, head.authority, path))
        tags["http.method"] = text(head.method)
        tags["http.protocol"] = text(span.protocol)
        tags["peer.address"] = address_without_port(span.peer_address)
        tags["request_size"] = str(span.bytes_received)
        tags["response_size"] = str(span.bytes_sent)
        for name, header, default in HEADER_TAGS:
            value = get(header, default)
            if value:
                tags[name] = text(value)
        add_common_tags(tags, span)
        if is_grpc(get(b"content-type", b"")):
            add_grpc_request_tags(tags, head, get)
        add_grpc_status(tags, span.response_headers)
        add_grpc_status(tags, span.response_trailers)
        if span.tags:
            tags.update(span.tags)
        return tags


def upstream_tags(span: Span) -> dict[str, str]:
    """The tags of a try's span (spawn_upstream_span)."""
    tags = {"component": "proxy", "http.protocol": text(span.protocol)}
    if span.peer_address:
        tags["upstream_address"] = tags["peer.address"] = span.peer_address
    add_common_tags(tags, span)
    if span.tags:
        tags.update(span.tags)
    return tags


def add_common_tags(tags: dict[str, str], span: Span) -> None:
    """Tags of both kinds of spans."""
    if span.cluster_name:
        tags["upstream_cluster"] = tags["upstream_cluster.name"] = text(span.cluster_name)
    tags["http.status_code"] = str(span.status)
    tags["response_flags"] = format_flags(span.flags) if span.flags else "-"
    if span.status >= 500 or not span.status:
        tags["error"] = "true"


def is_grpc(content_type: bytes) -> bool:
    """application/grpc, alone or with a suffix ("+proto") or parameters."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def add_grpc_request_tags(
    tags: dict[str, str], head: RequestHeaders, get: Callable[[bytes], bytes | None]
) -> None:
    """Tags of a gRPC request."""
    tags["grpc.path"] = text(head.path)
    tags["grpc.authority"] = text(head.authority)
    for name, header in (("grpc.content_type", b"content-type"), ("grpc.timeout", b"grpc-timeout")):
        value = get(header)
        if value:
            tags[name] = text(value)


def add_grpc_status(tags: dict[str, str], headers: HeaderMap | None) -> None:
    """Tags of a gRPC status, in the head or in the trailers; some codes mark an error."""
    status = headers.get(b"grpc-status") if headers is not None else None
    if headers is None or not status:
        return
    tags["grpc.status_code"] = text(status)
    message = headers.get(b"grpc-message")
    if message:
        tags["grpc.message"] = text(message)
    if status in GRPC_SERVER_ERRORS:
        tags["error"] = "true"


def address_without_port(address: str) -> str:
    """ "127.0.0.1:80" → "127.0.0.1", "[::1]:80" → "::1"."""
    host = address.rpartition(":")[0] or address
    return host[1:-1] if host.startswith("[") else host


def text(value: bytes) -> str:
    """Header bytes as text; bytes that are not UTF-8 become the replacement character."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")
