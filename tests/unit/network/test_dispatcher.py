"""The turn of the loop: everything touched is flushed, timers ring, one mistake stays where it was made."""

from __future__ import annotations

from typing import Any, cast

from proxy.base.clock import Clock
from proxy.network.dispatcher import Dispatcher
from proxy.stats.store import Counter
from tests.support.memory_loop import MemoryLoop


class Connection:
    """Notes its flushes; may touch another, or raise."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.flushed = 0
        self.touches: Connection | None = None
        self.raises = False
        self.fenced: list[str] = []
        self.due = float("inf")

    def touch(self) -> None:
        self.dispatcher.dirty.append(self)

    def flush(self) -> None:
        self.flushed += 1
        other, self.touches = self.touches, None
        if other is not None:
            other.touch()
        if self.raises:
            raise RuntimeError("mine")

    def fence(self, error: Exception) -> None:
        self.fenced.append(str(error))

    def on_due(self, now: float) -> float:
        self.flush()
        return float("inf")


def make() -> tuple[Dispatcher, MemoryLoop, Counter]:
    loop, bugs = MemoryLoop(), Counter()
    return Dispatcher(cast(Any, loop), Clock(lambda: loop.now), bugs), loop, bugs


def test_flush_goes_on_until_nobody_is_dirty():
    dispatcher, _, _ = make()
    first, second = Connection(dispatcher), Connection(dispatcher)
    first.touches, second.touches = second, first
    first.touch()
    dispatcher.flush()
    assert (first.flushed, second.flushed) == (2, 1)
    assert dispatcher.dirty == []


def test_a_connection_that_raises_is_fenced_and_the_others_are_flushed():
    dispatcher, _, _ = make()
    connections = [Connection(dispatcher) for _ in range(5)]
    connections[1].raises = True
    for connection in connections:
        connection.touch()
    dispatcher.flush()
    assert [each.flushed for each in connections] == [1] * 5
    assert connections[1].fenced == ["mine"]


def test_a_timer_that_raises_is_fenced_and_the_others_ring():
    dispatcher, loop, bugs = make()
    connections = [Connection(dispatcher) for _ in range(5)]
    connections[2].raises = True
    for connection in connections:
        dispatcher.timers.watch(connection, loop.now + 1.0)
    loop.wait(2.0)
    assert [each.flushed for each in connections] == [1] * 5
    assert connections[2].fenced == ["mine"]
    assert bugs.value == 0, "the fence counts"


def test_a_timer_without_a_fence_is_counted(caplog):
    class Alone:
        due = float("inf")

        def on_due(self, now: float) -> float:
            raise RuntimeError("mine")

    dispatcher, loop, bugs = make()
    dispatcher.timers.watch(Alone(), loop.now + 1.0)
    loop.wait(2.0)
    assert bugs.value == 1
    assert "envoy bug failure in a timer" in caplog.text


def test_the_loop_is_woken_for_the_earliest_timer_only():
    dispatcher, loop, _ = make()
    early, late = Connection(dispatcher), Connection(dispatcher)
    dispatcher.timers.watch(late, loop.now + 9.0)
    dispatcher.timers.watch(early, loop.now + 1.0)
    assert loop.armed is not None and loop.armed < loop.now + 1.1
    loop.wait(1.5)
    assert (early.flushed, late.flushed) == (1, 0)
    loop.wait(10.0)
    assert late.flushed == 1
    assert loop.armed is None


def test_after_close_nothing_rings():
    dispatcher, loop, _ = make()
    connection = Connection(dispatcher)
    dispatcher.timers.watch(connection, loop.now + 1.0)
    dispatcher.close()
    loop.wait(5.0)
    assert connection.flushed == 0


def test_connection_ids_begin_at_one():
    dispatcher, _, _ = make()
    assert [dispatcher.next_connection_id() for _ in range(3)] == [1, 2, 3]
