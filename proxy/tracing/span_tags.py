"""The standard tags of a finished span (contract/envoy.md 2.4), the same for every back end. All values are text.

Read off the request path, from what the span remembers. What is empty is left out, as Envoy does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.formatter.flags import format_flags

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap, RequestHeaders
    from proxy.tracing.span import Span

Get = Callable[[bytes], bytes | None]

#: tag, request header, value when the header is missing (b"": no tag)
HEADER_TAGS: Final = (
    ("guid:x-request-id", b"x-request-id", b""),
    ("guid:x-client-trace-id", b"x-client-trace-id", b""),
    ("downstream_cluster", b"x-envoy-downstream-service-cluster", b"-"),
    ("user_agent", b"user-agent", b"-"),
)

#: gRPC codes that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL,
#: UNAVAILABLE, DATA_LOSS
GRPC_SERVER_ERRORS: Final = frozenset({b"2", b"4", b"8", b"12", b"13", b"14", b"15"})


def span_tags(span: Span, base: dict[str, str]) -> dict[str, str]:
    """All tags of a span; the span's own come last and win. base: what every request's span says."""
    tags = (
        upstream_tags(span)
        if span.request_headers is None
        else request_tags(span, span.request_headers, base)
    )
    if span.tags:
        tags.update(span.tags)
    if span.extra is not None:
        tags.update({name: tag_text(value) for name, value in span.extra.attributes.items()})
        if span.extra.status_code == 2:
            tags["error"] = span.extra.status_text or "true"
    return tags


def tag_text(value: object) -> str:
    """A value set through OpenTelemetry's API, for back ends whose tags are text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def request_tags(span: Span, head: RequestHeaders, base: dict[str, str]) -> dict[str, str]:
    """Tags of a request's own span."""
    get = dict(head.fields[::-1]).get  # the first of several wins
    tags = base.copy()
    tags["http.url"] = text(url_of(span, head, get))
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
    return tags


def upstream_tags(span: Span) -> dict[str, str]:
    """Tags of a try's span (spawn_upstream_span)."""
    tags = {"component": "proxy", "http.protocol": text(span.protocol)}
    if span.peer_address:
        tags["upstream_address"] = tags["peer.address"] = span.peer_address
    add_common_tags(tags, span)
    return tags


def add_common_tags(tags: dict[str, str], span: Span) -> None:
    """Tags of both kinds of spans."""
    if span.cluster_name:
        tags["upstream_cluster"] = tags["upstream_cluster.name"] = text(span.cluster_name)
    tags["http.status_code"] = str(span.status)
    tags["response_flags"] = format_flags(span.flags) if span.flags else "-"
    if span.status >= 500 or not span.status:
        tags["error"] = "true"


def url_of(span: Span, head: RequestHeaders, get: Get) -> bytes:
    """The URL as the client wrote it, its path cut at max_path_tag_length."""
    path = get(b"x-envoy-original-path") or head.path
    scheme = get(b"x-forwarded-proto") or head.scheme
    return b"%b://%b%b" % (scheme, head.authority, path[: span.max_path_tag_length])


def is_grpc(content_type: bytes) -> bool:
    """application/grpc, alone or with a suffix ("+proto") or parameters."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def grpc_status(headers: HeaderMap) -> bytes | None:
    """The grpc-status of a response head or of trailers."""
    for field in headers.fields:
        if field[0] == b"grpc-status":
            return field[1]
    return None


def add_grpc_request_tags(tags: dict[str, str], head: RequestHeaders, get: Get) -> None:
    """Tags of a gRPC request."""
    tags["grpc.path"] = text(head.path)
    tags["grpc.authority"] = text(head.authority)
    for name, header in (("grpc.content_type", b"content-type"), ("grpc.timeout", b"grpc-timeout")):
        value = get(header)
        if value:
            tags[name] = text(value)


def add_grpc_status(tags: dict[str, str], headers: HeaderMap | None) -> None:
    """Tags of a gRPC status, in the head or in the trailers; some codes mark an error."""
    status = grpc_status(headers) if headers is not None else None
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
