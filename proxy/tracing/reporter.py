"""Reporter: finished spans to a collector, in batches, off the request path.

A request only appends its span to a bounded list. A timer encodes at most ``BATCH_LIMIT`` spans at a time and sends
them; where spans come faster than that, every ``CHUNK``-th request encodes a chunk. What the collector refuses for a reason that may pass (no answer, 5xx, 429) is sent once more, later. While
``IN_FLIGHT_LIMIT`` batches are on their way spans wait, beyond ``QUEUE_LIMIT`` they are dropped and counted. So a slow
or dead collector costs bounded memory, and never a request.

Sizes: Envoy sends 5 spans or after 5 s. A POST costs about as much as 50 spans' encoding, so we wait for 100, but
never longer than half a second: whoever looks for a trace finds it at once. Encoding holds up the requests for
``SLICE_S`` at most; what is left of a batch is encoded at the timer's next turn.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxy.base.timers import Alarm
from proxy.tracing.destination import BUSY, REFUSED, SILENT, TAKEN

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext
    from proxy.stats.store import Scope
    from proxy.tracing.destination import Destination
    from proxy.tracing.span import Span

FLUSH_AT: Final = 100
FLUSH_INTERVAL_S: Final = 0.5
BATCH_LIMIT: Final = 200
IN_FLIGHT_LIMIT: Final = 4
QUEUE_LIMIT: Final = 4096
RETRY_AFTER_S: Final = 1.0
SLICE_S: Final = 0.0005
LAST_SLICE_S: Final = 60.0  # at the end of the process nobody is held up
PASSING: Final = (BUSY, SILENT)
WORDS: Final = {REFUSED: "refused", BUSY: "refused, for now", SILENT: "the collector did not answer"}
CHUNK: Final = 20  # spans encoded between two looks at the clock

log = logging.getLogger("tracing")


class Encoder(Protocol):
    """The back end's side of a report."""

    def encode_spans(self, spans: list[Span]) -> list[Any]:
        """Each span, encoded."""

    def body(self, spans: list[Any]) -> Any:
        """One report of encoded spans."""


