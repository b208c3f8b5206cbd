from __future__ import annotations

import pytest

from proxy.demo.script import BROKEN, CHECKOUT, FLAKY, MISSING, SLOW, calls, expected_hops, trickle


@pytest.mark.parametrize("count", [1, 4, 5, 6, 40])
def test_as_many_calls_as_asked(count):
    assert len(calls(count)) == count


def test_the_first_five_show_every_kind():
    assert set(calls(5)) == {CHECKOUT, SLOW, FLAKY, MISSING, BROKEN}


def test_a_retry_counts_at_the_backend_and_nowhere_else():
    hops = expected_hops([CHECKOUT, FLAKY])
    assert hops["frontend", "inbound"].requests == hops["frontend", "outbound"].requests == 2
    assert hops["backend", "inbound"].requests == 3
    assert hops["backend", "inbound"].classes == {2: 2, 5: 1}
    assert [hops[place].retries for place in hops] == [0, 1, 0]
    assert FLAKY.span_count == 4


def test_the_trickle_is_mostly_good():
    kinds = [trickle(number) for number in range(40)]
    assert kinds.count(CHECKOUT) == 32
    assert kinds.count(BROKEN) == 2
