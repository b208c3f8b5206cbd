"""Which encoding a client is sent: accept-encoding against what the compressors of a chain offer. Envoy's rules, its
peculiarities included: names are compared with case, and a q-value that is no number drops its entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

NOT_VALID: Final = 0
IDENTITY: Final = 1
WILDCARD: Final = 2
COMPRESSOR: Final = 3

#: (content encoding, choose_first)
Offer = tuple[bytes, bool]


class Choice:
    """encoding: the chosen one, b"identity" for none; kind: what in the header decided it."""

    __slots__ = ("encoding", "kind")

    def __init__(self, encoding: bytes, kind: int) -> None:
        self.encoding = encoding
        self.kind = kind


NOTHING: Final = Choice(b"identity", NOT_VALID)


def read_quality(text: bytes) -> float | None:
    """A q-value as Envoy reads numbers; None when it is none."""
    if b"_" in text:  # Python's own addition
        return None
    try:
        return float(text)
    except ValueError:
        return None


def read_accepted(header: bytes) -> list[tuple[bytes, float]]:
    """The entries of accept-encoding, in order, with their q-values."""
    entries: list[tuple[bytes, float]] = []
    for token in header.split(b","):
        if not token:
            continue
        name, _, parameters = token.partition(b";")
        key, equals, value = parameters.partition(b"=")
        quality: float | None = 1.0
        if equals and key.strip().lower() == b"q":
            quality = read_quality(value.strip())
        if quality is not None:
            entries.append((name.strip(), quality))
    return entries


def choose(header: bytes, offers: Sequence[Offer]) -> Choice:
    """offers: in the order of the chain's filters."""
    offered: dict[bytes, bool] = {}
    for encoding, first in offers:
        offered.setdefault(encoding, first)
    entries = read_accepted(header)
    for name, quality in entries:
        if not quality:
            offered.pop(name, None)
    if not entries or not offered:
        return NOTHING
    chosen = b"identity"
    best = 0.0
    for name, quality in entries:
        if name not in offered and name != b"identity" and name != b"*":
            continue
        if quality > best or (quality == best and offered.get(name, False)):
            chosen, best = name, quality
    if not best:
        return NOTHING
    if chosen == b"identity":
        return Choice(chosen, IDENTITY)
    if chosen == b"*":
        return Choice(next(iter(offered)), WILDCARD)
    return Choice(chosen, COMPRESSOR)