class Reporter:
    """The queue of one collector. ``scope``: where its counters stand ("tracing.zipkin."); limit: spans that wait.

    What encoder and destination hand to each other (bytes, but for exporters that are not ours) is theirs to know.
    """

    __slots__ = (
        *("alarm", "by_size", "clock", "clusters", "destination", "encoder", "flush_at", "http_client"),
        *("in_flight", "limit", "parts", "queue"),
        *("reports_dropped", "reports_failed", "reports_retried", "reports_sent", "retries", "timers"),
        *("reports_skipped_no_cluster", "spans_dropped", "spans_sent", "timer_flushed"),
    )

    def __init__(
        self,
        encoder: Encoder,
        destination: Destination,
        context: FactoryContext,
        scope: Scope,
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self.limit = limit
        self.flush_at = min(FLUSH_AT, limit)
        self.encoder = encoder
        self.destination = destination
        self.clock = context.clock
        self.clusters = context.clusters
        self.http_client = context.http_client
        self.timers = context.timers
        self.alarm = Alarm(context.timers, self._on_alarm)
        self.by_size = False
        self.queue: deque[Span] = deque()
        self.parts: list[Any] = []  # of the batch that is being encoded
        self.retries: list[Report] = []
        self.in_flight = 0  # reports that were sent or wait for their second try
        self.spans_sent = scope.counter("spans_sent")
        self.timer_flushed = scope.counter("timer_flushed")
        self.reports_skipped_no_cluster = scope.counter("reports_skipped_no_cluster")
        self.reports_sent = scope.counter("reports_sent")
        self.reports_dropped = scope.counter("reports_dropped")
        self.reports_failed = scope.counter("reports_failed")
        # Ours, beside Envoy's:
        self.reports_retried = scope.counter("reports_retried")
        self.spans_dropped = scope.counter("spans_dropped")

    def report(self, span: Span) -> None:
        """Take a finished span."""
        queue = self.queue
        waiting = len(queue)
        if waiting >= self.limit:
            self.spans_dropped.value += 1
            return
        queue.append(span)
        if waiting == 0:
            self.alarm.at(self.clock.monotonic() + FLUSH_INTERVAL_S)
        elif waiting == self.flush_at - 1:
            self.by_size = True
            self.alarm.at(self.clock.monotonic())
        elif waiting > self.flush_at and not waiting % CHUNK and self.in_flight < IN_FLIGHT_LIMIT:
            # More come than the timer's slices take: those who bring them encode as many.
            self._encode(0.0)
            if len(self.parts) >= BATCH_LIMIT:
                self._send_batch()

    def flush(self) -> None:
        """Send all that waits, the second tries too; for the end of the process."""
        retries, self.retries = self.retries, []
        for report in retries:
            report.send()
        while (self.queue or self.parts) and self.in_flight < IN_FLIGHT_LIMIT:
            self._encode(self.clock.monotonic() + LAST_SLICE_S)
            self._send_batch()

    def _on_alarm(self) -> None:
        if not self.by_size:
            self.timer_flushed.value += 1
        self.by_size = False
        if (self.queue or self.parts) and self.in_flight < IN_FLIGHT_LIMIT:
            self._encode(self.clock.monotonic() + SLICE_S)
            if not self.queue or len(self.parts) >= BATCH_LIMIT:
                self._send_batch()
        self._rearm()

    def _rearm(self) -> None:
        """After a turn: more than a batch is waiting → next tick; less → next interval; nothing → rest."""
        if not self.queue:
            return
        now = self.clock.monotonic()
        begun = bool(self.parts) or len(self.queue) >= self.flush_at
        if begun and self.in_flight < IN_FLIGHT_LIMIT:
            self.by_size = True
            self.alarm.at(now)
        else:
            self.alarm.at(now + FLUSH_INTERVAL_S)

    def _encode(self, until: float) -> None:
        """Go on with the batch: to its limit, the end of the queue or the time, whichever comes first, but a chunk."""
        queue = self.queue
        while queue and len(self.parts) < BATCH_LIMIT:
            count = min(CHUNK, len(queue), BATCH_LIMIT - len(self.parts))
            self.parts += self.encoder.encode_spans([queue.popleft() for _ in range(count)])
            if self.clock.monotonic() >= until:
                return

    def _send_batch(self) -> None:
        batch, self.parts = self.parts, []
        self.spans_sent.value += len(batch)
        cluster = self.destination.cluster
        if cluster and self.clusters.get(cluster) is None:
            self.reports_skipped_no_cluster.value += 1
            return
        self.in_flight += 1
        Report(self, self.encoder.body(batch)).send()

    def _on_retry(self, report: Report) -> None:
        if report in self.retries:
            self.retries.remove(report)
            report.send()

    def _settle(self, report: Report, outcome: int) -> None:
        """A report was answered, or nobody has."""
        if outcome in PASSING and not report.is_second:
            report.is_second = True
            self.reports_retried.value += 1
            self.retries.append(report)
            report.alarm = Alarm(self.timers, report.again)
            report.alarm.at(self.clock.monotonic() + RETRY_AFTER_S)
            return
        self.in_flight -= 1
        if outcome == TAKEN:
            self.reports_sent.value += 1
            return
        if outcome == SILENT:
            self.reports_failed.value += 1
        else:
            self.reports_dropped.value += 1
        log.debug("a report of spans was lost: %s", WORDS[outcome])


class Report:
    """One encoded batch until it has been taken or given up."""

    __slots__ = ("alarm", "body", "is_second", "reporter")

    def __init__(self, reporter: Reporter, body: Any) -> None:
        self.reporter = reporter
        self.body = body
        self.is_second = False
        self.alarm: Alarm | None = None

    def send(self) -> None:
        reporter = self.reporter
        reporter.destination.send(reporter.http_client, self.body, self.on_done)

    def again(self) -> None:
        """The wait is over."""
        self.alarm = None
        self.reporter._on_retry(self)

    def on_done(self, outcome: int) -> None:
        """See ``proxy.tracing.destination``."""
        self.reporter._settle(self, outcome)
