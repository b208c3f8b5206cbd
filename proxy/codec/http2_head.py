"""HTTP/2 heads: lists of fields from the engine ↔ RequestHeaders, ResponseHeaders. Knows no connection.

The engine has checked a list before it comes here (RFC 9113 section 8): pseudo-headers first, the right ones, each
once; names lower-case; no connection-specific fields; ``te`` only as ``trailers``; no control bytes in values;
content-length a number. What is left: cookies joined, repeated fields joined, Host replaced by :authority, sizes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from proxy.base.errors import CodecError
from proxy.base.headers import (
    CONNECTION,
    HOP_BY_HOP,
    HOST,
    KNOWN,
    REQUEST_JOINED,
    RESPONSE_JOINED,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    HeaderMap,
    RequestHeaders,
    ResponseHeaders,
    join_repeated,
)
from proxy.codec.http1_body import FORBIDDEN_TRAILERS

COOKIE: Final = 1 << 20  # beyond the bits of base.headers: only for these functions
NAMED: Final = {**KNOWN, b"cookie": COOKIE}

#: Never written in HTTP/2 (RFC 9113 section 8.2.2), whatever a filter or an HTTP/1 peer left in a head.
CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")
)
STEERING: Final = HOP_BY_HOP | TRANSFER_ENCODING
STATUSES: Final = {status: (b":status", b"%d" % status) for status in range(100, 1000)}
#: HTTP/2 has no 101: an upgrade is granted as a tunnel is (RFC 8441 section 5).
STATUSES[101] = STATUSES[200]
#: What an upgrade says of itself and its body in HTTP/1, and must not say in HTTP/2.
UPGRADE_ONLY: Final = CONNECTION_SPECIFIC | {b"content-length"}

SCHEMES: Final = frozenset((b"http", b"https"))
_BREAKS: Final = re.compile(rb"[\x00\r\n]")
_COLON: Final = 58


def too_large(fields: Sequence[Field], max_bytes: int, max_count: int) -> bytes:
    """Why a list breaks our limits, in Envoy's words; b"" when it does not."""
    if len(fields) > max_count:
        return b"http2.too_many_headers"
    size = 0
    for name, value in fields:
        size += len(name) + len(value)
    return b"http2.header_list_size_too_large" if size > max_bytes else b""


def read_request(received: Sequence[Field]) -> RequestHeaders:
    """A request head. An extended CONNECT is told as the upgrade that it stands for (as Envoy). Raises CodecError.

    A scheme that is neither http nor https is left out (b""): the connection or x-forwarded-proto will tell (as Envoy).
    """
    method = path = authority = scheme = b""
    protocol: bytes | None = None
    at = 0
    known = 0
    for name, value in received:
        if name[0] != _COLON:
            break
        at += 1
        if name == b":method":
            method = value
        elif name == b":path":
            path = value
        elif name == b":authority":
            authority = value
            known |= HOST
        elif name == b":scheme":
            scheme = value
        elif name == b":protocol":
            protocol = value
    if scheme not in SCHEMES:
        scheme = scheme.lower()
        scheme = scheme if scheme in SCHEMES else b""
    if not path.isascii():
        raise CodecError(400, b"Bad Request", b"http2.invalid.header.field")  # HTTP/1 could not carry it
    fields, known = _fields(received, at, known, REQUEST_JOINED)
    if known & HOST:
        fields, authority = _take_host(fields, authority)
    headers = RequestHeaders(method, path, authority, scheme, fields, known)
    if method == b"CONNECT":
        _read_connect(headers, protocol)
    return headers


def _read_connect(headers: RequestHeaders, protocol: bytes | None) -> None:
    headers.upgrade = b"CONNECT"
    if protocol is not None:
        headers.method = b"GET"
        headers.upgrade = protocol
        add_upgrade(headers, protocol)


def add_upgrade(headers: HeaderMap, protocol: bytes) -> None:
    """What HTTP/1 says where HTTP/2 has :protocol."""
    headers.fields += ((b"upgrade", protocol), (b"connection", b"upgrade"))
    headers.known |= HOP_BY_HOP | UPGRADE | CONNECTION


