"""The clock is what it is given."""

from __future__ import annotations

from proxy.base.clock import Clock


def test_it_may_be_a_number():
    clock = Clock(lambda: 1.0, lambda: 2.0)
    assert (clock.monotonic(), clock.wall()) == (1.0, 2.0)


def test_by_default_it_runs():
    clock = Clock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert clock.wall() > 1_700_000_000
