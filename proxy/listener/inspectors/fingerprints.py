"""JA3 and JA4: what kind of client a ClientHello comes from, by the parameters that it offers.

JA3 is the MD5 of version, cipher suites, extensions, groups and point formats as decimal numbers; JA4 (for TLS over TCP)
is readable: version, server name, counts and protocol, then the beginnings of SHA-256 over sorted suites and extensions.
Values of GREASE (RFC 8701) are left out, where Envoy leaves them out.
"""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Final

from proxy.listener.inspectors.client_hello import Fields, Malformed

_SERVER_NAME: Final = 0
_GROUPS: Final = 10
_POINT_FORMATS: Final = 11
_SIGNATURE_ALGORITHMS: Final = 13
_ALPN: Final = 16
_VERSIONS: Final = 43
_GREASE: Final = frozenset(each << 8 | each for each in range(0x0A, 0x100, 0x10))
_VERSION_NAMES: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}
_HASH_LENGTH: Final = 12


class Offer:
    """What a hello that is well-formed offers. version: its own; suites, extensions: without GREASE, in order
    contents: of the extensions, by their kind"""

    __slots__ = ("contents", "extensions", "suites", "version")

    def __init__(self, body: bytes) -> None:
        fields = Fields(body)
        self.version = int.from_bytes(fields.take(2), "big")
        fields.take(32)
        fields.vector(1)
        self.suites = _without_grease(_pairs(fields.vector(2)))
        fields.vector(1)
        self.contents: dict[int, bytes] = {}
        extensions = Fields(b"" if fields.is_over else fields.vector(2))
        while not extensions.is_over:
            kind = int.from_bytes(extensions.take(2), "big")
            self.contents[kind] = extensions.vector(2)
        self.extensions = _without_grease(list(self.contents))

    def listed(self, kind: int) -> list[int]:
        """The numbers of two bytes in an extension that is one list of them."""
        return _pairs(self.contents.get(kind, b"")[2:])


def _pairs(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]


def _without_grease(values: list[int]) -> list[int]:
    return [each for each in values if each not in _GREASE]


def ja3(offer: Offer) -> str:
    """Lower-case hexadecimal digits."""
    points = offer.contents.get(_POINT_FORMATS, b"")[1:]
    lists = (offer.suites, offer.extensions, offer.listed(_GROUPS), list(points))
    text = ",".join([str(offer.version), *["-".join([str(each) for each in one]) for one in lists]])
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def ja4(offer: Offer) -> str:
    """As in "t13d1516h2_8daaf6152771_02713d6af862"."""
    named = "d" if _SERVER_NAME in offer.contents else "i"
    counts = f"{min(len(offer.suites), 99):02}{min(len(offer.extensions), 99):02}"
    kinds = [each for each in offer.extensions if each not in (_SERVER_NAME, _ALPN)]
    return (
        f"t{_version(offer)}{named}{counts}{_protocol(offer)}"
        f"_{_hash(offer.suites, [])}_{_hash(kinds, offer.listed(_SIGNATURE_ALGORITHMS))}"
    )


def _version(offer: Offer) -> str:
    """The highest it offers."""
    offered = _without_grease(_pairs(offer.contents.get(_VERSIONS, b"")[1:]))
    return _VERSION_NAMES.get(max(offered, default=0) or offer.version, "00")


def _protocol(offer: Offer) -> str:
    """First and last character of the first protocol; of their hexadecimal digits where they are none."""
    try:
        fields = Fields(offer.contents.get(_ALPN, b""))
        fields.take(2)
        name = fields.vector(1)
    except Malformed:
        return "00"
    if not name:
        return "00"
    ends = name[:1] + name[-1:]
    return ends.decode() if ends.isalnum() else f"{name[0] >> 4:x}{name[-1] & 15:x}"


def _hash(ordered: list[int], more: list[int]) -> str:
    """more: behind the sorted ones, as they come"""
    if not ordered:
        return "0" * _HASH_LENGTH
    parts = [",".join([f"{each:04x}" for each in one]) for one in (sorted(ordered), more) if one]
    return sha256("_".join(parts).encode()).hexdigest()[:_HASH_LENGTH]
