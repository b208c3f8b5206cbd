"""Counts that travel, and the memory that survives a worker."""

from __future__ import annotations

import json
import os

from proxy.server.handover import Counts
from proxy.server.supervisor import Memory
from proxy.stats.store import Store


def counted(**counters: int) -> Store:
    store = Store()
    for name, count in counters.items():
        store.counter(name).value = count
    histogram = store.histogram("times", "ms")
    for value in (1, 5, 5, 900):
        histogram.record(value)
    return store


def test_counts_go_on_in_another_store():
    given = Counts.read(json.loads(Counts.of(counted(a=3, b=0)).line())["counters"])
    other = Store()
    other.counter("a").value = 4
    other.histogram("times", "ms").record(5)
    given.add_to(other)
    assert (other.counter("a").value, other.counter("b").value) == (7, 0)
    other.fold()
    assert other.histogram("times", "ms").export()[0] == 5


def test_only_what_was_added_since():
    store = counted(a=3, b=9)
    before = Counts.of(store)
    store.counter("a").value = 5
    store.counter("b").value = 2  # reset in between
    store.counter("c").value = 1
    store.histogram("times", "ms").record(5)
    since = Counts.of(store).since(before)
    assert {name: since.counters[name] for name in "abc"} == {"a": 2, "b": 2, "c": 1}
    count, total, buckets, bins = since.histograms["times"][1]
    assert (count, sum(buckets), sum(bins.values())) == (1, 1, 1) and abs(total - 5) < 1


def test_histograms_with_other_buckets_begin_anew():
    given = Counts({}, {"times": ("ms", (2, 7.0, [1, 1], {1: 2}))})
    other = Store()
    given.add_to(other)
    other.fold()
    assert other.histogram("times", "ms").export()[0] == 0


def test_memory_keeps_what_was_written_last_and_whole():
    memory = Memory()
    try:
        assert memory.read() == b""
        for text in (b"one", b"second one", b"3"):
            assert memory.write(text)
            assert Memory(memory.descriptor).read() == text
        # killed in the middle of the next write: the last one still counts
        os.pwrite(memory.descriptor, b"\xff" * 20, 0)
        assert Memory(memory.descriptor).read() == b"3"
        again = Memory(memory.descriptor)
        again.read()
        again.write(b"4")
        assert memory.read() == b"4"
        assert not memory.write(bytes(33 * 1024 * 1024))
    finally:
        os.close(memory.descriptor)
