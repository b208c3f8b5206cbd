"""The feed of statistics sinks: what was added since, values once, everything bounded, nothing without sinks."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.stats import sink as module
from proxy.stats.sink import SinkFeed, StatsSink
from proxy.stats.store import Store


class Kept(StatsSink):
    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.gauges: dict[str, int] = {}
        self.values: list[tuple[str, list[float]]] = []
        self.closed = False

    def flush(self, counters: Sequence[tuple[str, int]], gauges: Sequence[tuple[str, int]]) -> None:
        self.counters, self.gauges = dict(counters), dict(gauges)

    def record(self, name: str, values: Sequence[float]) -> None:
        self.values.append((name, list(values)))

    def close(self) -> None:
        self.closed = True


def test_counters_since_the_last_time() -> None:
    store, sink = Store(), Kept()
    feed = SinkFeed(store, [sink])
    counter, _ = store.counter("a"), store.counter("never")
    counter.value += 3
    feed.flush()
    assert sink.counters == {"a": 3}
    feed.flush()
    assert sink.counters == {"a": 0}
    counter.value += 2
    feed.flush()
    assert sink.counters == {"a": 2}
    store.reset_counters()
    feed.flush()
    assert sink.counters == {"a": 0}
    counter.value += 1
    feed.flush()
    assert sink.counters == {"a": 1}
    store.reset_counters()
    counter.value += 1
    feed.flush()
    assert sink.counters == {"a": 0}, "as much as before: nobody can tell"


def test_gauges_that_were_used() -> None:
    store, sink = Store(), Kept()
    store.gauge("zero").set(0)
    store.gauge("unused")
    store.gauge("five").value = 5
    SinkFeed(store, [sink]).flush()
    assert sink.gauges == {"zero": 0, "five": 5}


def test_values_of_histograms_once_under_each_name() -> None:
    store, sink = Store(), Kept()
    early = store.histogram("early")
    feed = SinkFeed(store, [sink])
    late = store.histogram("late")
    store.alias("other", late)
    early.record(1.5)
    late.record(2.0)
    store.fold()  # a page was asked for
    late.record(3.0)
    feed.record()
    assert sink.values == [("early", [1.5]), ("late", [2.0, 3.0]), ("other", [2.0, 3.0])]
    feed.record()
    assert len(sink.values) == 3


def test_values_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 2)
    store, sink = Store(), Kept()
    feed = SinkFeed(store, [sink])
    for value in (1.0, 2.0, 3.0):
        store.histogram("h").record(value)
    feed.close()
    assert sink.values == [("h", [1.0, 2.0])] and sink.closed
    assert store.counters["server.stats_sink_values_dropped"].value == 1


def test_without_sinks_no_value_is_kept() -> None:
    store = Store()
    feed = SinkFeed(store, [])
    histogram = store.histogram("h")
    histogram.record(1.0)
    feed.record()
    feed.flush()
    assert histogram.take_kept() == [] and histogram.count == 1
    assert "server.stats_sink_values_dropped" not in store.counters
