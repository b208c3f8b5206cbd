"""Certificates made on the fly: an authority, and what it signs. Keys are P-256, so that making them costs little."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_NOW = datetime.now(UTC)


@dataclass(slots=True, frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: str
    key: str

    def under(self, *authorities: Authority) -> Pair:
        """The same, shown with those that stand between it and its root."""
        return Pair(self.certificate + "".join(each.pem for each in authorities), self.key)

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """(certificate, key) as files."""
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        for path, text in zip(paths, (self.certificate, self.key), strict=True):
            path.write_text(text)
        return str(paths[0]), str(paths[1])

    def config(self) -> dict[str, dict[str, str]]:
        """A TlsCertificate of Envoy's API, inline."""
        return {
            "certificate_chain": {"inline_string": self.certificate},
            "private_key": {"inline_string": self.key},
        }


def serial_text(number: int) -> str:
    """A serial number as Envoy prints it: hex, whole bytes."""
    text = f"{number:x}"
    return text if len(text) % 2 == 0 else "0" + text


class Authority:
    """Signs certificates of a day's validity. issuer: who has signed its own, None for itself."""

    def __init__(self, name: str = "Test CA", issuer: Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        builder = _builder(self._name, by._name, self._key, -1, 1)
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        self._certificate = builder.sign(by._key, hashes.SHA256())
        self.pem = _pem(self._certificate)

    def signs(
        self,
        name: str = "leaf",
        dns: tuple[str, ...] = (),
        uri: tuple[str, ...] = (),
        ip: tuple[str, ...] = (),
        days: tuple[float, float] = (-1, 1),
        key: Key | None = None,
        **attributes: str,
    ) -> Pair:
        """A certificate for a subject (``organization_name="Acme"``); days: its validity, from now; key: none for a new one."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(getattr(NameOID, at.upper()), text) for at, text in attributes.items()]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._name, key, *days)
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in dns]
        names += [x509.UniformResourceIdentifier(each) for each in uri]
        names += [x509.IPAddress(ip_address(each)) for each in ip]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(_pem(builder.sign(self._key, hashes.SHA256())), private.decode())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, first: float, last: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW + timedelta(days=first))
        .not_valid_after(_NOW + timedelta(days=last))
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
