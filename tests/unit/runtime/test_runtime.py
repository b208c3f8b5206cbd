"""Snapshots, slots and the stats of Envoy."""

from __future__ import annotations

import gc

from proxy.runtime.layers import AdminLayer, DiskLayer, StaticLayer
from proxy.runtime.runtime import Runtime
from proxy.runtime.snapshot import Snapshot
from proxy.stats.store import Store
from tests.support.runtime import runtime_of


def figures(store: Store) -> dict[str, int]:
    names, values = store.names(), store.values()
    found: dict[str, int] = dict(zip(names.counters, values.counters, strict=True))
    found |= {name: value or 0 for name, value in zip(names.gauges, values.gauges, strict=True)}
    return {
        name.removeprefix("runtime."): value for name, value in found.items() if name.startswith("runtime.")
    }


def test_a_later_layer_goes_before_an_earlier_one() -> None:
    runtime = Runtime([StaticLayer("low", {"a": 1, "b": 1}), StaticLayer("high", {"b": 2})])
    assert [runtime.snapshot.integer(key, 0) for key in "abc"] == [1, 2, 0]


def test_every_form_has_its_default() -> None:
    values = {"number": 7, "half": 0.5, "yes": True, "text": "t", "many": 700, "share": {"numerator": 3}}
    snapshot = Runtime([StaticLayer("s", values)]).snapshot
    assert (snapshot.integer("number", 1), snapshot.integer("text", 1), snapshot.integer("yes", 1)) == (
        7,
        1,
        1,
    )
    assert (snapshot.double("half", 1.0), snapshot.double("share", 1.0)) == (0.5, 1.0)
    assert (snapshot.boolean("yes", False), snapshot.boolean("number", False)) == (True, True)
    assert (snapshot.boolean("text", True), snapshot.boolean("half", True)) == (True, True)
    assert snapshot.fraction("share", (1, 2)) == (3, 100)
    assert snapshot.fraction("number", (1, 2)) == (7, 100)
    assert snapshot.fraction("many", (1, 2)) == (100, 100)
    assert snapshot.fraction("text", (1, 2)) == (1, 2)
    assert (snapshot.share("share", 1.0), snapshot.share("many", 0.1), snapshot.share("text", 0.1)) == (
        0.03,
        1.0,
        0.1,
    )


def test_what_is_below_a_prefix() -> None:
    snapshot = Runtime([StaticLayer("s", {"a.b.c": 1, "d": 2})]).snapshot
    below = [prefix for prefix in ("a", "a.b", "a.b.c", "b", "d", "") if snapshot.has_below(prefix)]
    assert below == ["a", "a.b"]


def test_the_empty_key_names_nothing() -> None:
    runtime = Runtime([StaticLayer("s", {"": 5})])
    assert runtime.snapshot.integer("", 1) == 1
    assert runtime.fraction("", 1, 2).share == 0.5


def test_slots_follow() -> None:
    runtime, change = runtime_of(i="3")
    integer, double = runtime.integer("i", 1), runtime.double("d", 0.5)
    boolean, fraction = runtime.boolean("b", False), runtime.fraction("f", 1, 4)
    seen: list[int] = []
    watch = runtime.watch(lambda snapshot: seen.append(snapshot.integer("i", 0)))
    assert (integer.value, double.value, boolean.value, fraction.share) == (3, 0.5, False, 0.25)
    change(i="4", d="1.5", b="true", f="{numerator: 200}")
    assert (integer.value, double.value, boolean.value, fraction.share) == (4, 1.5, True, 2.0)
    assert (fraction.numerator, fraction.denominator) == (200, 100)
    change(i="", d="", b="", f="")
    assert (integer.value, double.value, boolean.value, fraction.share) == (1, 0.5, False, 0.25)
    assert seen == [3, 4, 0]
    del watch
    gc.collect()
    change(i="9")
    assert seen == [3, 4, 0], "who holds no watch is told nothing"


def test_slots_go_with_their_holders() -> None:
    runtime, _ = runtime_of()
    held = runtime.integer("a", 1)
    for _ in range(100):
        runtime.integer("b", 1)
    gc.collect()
    assert list(runtime._slots) == [held]


def test_stats_are_envoys() -> None:
    store = Store()
    here: dict[str, str] | None = {"a": "1"}
    first = DiskLayer("d1", "/r", "/r/1", lambda path: here)
    second = DiskLayer("d2", "/r", "/r/2", lambda path: here)
    told = []
    layers = [StaticLayer("s", {"a": 5, "b": 6}), first, second, AdminLayer("adm")]
    runtime = Runtime(layers, store.scope("runtime"), lambda name, reason: told.append(name))
    expected = {
        "admin_overrides_active": 0,
        "deprecated_feature_seen_since_process_start": 0,
        "deprecated_feature_use": 0,
        "load_error": 0,
        "load_success": 1,
        "num_keys": 2,
        "num_layers": 4,
        "override_dir_exists": 1,
        "override_dir_not_exists": 0,
    }
    assert figures(store) == expected
    here = None
    runtime.reload()
    expected |= {"load_success": 2, "num_layers": 2, "override_dir_not_exists": 1}
    assert figures(store) == expected
    here = {"a": "{"}
    runtime.merge_overrides({"c": "1"})
    expected |= {"load_error": 1, "override_dir_not_exists": 2, "num_keys": 3, "admin_overrides_active": 1}
    assert figures(store) == expected
    assert told == ["d1", "d2"]
    assert runtime.snapshot.integer("a", 0) == 5, "a layer that cannot be read is left out"
    runtime.merge_overrides({"c": ""})
    assert figures(store)["admin_overrides_active"] == 0


def test_without_layers_there_is_nothing() -> None:
    assert Runtime().snapshot.entries == Snapshot().entries == {}
