"""What a statistics sink is given, and when: changes every stats_flush_interval, values of histograms once a second.

Off the path of requests: a histogram keeps its values only where a sink wants them, and not without limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from proxy.stats.histogram import Histogram
    from proxy.stats.store import Store

#: values of one histogram that wait for the sinks; more are counted in server.stats_sink_values_dropped
MAX_VALUES: Final = 10_000


@mypyc_attr(allow_interpreted_subclasses=True)
class StatsSink:
    """Where numbers go: ``Class(config, context)`` from bootstrap.stats_sinks."""

    __slots__ = ()

    def flush(self, counters: Sequence[tuple[str, int]], gauges: Sequence[tuple[str, int]]) -> None:
        """counters: what was added since the last time; both only those that were ever used. Must not block."""
        raise NotImplementedError

    def record(self, name: str, values: Sequence[float]) -> None:
        """Values of a histogram, in order. Must not block."""
        raise NotImplementedError

    def close(self) -> None:
        """The process ends."""


class SinkFeed:
    """Feeds every sink of a bootstrap; without sinks it does nothing."""

    __slots__ = ("_last", "dropped", "sinks", "store")

    def __init__(self, store: Store, sinks: Sequence[StatsSink]) -> None:
        self.store = store
        self.sinks = tuple(sinks)
        self._last: dict[str, int] = {}
        self.dropped = store.counter("server.stats_sink_values_dropped") if sinks else None
        if self.sinks:
            store.keep_values()

    def flush(self) -> None:
        """Every stats_flush_interval."""
        if not self.sinks:
            return
        last = self._last
        counters: list[tuple[str, int]] = []
        for name, counter in self.store.counters.items():
            value = counter.value
            if value:
                before = last.get(name, 0)
                # it may have been reset
                counters.append((name, value - before if value >= before else value))
                last[name] = value
            elif name in last:
                counters.append((name, 0))
                last[name] = 0
        gauges = [(name, gauge.value) for name, gauge in self.store.gauges.items() if gauge.used]
        self.record()
        for sink in self.sinks:
            sink.flush(counters, gauges)

    def record(self) -> None:
        """Once a second."""
        if not self.sinks:
            return
        taken: dict[Histogram, list[float]] = {}
        for name, histogram in self.store.histograms.items():
            values = taken.get(histogram)
            if values is None:  # one may stand under two names
                values = taken[histogram] = histogram.take_kept()
            if not values:
                continue
            if len(values) > MAX_VALUES and self.dropped is not None:
                self.dropped.value += len(values) - MAX_VALUES
            for sink in self.sinks:
                sink.record(name, values[:MAX_VALUES])

    def close(self) -> None:
        """What is left, and the end."""
        self.flush()
        for sink in self.sinks:
            sink.close()
