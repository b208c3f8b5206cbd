"""Counters of a subscription, in Envoy's names: ``cluster_manager.cds.``, ``listener_manager.lds.``, ``sds.<name>.`` ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.stats.store import Scope

_MASK: Final = (1 << 64) - 1
_PRIMES: Final = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


class SubscriptionStats:
    """update_attempt: asked or read; update_success, update_rejected: what became of it; update_failure: nothing came."""

    __slots__ = (
        "_clock",
        "_text",
        "_time",
        "_version",
        "duration",
        "init_fetch_timeout",
        "update_attempt",
        "update_failure",
        "update_rejected",
        "update_success",
    )

    def __init__(self, scope: Scope, clock: Clock) -> None:
        self._clock = clock
        self.init_fetch_timeout = scope.counter("init_fetch_timeout")
        self.update_attempt = scope.counter("update_attempt")
        self.update_failure = scope.counter("update_failure")
        self.update_rejected = scope.counter("update_rejected")
        self.update_success = scope.counter("update_success")
        self._time = scope.gauge("update_time")
        self._version = scope.gauge("version")
        self._text = scope.text("version_text")
        self.duration = scope.histogram("update_duration")

    def accepted(self, version: str) -> None:
        """An update is in force."""
        self.update_success.value += 1
        self._time.set(int(self._clock.wall() * 1000))
        self._version.set(xxh64(version.encode()))
        self._text.value = version


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0, as Envoy hashes versions into its ``version`` gauges."""
    first, second, third, fourth, fifth = _PRIMES
    size, at = len(data), 0
    if size >= 32:
        lanes = [(first + second) & _MASK, second, 0, -first & _MASK]
        while at + 32 <= size:
            for lane in range(4):
                word = int.from_bytes(data[at : at + 8], "little")
                lanes[lane] = _round(lanes[lane], word)
                at += 8
        result = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane_value in lanes:
            result = ((result ^ _round(0, lane_value)) * first + fourth) & _MASK
    else:
        result = fifth
    result = (result + size) & _MASK
    while at + 8 <= size:
        word = int.from_bytes(data[at : at + 8], "little")
        result = (_rotate(result ^ _round(0, word), 27) * first + fourth) & _MASK
        at += 8
    if at + 4 <= size:
        word = int.from_bytes(data[at : at + 4], "little")
        result = (_rotate(result ^ (word * first & _MASK), 23) * second + third) & _MASK
        at += 4
    for byte in data[at:]:
        result = _rotate(result ^ (byte * fifth & _MASK), 11) * first & _MASK
    result = (result ^ result >> 33) * second & _MASK
    result = (result ^ result >> 29) * third & _MASK
    return result ^ result >> 32


def _round(lane: int, word: int) -> int:
    return _rotate((lane + word * _PRIMES[1]) & _MASK, 31) * _PRIMES[0] & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK
