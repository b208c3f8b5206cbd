"""A stream's tries over time: when one is given up for another, what a retry must send again, and what has run out.

The half of the router filter that most requests never enter. It knows streams by their fields only; starting a try is
the router's.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from proxy.base.errors import LOCAL_RESET, ResetReason, ResponseFlag
from proxy.base.headers import Field, RequestHeaders, ResponseHeaders
from proxy.http.budgets import count_try
from proxy.http.filter import Filter
from proxy.router.hedge import wants_hedging
from proxy.router.retry import LIMIT_EXCEEDED, OVERFLOWED, RetryState
from proxy.router.timeouts import expected_timeout_ms
from proxy.router.upstream_request import UpstreamRequest

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host

#: RFC 9110 section 9.2.2
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

DURATION_BODY: Final = b"upstream max stream duration reached"
DURATION_REACHED: Final = b"upstream_max_stream_duration_reached"
BODY_TOO_LARGE: Final = b"exceeded request buffer limit while retrying upstream"


class Tries(Filter):
    """See ``Router``, the only class that extends this. suppress_envoy_headers: the router's setting."""

    __slots__ = ()

    suppress_envoy_headers: bool

    def _try(self, stream: ActiveStream) -> None:
        """One try: a host, a connection, the request."""
        raise NotImplementedError

    @staticmethod
    def _cluster(stream: ActiveStream) -> Cluster:
        """Where the stream's tries go."""
        cluster = stream.cluster
        assert cluster is not None
        return cluster

    def _send_again(self, stream: ActiveStream, request: UpstreamRequest, now: float) -> None:
        """A try like ``request``, on a new connection."""
        raise NotImplementedError

    # -- what a try needs ---------------------------------------------------------------------------------------------

    def _expect_timeout(self, stream: ActiveStream, headers: RequestHeaders, elapsed_s: float) -> None:
        if self.suppress_envoy_headers:
            return
        one_try_s = stream.per_try_timeout_s
        if one_try_s and self._is_hedged(stream, headers):
            one_try_s = 0.0
        milliseconds = expected_timeout_ms(stream.timeout_s, one_try_s, elapsed_s)
        if milliseconds:
            headers.set(b"x-envoy-expected-rq-timeout-ms", b"%d" % milliseconds)

    @staticmethod
    def _is_hedged(stream: ActiveStream, headers: RequestHeaders) -> bool:
        """Whether a try that takes too long goes on: its host has all the time that the request has."""
        if stream.retry is not None:
            return stream.retry.hedged is not None
        route = stream.route
        assert route is not None and route.forward is not None
        return wants_hedging(route.forward.hedges, headers, stream.internal)

    @staticmethod
    def _set_idle_timeout(stream: ActiveStream, idle_timeout_s: float) -> None:
        """The route's own stream idle timeout; 0 turns it off."""
        stream.idle_timeout_s = idle_timeout_s or inf
        stream.idle_deadline = stream.started_at + stream.idle_timeout_s
        if stream.idle_deadline < stream.connection.due:
            stream.connection.watch(stream.idle_deadline)

    def _arm_try(self, stream: ActiveStream) -> None:
        """The try has been sent whole: its own timeouts run."""
        retry = stream.retry
        hard_deadline = inf
        if stream.per_try_timeout_s:
            hard_deadline = stream.try_deadline = stream.hcm.monotonic() + stream.per_try_timeout_s
            stream.connection.watch(stream.try_deadline)
        if retry is not None and retry.policy.per_try_idle_timeout_s:
            retry.hard_deadline = hard_deadline
            self._move_idle(stream, retry)

    @staticmethod
    def _move_idle(stream: ActiveStream, retry: RetryState) -> None:
        """Something moved on a try with a per_try_idle_timeout: it may be silent anew, but not beyond its timeout. Before
        the request is whole (an upgrade's is with its head) that timeout does not run, as in Envoy."""
        headers = stream.request_headers
        if not stream.decode_ended and (headers is None or headers.upgrade is None):
            return
        stream.try_deadline = min(
            retry.hard_deadline, stream.hcm.monotonic() + retry.policy.per_try_idle_timeout_s
        )
        stream.connection.watch(stream.try_deadline)

    @staticmethod
    def _next_host(stream: ActiveStream, cluster: Cluster) -> Host | None:
        """The host of a retry: chosen again while the policy would rather have another."""
        retry = stream.retry
        if retry is None or not (retry.policy.host_predicates or retry.policy.leaves_priorities_after):
            return cluster.choose_host(stream)
        if stream.upstream_host is not None:
            retry.tried.append(stream.upstream_host)
            retry.attempted.append(stream.upstream_host)
        leaves = retry.leaves_priorities()
        host = Tries._choose(stream, cluster, retry, leaves)
        for _ in range(retry.policy.host_attempts):
            if host is None or not retry.rejects(host):
                break
            host = Tries._choose(stream, cluster, retry, leaves)
        return host

    @staticmethod
    def _choose(stream: ActiveStream, cluster: Cluster, retry: RetryState, leaves: bool) -> Host | None:
        host = cluster.choose_elsewhere(stream, retry.tried_priorities) if leaves else None
        if host is None and leaves:
            retry.begin_priorities_anew()
        return cluster.choose_host(stream) if host is None else host

    def _keep_for_retry(self, stream: ActiveStream, data: bytes) -> None:
        """A retry must send the body again; one that does not fit the buffer is not retried (as Envoy)."""
        stream.request_body_bytes += len(data)
        assert stream.route is not None
        # The listener's limit, as in Envoy, or a smaller one of the route.
        if stream.request_body_bytes > min(stream.hcm.buffer_limit_bytes, stream.route.retry_buffer_bytes):
            self._cluster(stream).stats.retry_or_shadow_abandoned.value += 1
            self._end_retries(stream)
            stream.retry = stream.request_body = None
            stream.request_body_bytes = 0
            if stream.upstream is None:  # a retry was to come, and now nobody has the body's beginning
                stream.retry_deadline = inf
                stream.local_reply(507, BODY_TOO_LARGE, b"request_payload_exceeded_retry_buffer_limit")
            return
        if stream.request_body is None:
            stream.request_body = []
        stream.request_body.append(data)

    # -- another try --------------------------------------------------------------------------------------------------

    def _retried(self, stream: ActiveStream, request: UpstreamRequest, headers: ResponseHeaders) -> bool:
        """Whether this response is thrown away for another try."""
        retry = stream.retry
        assert retry is not None
        delay_s = retry.should_retry_headers(headers.status, headers)
        stats = request.cluster.stats
        if delay_s is None:
            if retry.succeeded:
                stats.upstream_rq_retry_success.value += 1
            self._count_no_retry(stream, retry)
            return False
        if stream.try_span is not None:
            self._end_try_span(stream, headers.status, canceled=True)
        request.cluster.codes.record_retry(headers.status)
        request.cancel()
        limited_s = retry.rate_limited_delay(headers, stream.hcm.wall())
        if limited_s is None:
            self._schedule_retry(stream, delay_s)
        else:
            self._schedule_retry(stream, limited_s, rate_limited=True)
        return True

    @staticmethod
    def _forget_try(stream: ActiveStream) -> None:
        """Another try begins: what is told of the upstream is told of the last one, as in Envoy. The bytes stay."""
        retry = stream.retry
        if retry is not None and not stream.upstream_tx_start_at:
            retry.unsent += 1
        if retry is None or not retry.hedged:  # else it is the first one's, which goes on
            stream.host_deadline = inf
        stream.upstream_local_address = stream.upstream_remote_address = ""
        stream.upstream_connection_id = 0
        stream.upstream_tls = None
        stream.upstream_protocol = stream.upstream_transport_failure_reason = b""
        stream.upstream_pool_wait_s = -1.0
        stream.upstream_connect_start_at = stream.upstream_connected_at = 0.0
        stream.upstream_tx_start_at = stream.upstream_tx_end_at = 0.0
        stream.upstream_rx_start_at = stream.upstream_rx_body_start_at = stream.upstream_rx_end_at = 0.0

    def _count_no_retry(self, stream: ActiveStream, retry: RetryState) -> None:
        stats = self._cluster(stream).stats
        if retry.outcome is LIMIT_EXCEEDED:
            stats.upstream_rq_retry_limit_exceeded.value += 1
            stream.flags |= ResponseFlag.URX
        elif retry.outcome is OVERFLOWED:
            stats.upstream_rq_retry_overflow.value += 1
            stream.flags |= ResponseFlag.UO

    def _schedule_retry(self, stream: ActiveStream, delay_s: float, rate_limited: bool = False) -> None:
        cluster = self._cluster(stream)
        stats = cluster.stats
        stats.upstream_rq_retry.value += 1
        if rate_limited:
            stats.upstream_rq_retry_backoff_ratelimited.value += 1
        else:
            stats.upstream_rq_retry_backoff_exponential.value += 1
        stream.upstream = None
        stream.try_deadline = inf
        self._tell_of_timeout(stream, b"false")
        now = stream.hcm.monotonic()
        if cluster.timeout_budgets is not None:
            count_try(stream, cluster.timeout_budgets, now)
        stream.retry_deadline = now + delay_s
        stream.connection.watch(stream.retry_deadline)

    @staticmethod
    def _tell_of_timeout(stream: ActiveStream, value: bytes) -> None:
        """Whether the coming retry follows a try that took too long, where the virtual host wants it told."""
        assert stream.route is not None and stream.request_headers is not None
        if stream.route.virtual_host.include_is_timeout_retry_header:
            stream.request_headers.set(b"x-envoy-is-timeout-retry", value)

    def _retry_now(self, stream: ActiveStream, now: float) -> None:
        stream.retry_deadline = inf
        headers = stream.request_headers
        assert headers is not None
        self._expect_timeout(stream, headers, now - (stream.rx_end_at or now))
        assert stream.route is not None
        if stream.route.virtual_host.include_request_attempt_count:
            headers.set(b"x-envoy-attempt-count", b"%d" % (stream.attempt_count + 1))
        self._try(stream)

    def _retried_stale(self, stream: ActiveStream, request: UpstreamRequest, reason: ResetReason) -> bool:
        """Whether the request is sent again, once and at once, on a new connection to the same host: its own had been
        kept alive for too long, and nothing can have come of it that a second time would do twice.

        RFC 9110 section 9.2.2: idempotent methods only; without a body, which nobody has kept.
        """
        headers, route = stream.request_headers, stream.route
        assert headers is not None and route is not None
        if (
            not request.is_stale(reason)
            or request.pool.draining
            or headers.method not in IDEMPOTENT
            or not stream.decode_ended
            or stream.bytes_received
            or stream.request_trailers is not None
        ):
            return False
        request.cluster.stats.upstream_rq_retry_stale.value += 1
        now = stream.hcm.monotonic()
        self._expect_timeout(stream, headers, now - stream.rx_end_at)
        stream.attempt_count += 1
        if route.virtual_host.include_request_attempt_count:
            headers.set(b"x-envoy-attempt-count", b"%d" % stream.attempt_count)
        self._forget_try(stream)
        self._send_again(stream, request, now)
        return True

    def _try_complete(self, stream: ActiveStream) -> None:
        if stream.try_span is not None:
            self._end_try_span(stream, stream.status)
        self._end_retries(stream)

    def _end_retries(self, stream: ActiveStream) -> None:
        if stream.retry is not None:
            stream.retry.finish()

    def _end_try_span(
        self,
        stream: ActiveStream,
        status: int,
        flags: int = 0,
        reason: bytes = b"",
        canceled: bool = False,
        sent: bool = True,
    ) -> None:
        span, stream.try_span = stream.try_span, None
        tracing = stream.hcm.tracing
        if tracing is not None and span is not None:
            protocol = stream.upstream_protocol if sent else b"-"
            tracing.finish_upstream(
                span, stream, status, flags, protocol=protocol, reset_reason=reason, canceled=canceled
            )

    # -- replies of ours ----------------------------------------------------------------------------------------------

    def _reply(
        self,
        stream: ActiveStream,
        status: int,
        body: bytes,
        details: bytes,
        flags: int,
        extra: tuple[Field, ...] = (),
    ) -> None:
        """A local reply for a failed upstream; it says how many tries there were, where the virtual host asks."""
        assert stream.route is not None
        if stream.route.virtual_host.include_attempt_count_in_response:
            extra = (*extra, (b"x-envoy-attempt-count", b"%d" % stream.attempt_count))
        stream.local_reply(status, body, details, flags, extra)

    def _count_local(self, stream: ActiveStream, status: int) -> None:
        """Replies of ours for a failed upstream count as the cluster's own codes, as in Envoy."""
        host = stream.upstream_host
        self._count_code(stream, status, host is not None and host.canary)

    def _count_code(self, stream: ActiveStream, status: int, canary: bool) -> None:
        codes = self._cluster(stream).codes
        if stream.internal:
            codes.record_internal(status)
        else:
            codes.record(status)
        if canary:
            codes.record_canary(status)

    def _count_time(self, stream: ActiveStream, elapsed_ms: int, canary: bool) -> None:
        codes = self._cluster(stream).codes
        if stream.internal:
            codes.record_internal_time(elapsed_ms)
        else:
            codes.record_time(elapsed_ms)
        if canary:
            codes.record_canary_time(elapsed_ms)

    # -- time ---------------------------------------------------------------------------------------------------------

    def on_deadline(self, stream: ActiveStream, now: float) -> None:
        """One of the stream's route, try, host and retry deadlines has passed."""
        if now >= stream.route_deadline:
            stream.route_deadline = stream.retry_deadline = inf
            self._on_timeout(stream, b"response_timeout")
        elif now >= stream.try_deadline:
            stream.try_deadline = inf
            self._on_try_timeout(stream, now)
        elif now >= stream.host_deadline:
            stream.host_deadline = inf
            self._on_stream_duration(stream, now)
        elif now >= stream.retry_deadline:
            self._retry_now(stream, now)

    def _on_try_timeout(self, stream: ActiveStream, now: float) -> None:
        stats = self._cluster(stream).stats
        retry: RetryState | None = stream.retry
        is_idle = (
            retry is not None and bool(retry.policy.per_try_idle_timeout_s) and now < retry.hard_deadline
        )
        (stats.upstream_rq_per_try_idle_timeout if is_idle else stats.upstream_rq_per_try_timeout).value += 1
        self._drop_try(stream)
        if retry is not None and not stream.encode_started:
            delay_s = retry.should_retry_per_try_timeout()
            if delay_s is not None:
                self._schedule_retry(stream, delay_s)
                self._tell_of_timeout(stream, b"true")
                return
            self._count_no_retry(stream, retry)
        self._time_out(stream, b"upstream_per_try_idle_timeout" if is_idle else b"upstream_per_try_timeout")

    def _on_stream_duration(self, stream: ActiveStream, now: float) -> None:
        """The try has lasted for its cluster's max_stream_duration: it is reset, whatever has come of it."""
        request, stream.upstream = stream.upstream, None
        if request is None:
            return
        stream.try_deadline = inf
        request.cluster.stats.upstream_rq_max_duration_reached.value += 1
        if stream.try_span is not None:
            self._end_try_span(stream, 0, ResponseFlag.UMSDR, LOCAL_RESET.text)
        request.host.rq_error += 1
        request.cancel()
        if stream.retry is not None and not stream.encode_started:
            delay_s = stream.retry.should_retry_reset(LOCAL_RESET, True)
            if delay_s is not None:
                self._schedule_retry(stream, delay_s)
                return
            self._count_no_retry(stream, stream.retry)
        self._fail_by_duration(stream)

    def _fail_by_duration(self, stream: ActiveStream) -> None:
        self._end_retries(stream)
        if stream.tx_start_at:
            stream.flags |= ResponseFlag.UMSDR
            stream.reset(DURATION_REACHED)
            return
        status = 504 if stream.decode_ended else 408
        self._reply(stream, status, DURATION_BODY, DURATION_REACHED, ResponseFlag.UMSDR)

    def _on_timeout(self, stream: ActiveStream, details: bytes) -> None:
        self._cluster(stream).stats.upstream_rq_timeout.value += 1
        self._drop_try(stream)
        self._time_out(stream, details)

    def _drop_try(self, stream: ActiveStream) -> None:
        request, stream.upstream = stream.upstream, None
        if request is None:
            return
        if stream.try_span is not None:
            self._end_try_span(stream, 0, ResponseFlag.UT, b"", canceled=True)
        request.host.rq_timeout += 1
        request.host.rq_error += 1
        request.cancel()

    def _time_out(self, stream: ActiveStream, details: bytes) -> None:
        self._end_retries(stream)
        status = 504
        body = b"upstream request timeout"
        if stream.alt_response:
            status, body = 204, b""
        if stream.tx_start_at:
            stream.flags |= ResponseFlag.UT
            stream.reset(details)
            return
        if not stream.encode_started:  # else filters hold a response, which the reply takes the place of
            self._count_local(stream, status)
        self._reply(stream, status, body, details, ResponseFlag.UT)

    def on_end(self, stream: ActiveStream) -> None:
        """However the stream ended: give back what its retries hold, end the span of a try cut short."""
        if stream.retry is not None:
            stream.retry.finish()
        if stream.try_span is not None:
            self._end_try_span(stream, stream.status, stream.flags, b"", canceled=True)
