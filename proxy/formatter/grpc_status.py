"""The gRPC status of an exchange: GRPC_STATUS, GRPC_STATUS_NUMBER, and the access-log filter of that name."""

from __future__ import annotations

import re
from typing import Any, Final

from proxy.base.headers import CONTENT_TYPE, HeaderMap
from proxy.base.stream_info import StreamInfo
from proxy.formatter.slot import NUMBER, TEXT, FormatContext, Slot
from proxy.formatter.syntax import Command

# (CamelCase, SNAKE_CASE) by number: grpc/status.h and absl::StatusCode.
_GRPC_NAMES: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"OK", b"OK"),
    (b"Canceled", b"CANCELLED"),
    (b"Unknown", b"UNKNOWN"),
    (b"InvalidArgument", b"INVALID_ARGUMENT"),
    (b"DeadlineExceeded", b"DEADLINE_EXCEEDED"),
    (b"NotFound", b"NOT_FOUND"),
    (b"AlreadyExists", b"ALREADY_EXISTS"),
    (b"PermissionDenied", b"PERMISSION_DENIED"),
    (b"ResourceExhausted", b"RESOURCE_EXHAUSTED"),
    (b"FailedPrecondition", b"FAILED_PRECONDITION"),
    (b"Aborted", b"ABORTED"),
    (b"OutOfRange", b"OUT_OF_RANGE"),
    (b"Unimplemented", b"UNIMPLEMENTED"),
    (b"Internal", b"INTERNAL"),
    (b"Unavailable", b"UNAVAILABLE"),
    (b"DataLoss", b"DATA_LOSS"),
    (b"Unauthenticated", b"UNAUTHENTICATED"),
)
# The status of a response that has no grpc-status (gRPC over HTTP/2, "HTTP to gRPC status code mapping").
HTTP_TO_GRPC: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
UNKNOWN: Final = 2
INVALID: Final = -1
GRPC: Final = b"application/grpc"
_UNPRINTABLE: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")


def grpc_status(stream: StreamInfo) -> int | None:
    """The gRPC status of a gRPC exchange: from trailers, else headers, else the HTTP status; None for other traffic, INVALID
    where it is no number (as Envoy writes it)."""
    headers = stream.request_headers
    if headers is None or not wants_grpc(headers):
        return None
    return response_grpc_status(stream, INVALID)


def response_grpc_status(stream: StreamInfo, invalid: int = UNKNOWN) -> int | None:
    """What a gRPC client would make of the response, whatever the request was; None without a response. invalid: for a
    status that is no number."""
    for holder in (stream.response_trailers, stream.response_headers):
        status = read_grpc_status(holder, invalid)
        if status is not None:
            return status
    return HTTP_TO_GRPC.get(stream.status, UNKNOWN) if stream.status else None


def wants_grpc(headers: HeaderMap) -> bool:
    """Whether a head's content-type says gRPC."""
    if not headers.known & CONTENT_TYPE:
        return False
    content_type = headers.get(b"content-type")
    return content_type is not None and is_grpc(content_type)


def is_grpc(content_type: bytes) -> bool:
    """Whether a content-type says gRPC."""
    return content_type == b"application/grpc" or content_type.startswith(
        (b"application/grpc+", b"application/grpc;")
    )


def read_grpc_status(headers: HeaderMap | None, invalid: int = UNKNOWN) -> int | None:
    """What ``grpc-status`` says there; None without it, ``invalid`` when it is no number."""
    value = None if headers is None else headers.get(b"grpc-status")
    if value is None or not value.isdigit() or len(value) > 10:
        return None if value is None else invalid
    return int(value)


def grpc_message(headers: HeaderMap) -> str:
    """What ``grpc-message`` says there, its percent-encoding undone."""
    from urllib.parse import unquote_to_bytes  # see server.later

    return unquote_to_bytes(headers.get(b"grpc-message") or b"").decode("utf-8", "replace")


def encode_grpc_message(text: bytes) -> bytes:
    """A text as ``grpc-message`` carries it: what is not printable ASCII, and "%", percent-encoded."""
    return _UNPRINTABLE.sub(lambda found: b"%%%02X" % found.group()[0], text)


def grpc_status_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """GRPC_STATUS(CAMEL_STRING|SNAKE_STRING|NUMBER)"""
    if command.argument == "NUMBER":
        return grpc_status_number_operator(command, context, absent)
    if command.argument not in ("", "CAMEL_STRING", "SNAKE_STRING"):
        raise ValueError("GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER.")
    column = int(command.argument == "SNAKE_STRING")

    def get(stream: StreamInfo) -> Any:
        status = grpc_status(stream)
        if status is None:
            return absent
        return _GRPC_NAMES[status][column] if 0 <= status < len(_GRPC_NAMES) else b"%d" % status

    return Slot(TEXT, get)


def grpc_status_number_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """GRPC_STATUS_NUMBER"""

    def get(stream: StreamInfo) -> Any:
        status = grpc_status(stream)
        return absent if status is None else status

    return Slot(NUMBER, get)
