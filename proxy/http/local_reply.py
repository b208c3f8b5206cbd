"""Every reply that we invent ourselves. Texts, flags and details as in contract/envoy.md 2.6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proxy.base.headers import CONTENT_LENGTH, CONTENT_TYPE, Field, ResponseHeaders

OF_BODY: Final = CONTENT_LENGTH | CONTENT_TYPE
LENGTH_ONLY: Final = frozenset((b"content-length",))
BODY_FIELDS: Final = LENGTH_ONLY | {b"content-type"}


def local_response(status: int, body: bytes, extra: Sequence[Field] = ()) -> ResponseHeaders:
    """The head of a local reply: what the route and the reason add, then content-length and content-type, before
    everything else, as Envoy writes them. A content-type that was added stays the only one; a length never does.

    A reply without a body has neither: the codec adds ``content-length: 0`` where the protocol wants it.
    """
    headers = ResponseHeaders(status, list(extra))
    if headers.known & OF_BODY:
        headers.remove_all(LENGTH_ONLY if body else BODY_FIELDS)
    if body:
        headers.add(b"content-length", b"%d" % len(body))
        if b"content-type" not in headers:
            headers.add(b"content-type", b"text/plain")
    return headers


def reset_body(reason_text: bytes, retried: bool) -> bytes:
    """The text for an upstream that failed before it answered."""
    if retried:
        return (
            b"upstream connect error or disconnect/reset before headers. "
            b"retried and the latest reset reason: " + reason_text
        )
    return b"upstream connect error or disconnect/reset before headers. reset reason: " + reason_text
