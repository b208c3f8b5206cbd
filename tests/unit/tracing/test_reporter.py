"""Reporter: batches by size and by time, one retry, bounds, counters."""

from __future__ import annotations

from typing import cast

import pytest

from proxy.tracing.collector import Collector
from proxy.tracing.destination import HttpDestination
from proxy.tracing.reporter import (
    BATCH_LIMIT,
    CHUNK,
    FLUSH_AT,
    FLUSH_INTERVAL_S,
    IN_FLIGHT_LIMIT,
    QUEUE_LIMIT,
    RETRY_AFTER_S,
    SLICE_S,
    Reporter,
)
from proxy.tracing.span import Span
from tests.unit.tracing.world import World

COLLECTOR = HttpDestination(Collector("zipkin", b"zipkin", b"/"))


class CountingEncoder:
    """A span is one byte."""

    def encode_spans(self, spans: list[Span]) -> list[bytes]:
        return [b"s"] * len(spans)

    def body(self, spans: list[bytes]) -> bytes:
        return b"".join(spans)


class Reporting(World):
    """A reporter and what it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.reporter = Reporter(
            CountingEncoder(), COLLECTOR, self.context, self.stats.scope("tracing.zipkin")
        )

    def report(self, count: int) -> None:
        span = cast(Span, object())
        for _ in range(count):
            self.reporter.report(span)

    @property
    def sizes(self) -> list[int]:
        return [len(body) for _, _, body, _ in self.client.sent]

    def counters(self) -> dict[str, int]:
        """The reporter's counters that are not zero."""
        prefix = "tracing.zipkin."
        found = {
            name[len(prefix) :]: counter.value
            for name, counter in self.stats.counters.items()
            if prefix in name
        }
        return {name: value for name, value in found.items() if value}


def test_a_single_span_is_seen_within_a_second() -> None:
    world = Reporting()
    world.report(1)
    assert world.sizes == []
    world.pass_time(FLUSH_INTERVAL_S + 0.02)
    assert world.sizes == [1]
    assert FLUSH_INTERVAL_S < 1
    assert world.counters() == {"spans_sent": 1, "reports_sent": 1, "timer_flushed": 1}


def test_a_full_batch_does_not_wait_and_is_not_encoded_on_the_request_path() -> None:
    world = Reporting()
    world.report(FLUSH_AT)
    assert world.sizes == []
    world.pass_time(0.03)
    assert world.sizes == [FLUSH_AT]
    assert "timer_flushed" not in world.counters()


def test_a_burst_leaves_in_slices() -> None:
    world = Reporting()
    world.report(2 * BATCH_LIMIT + 7)
    world.pass_time(0.05)
    assert world.sizes == [BATCH_LIMIT, BATCH_LIMIT]
    world.pass_time(FLUSH_INTERVAL_S + 0.05)
    assert world.sizes == [BATCH_LIMIT, BATCH_LIMIT, 7]


def test_spans_that_come_faster_than_the_timer_encodes_are_not_dropped() -> None:
    """30,000 a second: 300 come in a tick of the wheel, of which a slow encoder's slice takes one chunk."""
    world = Reporting()

    class Slow(CountingEncoder):
        def encode_spans(self, spans: list[Span]) -> list[bytes]:
            world.time.now += SLICE_S
            return super().encode_spans(spans)

    world.reporter.encoder = Slow()
    for _ in range(200):
        world.report(300)
        world.timers.turn(world.time.now)
    assert "spans_dropped" not in world.counters()
    assert len(world.reporter.queue) < 10 * FLUSH_AT


def test_an_idle_reporter_never_wakes() -> None:
    world = Reporting()
    world.report(1)
    world.pass_time(2)
    assert world.timers.next_due() == float("inf")


def test_spans_keep_coming_after_a_pause() -> None:
    world = Reporting()
    for _ in range(3):
        world.report(2)
        world.pass_time(2)
    assert world.sizes == [2, 2, 2]


