"""Every reply that we invent ourselves. Texts, flags and details as in contract/envoy.md 2.6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from proxy.base.headers import CONTENT_LENGTH, CONTENT_TYPE, Field, RequestHeaders, ResponseHeaders
from proxy.formatter.grpc_status import HTTP_TO_GRPC, UNKNOWN, encode_grpc_message, wants_grpc
from proxy.http.filter import Filter

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream

OF_BODY: Final = CONTENT_LENGTH | CONTENT_TYPE
LENGTH_ONLY: Final = frozenset((b"content-length",))
BODY_FIELDS: Final = LENGTH_ONLY | {b"content-type"}


def local_response(
    status: int, body: bytes, extra: Sequence[Field] = (), content_type: bytes = b""
) -> ResponseHeaders:
    """The head of a local reply: what the route and the reason add, then content-length and content-type, before
    everything else, as Envoy writes them. A content-type that was added stays the only one; a length never does.
    content_type: of a body that a format made, which replaces one that was added.

    A reply without a body has neither: the codec adds ``content-length: 0`` where the protocol wants it.
    """
    headers = ResponseHeaders(status, list(extra))
    if headers.known & OF_BODY:
        headers.remove_all(LENGTH_ONLY if body else BODY_FIELDS)
    if body:
        headers.add(b"content-length", b"%d" % len(body))
        if content_type:
            headers.set(b"content-type", content_type)
        elif b"content-type" not in headers:
            headers.add(b"content-type", b"text/plain")
    return headers


#: in a stream's state: its request has become gRPC on its way; who sent it did not
_CAME_AS_HTTP: Final = Filter()


def answer_as_http(stream: ActiveStream) -> None:
    """For filters that make a gRPC request of another: local replies stay as they are for who sent it."""
    if stream.state is None:
        stream.state = {}
    stream.state[_CAME_AS_HTTP] = True


def answers_grpc(headers: RequestHeaders | None) -> bool:
    """Whether the request is gRPC, whose clients look for grpc-status and do not read other bodies."""
    return headers is not None and bool(headers.path) and wants_grpc(headers)


def grpc_response(
    status: int, body: bytes, extra: Sequence[Field] = (), grpc_status: int | None = None
) -> ResponseHeaders:
    """The same reply for a gRPC client: 200 with a status of its own (by default the one that the HTTP status means),
    the text in grpc-message; nothing follows."""
    if grpc_status is None:
        grpc_status = HTTP_TO_GRPC.get(status, UNKNOWN)
    fields: list[Field] = [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"%d" % grpc_status),
    ]
    if body:
        fields.append((b"grpc-message", encode_grpc_message(body)))
    return ResponseHeaders(200, [*(field for field in extra if field[0] not in BODY_FIELDS), *fields])


def compose(
    stream: ActiveStream, status: int, body: bytes, extra: Sequence[Field], grpc_status: int | None
) -> tuple[ResponseHeaders, bytes]:
    """Head and body (b"" when nothing follows the head) of a stream's local reply.

    The response operations of a route that forwards apply to its local replies too, as in Envoy; those of other routes
    are in ``extra`` already. Then comes local_reply_config.
    """
    route = stream.route
    if route is not None and route.forward is not None and route.response_ops:
        head = ResponseHeaders(status)  # the stream's own code is not set yet, as in Envoy
        route.finalize_response(head, stream)
        extra = (*head.fields, *extra)
    content_type = b""
    if stream.hcm.local_replies is not None:
        status, body, extra, content_type = stream.hcm.local_replies.rewrite(stream, status, body, extra)
    request = stream.request_headers
    is_head = request is not None and request.method == b"HEAD"
    if answers_grpc(request) and (stream.state is None or _CAME_AS_HTTP not in stream.state):
        return grpc_response(status, b"" if is_head else body, extra, grpc_status), b""
    return local_response(status, body, extra, content_type), b"" if is_head else body


def reset_body(reason_text: bytes, retried: bool) -> bytes:
    """The text for an upstream that failed before it answered."""
    if retried:
        return (
            b"upstream connect error or disconnect/reset before headers. "
            b"retried and the latest reset reason: " + reason_text
        )
    return b"upstream connect error or disconnect/reset before headers. reset reason: " + reason_text


def underscored(text: bytes) -> bytes:
    """Response code details never contain spaces."""
    return text.replace(b" ", b"_")