def read_response(received: Sequence[Field]) -> ResponseHeaders:
    """A response head, final or informational."""
    status = 0
    at = 0
    for name, value in received:
        if name[0] != _COLON:
            break
        at += 1
        if name == b":status":
            status = int(value)  # three ASCII digits: the engine has checked it
    fields, known = _fields(received, at, 0, RESPONSE_JOINED)
    return ResponseHeaders(status, fields, known)


def read_trailers(received: Sequence[Field]) -> HeaderMap:
    """Trailers without those that steer framing or routing (RFC 9110 section 6.5.1): an HTTP/1 peer may be next."""
    return HeaderMap([field for field in received if field[0] not in FORBIDDEN_TRAILERS])


def _fields(
    received: Sequence[Field], at: int, known: int, joined: frozenset[bytes]
) -> tuple[list[Field], int]:
    fields = list(received[at:])
    for field in fields:
        bits = NAMED.get(field[0])
        if bits is not None:
            known |= bits
    if len(dict(fields)) != len(fields):
        if known & COOKIE:
            fields = join_cookies(fields)
        fields = join_repeated(fields, joined)
    return fields, known & ~COOKIE


def join_cookies(fields: list[Field]) -> list[Field]:
    """The fields with all cookie crumbs as one, the last field (RFC 9113 section 8.2.3, and Envoy for the place)."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) < 2:
        return fields
    whole = [field for field in fields if field[0] != b"cookie"]
    whole.append((b"cookie", b"; ".join(crumbs)))
    return whole


def _take_host(fields: list[Field], authority: bytes) -> tuple[list[Field], bytes]:
    """Host is what :authority says; a Host field beside it is dropped, alone it takes its place (as Envoy)."""
    for field in fields:
        if field[0] == b"host":
            break
    else:
        return fields, authority
    kept = []
    for field in fields:
        if field[0] == b"host":
            authority = authority or field[1]
        else:
            kept.append(field)
    return kept, authority


def checked(fields: Sequence[Field]) -> None:
    """Raises ValueError when a value that is about to be written could break a line of an HTTP/1 peer behind the next.

    Fields from the wire cannot; filters and formatters make values too.
    """
    if _BREAKS.search(b"".join([value for _, value in fields])):
        raise ValueError("a line break in a header that was about to be written")


def write_request(headers: RequestHeaders) -> list[Field]:
    """The list for the engine."""
    if headers.upgrade is not None:
        return _write_connect(headers)
    fields: list[Field] = [(b":method", headers.method), (b":scheme", headers.scheme or b"http")]
    if headers.method == b"CONNECT":
        fields = [(b":method", b"CONNECT"), (b":authority", headers.authority)]
    else:
        fields.append((b":authority", headers.authority))
        fields.append((b":path", headers.path))
    _append(fields, headers)
    return fields


def _write_connect(headers: RequestHeaders) -> list[Field]:
    """A tunnel, or an upgrade as an extended CONNECT (RFC 8441 section 4)."""
    fields: list[Field] = [(b":method", b"CONNECT"), (b":authority", headers.authority)]
    if headers.method != b"CONNECT":
        assert headers.upgrade is not None
        fields += (
            (b":scheme", headers.scheme or b"http"),
            (b":path", headers.path),
            (b":protocol", headers.upgrade),
        )
    checked(headers.fields)
    fields += [field for field in headers.fields if field[0] not in UPGRADE_ONLY]
    return fields


def write_response(headers: ResponseHeaders) -> list[Field]:
    """The list for the engine."""
    fields = [STATUSES[headers.status]]
    _append(fields, headers)
    return fields


def _append(fields: list[Field], headers: HeaderMap) -> None:
    checked(headers.fields)
    if headers.known & STEERING:
        fields += [field for field in headers.fields if field[0] not in CONNECTION_SPECIFIC]
    else:
        fields += headers.fields
