"""proxy.stats.histogram: exact buckets, fine bins, percentiles as Envoy prints them."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.stats.histogram import (
    DEFAULT_BOUNDS,
    Histogram,
    bin_edges,
    bin_key,
    quantiles,
)

VALUES = st.one_of(st.integers(0, 10**7), st.floats(0, 1e7, allow_nan=False))


def recorded(*values: float) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_default_bounds_are_envoys() -> None:
    assert len(DEFAULT_BOUNDS) == 19
    assert DEFAULT_BOUNDS[0] == 0.5
    assert DEFAULT_BOUNDS[-1] == 3_600_000


@pytest.mark.parametrize(
    "values, expected",
    [  # printed by Envoy 1.40.0 after the same values
        (
            (1, 1),
            {0: 1.0333333333333334, 50: 1.0333333333333334, 75: 1.0666666666666667, 100: 1.0666666666666667},
        ),
        ((1, 1, 1, 1), {0: 1.02, 25: 1.02, 50: 1.04, 75: 1.06, 90: 1.08, 100: 1.08}),
        ((0, 7), {0: 0, 50: 0, 75: 7.05, 99.9: 7.05}),
        ((21,), {0: 21.5, 100: 21.5}),
    ],
)
def test_percentiles_are_those_of_envoy(values: tuple[int, ...], expected: dict[float, float]) -> None:
    bins = recorded(*values).bins()
    assert quantiles(bins, list(expected)) == pytest.approx(list(expected.values()), rel=1e-12)


def test_nothing_recorded_has_no_percentiles() -> None:
    histogram = Histogram()
    assert not histogram.used
    assert all(math.isnan(value) for value in quantiles(histogram.bins()))


def test_a_bound_is_inclusive() -> None:
    buckets = recorded(0.5, 1, 1.0001, 5).buckets()
    assert buckets[:3] == [1, 1, 2]


def test_values_beyond_all_bounds_are_in_the_last_bucket() -> None:
    assert recorded(4_000_000).buckets()[-1] == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_dropped(value: float) -> None:
    histogram = recorded(value, 3)
    assert (histogram.count, histogram.sum) == (1, 3)


def test_negative_values_count_as_zero() -> None:
    histogram = recorded(-5)
    assert (histogram.count, histogram.sum, histogram.buckets()[0]) == (1, 0, 1)


def test_folding_empties_the_list_and_keeps_every_value() -> None:
    histogram = recorded(*range(1000))
    assert histogram.used
    histogram.fold()
    assert not histogram._pending
    histogram.record(7)
    assert histogram.count == 1001
    assert histogram.sum == sum(range(1000)) + 7


def test_the_interval_is_what_lies_between_two_flushes() -> None:
    histogram = recorded(1)
    histogram.flush()
    histogram.record(100)
    assert quantiles(histogram.interval_bins(), [50]) == [1.05]
    histogram.flush()
    assert quantiles(histogram.interval_bins(), [50]) == [105.0]
    histogram.flush()
    assert not histogram.interval_bins()
    assert histogram.count == 2


def test_export_of_an_unused_one_is_small_and_adds_nothing() -> None:
    exported = Histogram().export()
    assert exported == (0, 0, [], {})
    total = recorded(3)
    total.add(exported)
    assert total.count == 1


def test_different_bounds_are_not_added_up() -> None:
    other = Histogram("ms", (1.0,))
    other.record(1)
    with pytest.raises(ValueError):
        recorded(1).add(other.export())


@given(st.floats(1e-8, 1e12))
@settings(max_examples=200, deadline=None)
def test_a_value_lies_in_its_bin(value: float) -> None:
    left, width = bin_edges(bin_key(value))
    assert left <= value * (1 + 1e-8)
    assert value < (left + width) * (1 + 1e-8)
    assert width <= left / 10 * (1 + 1e-9)


@given(st.lists(VALUES, max_size=400))
@settings(max_examples=50, deadline=None)
def test_counts_agree_with_a_plain_list(values: list[float]) -> None:
    histogram = recorded(*values)
    expected = [0] * (len(DEFAULT_BOUNDS) + 1)
    for value in values:
        expected[bisect_left(DEFAULT_BOUNDS, value)] += 1
    assert histogram.buckets() == expected
    assert histogram.sum == pytest.approx(sum(values))
    assert histogram.count == len(values) == sum(histogram.bins().values())


@given(st.lists(VALUES), st.lists(VALUES))
@settings(max_examples=50, deadline=None)
def test_adding_exports_equals_recording_together(first: list[float], second: list[float]) -> None:
    total = Histogram()
    total.add(recorded(*first).export())
    total.add(recorded(*second).export())
    together = recorded(*first, *second)
    assert total.buckets() == together.buckets()
    assert total.bins() == together.bins()
    assert total.sum == pytest.approx(together.sum)
