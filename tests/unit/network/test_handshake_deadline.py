"""A deadline that is met leaves nothing on the wheel."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from proxy.base.timers import TimerWheel
from proxy.network.handshake_deadline import HandshakeDeadline
from proxy.stats.store import Counter


class Layer:
    expired = 0

    def expire(self) -> None:
        self.expired += 1


@pytest.fixture
def wheel() -> TimerWheel:
    return TimerWheel()


def test_too_late(wheel: TimerWheel) -> None:
    layer: Any = Layer()
    late = Counter()
    HandshakeDeadline(layer, wheel, 5.0, late)
    wheel.turn(4.9)
    assert (layer.expired, late.value) == (0, 0)
    wheel.turn(5.1)
    assert (layer.expired, late.value) == (1, 1)
    wheel.turn(100.0)
    assert (layer.expired, late.value) == (1, 1) and wheel.next_due() == inf


def test_in_time(wheel: TimerWheel) -> None:
    layer: Any = Layer()
    late = Counter()
    deadline = HandshakeDeadline(layer, wheel, 5.0, late)
    deadline.end()
    wheel.turn(5.1)
    assert (layer.expired, late.value) == (0, 0) and wheel.next_due() == inf
