"""The webhook's certificate. Files are looked at every few seconds: however they are swapped, a new pair is taken for new
connections, and a broken or half-written one is not (cert-manager's secrets arrive as a swapped link)."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Final

from proxy.base.x509 import Certificate

#: to take files that are swapped while they are taken; then they wait for the next look
TRIES: Final = 3


class ServerCertificate:
    """One SSL context whose certificate is replaced in place. expires_at: seconds since 1970."""

    def __init__(self, certificate: str, key: str, client_ca: str = "") -> None:
        """Raises OSError (ssl.SSLError is one), ValueError."""
        self.files = (Path(certificate), Path(key))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        if client_ca:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.expires_at = 0.0
        self._known = b""
        self.reload()

    def reload(self) -> bool:
        """Take the files where they have changed; whether they had. Raises OSError, ValueError: the old pair stays."""
        content = self._content()
        if content == self._known:
            return False
        for _ in range(TRIES):
            self._known = content  # a broken pair is told of once
            self._take()
            content = self._content()
            if content == self._known:  # else it was swapped meanwhile: which of them was taken?
                break
        return True

    def _take(self) -> None:
        certificate, key = self.files
        expires_at = not_after(certificate)
        # into a context of its own first: a failure must not leave the certificate of one pair with the key of another
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        self.context.load_cert_chain(certificate, key)
        self.expires_at = expires_at

    def _content(self) -> bytes:
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(file.read_bytes() + b"\0")
        return digest.digest()


def not_after(file: Path) -> float:
    """When the first certificate of the file ends. Raises OSError, ValueError."""
    text = file.read_text(encoding="ascii", errors="replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    start = text.find(begin)
    if start < 0 or text.find(end, start) < 0:
        raise ValueError(f"{file} holds no certificate")
    pem = text[start : text.find(end, start) + len(end)]
    return float(Certificate(ssl.PEM_cert_to_DER_cert(pem)).not_after)
