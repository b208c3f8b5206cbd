"""The facts of one TLS connection: what access logs, headers and certificate rules read of it."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

from proxy.base.x509 import Certificate


def pem_of(der: bytes) -> str:
    """A certificate as PEM text."""
    text = b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


class TlsInfo:
    """version: "TLSv1.3"; cipher: OpenSSL's name; alpn: "" for none; session_id: hex.

    peer: the peer's certificate, None when it showed none; chain: the DER of all it sent; local: our own
    verified: the peer's certificate was checked against roots
    """

    __slots__ = ("alpn", "chain", "cipher", "local", "peer", "session_id", "verified", "version")

    def __init__(self, version: str, cipher: str, alpn: str, session_id: str) -> None:
        self.version = version
        self.cipher = cipher
        self.alpn = alpn
        self.session_id = session_id
        self.peer: Certificate | None = None
        self.chain: list[bytes] = []
        self.local: Certificate | None = None
        self.verified = False

    @property
    def pem(self) -> str:
        """The peer's certificate as percent-encoded PEM; "" without one."""
        return quote(pem_of(self.peer.der), safe="") if self.peer is not None else ""

    @property
    def chain_pem(self) -> str:
        """All certificates that the peer sent, as percent-encoded PEM."""
        return quote("".join(pem_of(der) for der in self.chain), safe="")
