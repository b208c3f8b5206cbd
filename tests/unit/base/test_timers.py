"""The wheel: nothing early, nothing lost, one error does not cost the others their turn."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.timers import Alarm, Timed, TimerWheel


class Item:
    """Notes when it was asked; answers with what was put into ``again``."""

    def __init__(self, *again: float) -> None:
        self.due = inf
        self.again = list(again)
        self.asked: list[float] = []

    def on_due(self, now: float) -> float:
        self.asked.append(now)
        return self.again.pop(0) if self.again else inf


def test_an_item_is_asked_in_its_slot_and_not_before():
    wheel, item = TimerWheel(0.01), Item()
    wheel.watch(item, 1.005)
    assert wheel.next_due() == pytest.approx(1.01)
    wheel.turn(1.0)
    assert item.asked == []
    wheel.turn(1.01)
    assert item.asked == [1.01]
    assert (item.due, wheel.next_due()) == (inf, inf)


def test_a_later_deadline_costs_nothing_and_an_earlier_one_moves():
    wheel, item = TimerWheel(0.01), Item()
    wheel.watch(item, 2.0)
    wheel.watch(item, 3.0)
    assert item.due == pytest.approx(2.0)
    wheel.watch(item, 1.0)
    assert item.due == pytest.approx(1.0)
    wheel.turn(5.0)
    assert item.asked == [5.0], "once"


def test_the_answer_is_the_next_time():
    wheel, item = TimerWheel(0.01), Item(2.0, inf)
    wheel.watch(item, 1.0)
    wheel.turn(1.0)
    assert item.due == pytest.approx(2.0)
    wheel.turn(2.0)
    assert item.due == inf


def test_now_means_the_next_tick_not_this_one():
    wheel, item = TimerWheel(0.01), Item(0.0, 0.0)
    wheel.watch(item, 1.0)
    wheel.turn(1.0)
    assert item.asked == [1.0]
    assert item.due > 1.0


def test_forget():
    wheel, item, other = TimerWheel(0.01), Item(), Item()
    wheel.watch(item, 1.0)
    wheel.watch(other, 1.0)
    wheel.forget(item)
    wheel.forget(item)
    wheel.turn(9.0)
    assert (item.asked, other.asked) == ([], [9.0])
    assert wheel.next_due() == inf


def test_one_item_may_forget_another_in_its_turn():
    wheel = TimerWheel(0.01)

    class Forgets(Item):
        def on_due(self, now: float) -> float:
            wheel.forget(self.other)
            return Item.on_due(self, now)

    first, second = Forgets(), Forgets()
    first.other, second.other = second, first
    wheel.watch(first, 1.0)
    wheel.watch(second, 1.0)
    wheel.turn(1.0)
    assert len(first.asked) + len(second.asked) == 1


def test_the_driver_hears_of_an_earlier_time():
    told: list[float] = []
    wheel = TimerWheel(0.01, told.append)
    first, second, third = Item(), Item(), Item()
    wheel.watch(first, 5.0)
    wheel.watch(second, 9.0)
    wheel.watch(third, 2.0)
    assert told == [pytest.approx(5.0), pytest.approx(2.0)]


def test_an_error_costs_only_its_own_item():
    errors: list[tuple[Timed, str]] = []
    wheel = TimerWheel(0.01, on_error=lambda item, error: errors.append((item, str(error))))

    class Breaks(Item):
        def on_due(self, now: float) -> float:
            raise RuntimeError("broken")

    items = [Item() for _ in range(20)]
    broken = Breaks()
    for item in [*items[:10], broken, *items[10:]]:
        wheel.watch(item, 1.0)
    wheel.turn(1.0)
    assert all(item.asked == [1.0] for item in items)
    assert errors == [(broken, "broken")]


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=30), st.lists(st.floats(0.0, 3.0), max_size=15))
@settings(max_examples=150, deadline=None)
def test_every_item_is_asked_once_and_at_most_a_tick_late(times, steps):
    wheel = TimerWheel(0.05)
    items = [Item() for _ in times]
    for item, when in zip(items, times, strict=True):
        wheel.watch(item, when)
    now = 0.0
    for step in [*steps, 25.0]:
        now += step
        wheel.turn(now)
        for item, when in zip(items, times, strict=True):
            assert not item.asked or item.asked[0] >= when - 1e-9, "early"
            assert item.asked or now < when + 0.05 + 1e-9, "late"
    assert all(len(item.asked) == 1 for item in items)


def test_an_alarm_rings_once_at_its_last_appointment():
    wheel = TimerWheel(0.01)
    rung: list[float] = []
    alarm = Alarm(wheel, lambda: rung.append(1.0))
    alarm.at(1.0)
    alarm.at(3.0)
    wheel.turn(2.0)
    assert rung == []
    wheel.turn(3.0)
    assert rung == [1.0]
    alarm.at(4.0)
    alarm.stop()
    wheel.turn(9.0)
    assert rung == [1.0]


def test_a_slot_is_its_item_while_there_is_one_and_may_be_left_and_entered_again():
    wheel = TimerWheel(0.01)
    first, second, third = Item(), Item(), Item()
    wheel.watch(first, 5.0)
    assert list(wheel._slots.values()) == [first]
    wheel.watch(second, 5.0)
    wheel.forget(first)
    wheel.forget(second)
    assert wheel.next_due() == inf, "all have left"
    wheel.watch(first, 5.0)
    wheel.forget(first)
    wheel.watch(second, 5.0)
    wheel.watch(third, 5.0)
    wheel.turn(5.0)
    assert (len(first.asked), len(second.asked), len(third.asked)) == (0, 1, 1)
    assert not wheel._slots and not wheel._order


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(1, 40)), max_size=80))
@settings(max_examples=150, deadline=None)
def test_whoever_comes_and_goes_is_asked_when_it_said_last(steps):
    """As a dict of due times would have it; items come to slots that others have left, or that are shared."""
    wheel = TimerWheel(0.5)
    items = [Item() for _ in range(6)]
    due: dict[int, float] = {}
    for which, tick in steps:
        if tick is None:
            wheel.forget(items[which])
            due.pop(which, None)
        else:
            wheel.watch(items[which], tick * 0.5)
            due[which] = min(due.get(which, inf), tick * 0.5)
    for tick in range(1, 41):
        wheel.turn(tick * 0.5)
    asked = {which: item.asked for which, item in enumerate(items) if item.asked}
    assert asked == {which: [when] for which, when in due.items()}
    assert not wheel._slots and not wheel._order
