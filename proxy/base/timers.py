"""TimerWheel: coarse deadlines without a loop timer per request.

Whoever has deadlines is a ``Timed`` item: it keeps them as plain floats in its own slots and stands on the wheel at
most once, at the earliest time at which somebody must look at it. Setting a later deadline costs nothing; setting an
earlier one moves the item. When its time comes the wheel asks ``on_due(now)``; the answer is the next time to look.

Times are seconds of the monotonic clock. Deadlines fire up to one ``tick_s`` late, never early.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import ceil, inf

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Timed:
    """An item with deadlines. ``due`` belongs to the wheel (start it at ``inf``)."""

    __slots__ = ("due",)

    due: float

    def on_due(self, now: float) -> float:
        """Act on the deadlines that have passed; return when to look again (``inf``: not until watched)."""
        raise NotImplementedError


class TimerWheel:
    """Slots of ``tick_s`` seconds; each holds the items to look at in that slot.

    Idle connections are alone in theirs, mostly: a slot of one item is that item, and one that all have left is None.
    """

    __slots__ = ("_slots", "_order", "on_earlier", "on_error", "tick_s")

    def __init__(
        self,
        tick_s: float = 0.01,
        on_earlier: Callable[[float], None] | None = None,
        on_error: Callable[[Timed, Exception], None] | None = None,
    ) -> None:
        """on_earlier: told when the earliest due time moves forward (the driver re-arms itself); on_error: told when
        an item raises, so that the others still get their turn (without it the error goes to the driver)."""
        self.tick_s = tick_s
        self._slots: dict[int, Timed | set[Timed] | None] = {}
        self._order: list[int] = []  # a heap of slot numbers, each once
        self.on_earlier = on_earlier
        self.on_error = on_error

    def watch(self, item: Timed, when: float) -> None:
        """Look at ``item`` no later than ``when``. Costs one comparison when it already is looked at earlier."""
        if when >= item.due:
            return
        if item.due != inf:
            self._leave(item)
        self._enter(item, when)

    def forget(self, item: Timed) -> None:
        """Take the item off the wheel."""
        if item.due != inf:
            self._leave(item)
            item.due = inf

    def next_due(self) -> float:
        """The earliest time (of a slot) at which turn() has something to do; ``inf`` when never."""
        while self._order and self._is_left(self._order[0]):
            self._slots.pop(heapq.heappop(self._order), None)
        return self._order[0] * self.tick_s if self._order else inf

    def _is_left(self, slot: int) -> bool:
        items = self._slots.get(slot)
        return items is None or (isinstance(items, set) and not items)

    def turn(self, now: float) -> None:
        """Ask every item whose time has come, and put it back where its answer says."""
        while self.next_due() <= now:
            slot = heapq.heappop(self._order)
            due = self._slots.pop(slot)
            if isinstance(due, set):
                for item in due:
                    self._ask(item, slot, now)
            elif due is not None:
                self._ask(due, slot, now)

    def _ask(self, item: Timed, slot: int, now: float) -> None:
        if item.due == inf or self._slot(item.due) != slot:  # forgotten or moved by an item before it
            return
        item.due = inf
        try:
            again = item.on_due(now)
        except Exception as error:
            if self.on_error is None:
                raise
            self.on_error(item, error)
            return
        if again < item.due:
            # Never the slot that is being emptied: an item that asks for "now" waits one tick.
            self.watch(item, max(again, now + self.tick_s))

    def _slot(self, when: float) -> int:
        return ceil(when / self.tick_s)

    def _enter(self, item: Timed, when: float) -> None:
        slot = self._slot(when)
        item.due = when
        if slot in self._slots:
            others = self._slots[slot]
            if isinstance(others, set):
                others.add(item)
            else:
                self._slots[slot] = item if others is None else {others, item}
            return
        self._slots[slot] = item
        earliest = self.next_due()
        heapq.heappush(self._order, slot)
        if self.on_earlier is not None and slot * self.tick_s < earliest:
            self.on_earlier(slot * self.tick_s)

    def _leave(self, item: Timed) -> None:
        slot = self._slot(item.due)
        items = self._slots.get(slot)
        if isinstance(items, set):
            items.discard(item)
        elif items is item:
            self._slots[slot] = None


class Alarm(Timed):
    """A Timed item for whoever has a single callback: ``alarm.at(when)`` arms it, ``alarm.stop()`` disarms it."""

    __slots__ = ("wheel", "when", "ring")

    def __init__(self, wheel: TimerWheel, ring: Callable[[], None]) -> None:
        self.due = inf
        self.when = inf
        self.wheel = wheel
        self.ring = ring

    def at(self, when: float) -> None:
        """Ring once at ``when`` (monotonic seconds), in place of any earlier appointment."""
        self.when = when
        self.wheel.watch(self, when)

    def stop(self) -> None:
        """No ring until armed again."""
        self.when = inf
        self.wheel.forget(self)

    def on_due(self, now: float) -> float:
        if now < self.when:
            return self.when
        self.when = inf
        self.ring()
        return self.when
