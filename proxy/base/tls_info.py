"""The facts of one TLS connection: what access logs, headers and certificate rules read of it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

from proxy.base.x509 import Certificate

_DER: Final = 2  # _ssl.ENCODING_DER


def pem_of(der: bytes) -> str:
    """A certificate as PEM text."""
    text = b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def _quoted(pem: str) -> str:
    from urllib.parse import quote  # see server.later

    return quote(pem, safe="")


def sent_chain(handshake: Any) -> list[bytes]:
    """The DER of all certificates that a peer, which has one, sent in this handshake; none where it resumes a session."""
    sent = handshake._sslobj.get_unverified_chain()  # public from Python 3.13 on
    return [each.public_bytes(_DER) for each in sent or ()]


class TlsInfo:
    """version: "TLSv1.3"; cipher: OpenSSL's name; group: "X25519", "" where it is not known; alpn: "" for none.

    peer: the peer's certificate, None when it showed none; local: our own
    verified: the peer's certificate was checked against roots
    """

    __slots__ = (
        "_handshake",
        "_session_id",
        "alpn",
        "cipher",
        "group",
        "local",
        "peer",
        "verified",
        "version",
    )

    def __init__(self, version: str, cipher: str, alpn: str, handshake: Any) -> None:
        """handshake: the ssl.SSLObject, of which the rest is read once somebody asks: a session that has a certificate
        in it takes OpenSSL 0.2 ms to copy"""
        self.version = version
        self.cipher = cipher
        self.group = ""
        self.alpn = alpn
        self.peer: Certificate | None = None
        self.local: Certificate | None = None
        self.verified = False
        self._handshake = handshake
        self._session_id: str | None = None

    @property
    def session_id(self) -> str:
        """Hex; as it is when first asked for, as in Envoy."""
        if self._session_id is None:
            session = self._handshake.session
            self._session_id = session.id.hex() if session is not None else ""
        return self._session_id

    @property
    def chain(self) -> list[bytes]:
        """The DER of all certificates that the peer sent, when its session began: OpenSSL keeps but the first in a session,
        and so does this where the others were never seen."""
        if self.peer is None:
            return []
        return sent_chain(self._handshake) or list(self.peer.chain) or [self.peer.der]

    @property
    def pem(self) -> str:
        """The peer's certificate as percent-encoded PEM; "" without one."""
        return _quoted(pem_of(self.peer.der)) if self.peer is not None else ""

    @property
    def chain_pem(self) -> str:
        """All certificates that the peer sent, as percent-encoded PEM."""
        return _quoted("".join(pem_of(der) for der in self.chain))
