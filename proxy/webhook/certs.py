"""An authority and a server certificate of our own making, for clusters without cert-manager (the extra "webhook").

The authority's key is not kept: who needs another certificate makes another authority, and hands its certificate to
the API server (the caBundle of the webhook's configuration).
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FILES = ("ca.crt", "tls.crt", "tls.key")


@dataclass(slots=True, frozen=True)
class Made:
    """PEM texts."""

    authority: bytes
    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> None:
        """ca.crt, tls.crt, tls.key, each at once and the key for its owner only. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(FILES, (self.authority, self.certificate, self.key), strict=True):
            temporary = folder / f".{name}.new"
            temporary.unlink(missing_ok=True)  # one that is there has its own mode, or is somebody's link
            mode = 0o600 if name == "tls.key" else 0o644
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            temporary.rename(folder / name)

    @property
    def bundle(self) -> str:
        """The authority as a caBundle."""
        return base64.b64encode(self.authority).decode()

    def secret(self, name: str, namespace: str) -> dict[str, Any]:
        """A Secret of type kubernetes.io/tls."""
        content = zip(FILES, (self.authority, self.certificate, self.key), strict=True)
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/tls",
            "data": {file: base64.b64encode(text).decode() for file, text in content},
        }


def service_names(service: str, namespace: str) -> list[str]:
    """How the API server may call a Service."""
    full = f"{service}.{namespace}.svc"
    return [f"{service}.{namespace}", full, f"{full}.cluster.local"]


def make(names: list[str], days: int, now: datetime) -> Made:
    """An authority, and a certificate for these DNS names. P-256 keys."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("outrider webhook authority")
    authority = (
        _begin(issuer, issuer, authority_key, days, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _begin(_name(names[0][:64]), issuer, key, days, now)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(by, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    return Made(authority.public_bytes(encoding), certificate.public_bytes(encoding), private)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - timedelta(minutes=5),  # clocks differ
        now + timedelta(days=days),
    )


def _usage(
    digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
