"""The loop's beat, and who looks at it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.server.options import Options
from proxy.server.supervisor import Memory, Watch
from proxy.server.watchdog import Limits, Watchdog
from proxy.stats.store import Store
from tests.support.config import bootstrap
from tests.unit.server.test_bootstrap import compiled

EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}
NAMES = ("main_thread", "server.main_thread", "workers", "server.worker_0")


class World:
    """Time by hand; the loop keeps what is to be called."""

    def __init__(self, main: Limits, worker: Limits, chance: float = 0.0) -> None:
        self.now = 100.0
        self.store = Store()
        self.told: list[tuple[int, float]] = []
        self.waiting: list[tuple[float, Any]] = []
        self.dog = Watchdog(main, worker, self.store, lambda: self.now, lambda: chance)
        loop: Any = self
        self.dog.start(loop, lambda number, kill_s: self.told.append((number, kill_s)))

    def call_later(self, delay_s: float, callback: Any) -> Any:
        self.waiting.append((delay_s, callback))
        return self

    def cancel(self) -> None:
        self.waiting.clear()

    def turns_after(self, seconds: float) -> None:
        self.now += seconds
        _, callback = self.waiting.pop()
        callback()

    def counted(self, what: str) -> list[int]:
        return [self.store.counters[f"{name}.watchdog_{what}"].value for name in NAMES]


def test_misses_of_both_threads() -> None:
    world = World(Limits(0.2, 1.0), Limits(0.4, 0.5))
    assert world.dog.interval_s == 0.1
    world.turns_after(0.1)
    assert world.counted("miss") == world.counted("mega_miss") == [0, 0, 0, 0]
    world.turns_after(0.3)
    assert world.counted("miss") == [1, 1, 0, 0]
    world.turns_after(0.6)
    assert world.counted("miss") == [2, 2, 1, 1]
    assert world.counted("mega_miss") == [0, 0, 1, 1]
    world.turns_after(1.1)
    assert world.counted("mega_miss") == [1, 1, 2, 2]


def test_each_beat_is_told_until_the_end() -> None:
    world = World(Limits(kill_s=3.0), Limits(kill_s=2.0, jitter_s=4.0), chance=0.5)
    assert world.told == [(1, 3.0)]
    world.turns_after(0.1)
    assert world.told[1:] == [(2, 3.0)]
    world.dog.stop()
    assert world.told[2:] == [(2, 0.0)] and not world.waiting


def test_no_beat_is_too_short() -> None:
    world = World(Limits(0.0, 0.001), Limits(0.001))
    assert world.waiting[0][0] == 0.01


def test_silence() -> None:
    watch = Watch(100.0, 1)
    assert not watch.has_been_silent(100.2, 1, 1.0)
    assert not watch.has_been_silent(100.4, 2, 1.0)  # a beat
    assert [watch.has_been_silent(100.4 + at / 5, 2, 1.0) for at in range(1, 6)] == [False] * 4 + [True]


def test_silence_does_not_count_while_nobody_looked() -> None:
    watch = Watch(100.0, 1)
    assert not watch.has_been_silent(160.0, 1, 1.0)  # everything stood still
    assert not watch.has_been_silent(160.4, 1, 1.0)
    assert not watch.has_been_silent(160.8, 1, 1.0)
    assert watch.has_been_silent(161.0, 1, 1.0)


def test_nobody_is_too_silent_who_asks_for_nothing() -> None:
    watch = Watch(100.0, 1)
    assert not any(watch.has_been_silent(100.0 + at, 1, 0.0) for at in range(50))


def test_the_beat_is_beside_the_counters() -> None:
    memory = Memory()
    assert memory.last_beat() == (0, 0.0)
    memory.write(b"one")
    memory.beat(7, 2.5)
    memory.write(b"two")
    assert (memory.last_beat(), memory.read()) == ((7, 2.5), b"two")


def with_watchdog(supervised: str = "", **fields: Any) -> Any:
    return compiled(bootstrap(9901, [], [], **fields), Options(supervised=supervised))


def test_nothing_without_configuration() -> None:
    assert with_watchdog().watchdog is None
    assert not [name for name in with_watchdog().context.stats.counters if "watchdog" in name]


def test_configuration() -> None:
    parts = with_watchdog(
        "1,2",
        watchdogs={
            "main_thread_watchdog": {"miss_timeout": "2s", "kill_timeout": "3s"},
            "worker_watchdog": {"miss_timeout": "4s", "megamiss_timeout": "5s", "kill_timeout": "9s"},
        },
    )
    assert not parts.errors.findings and not parts.errors.warnings
    assert (parts.watchdog.kill_s, parts.watchdog.interval_s) == (3.0, 0.5)


def test_the_older_field_is_for_both_threads() -> None:
    parts = with_watchdog("1,2", watchdog={"kill_timeout": "0.05s"})
    assert parts.watchdog.kill_s == 0.1
    assert [one.path for one in parts.errors.warnings] == ["watchdog", "watchdog.kill_timeout"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"kill_timeout": "5s"}, ["kill_timeout"]),  # there is no supervisor
        ({"multikill_timeout": "5s", "multikill_threshold": {"value": 50}}, ["multikill_timeout", "multikill_threshold"]),
        ({"actions": [{"config": {"name": "a", "typed_config": EMPTY}, "event": "MISS"}]}, ["actions"]),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_said(fields: dict[str, Any], paths: list[str]) -> None:
    parts = with_watchdog(watchdogs={"worker_watchdog": fields})
    assert not parts.errors.findings
    assert {one.path for one in parts.errors.warnings} == {
        f"watchdogs.worker_watchdog.{each}" for each in paths
    }


@pytest.mark.parametrize(
    "fields",
    [{"watchdog": {}, "watchdogs": {}}, {"watchdogs": {"worker_watchdog": {"kill_timeout": "-1s"}}}],
)
def test_what_is_refused(fields: dict[str, Any]) -> None:
    assert len(with_watchdog(**fields).errors.findings) == 1
