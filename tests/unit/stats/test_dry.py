"""The store for trying a configuration out."""

from __future__ import annotations

from proxy.stats.dry import DryStore
from proxy.stats.named import StatNames
from proxy.stats.store import CodeStats
from proxy.upstream.stats import ClusterCodes, ClusterStats


def test_everything_can_be_had_and_nothing_is_kept() -> None:
    store = DryStore()
    scope = store.scope("cluster").scope("a")
    assert scope.counter("x") is scope.scope("b").counter("y")
    assert scope.counters(StatNames(["x", "y"])) == [store.counter("z")] * 2
    assert scope.gauge("x") is store.gauge("y")
    assert scope.histogram("x") is store.histogram("y", "bytes")
    assert scope.text("x") is store.text("y")
    stats = ClusterStats(scope)
    ClusterCodes(scope, stats).record(200)
    CodeStats(scope, prefix="rq_", used_lazily=False).record(503)
    stats.upstream_rq_total.value += 1
    stats.upstream_rq_time.record(1.0)
    names = store.names()
    assert (names.counters, names.gauges, names.texts, names.histograms) == ([], [], [], [])
    assert store.size == 0
