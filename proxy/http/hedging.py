"""Hedging: a try that takes longer than its timeout goes on while another one runs, and whichever answers well first wins.

envoy.config.route.v3.HedgePolicy.hedge_on_per_try_timeout, or x-envoy-hedge-on-per-try-timeout of an internal request. A
try's timeout begins when the request is whole, so a try that is hedged has nothing more to be sent.

``stream.upstream`` is the last try, as without hedging; ``stream.retry.hedged`` are those before it which have not
answered yet, None where the request is not hedged.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from proxy.base.errors import LOCAL_RESET, PROTOCOL_ERROR, ResetReason, ResponseFlag
from proxy.base.headers import ResponseHeaders
from proxy.http.tries import Tries
from proxy.router.hedge import Hedged
from proxy.router.retry import LIMIT_EXCEEDED, OVERFLOWED, RetryState
from proxy.router.upstream_request import UpstreamRequest

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream


class Hedging(Tries):
    """See ``Router``, the only class that extends this. (Envoy: Router::Filter::onSoftPerTryTimeout and what
    onUpstreamHeaders and onUpstreamReset do while several requests are under way.)"""

    __slots__ = ()

    def _on_try_timeout(self, stream: ActiveStream, now: float) -> None:
        retry = stream.retry
        if retry is None or retry.hedged is None:
            Tries._on_try_timeout(self, stream, now)
            return
        request = stream.upstream
        if request is None or stream.encode_started:
            return
        delay_s = retry.should_hedge()
        if delay_s is None:
            self._count_no_retry(stream, retry)
            return
        retry.hedged.append(Hedged(request, stream))
        stream.try_span = None
        self._schedule_retry(stream, delay_s)
        self._tell_of_timeout(stream, b"true")

    @staticmethod
    def _is_last(stream: ActiveStream) -> bool:
        """Whether no try but the one that is looked at may still answer: none waits, and none is to come."""
        retry = stream.retry
        return (
            stream.upstream is None and stream.retry_deadline == inf and (retry is None or not retry.hedged)
        )

    @staticmethod
    def _take(retry: RetryState, request: UpstreamRequest) -> Hedged | None:
        """The try among those that are hedged, no longer among them; None: it is the last one."""
        assert retry.hedged is not None
        for hedged in retry.hedged:
            if hedged.request is request:
                retry.hedged.remove(hedged)
                return hedged
        return None

    def _gives_way(self, stream: ActiveStream, request: UpstreamRequest, headers: ResponseHeaders) -> bool:
        """Whether a response of a request that is hedged is thrown away: for a retry, or because another try may answer
        better. Else it is the request's response, and all other tries are over."""
        retry = stream.retry
        assert retry is not None
        hedged = self._take(retry, request)
        if stream.encode_started:  # a reply of our own has been faster
            self._leave(stream, request, hedged, headers.status)
            return True
        if hedged is None:
            stream.try_deadline = inf
            if self._retried(stream, request, headers):
                request.host.rq_error += 1
                return True
            is_bad = retry.outcome is LIMIT_EXCEEDED or retry.outcome is OVERFLOWED
            if is_bad:
                stream.upstream = None
        else:
            is_bad = retry.would_retry(headers.status, headers)
        if is_bad and not self._is_last(stream):
            request.host.rq_error += 1
            if hedged is None:
                stream.upstream_rx_start_at = stream.hcm.monotonic()
            self._leave(stream, request, hedged, headers.status)
            return True
        if hedged is None:
            stream.upstream = request
        self._settle(stream, request, hedged)
        return False

    def _leave(
        self, stream: ActiveStream, request: UpstreamRequest, hedged: Hedged | None, status: int
    ) -> None:
        """A try is not waited for any more."""
        if hedged is None:
            if stream.try_span is not None:
                self._end_try_span(stream, status, canceled=True)
        elif hedged.span is not None:
            last, stream.try_span = stream.try_span, hedged.span
            self._end_try_span(stream, status, canceled=True)
            stream.try_span = last
        request.cancel()

    def _settle(self, stream: ActiveStream, request: UpstreamRequest, hedged: Hedged | None) -> None:
        """This try's answer is the one: what is told of the upstream is told of it."""
        retry = stream.retry
        assert retry is not None
        stream.retry_deadline = stream.try_deadline = inf
        if hedged is not None:
            last, stream.upstream = stream.upstream, None
            if last is not None:
                self._leave(stream, last, None, 0)
            hedged.tell(stream)
            stream.upstream = request
        self._leave_all(stream)
        retry.close()
        if stream.host_deadline < inf:
            stream.host_deadline = stream.upstream_tx_start_at + request.cluster.max_stream_duration_s

    def _leave_all(self, stream: ActiveStream) -> None:
        retry = stream.retry
        if retry is not None and retry.hedged:
            for hedged in retry.hedged:
                self._leave(stream, hedged.request, hedged, 0)
            retry.hedged.clear()

    def _outlives(self, stream: ActiveStream, request: UpstreamRequest, reason: ResetReason) -> bool:
        """Whether the end of a try that is hedged leaves others to wait for; else the request fails with it."""
        retry = stream.retry
        assert retry is not None
        hedged = self._take(retry, request)
        if hedged is None:
            return False
        if stream.encode_started:
            self._leave(stream, request, hedged, 0)
            return True
        if self._is_last(stream):
            hedged.tell(stream)
            retry.close()
            return False
        request.host.rq_error += 1
        self._count_local(stream, 502 if reason is PROTOCOL_ERROR else 503)
        self._leave(stream, request, hedged, 0)
        return True

    def _on_timeout(self, stream: ActiveStream, details: bytes) -> None:
        retry = stream.retry
        if retry is not None and retry.hedged:
            if stream.upstream is None:
                hedged = retry.hedged.pop()
                stream.upstream = hedged.request
                hedged.tell(stream)
            for hedged in retry.hedged:
                self._cluster(stream).stats.upstream_rq_timeout.value += 1
                hedged.request.host.rq_timeout += 1
                hedged.request.host.rq_error += 1
                self._count_local(stream, 504)
            self._leave_all(stream)
        Tries._on_timeout(self, stream, details)

    def _on_stream_duration(self, stream: ActiveStream, now: float) -> None:
        """The deadline is that of the first of several tries, and may be of one that is over by now. Where the try is
        not the last one, Envoy does not ask for another either: the request fails."""
        retry = stream.retry
        if retry is None or retry.hedged is None:
            Tries._on_stream_duration(self, stream, now)
            return
        hedged = retry.hedged[0] if retry.hedged else None
        if hedged is not None:
            sent_at = hedged.sent_at
        else:
            sent_at = stream.upstream_tx_start_at if stream.upstream is not None else 0.0
        if not sent_at:
            return
        deadline = sent_at + self._cluster(stream).max_stream_duration_s
        if now < deadline:
            stream.host_deadline = deadline
        elif hedged is None:
            Tries._on_stream_duration(self, stream, now)
        else:
            self._end_first(stream, retry, hedged)

    def _end_first(self, stream: ActiveStream, retry: RetryState, hedged: Hedged) -> None:
        assert retry.hedged is not None
        retry.hedged.remove(hedged)
        request = hedged.request
        request.cluster.stats.upstream_rq_max_duration_reached.value += 1
        request.host.rq_error += 1
        last, stream.upstream = stream.upstream, None
        stream.try_deadline = inf
        if last is not None:
            self._leave(stream, last, None, 0)
        stream.try_span = hedged.span
        if stream.try_span is not None:
            self._end_try_span(stream, 0, ResponseFlag.UMSDR, LOCAL_RESET.text)
        request.cancel()
        self._fail_by_duration(stream)

    def _end_retries(self, stream: ActiveStream) -> None:
        self._leave_all(stream)
        Tries._end_retries(self, stream)

    def on_end(self, stream: ActiveStream) -> None:
        """See Tries.on_end."""
        self._leave_all(stream)
        Tries.on_end(self, stream)