@pytest.mark.parametrize("status", [0, 500, 503, 429])
def test_what_may_pass_is_tried_once_more(status: int) -> None:
    world = Reporting()
    world.client.status = status
    world.report(3)
    world.pass_time(FLUSH_INTERVAL_S + 0.05)
    assert world.sizes == [3]
    world.client.status = 202
    world.pass_time(RETRY_AFTER_S + 0.05)
    assert world.sizes == [3, 3]
    assert world.counters() == {"spans_sent": 3, "timer_flushed": 1, "reports_retried": 1, "reports_sent": 1}


@pytest.mark.parametrize(("status", "counter"), [(0, "reports_failed"), (503, "reports_dropped")])
def test_and_only_once(status: int, counter: str) -> None:
    world = Reporting()
    world.client.status = status
    world.report(3)
    world.pass_time(10)
    assert world.sizes == [3, 3]
    assert world.counters() == {"spans_sent": 3, "timer_flushed": 1, "reports_retried": 1, counter: 1}
    assert world.reporter.in_flight == 0


def test_a_refusal_is_final() -> None:
    world = Reporting()
    world.client.status = 400
    world.report(1)
    world.pass_time(5)
    assert world.sizes == [1]
    assert world.counters()["reports_dropped"] == 1


def test_a_silent_collector_costs_bounded_memory() -> None:
    world = Reporting()
    world.client.status = None
    for _ in range(2 * IN_FLIGHT_LIMIT):
        world.report(BATCH_LIMIT)
        world.pass_time(0.05)
    assert world.sizes == [BATCH_LIMIT] * IN_FLIGHT_LIMIT
    world.report(QUEUE_LIMIT)
    assert len(world.reporter.queue) == QUEUE_LIMIT
    assert world.counters()["spans_dropped"] == IN_FLIGHT_LIMIT * BATCH_LIMIT
    for answer in world.client.waiting:
        answer(202, b"")
    world.client.status = 202
    world.pass_time(5)
    assert not world.reporter.queue
    assert world.counters()["spans_sent"] == QUEUE_LIMIT + IN_FLIGHT_LIMIT * BATCH_LIMIT


def test_a_cluster_that_is_gone() -> None:
    world = Reporting()
    world.clusters.names.clear()
    world.report(1)
    world.pass_time(1)
    assert world.sizes == []
    assert world.counters()["reports_skipped_no_cluster"] == 1


def test_flush_sends_everything_now() -> None:
    world = Reporting()
    world.client.status = 503
    world.report(1)
    world.pass_time(FLUSH_INTERVAL_S + 0.05)
    world.client.status = 202
    world.report(BATCH_LIMIT + 1)
    world.reporter.flush()
    assert world.sizes == [1, 1, BATCH_LIMIT, 1]
    world.pass_time(3)
    assert len(world.sizes) == 4


def test_encoding_stops_when_its_time_is_up_and_the_batch_stays_one() -> None:
    """No turn encodes for longer than a slice and a chunk; a batch in slices is still one report."""
    world = Reporting()
    sizes: list[int] = []

    class Slow(CountingEncoder):
        def encode_spans(self, spans: list[Span]) -> list[bytes]:
            sizes.append(len(spans))
            world.time.now += SLICE_S
            return super().encode_spans(spans)

    world.reporter.encoder = Slow()
    world.report(FLUSH_AT)
    world.time.now += 0.02
    world.timers.turn(world.time.now)
    assert sizes == [CHUNK] and world.sizes == []
    world.pass_time(1)
    assert world.sizes == [FLUSH_AT] and sizes == [CHUNK] * (FLUSH_AT // CHUNK)


def test_a_small_limit_sends_before_it_drops() -> None:
    world = Reporting()
    world.reporter = Reporter(
        CountingEncoder(), COLLECTOR, world.context, world.stats.scope("tracing.zipkin"), 5
    )
    world.report(5)
    world.pass_time(0.05)
    assert world.sizes == [5]
