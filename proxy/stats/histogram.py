"""Histograms: exact Prometheus buckets and fine log-linear bins for percentiles.

``record`` only appends to a list (it *is* the list's append: no Python frame on the hot path); values are *folded*
into buckets and bins when somebody looks and when the owner says so: ``Store.fold`` once a second, so that the list
holds at most a second's values.

Bins are log-linear with two significant digits (as in Circonus' circllhist, which Envoy uses): 1.0-1.1, 1.1-1.2 ...
9.9-10, 10-11 ... A bin's key is ``exponent * 100 + digits``, digits 10..99, so keys sort like values.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

DEFAULT_BOUNDS: Final[tuple[float, ...]] = (
    *(0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000),
    *(60000, 300000, 600000, 1800000, 3600000),
)
QUANTILES: Final[tuple[float, ...]] = (0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)

ZERO_BIN: Final = -100_000
SMALLEST: Final = 1e-9
LARGEST: Final = 1e30

_NO_BINS: Final[Mapping[int, int]] = MappingProxyType({})


def bin_key(value: float) -> int:
    """The key of the bin that holds the value; everything below 1e-9 (and negative) is in the zero bin."""
    if value < SMALLEST:
        return ZERO_BIN
    exponent = math.floor(math.log10(value))
    digits = int(round(value / 10.0 ** (exponent - 1), 9))
    if digits >= 100:  # the logarithm of 999.99... was rounded down, or up
        return (exponent + 1) * 100 + 10
    if digits < 10:
        return (exponent - 1) * 100 + 99
    return exponent * 100 + digits


def bin_edges(key: int) -> tuple[float, float]:
    """Lower edge and width of a bin."""
    if key == ZERO_BIN:
        return 0.0, 0.0
    exponent, digits = divmod(key, 100)
    if exponent >= 1:
        width = 10 ** (exponent - 1)
        return float(digits * width), float(width)
    scale = 10 ** (1 - exponent)
    return digits / scale, 1 / scale


def quantiles(bins: Mapping[int, int], wanted: Sequence[float] = QUANTILES) -> list[float]:
    """Values at the wanted percentiles (0..100, ascending); NaN when nothing was recorded.

    Within a bin of n samples the k-th lies at k/(n+1) of its width, as Envoy prints them.
    """
    total = sum(bins.values())
    if not total:
        return [math.nan] * len(wanted)
    ordered = sorted(bins.items())
    at, below = 0, 0
    result = []
    for percent in wanted:
        rank = max(1, math.ceil(total * percent / 100 - 1e-9))
        while below + ordered[at][1] < rank:
            below += ordered[at][1]
            at += 1
        key, count = ordered[at]
        left, width = bin_edges(key)
        result.append(left + width * (rank - below) / (count + 1))
    return result


class Histogram:
    """Counts of recorded values.

    unit: "ms", "bytes" or "" (informative); bounds: upper bounds (inclusive) of the Prometheus buckets, ascending.
    record(value): count one value. Hot.
    """

    __slots__ = (
        "_bins",
        "_buckets",
        "_count",
        "_interval",
        "_kept",
        "_pending",
        "_sum",
        "_young",
        "bounds",
        "record",
        "unit",
    )

    def __init__(self, unit: str = "ms", bounds: tuple[float, ...] = DEFAULT_BOUNDS) -> None:
        self.unit = unit
        self.bounds = bounds
        self._pending: list[float] = []
        self.record = self._pending.append
        self._bins: Mapping[int, int] = _NO_BINS  # since the start
        self._young: Mapping[int, int] = _NO_BINS  # since the last flush
        self._interval: Mapping[int, int] = _NO_BINS  # between the last two flushes
        self._buckets: list[int] = []  # disjoint, one more than bounds; empty until something was recorded
        self._sum: float = 0.0
        self._count = 0
        self._kept: list[float] | None = None  # single values for statistics sinks; None: there are none

    def keep_values(self) -> None:
        """From now on ``take_kept`` gives what was recorded."""
        if self._kept is None:
            self._kept = []

    def take_kept(self) -> list[float]:
        """What was recorded since the last time, in order."""
        self.fold()
        kept = self._kept
        if not kept:
            return []
        self._kept = []
        return kept

    def fold(self) -> None:
        """Move pending values into buckets, bins, sum and count. Values that are no numbers of this world are dropped."""
        if not self._pending:
            return
        pending = Counter(self._pending)
        if self._kept is not None:
            self._kept += self._pending
        self._pending.clear()
        buckets = self._buckets = self._buckets or [0] * (len(self.bounds) + 1)
        bins, young = dict(self._bins), dict(self._young)
        bounds = self.bounds
        for value, count in pending.items():
            if not value < LARGEST:
                continue
            value = value if value > 0 else 0.0
            key = bin_key(value)
            bins[key] = bins.get(key, 0) + count
            young[key] = young.get(key, 0) + count
            buckets[bisect_left(bounds, value)] += count
            self._sum += value * count
            self._count += count
        self._bins, self._young = bins, young

    def flush(self) -> None:
        """End an interval: what was recorded since the last flush becomes the interval that /stats prints."""
        self.fold()
        self._interval, self._young = self._young, _NO_BINS

    @property
    def used(self) -> bool:
        """Whether anything was ever recorded."""
        return bool(self._count or self._pending)

    @property
    def count(self) -> int:
        """How many values were recorded."""
        self.fold()
        return self._count

    @property
    def sum(self) -> float:
        """The exact sum of the recorded values."""
        self.fold()
        return self._sum

    def buckets(self) -> list[int]:
        """Disjoint counts, one per bound and one for all above."""
        self.fold()
        return list(self._buckets) or [0] * (len(self.bounds) + 1)

    def bins(self) -> Mapping[int, int]:
        """Fine bins since the start, live."""
        self.fold()
        return self._bins

    def interval_bins(self) -> Mapping[int, int]:
        """Fine bins of the last complete interval."""
        return self._interval

    def export(self) -> tuple[int, float, list[int], dict[int, int]]:
        """(count, sum, buckets, bins) for another process; nothing recorded exports empty buckets."""
        self.fold()
        return self._count, self._sum, list(self._buckets), dict(self._bins)

    def add(self, exported: tuple[int, float, Sequence[int], Mapping[int, int]]) -> None:
        """Add what another histogram with the same bounds exported. Raises ValueError when the bounds differ."""
        count, total, buckets, bins = exported
        if not count:
            return
        self.fold()
        own = self._buckets or [0] * (len(self.bounds) + 1)
        self._buckets = [a + b for a, b in zip(own, buckets, strict=True)]
        merged = dict(self._bins)
        for key, n in bins.items():
            merged[key] = merged.get(key, 0) + n
        self._bins = merged
        self._count += count
        self._sum += total
