"""A ClientHello (RFC 8446 section 4.1.2) as it comes in: server name and protocols offered, before any TLS is spoken.

Reads bytes that are still to be given to TLS; any split over records and segments is the same to it. What it does not
know (GREASE included) it passes over. What is malformed is no ClientHello, as in Envoy, where BoringSSL reads it: a
name that a filter chain was chosen by is never one that TLS would read otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

_HANDSHAKE = 22
_MOST_RECORDS = 64  # for one hello: the bytes are read anew with every segment
_CLIENT_HELLO = 1
_SERVER_NAME = b"\0\0"
_ALPN = b"\0\x10"
_VERSIONS = (b"\3\1", b"\3\2", b"\3\3", b"\3\4")
_LONGEST_HELLO = 16384  # for BoringSSL


@dataclass(slots=True, frozen=True)
class ClientHello:
    """is_tls: False where the bytes are no ClientHello; server_name: lower case, "" for none; alpn: as offered.
    is_old: it is a ClientHello, but its own version is none of TLS's (is_tls is False); body: without its header"""

    is_tls: bool
    server_name: str = ""
    alpn: tuple[str, ...] = ()
    is_old: bool = False
    body: bytes = b""


NOT_TLS = ClientHello(False)
TOO_LONG = ClientHello(False)


def read_client_hello(data: bytes) -> ClientHello | None:
    """What the bytes say; None while more are needed. The very object TOO_LONG: it says that it is too long."""
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
        if len(hello) >= 4:
            size = int.from_bytes(hello[1:4], "big")
            if size > _LONGEST_HELLO:
                return TOO_LONG
            if len(hello) >= 4 + size:
                try:
                    return _read_hello(bytes(hello[4 : 4 + size]))
                except Malformed:
                    return NOT_TLS
        at += 5 + length
    return None


class Malformed(ValueError):
    """What BoringSSL, which reads these for Envoy, would not take."""


class Fields:
    """Reads the fields of a message one after the other."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise Malformed
        taken, self.at = self.data[self.at : end], end
        return taken

    def vector(self, width: int) -> bytes:
        """What a length of ``width`` bytes stands before."""
        return self.take(int.from_bytes(self.take(width), "big"))

    @property
    def is_over(self) -> bool:
        return self.at == len(self.data)


def _read_hello(body: bytes) -> ClientHello:
    """The handshake message without its header. Raises Malformed.

    The version of its records says nothing (RFC 8446 section 5.1), its own must be one of TLS's.
    """
    fields = Fields(body)
    is_tls = body[:2] in _VERSIONS
    fields.take(34)  # version, random
    session, suites, compression = fields.vector(1), fields.vector(2), fields.vector(1)
    if len(session) > 32 or len(suites) < 2 or len(suites) % 2 or not compression:
        raise Malformed
    server_name = ""
    alpn: tuple[str, ...] = ()
    if fields.is_over:
        return ClientHello(is_tls, is_old=not is_tls, body=body)
    extensions = Fields(fields.vector(2))
    seen: set[bytes] = set()
    while not extensions.is_over:
        kind, content = extensions.take(2), extensions.vector(2)
        if kind in seen:
            raise Malformed
        seen.add(kind)
        if kind == _SERVER_NAME:
            server_name = _server_name(content)
        elif kind == _ALPN:
            alpn = _protocols(content)
    if not fields.is_over:
        raise Malformed
    return ClientHello(is_tls, server_name, alpn, not is_tls, body)


def _server_name(content: bytes) -> str:
    """The one name of a server_name list. Raises Malformed."""
    fields = Fields(content)
    names = Fields(fields.vector(2))
    kind, name = names.take(1), names.vector(2)
    if not fields.is_over or not names.is_over or kind != b"\0" or not 0 < len(name) <= 255 or b"\0" in name:
        raise Malformed
    return name.decode("latin-1").lower()


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
