"""The three facts of an X.509 certificate that a list of secrets shows; a reader of just so much DER (RFC 5280)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18


@dataclass(slots=True)
class Certificate:
    """serial: hexadecimal, whole bytes; the times are inclusive."""

    serial: str
    not_before: datetime
    not_after: datetime


def read_certificate(pem: bytes) -> Certificate | None:
    """The first certificate of a PEM text, None when there is none that can be read."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        whole, _ = _value(base64.b64decode(found[1]))
        body, _ = _value(whole)
        if body[0] == _VERSION:
            _, body = _value(body)
        serial, body = _value(body)
        _, body = _value(body)  # signature algorithm
        _, body = _value(body)  # issuer
        validity, _ = _value(body)
        return Certificate((serial.lstrip(b"\0") or b"\0").hex(), *_times(validity))
    except (binascii.Error, IndexError, ValueError):
        return None


def _value(data: bytes) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    size, at = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if at + size > len(data):
        raise ValueError("cut short")
    return data[at : at + size], data[at + size :]


def _times(validity: bytes) -> tuple[datetime, datetime]:
    first, rest = _value(validity)
    second, _ = _value(rest)
    return _time(validity[0], first), _time(rest[0], second)


def _time(kind: int, value: bytes) -> datetime:
    """UTCTime has two digits of the year: 50..99 are of the last century."""
    text = value.decode("ascii")
    if kind == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif kind != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
