"""proxy.stats.named: a name stands for one stat, whether it is made or not."""

from __future__ import annotations

import pytest

from proxy.stats.named import StatNames
from proxy.stats.store import Store

NAMES = StatNames(["total", "http1.dropped", "http1.flood"])


def test_a_group_is_found_by_name_before_anybody_has_looked() -> None:
    store = Store()
    total, dropped, flood = store.scope("cluster").scope("a.b").counters(NAMES)
    assert store.counter("cluster.a.b.http1.dropped") is dropped
    assert store.counter("cluster.a.b.total") is total
    assert store.counter("cluster.a.b.other") not in (total, dropped, flood)
    assert store.counter("cluster.a.b.http1.other") not in (total, dropped, flood)
    assert store.counters["cluster.a.b.http1.flood"] is flood
    assert store.size == len(store.counters) == 6


@pytest.mark.parametrize("looked", [False, True])
def test_who_asks_again_has_the_same(looked: bool) -> None:
    store = Store()
    scope = store.scope("cluster.a")
    first = scope.counters(NAMES)
    if looked:
        assert "cluster.a.total" in store.counters
    second = store.scope("cluster.a").counters(NAMES)
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert store.size == len(store.counters) == 4


@pytest.mark.parametrize("looked", [False, True])
def test_a_name_that_was_there_before_is_part_of_the_group(looked: bool) -> None:
    store = Store()
    before = store.counter("cluster.a.http1.flood")
    if looked:
        assert store.counters
    assert store.scope("cluster.a").counters(NAMES)[2] is before
    assert store.size == len(store.counters) == 4


@pytest.mark.parametrize("names", [["dropped", "own"], ["own", "flood"]])
def test_one_group_may_reach_into_another(names: list[str]) -> None:
    """Cluster "a" has "http1.dropped", cluster "a.http1" has "dropped": one counter."""
    store = Store()
    of_a = dict(zip(NAMES.names, store.scope("cluster").scope("a").counters(NAMES), strict=True))
    group = StatNames(names)
    inside = dict(zip(names, store.scope("cluster").scope("a.http1").counters(group), strict=True))
    shared = (set(names) - {"own"}).pop()
    assert inside[shared] is of_a[f"http1.{shared}"]
    assert inside["own"] is store.counters["cluster.a.http1.own"]
    assert store.size == len(store.counters) == 5


def test_other_names_under_the_same_prefix() -> None:
    store = Store()
    first = store.scope("a").gauges(StatNames(["x", "y"]))
    second = store.scope("a").gauges(StatNames(["y", "z"]))
    assert second[0] is first[1]
    assert list(store.gauges) == ["a.z", "a.x", "a.y"]
