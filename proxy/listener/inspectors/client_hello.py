"""A ClientHello (RFC 8446 section 4.1.2) as it comes in: server name and protocols offered, before any TLS is spoken.

Reads bytes that are still to be given to TLS; any split over records and segments is the same to it. What it does not
know (GREASE included) it passes over; what is malformed it leaves to TLS to refuse, and says what it has found till then.
"""

from __future__ import annotations

from dataclasses import dataclass

_HANDSHAKE = 22
_MOST_RECORDS = 64  # for one hello: the bytes are read anew with every segment
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ALPN = 16


@dataclass(slots=True, frozen=True)
class ClientHello:
    """is_tls: False where the bytes are no ClientHello; server_name: lower case, "" for none; alpn: as offered."""

    is_tls: bool
    server_name: str = ""
    alpn: tuple[str, ...] = ()


NOT_TLS = ClientHello(False)


def read_client_hello(data: bytes) -> ClientHello | None:
    """What the bytes say; None while more are needed."""
    hello = bytearray()
    at = records = 0
    while at < len(data):
        records += 1
        header = data[at : at + 5]
        if records > _MOST_RECORDS or header[0] != _HANDSHAKE or (len(header) > 1 and header[1] != 3):
            return NOT_TLS
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5], "big")
        if not 0 < length <= 16384 + 256:
            return NOT_TLS
        hello += data[at + 5 : at + 5 + length]
        if hello and hello[0] != _CLIENT_HELLO:
            return NOT_TLS
        if len(hello) >= 4 and len(hello) >= 4 + int.from_bytes(hello[1:4], "big"):
            return _read_hello(bytes(hello[4 : 4 + int.from_bytes(hello[1:4], "big")]))
        at += 5 + length
    return None


def _read_hello(body: bytes) -> ClientHello:
    """The handshake message without its header."""
    at = 34  # version, random
    at += 1 + (body[at] if at < len(body) else 0)  # session id
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # cipher suites
    at += 1 + (body[at] if at < len(body) else 0)  # compression
    end = min(len(body), at + 2 + int.from_bytes(body[at : at + 2], "big"))
    at += 2
    server_name = ""
    alpn: tuple[str, ...] = ()
    while at + 4 <= end:
        kind, length = int.from_bytes(body[at : at + 2], "big"), int.from_bytes(body[at + 2 : at + 4], "big")
        content = body[at + 4 : min(at + 4 + length, end)]
        if kind == _SERVER_NAME:
            server_name = _server_name(content)
        elif kind == _ALPN:
            alpn = _protocols(content)
        at += 4 + length
    return ClientHello(True, server_name, alpn)


def _server_name(content: bytes) -> str:
    """The host_name of a server_name list; "" where there is none that is text."""
    if len(content) < 5 or content[2] != 0:
        return ""
    name = content[5 : 5 + int.from_bytes(content[3:5], "big")]
    return name.decode("latin-1").lower() if b"\0" not in name else ""


def _protocols(content: bytes) -> tuple[str, ...]:
    found = []
    at = 2
    while at < len(content):
        length = content[at]
        name = content[at + 1 : at + 1 + length]
        if not length or len(name) < length:
            break
        found.append(name.decode("latin-1"))
        at += 1 + length
    return tuple(found)
