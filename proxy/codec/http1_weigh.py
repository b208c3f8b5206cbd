"""The fields of a head that steer its connection: framing, keep-alive, upgrade. Knows no bytes of the head.

Also the codecs' settings and the refusals that both sides share.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from proxy.base.errors import CodecError
from proxy.base.headers import (
    CONTENT_LENGTH,
    HOP_BY_HOP,
    HOST,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    HeaderMap,
    RequestHeaders,
)
from proxy.base.spelling import Memory, Speller
from proxy.codec.http1_options import Underscores, wanted_upgrade

LENGTH_AND_CHUNKED: Final = b"http1.content_length_and_chunked_not_allowed"
CHUNKED: Final = -1  # message_length: the length is told by the chunks
UNKNOWN: Final = -2  # message_length: the head says nothing

#: Connection may not take these away: the next hop's trust hangs on them (Envoy: sanitizeConnectionHeader).
UNNAMEABLE: Final = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))
MAX_CONNECTION_TOKENS: Final = 9
MAX_RESPONSE_HEADERS_BYTES: Final = 80 * 1024  # seen of Envoy 1.40.0: 81,920 pass, 81,921 do not

_DIGITS: Final = re.compile(rb"0*[0-9]{1,20}")


class Http1Settings:
    """What both codecs are told (HttpConnectionManager, Http1ProtocolOptions).

    max_headers_bytes: a request head's bytes with its request line (max_request_headers_kb, 60 KiB)
    max_response_headers_bytes: the same for heads from upstream; both bound trailers too
    max_headers_count: fields in one head (common_http_protocol_options.max_headers_count)
    accept_http_10: serve HTTP/1.0 requests instead of answering 426
    default_host: the authority of HTTP/1.0 requests without Host (default_host_for_http_10)
    enable_trailers: pass trailers on instead of dropping them
    refuse_https_targets: answer 403 to absolute-form https on this connection without TLS
    allow_absolute_url: read absolute-form targets; else they stay the path, which nobody takes
    send_fully_qualified_url: write them
    allow_chunked_length: pass over a Content-Length beside ``chunked``; no message follows on the connection
    ignored_upgrades: protocols in Upgrade that are passed over
    underscores: what becomes of names with underscores, None: nothing
    speller: how names are written, None: in lower case; memory: what to remember of heads that come
    """

    __slots__ = (
        "accept_http_10",
        "allow_absolute_url",
        "allow_chunked_length",
        "default_host",
        "enable_trailers",
        "ignored_upgrades",
        "max_headers_bytes",
        "max_headers_count",
        "max_response_headers_bytes",
        "memory",
        "refuse_https_targets",
        "send_fully_qualified_url",
        "speller",
        "underscores",
    )

    def __init__(
        self,
        *,
        max_headers_bytes: int = 60 * 1024,
        max_response_headers_bytes: int = MAX_RESPONSE_HEADERS_BYTES,
        max_headers_count: int = 100,
        accept_http_10: bool = False,
        default_host: bytes = b"",
        enable_trailers: bool = False,
        refuse_https_targets: bool = False,
        allow_absolute_url: bool = True,
        allow_chunked_length: bool = False,
        send_fully_qualified_url: bool = False,
        ignored_upgrades: tuple[Callable[[bytes], bool], ...] = (),
        underscores: Underscores | None = None,
        speller: Speller | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.max_headers_bytes = max_headers_bytes
        self.max_response_headers_bytes = max_response_headers_bytes
        self.max_headers_count = max_headers_count
        self.accept_http_10 = accept_http_10
        self.default_host = default_host
        self.enable_trailers = enable_trailers
        self.refuse_https_targets = refuse_https_targets
        self.allow_absolute_url = allow_absolute_url
        self.allow_chunked_length = allow_chunked_length
        self.send_fully_qualified_url = send_fully_qualified_url
        self.ignored_upgrades = ignored_upgrades
        self.underscores = underscores
        self.speller = speller
        self.memory = memory

    def copy(self) -> Http1Settings:
        """The same again, to be changed before anybody is told of it."""
        return Http1Settings(
            max_headers_bytes=self.max_headers_bytes,
            max_response_headers_bytes=self.max_response_headers_bytes,
            max_headers_count=self.max_headers_count,
            accept_http_10=self.accept_http_10,
            default_host=self.default_host,
            enable_trailers=self.enable_trailers,
            refuse_https_targets=self.refuse_https_targets,
            allow_absolute_url=self.allow_absolute_url,
            allow_chunked_length=self.allow_chunked_length,
            send_fully_qualified_url=self.send_fully_qualified_url,
            ignored_upgrades=self.ignored_upgrades,
            underscores=self.underscores,
            speller=self.speller,
            memory=self.memory,
        )


def bad_request(details: bytes = b"http1.codec_error") -> CodecError:
    """400 Bad Request."""
    return CodecError(400, b"Bad Request", details)


def too_large(details: bytes = b"http1.headers_too_large") -> CodecError:
    """431 Request Header Fields Too Large."""
    return CodecError(431, b"Request Header Fields Too Large", details)


def low_version() -> CodecError:
    """426 Upgrade Required."""
    return CodecError(426, b"Upgrade Required", b"low_version")


def message_length(method: bytes, fields: list[Field]) -> int:
    """How long the body is: a count, CHUNKED or UNKNOWN (RFC 9112 section 6). Raises CodecError.

    Refused: Transfer-Encoding that is not one ``chunked``, or beside Content-Length; Content-Length that is not one
    decimal number below 2**64; either with CONNECT (a length of 0 is let pass).
    """
    coding = length = None
    for name, value in fields:
        if name == b"content-length":
            if length is not None or not ((value.isdigit() and len(value) <= 20) or _DIGITS.fullmatch(value)):
                raise bad_request()
            length = value
        elif name == b"transfer-encoding":
            coding = value if coding is None else coding + b"," + value
    if coding is not None:
        if length is not None:
            raise bad_request(LENGTH_AND_CHUNKED)
        if coding.lower() != b"chunked" or method == b"CONNECT":
            raise CodecError(501, b"Not Implemented", b"http1.invalid_transfer_encoding")
        return CHUNKED
    if length is None:
        return UNKNOWN
    count = int(length)  # decimal ASCII digits, checked above
    if count >= 1 << 64:
        raise bad_request()
    if count and method == b"CONNECT":
        raise bad_request(b"http1.body_disallowed")
    return count


def connection_tokens(headers: HeaderMap) -> set[bytes]:
    """The lower-case options in Connection, and in Proxy-Connection ``close`` (Envoy honours it in both).

    Raises CodecError for what a request may not name there: too many, pseudo-headers, x-forwarded-*.
    """
    refuses = type(headers) is RequestHeaders
    tokens: set[bytes] = set()
    named = 0
    for name, value in headers.fields:
        if name == b"connection":
            for token in value.split(b","):
                named += 1
                token = token.strip(b" \t").lower()
                if refuses and (token in UNNAMEABLE or token[:1] == b":" or named > MAX_CONNECTION_TOKENS):
                    raise bad_request(b"http1.connection_header_rejected")
                tokens.add(token)
        elif name == b"proxy-connection":
            tokens.update(
                token.strip(b" \t").lower() for token in value.split(b",") if b"close" in token.lower()
            )
    return tokens


class Steering:
    """What a request's head means for its connection.

    length: body bytes, CHUNKED or UNKNOWN; keep_alive: the client wants another request
    http10: answer as HTTP/1.0; switches: nothing after the head is a request: it asks for another protocol, or a tunnel
    """

    __slots__ = ("http10", "keep_alive", "length", "switches")

    def __init__(self) -> None:
        self.length = UNKNOWN
        self.keep_alive = True
        self.http10 = False
        self.switches = False


def weigh_request(headers: RequestHeaders, version: bytes, settings: Http1Settings) -> Steering:
    """Framing, keep-alive, upgrade, version of a request that has any of them. Raises CodecError.

    Takes transfer-encoding out of the fields: framing is the codec's. Leaves connection and its like to the stream,
    which needs their tokens. h2c is no upgrade: ignored, as RFC 9110 section 7.8 allows.
    """
    steering = Steering()
    known = headers.known
    if known & (CONTENT_LENGTH | TRANSFER_ENCODING):
        steering.length = message_length(headers.method, headers.fields)
        if steering.length == CHUNKED:
            headers.remove(b"transfer-encoding")
    tokens: set[bytes] = set()
    if known & HOP_BY_HOP:
        tokens = connection_tokens(headers)
        if b"close" in tokens:
            steering.keep_alive = False
        if b"host" in tokens:
            headers.authority = b""
            headers.known &= ~HOST
        if known & UPGRADE and b"upgrade" in tokens:
            wanted = wanted_upgrade(headers.joined(b"upgrade") or b"", settings.ignored_upgrades)
            if wanted and wanted.lower() != b"h2c":
                headers.upgrade = wanted
                steering.switches = True
    if version != b"HTTP/1.1":
        _weigh_http10(headers, version, tokens, settings, steering)
    if headers.method == b"CONNECT":
        steering.switches = True
        if headers.upgrade is None:
            headers.upgrade = b"CONNECT"
        headers.remove(b"content-length")  # 0: RFC 9110 section 9.3.6
    return steering


def _weigh_http10(
    headers: RequestHeaders, version: bytes, tokens: set[bytes], settings: Http1Settings, steering: Steering
) -> None:
    if version != b"HTTP/1.0" or not settings.accept_http_10:
        raise low_version()
    steering.http10 = True
    # chunked: RFC 9112 section 6.1, the framing is faulty
    if b"keep-alive" not in tokens or steering.length == CHUNKED:
        steering.keep_alive = False
    if not headers.known & HOST and settings.default_host:
        headers.authority = settings.default_host
        headers.known |= HOST
