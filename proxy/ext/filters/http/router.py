"""The router: forwards a stream to a host of its route's cluster, and tries again where the policy says so.

Configuration: envoy.extensions.filters.http.router.v3.Router. Terminal: the last filter of every chain.

It owns a stream's route, try and retry deadlines (floats on the stream; ``on_deadline`` is called when one has passed)
and is the ``Owner`` of the stream's upstream tries. What follows a try that fails or takes too long is in ``Tries``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader
from proxy.base.errors import NO_POOL, NO_ROOM, OVERFLOW, PROTOCOL_ERROR, ResetReason, ResponseFlag
from proxy.base.headers import X_ENVOY, HeaderMap, RequestHeaders, ResponseHeaders
from proxy.formatter.grpc_status import wants_grpc
from proxy.http.context import FactoryContext
from proxy.http.direct_reply import redirect, refuse_headers, respond
from proxy.http.filter import FilterStatus
from proxy.http.hedging import Hedging
from proxy.http.local_reply import reset_body, underscored
from proxy.http.mirror import Mirrors, start_mirrors
from proxy.http.redirect import follow
from proxy.http.stream import ActiveStream
from proxy.http.upgrades import begin_tunnel, end_handshake, is_failed_handshake, tunnel_request
from proxy.router.retry import RetryState
from proxy.router.timeouts import final_timeout
from proxy.router.upstream_request import Owner, UpstreamRequest

if TYPE_CHECKING:
    from proxy.router.route import Route, RouteAction
    from proxy.router.stream_limits import StreamLimits
    from proxy.upstream.cluster import Cluster

_DIGITS: Final = tuple(b"%d" % number for number in range(1000))  # milliseconds, most of the time
CANARY: Final = b"x-envoy-upstream-canary"
OVERLOADED: Final = ((b"x-envoy-overloaded", b"true"),)


class Router(Hedging, Owner):
    """Envoy's router filter. ``suppress_envoy_headers``: add no x-envoy-* of our own, but for the attempt counts that
    the virtual host asks for; ``start_child_span``: each try of a traced request has a span; ``respects_expected``: an
    internal request's x-envoy-expected-rq-timeout-ms is its timeout; ``strict_headers``: names of those that are checked."""

    __slots__ = (
        "find_cluster",
        "http_client",
        "ids",
        "respects_expected",
        "start_child_span",
        "strict_headers",
        "suppress_envoy_headers",
    )

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.find_cluster = context.clusters.clusters.get
        self.ids = context.ids
        self.http_client = context.http_client
        self.suppress_envoy_headers = config.flag("suppress_envoy_headers")
        self.start_child_span = config.flag("start_child_span")
        self.respects_expected = config.flag("respect_expected_rq_timeout")
        self.strict_headers = tuple(name.encode() for name in config.values("strict_check_headers"))
        if not config.wrapped("dynamic_stats", True):
            config.ignore("dynamic_stats", why="responses are counted by code whatever it says")

    # -- the request ---------------------------------------------------------------------------------------------

    def decode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        stats = stream.hcm.stats
        route: Route | None = stream.route
        stats.rq_total.value += 1
        if route is None:
            stats.no_route.value += 1
            stream.local_reply(404, b"", b"route_not_found", ResponseFlag.NR)
        elif route.forward is not None:
            self._forward(stream, route, route.forward)
        elif route.redirect is not None:
            redirect(stream, route)
        else:
            respond(stream, route)
        return None

    def _forward(self, stream: ActiveStream, route: Route, action: RouteAction) -> None:
        """Timeouts, retry policy, rewrites and additions; the order of the added fields is Envoy's. Then the first try.

        One function, longer than most: it runs for every request, and calls are what it saves.
        """
        headers = stream.request_headers
        assert headers is not None
        name = action.cluster or action.choose_cluster(headers, stream)
        cluster = self.find_cluster(name) if name is not None else None
        if cluster is None:
            stream.hcm.stats.no_cluster.value += 1
            stream.local_reply(action.cluster_not_found_status, b"", b"cluster_not_found", ResponseFlag.NC)
            return
        stream.cluster = cluster
        stream.cluster_name = cluster.name_bytes
        if self.strict_headers and refuse_headers(stream, headers, self.strict_headers):
            return
        if cluster.maintenance and self.ids.random() < cluster.maintenance:
            self._refuse_in_maintenance(stream, cluster)
            return
        stream.timer_owner = self
        if action.idle_timeout_s is not None:
            self._set_idle_timeout(stream, action.idle_timeout_s)
        stream.timeout_s, stream.per_try_timeout_s = action.timeout_s, action.per_try_timeout_s
        asked = headers.known & X_ENVOY
        if action.limits is not None:
            self._limit(stream, headers, action, action.limits)
        elif asked and stream.internal:
            respects = self.respects_expected
            stream.timeout_s, stream.per_try_timeout_s = final_timeout(action, headers, True, None, respects)
            stream.alt_response = headers.remove(b"x-envoy-upstream-rq-timeout-alt-response")
            self._expect_timeout(stream, headers, 0.0)
        elif not self.suppress_envoy_headers:
            expected = action.expected_timeout
            if expected:
                if asked:
                    headers.set(b"x-envoy-expected-rq-timeout-ms", expected)
                else:
                    headers.fields.append((b"x-envoy-expected-rq-timeout-ms", expected))
                    headers.known |= X_ENVOY
        if route.virtual_host.include_request_attempt_count:
            headers.set(b"x-envoy-attempt-count", b"1")
        if action.rewrites:
            action.finalize_request(headers, stream, not self.suppress_envoy_headers)
        if action.retry is not None or action.asks_for_retries or (asked and stream.internal):
            resources = cluster.resources[action.priority]
            hedged = stream.per_try_timeout_s and self._is_hedged(stream, headers)
            stream.retry = action.retry_state(headers, resources, self.ids, stream.internal)
            if hedged and stream.retry is None:
                stream.per_try_timeout_s = 0.0  # nothing follows it
        if stream.hcm.tracing is not None and not self.start_child_span:
            stream.hcm.tracing.inject(stream, headers)
        if action.mirrors:
            self._mirror(stream, action)
        if stream.decode_ended and stream.timeout_s:  # as _request_complete, without the call
            stream.route_deadline = deadline = stream.rx_end_at + stream.timeout_s
            if deadline < stream.connection.due:
                stream.connection.watch(deadline)
        elif stream.timeout_s and headers.upgrade is not None:  # whose request never ends
            stream.route_deadline = stream.started_at + stream.timeout_s
            stream.connection.watch(stream.route_deadline)
        self._try(stream)

    def _mirror(self, stream: ActiveStream, action: RouteAction) -> None:
        mirrors = start_mirrors(stream, action.mirrors, self.http_client, self.ids.random())
        if mirrors is not None:
            stream.state = stream.state or {}
            stream.state[self] = mirrors

    def _mirrors(self, stream: ActiveStream) -> Mirrors | None:
        mirrors: Mirrors | None = stream.state.get(self) if stream.state is not None else None
        return mirrors

    def _refuse_in_maintenance(self, stream: ActiveStream, cluster: Cluster) -> None:
        """runtime upstream.maintenance_mode.<cluster>."""
        cluster.stats.upstream_rq_maintenance_mode.value += 1
        self._count_local(stream, 503)
        headers = () if self.suppress_envoy_headers else OVERLOADED
        stream.local_reply(503, b"maintenance mode", b"maintenance_mode", ResponseFlag.UO, headers)

    def _limit(
        self, stream: ActiveStream, headers: RequestHeaders, action: RouteAction, limits: StreamLimits
    ) -> None:
        """Timeouts of a route that has more of them than most."""
        limits.apply(stream, headers)
        total_s = limits.timeout_s(headers, action.timeout_s)
        stream.timeout_s, stream.per_try_timeout_s = final_timeout(
            action, headers, stream.internal, total_s, self.respects_expected
        )
        if stream.internal:
            stream.alt_response = headers.remove(b"x-envoy-upstream-rq-timeout-alt-response")
        self._expect_timeout(stream, headers, 0.0)
        limits.tell_host(headers, stream.per_try_timeout_s or stream.timeout_s)

    def _request_complete(self, stream: ActiveStream) -> None:
        """The request has come whole: now the route's timeout runs (Envoy's onRequestComplete)."""
        if stream.timeout_s:
            stream.route_deadline = deadline = stream.rx_end_at + stream.timeout_s
            if deadline < stream.connection.due:
                stream.connection.watch(deadline)

    def _try(self, stream: ActiveStream) -> None:
        """One try: a host, a connection, the request."""
        cluster = stream.cluster
        route = stream.route
        assert cluster is not None and route is not None and route.forward is not None
        stream.attempt_count += 1
        host = cluster.choose_host(stream) if stream.attempt_count == 1 else self._next_host(stream, cluster)
        if host is None:
            self._reply_no_host(stream)
            return
        stream.upstream_host = host
        if stream.attempt_count > 1:
            self._forget_try(stream)
        headers = stream.request_headers
        assert headers is not None
        action: RouteAction = route.forward
        if action.auto_host_rewrite:
            action.rewrite_auto_host(headers, host.hostname, not self.suppress_envoy_headers)
        tracing = stream.hcm.tracing
        if tracing is not None and (tracing.spawns or self.start_child_span):
            stream.try_span = tracing.start_upstream(stream, headers, self.start_child_span)
        if headers.upgrade is None:
            request = UpstreamRequest(self, stream, headers, cluster, host, host.pools[action.priority])
        else:
            request = tunnel_request(self, stream, headers, host, action)
        if stream.request_body:
            request.queue = stream.request_body.copy()
            request.queued_bytes = stream.request_body_bytes
        stream.upstream = request
        if stream.decode_ended and stream.decode_buffer is None and not stream.decode_kept:
            # as is_request_whole, without the call
            request.ended = True
            if stream.request_trailers is not None:
                request.trailers = stream.request_trailers
                request.queue = request.queue or []
        if not request.pool.ready:
            request.asked_at = stream.hcm.monotonic()
        request.pool.new_stream(request)

    def _send_again(self, stream: ActiveStream, request: UpstreamRequest, now: float) -> None:
        headers = stream.request_headers
        assert headers is not None
        tracing = stream.hcm.tracing
        if tracing is not None and (tracing.spawns or self.start_child_span):
            stream.try_span = tracing.start_upstream(stream, headers, self.start_child_span)
        again = UpstreamRequest(self, stream, headers, request.cluster, request.host, request.pool)
        again.again = again.ended = True
        again.asked_at = now
        stream.upstream = again
        again.pool.new_stream_anew(again)

    def _reply_no_host(self, stream: ActiveStream) -> None:
        self._end_retries(stream)
        self._count_local(stream, 503)
        self._reply(stream, 503, b"no healthy upstream", b"no_healthy_upstream", ResponseFlag.UH)

    # -- the request's body --------------------------------------------------------------------------------------

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        if end:
            self._request_complete(stream)
        if stream.retry is not None:
            self._keep_for_retry(stream, data)
        if stream.state is not None:
            mirrors = self._mirrors(stream)
            if mirrors is not None:
                cluster = self._cluster(stream)
                cluster.stats.retry_or_shadow_abandoned.value += mirrors.data(data, end)
        request = stream.upstream
        if request is not None and not stream.done:
            request.encode_data(data, end)
            if end and request.sent:
                stream.upstream_tx_end_at = stream.rx_end_at
                self._arm_try(stream)
        return None

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        self._request_complete(stream)
        mirrors = self._mirrors(stream)
        if mirrors is not None:
            mirrors.send(trailers)
        request = stream.upstream
        if request is not None:
            request.encode_trailers(trailers)
            if request.sent:
                stream.upstream_tx_end_at = stream.rx_end_at
                self._arm_try(stream)
        return None

    # -- what comes back (router.upstream_request.Owner) ---------------------------------------------------------

    def on_upstream_ready(self, request: UpstreamRequest) -> None:
        stream: ActiveStream = request.stream
        connection = request.connection
        assert connection is not None
        stream.upstream_local_address = connection.local_address
        stream.upstream_remote_address = connection.remote_address
        stream.upstream_connection_id = connection.connection_id
        stream.upstream_tls = connection.tls
        stream.upstream_protocol = connection.protocol
        now = stream.upstream_tx_start_at = stream.hcm.monotonic()
        stream.upstream_pool_wait_s = now - request.asked_at if request.asked_at else 0.0
        stream.upstream_connect_start_at = connection.created_at
        stream.upstream_connected_at = connection.connected_at
        if stream.decode_ended:
            stream.upstream_tx_end_at = now
        if request.cluster.max_stream_duration_s and stream.host_deadline == inf:
            stream.host_deadline = now + request.cluster.max_stream_duration_s
            stream.connection.watch(stream.host_deadline)
        if stream.connection.write_blocked:
            connection.hold_reading()  # an earlier, pipelined response still waits to be read
        if (stream.per_try_timeout_s or stream.retry is not None) and (
            stream.decode_ended or request.request_headers.upgrade is not None
        ):
            self._arm_try(stream)

    def on_upstream_write_blocked(self, request: UpstreamRequest, blocked: bool) -> None:
        connection = request.stream.connection
        if blocked:
            connection.hold_reading()
        else:
            connection.release_reading()

    def on_upstream_informational(self, request: UpstreamRequest, headers: ResponseHeaders) -> None:
        stream: ActiveStream = request.stream
        self._count_local(stream, headers.status)
        if headers.status == 100 and stream.hcm.proxy_100_continue:  # counted like a response, as in Envoy
            stream.hcm.codes.record(100)
        stream.encode_informational(headers)

    def on_upstream_headers(self, request: UpstreamRequest, headers: ResponseHeaders, end: bool) -> None:
        stream: ActiveStream = request.stream
        status = headers.status
        if (
            stream.retry is not None
            and stream.retry.hedged is not None
            and self._gives_way(stream, request, headers)
        ):
            return
        now = stream.hcm.monotonic()
        stream.upstream_rx_start_at = now
        stream.try_deadline = inf
        host = request.host
        if status < 500:
            host.rq_success += 1
        else:
            host.rq_error += 1
        cluster = request.cluster
        if stream.retry is not None:
            if self._retried(stream, request, headers):
                return
            if self._redirected(stream, headers):
                return
            if stream.retry.policy.per_try_idle_timeout_s:
                stream.retry.hard_deadline = inf
                self._move_idle(stream, stream.retry)
        canary = host.canary or (bool(headers.known & X_ENVOY) and headers.get(CANARY) == b"true")
        if stream.internal or canary:
            self._count_code(stream, status, canary)
        else:
            cluster.codes.record(status)
        stream.status = status
        if stream.rx_end_at and not self.suppress_envoy_headers:
            elapsed_ms = int((now - stream.rx_end_at) * 1000.0)
            elapsed = _DIGITS[elapsed_ms] if 0 <= elapsed_ms < 1000 else b"%d" % elapsed_ms
            if headers.known & X_ENVOY:
                headers.set(b"x-envoy-upstream-service-time", elapsed)
            else:
                headers.fields.append((b"x-envoy-upstream-service-time", elapsed))
                headers.known |= X_ENVOY
        route = stream.route
        assert route is not None
        stream.details = b"via_upstream"
        if route.response_ops:
            stream.response_headers = headers  # what %RESP()% reads
            route.finalize_response(headers, stream)
        if route.virtual_host.include_attempt_count_in_response:
            headers.set(b"x-envoy-attempt-count", b"%d" % stream.attempt_count)
        if end:
            self._response_complete(stream, request)
        stream.encode_headers(headers, end)

    def on_upstream_upgrade(
        self, request: UpstreamRequest, headers: ResponseHeaders, end: bool, granted: bool
    ) -> None:
        stream: ActiveStream = request.stream
        if is_failed_handshake(stream, headers.status):
            end_handshake(stream, request, headers, end)
            return
        self.on_upstream_headers(request, headers, end)
        if granted and not request.done:
            begin_tunnel(stream)

    def _redirected(self, stream: ActiveStream, headers: ResponseHeaders) -> bool:
        """Whether the response was a redirect that is followed here."""
        assert stream.route is not None and stream.route.forward is not None
        policy = stream.route.forward.internal_redirect
        return policy is not None and headers.status in policy.codes and follow(stream, policy, headers)

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        stream: ActiveStream = request.stream
        if not stream.upstream_rx_body_start_at:
            stream.upstream_rx_body_start_at = stream.hcm.monotonic()
        if end:
            now = stream.upstream_rx_end_at = stream.hcm.monotonic()
            stream.upstream = None
            stream.route_deadline = inf
            if stream.rx_end_at:
                elapsed_ms = int((now - stream.rx_end_at) * 1000.0)
                if stream.internal or request.host.canary:
                    self._count_time(stream, elapsed_ms, request.host.canary)
                else:
                    request.cluster.codes.record_time(elapsed_ms)
            if stream.try_span is not None or stream.retry is not None:
                stream.try_deadline = inf
                self._try_complete(stream)
        elif stream.retry is not None and stream.retry.policy.per_try_idle_timeout_s:
            self._move_idle(stream, stream.retry)
        stream.encode_data(data, end)

    def on_upstream_trailers(self, request: UpstreamRequest, trailers: HeaderMap) -> None:
        stream: ActiveStream = request.stream
        self._response_complete(stream, request)
        stream.encode_trailers(trailers)

    def _response_complete(self, stream: ActiveStream, request: UpstreamRequest) -> None:
        """As on_upstream_data's end, which has it inline because most responses end there."""
        now = stream.upstream_rx_end_at = stream.hcm.monotonic()
        stream.upstream = None
        stream.route_deadline = stream.try_deadline = inf
        if stream.rx_end_at:
            self._count_time(stream, int((now - stream.rx_end_at) * 1000.0), request.host.canary)
        self._try_complete(stream)

    # -- failure -------------------------------------------------------------------------------------------------

    def on_upstream_reset(self, request: UpstreamRequest, reason: ResetReason, details: bytes) -> None:
        stream: ActiveStream = request.stream
        if (
            stream.retry is not None
            and stream.retry.hedged is not None
            and self._outlives(stream, request, reason)
        ):
            return
        stream.upstream = None
        stream.try_deadline = inf
        if reason is NO_POOL:
            stream.upstream_host = None
            self._reply_no_host(stream)
            return
        if reason is NO_ROOM:
            stream.upstream_host = None
        elif reason is not OVERFLOW:
            request.host.rq_error += 1
        if not request.sent:
            stream.upstream_pool_wait_s = (
                stream.hcm.monotonic() - request.asked_at if request.asked_at else 0.0
            )
        if stream.try_span is not None:
            self._end_try_span(stream, 0, reason.flag, reason.text, sent=request.sent)
        if stream.encode_started:
            self._cut_short(stream, reason)
            return
        retry: RetryState | None = stream.retry
        if retry is not None:
            delay_s = retry.should_retry_reset(reason, request.sent)
            if delay_s is not None:
                self._schedule_retry(stream, delay_s)
                return
        if self._retried_stale(stream, request, reason):
            return
        if retry is not None:
            self._count_no_retry(stream, retry)
            if retry.hedged:  # which may still answer
                self._count_local(stream, 502 if reason is PROTOCOL_ERROR else 503)
                return
        self._fail(stream, reason, details)

    def _cut_short(self, stream: ActiveStream, reason: ResetReason) -> None:
        """The response has begun: where its head has left the client must see that it is not whole; where filters hold
        it still a reply takes its place (as Envoy)."""
        retried = stream.attempt_count > 1
        self._end_retries(stream)
        if stream.status == 200 and stream.request_headers is not None and wants_grpc(stream.request_headers):
            # its status is not known yet
            stream.hcm.stats.rq_reset_after_downstream_response_started.value += 1
        details = b"upstream_reset_after_response_started{%b}" % underscored(reason.text)
        if stream.tx_start_at:
            stream.flags |= reason.flag
            stream.reset(details)
            return
        status = 502 if reason is PROTOCOL_ERROR else 503
        self._reply(stream, status, reset_body(reason.text, retried), details, reason.flag)

    def _fail(self, stream: ActiveStream, reason: ResetReason, details: bytes) -> None:
        retried = stream.attempt_count > 1
        self._end_retries(stream)
        status = 502 if reason is PROTOCOL_ERROR else 503
        self._count_local(stream, status)
        words = underscored(reason.text)
        if details and reason.flag == ResponseFlag.UF:
            stream.upstream_transport_failure_reason = underscored(details)
            words = b"%b|%b" % (words, stream.upstream_transport_failure_reason)
        self._reply(
            stream,
            status,
            reset_body(reason.text, retried),
            b"upstream_reset_before_response_started{%b}" % words,
            reason.flag,
            OVERLOADED if reason is OVERFLOW or reason is NO_ROOM else (),
        )
