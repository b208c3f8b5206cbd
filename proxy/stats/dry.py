"""A store for trying a configuration out: every stat can be had, and none is kept.

A cluster has more than a hundred stats, which is most of what compiling it costs; whoever only wants to know whether a
configuration is right (``--mode validate``) has no use for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from proxy.stats.histogram import Histogram
from proxy.stats.named import StatNames
from proxy.stats.store import CodeStats, Counter, Gauge, Scope, Store, TextReadout

T = TypeVar("T")


class DryStore(Store):
    """One counter, one gauge, one text and one histogram for all names."""

    __slots__ = ("groups", "one_counter", "one_gauge", "one_histogram", "one_text")

    def __init__(self) -> None:
        self.groups: dict[str, Any] = {}
        self.one_counter = Counter()
        self.one_gauge = Gauge(None)
        self.one_text = TextReadout()
        self.one_histogram = Histogram("ms")
        super().__init__()

    def scope(self, prefix: str) -> Scope:
        """A scope of this store; the prefix does not matter."""
        return DryScope(self)

    def counter(self, name: str) -> Counter:
        """The counter."""
        return self.one_counter

    def gauge(self, name: str, follows: Counter | None = None) -> Gauge:
        """The gauge."""
        return self.one_gauge

    def text(self, name: str) -> TextReadout:
        """The text readout."""
        return self.one_text

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram."""
        return self.one_histogram

    def alias(self, name: str, histogram: Histogram) -> None:
        """Nothing: there are no names."""

    def add_codes(self, codes: CodeStats) -> CodeStats:
        """Nothing: nobody asks for them."""
        return codes


class DryScope(Scope):
    """A scope of a DryStore."""

    __slots__ = ("dry",)

    def __init__(self, store: DryStore) -> None:
        super().__init__(store, "")
        self.dry = store

    def scope(self, name: str) -> Scope:
        """The scope itself."""
        return self

    def counter(self, name: str) -> Counter:
        """The counter."""
        return self.dry.one_counter

    def counters(self, names: StatNames) -> list[Counter]:
        """The counter, as often as names are given."""
        return [self.dry.one_counter] * len(names.names)

    def gauge(self, name: str, follows: Counter | None = None) -> Gauge:
        """The gauge."""
        return self.dry.one_gauge

    def gauges(self, names: StatNames) -> list[Gauge]:
        """The gauge, as often as names are given."""
        return [self.dry.one_gauge] * len(names.names)

    def group(self, kind: str, make: Callable[[Scope], T]) -> T:
        """The first of its kind."""
        groups = self.dry.groups
        if kind not in groups:
            groups[kind] = make(self)
        found: T = groups[kind]
        return found

    def text(self, name: str) -> TextReadout:
        """The text readout."""
        return self.dry.one_text

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram."""
        return self.dry.one_histogram
