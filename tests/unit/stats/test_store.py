"""proxy.stats.store: names, use, limits, merging."""

from __future__ import annotations

import pytest

from proxy.stats.named import StatNames
from proxy.stats.store import CodeStats, Counter, Gauge, Store, merged, sanitise


def test_the_same_name_is_the_same_object() -> None:
    store = Store()
    scope = store.scope("cluster").scope("back")
    assert scope.prefix == "cluster.back."
    assert scope.counter("upstream_rq_total") is store.counter("cluster.back.upstream_rq_total")
    assert scope.gauge("g") is scope.gauge("g")
    assert scope.histogram("h") is scope.histogram("h")
    assert scope.text("t") is scope.text("t")


@pytest.mark.parametrize(
    "name, expected",
    [  # seen on Envoy 1.40.0
        ("127.0.0.1_19902", "127.0.0.1_19902"),
        ("[::1]_19904", "[__1]_19904"),
        ("od:d/c.d x", "od_d/c.d x"),
        ("http://a:b", "http_a_b"),
        ("evil\nname: 1", "evil_name_ 1"),
    ],
)
def test_configured_names_become_stat_names(name: str, expected: str) -> None:
    assert sanitise(name) == expected
    assert Store().scope("listener").scope(name).prefix == f"listener.{expected}."


def test_a_gauge_is_used_when_it_moved_or_was_set() -> None:
    total = Counter()
    gauge = Gauge(follows=total)
    assert not gauge.used
    gauge.value = 1
    assert gauge.used
    gauge.value = 0
    assert not gauge.used
    total.value = 1
    assert gauge.used
    state = Gauge()
    state.set(0)
    assert state.used


def test_reset_counters_leaves_gauges_alone() -> None:
    store = Store()
    store.counter("c").value = 5
    store.gauge("g").value = 5
    store.reset_counters()
    assert (store.counter("c").value, store.gauge("g").value) == (0, 5)


def test_stats_beyond_the_limit_work_unlisted_and_are_counted() -> None:
    store = Store(limit=3)
    kept = store.counter("a")
    store.gauge("b")
    lost = store.histogram("c")
    lost.record(1)
    store.counter("d").value += 1
    assert store.counter("a") is kept
    assert store.size == 3
    assert not store.histograms
    assert store.overflow.value == 2
    assert list(store.counters) == ["server.stats_overflow", "a"]


def test_stats_that_the_matcher_rejects_work_unlisted_and_are_no_overflow() -> None:
    store = Store()
    store.matcher = lambda name: not name.startswith("secret.")
    store.counter("secret.x").value += 1
    assert "secret.x" not in store.counters
    assert store.overflow.value == 0


def test_code_stats_appear_with_the_first_response() -> None:
    store = Store()
    codes = CodeStats(store.scope("cluster").scope("back"), prefix="upstream_rq_")
    assert not any(name.startswith("cluster.") for name in store.counters)
    for status in (200, 200, 204, 503):
        codes.record(status)
    assert {name: c.value for name, c in store.counters.items() if name.startswith("cluster.")} == {
        "cluster.back.upstream_rq_completed": 4,
        "cluster.back.upstream_rq_2xx": 3,
        "cluster.back.upstream_rq_200": 2,
        "cluster.back.upstream_rq_204": 1,
        "cluster.back.upstream_rq_5xx": 1,
        "cluster.back.upstream_rq_503": 1,
    }


def test_code_stats_of_a_listener_exist_at_zero_and_know_no_single_codes() -> None:
    store = Store()
    codes = CodeStats(
        store.scope("http").scope("a"), prefix="downstream_rq_", used_lazily=False, each_code=False
    )
    codes.record(404)
    codes.record(404)
    values = {name: c.value for name, c in store.counters.items() if name.startswith("http.")}
    assert values == {
        **{f"http.a.downstream_rq_{digit}xx": 0 for digit in range(1, 6)},
        "http.a.downstream_rq_4xx": 2,
        "http.a.downstream_rq_completed": 2,
    }


def test_a_peer_cannot_invent_code_names() -> None:
    store = Store()
    codes = CodeStats(store.scope("x"), prefix="rq_")
    for status in range(600, 1000):
        codes.record(status)
    assert store.counters["x.rq_unknown"].value == 400
    assert len(store.counters) == 3  # overflow, unknown, completed


def test_workers_are_summed() -> None:
    workers = [Store(), Store()]
    for number, worker in enumerate(workers, 1):
        worker.counter("c").value = number
        worker.gauge("level").value = number
        worker.gauge("never")
        worker.text("t").value = "words" if number == 1 else ""
        worker.histogram("h", "bytes").record(number)
    workers[1].counter("only.second").value = 7
    total = merged([(worker.names(), worker.values()) for worker in workers], like=workers[0])
    assert total.counter("c").value == 3
    assert total.counter("only.second").value == 7
    assert total.gauge("level").value == 3
    assert not total.gauge("never").used
    assert total.text("t").value == "words"
    assert (total.histogram("h").count, total.histogram("h").sum, total.histogram("h").unit) == (
        2,
        3,
        "bytes",
    )


def test_names_and_values_run_in_parallel() -> None:
    store = Store()
    store.counter("b").value = 1
    store.counter("a").value = 2
    names, values = store.names(), store.values()
    assert dict(zip(names.counters, values.counters, strict=True)) == {
        "server.stats_overflow": 0,
        "b": 1,
        "a": 2,
    }


def test_many_at_once_are_the_ones_that_names_find() -> None:
    store = Store()
    scope = store.scope("cluster").scope("back")
    kept = scope.counter("b")
    counters = scope.counters(StatNames(["a", "b", "c"]))  # one of them is there already
    assert counters[1] is kept
    assert (
        counters
        == [store.counter(f"cluster.back.{name}") for name in "abc"]
        == scope.counters(StatNames(["a", "b", "c"]))
    )
    gauges = scope.gauges(StatNames(["x", "y"]))
    assert (
        gauges
        == [store.gauge("cluster.back.x"), store.gauge("cluster.back.y")]
        == scope.gauges(StatNames(["x", "y"]))
    )
    assert store.size == len(store.counters) + len(store.gauges) == 6


def test_many_at_once_know_the_limit_and_the_matcher() -> None:
    store = Store(limit=3)
    store.scope("").counters(StatNames(["a", "b", "c"]))
    store.scope("").gauges(StatNames(["d", "e"]))
    assert (list(store.counters), list(store.gauges)) == (["server.stats_overflow", "a", "b"], [])
    assert store.overflow.value == 3
    store = Store()
    store.matcher = lambda name: not name.startswith("secret")
    store.scope("").counters(StatNames(["a", "secret"]))
    store.scope("").gauges(StatNames(["b", "secrets"]))
    assert (list(store.counters), list(store.gauges)) == (["server.stats_overflow", "a"], ["b"])


def test_codes_of_one_name_are_counted_together():
    """A cluster that takes another's place counts where that one did, and the store does not grow with each."""
    store = Store()
    first = CodeStats(store.scope("cluster.a"), prefix="upstream_rq_")
    second = CodeStats(store.scope("cluster.a"), prefix="upstream_rq_")
    first.record(200)
    second.record(200)
    second.record(503)
    second.take_back()
    assert store.counters["cluster.a.upstream_rq_200"].value == 2
    assert "cluster.a.upstream_rq_503" not in store.counters
    assert len(store._codes) == 1
