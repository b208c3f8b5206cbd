"""What access logs, x-forwarded-client-cert and SAN matchers read of a certificate: a small DER reader (RFC 5280).

Names come as the exact bytes of the certificate: a NUL inside one is part of it, and matches nothing it should not.
Verifying signatures and chains is OpenSSL's; what is read here belongs to a certificate that OpenSSL has parsed.
"""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

_SUBJECT_ALT_NAME: Final = b"\x55\x1d\x11"
_NAMES: Final = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x04": "SN",
    b"\x55\x04\x05": "serialNumber",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x09": "street",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
    b"\x55\x04\x0c": "title",
    b"\x55\x04\x2a": "GN",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01": "emailAddress",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
}
#: GeneralName's context tags.
EMAIL: Final = 0x81
DNS: Final = 0x82
URI: Final = 0x86
IP_ADDRESS: Final = 0x87
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_ENCODINGS: Final = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x0C: "utf-8"}  # others are read as Latin-1


class BadCertificate(ValueError):
    """Not the DER of a certificate."""


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """(tag, start of the content, its end) of the element at ``at``."""
    if at + 2 > len(data):
        raise BadCertificate("a certificate ends too early")
    tag, length = data[at], data[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise BadCertificate("a length that no certificate has")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > len(data):
        raise BadCertificate("a certificate ends too early")
    return tag, at, at + length


def _parts(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """(tag, content, whole element) of each element of a constructed content."""
    parts = []
    at = 0
    while at < len(data):
        tag, start, end = _header(data, at)
        parts.append((tag, data[start:end], data[at:end]))
        at = end
    return parts


def _time(tag: int, content: bytes) -> float:
    """UTCTime or GeneralizedTime as seconds since 1970."""
    text = content.decode("ascii", "replace")
    if tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise BadCertificate(f"{text} is no time of a certificate") from None


def _escape(text: str) -> str:
    """A value as RFC 2253 writes it, other than ASCII as bytes of UTF-8."""
    out = []
    last = len(text) - 1
    for at, char in enumerate(text):
        code = ord(char)
        if char in ',+"\\<>;' or (char == "#" and at == 0) or (char == " " and at in (0, last)):
            out.append("\\" + char)
        elif 0x20 <= code < 0x7F:
            out.append(char)
        else:
            out.append("".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "replace")))
    return "".join(out)


def _dotted(oid: bytes) -> str:
    numbers = [str(min(oid[0] // 40, 2)), str(oid[0] - 40 * min(oid[0] // 40, 2))]
    value = 0
    for byte in oid[1:]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(str(value))
            value = 0
    return ".".join(numbers)


def _name(content: bytes) -> str:
    """A distinguished name as RFC 2253 writes it, the most specific part first."""
    shown = []
    for _, group, _ in _parts(content):
        pairs = []
        for _, pair, _ in _parts(group):
            (_, oid, _), (tag, value, whole) = _parts(pair)[:2]
            known = _NAMES.get(oid)
            if known is None:
                pairs.append(f"{_dotted(oid)}=#{whole.hex().upper()}")
            else:
                text = value.decode(_ENCODINGS.get(tag, "latin-1"), "replace")
                pairs.append(f"{known}={_escape(text)}")
        shown.append("+".join(pairs))
    return ",".join(reversed(shown))


class Certificate:
    """One certificate, read from its DER. Raises BadCertificate.

    subject, issuer: RFC 2253; serial: lower-case hex, whole bytes; not_before, not_after: seconds since 1970
    sans: (kind, exact bytes) of its subject alternative names; spki: the DER of its public key
    chain: the DER of all that its owner was seen to send with it, itself first; () until that was seen
    """

    __slots__ = ("chain", "der", "issuer", "not_after", "not_before", "sans", "serial", "spki", "subject")

    def __init__(self, der: bytes) -> None:
        self.der = der
        self.chain: tuple[bytes, ...] = ()
        try:
            self._read(der)
        except (IndexError, ValueError) as error:
            raise BadCertificate(str(error)) from None

    def _read(self, der: bytes) -> None:
        _, start, end = _header(der, 0)
        tbs = _parts(_parts(der[start:end])[0][1])
        if tbs[0][0] == 0xA0:  # the version
            tbs = tbs[1:]
        self.serial = (tbs[0][1].lstrip(b"\0") or b"\0").hex()
        self.issuer = _name(tbs[2][1])
        (first_tag, first, _), (last_tag, last, _) = _parts(tbs[3][1])[:2]
        self.not_before = _time(first_tag, first)
        self.not_after = _time(last_tag, last)
        self.subject = _name(tbs[4][1])
        self.spki = tbs[5][2]
        self.sans: list[tuple[int, bytes]] = []
        for tag, content, _ in tbs[6:]:
            if tag == 0xA3:
                self._read_extensions(_parts(content)[0][1])

    def _read_extensions(self, content: bytes) -> None:
        for _, extension, _ in _parts(content):
            fields = _parts(extension)
            if fields[0][1] == _SUBJECT_ALT_NAME:
                names = _parts(_parts(fields[-1][1])[0][1])
                self.sans = [(tag, value) for tag, value, _ in names]

    def names(self, kind: int) -> list[str]:
        """Its alternative names of a kind, as text."""
        found = []
        for tag, value in self.sans:
            if tag == kind:
                found.append(san_text(kind, value))
        return found

    @property
    def fingerprint_256(self) -> str:
        """SHA-256 of the certificate, lower-case hex."""
        import hashlib  # with OpenSSL's share of it: only TLS asks

        return hashlib.sha256(self.der).hexdigest()

    @property
    def fingerprint_1(self) -> str:
        """SHA-1 of the certificate, lower-case hex."""
        import hashlib

        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()


def read_pem(pem: bytes) -> list[Certificate]:
    """The certificates of a PEM text, at least one. Raises BadCertificate."""
    found = []
    for part in pem.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if not end:
            raise BadCertificate("a certificate without an end")
        try:
            der = b64decode(body)
        except ValueError as error:
            raise BadCertificate(str(error)) from None
        found.append(Certificate(der))
    if not found:
        raise BadCertificate("there is no certificate in it")
    return found


def san_text(kind: int, value: bytes) -> str:
    """An alternative name as text: addresses written out, others as they stand."""
    if kind == IP_ADDRESS:
        try:
            return str(ip_address(value))
        except ValueError:
            return value.hex()
    return value.decode("latin-1")
