"""The HTTP connection manager: its configuration made runnable. The one page that composes the chain.

A connection makes an ActiveStream per request; the stream comes back to be admitted (``admit``) where its head is
out of the ordinary and, at the very end, to be counted, traced and logged (``complete``).

    downstream connection → codec → ActiveStream → forwarding → route → tracing → filters … → router → upstream
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from proxy.base.errors import LOCAL_RESET
from proxy.base.headers import HOST, RequestHeaders
from proxy.formatter.grpc_status import wants_grpc
from proxy.http.budgets import count_request
from proxy.http.chain import FilterChain
from proxy.http.forwarding import Forwarding
from proxy.http.request_rules import FORWARD, REJECT
from proxy.http.route_stats import count_special
from proxy.http.stats import HcmStats
from proxy.http.stream import ActiveStream
from proxy.stats.store import CodeStats, Scope

if TYPE_CHECKING:
    from proxy.access_log.access_log import AccessLog
    from proxy.base.clock import Clock
    from proxy.codec.http1 import Http1Settings
    from proxy.codec.http2_settings import Http2Settings
    from proxy.http.local_replies import LocalReplies
    from proxy.http.proxy_status import ProxyStatus
    from proxy.http.rds import RouteDiscovery
    from proxy.http.request_rules import HostRules, PathRules
    from proxy.router.route_table import RouteTable
    from proxy.stats.http2 import Http2Stats
    from proxy.tracing.tracing import HttpTracing


CONNECT: Final = b"connect"  # the upgrade type, as configurations name it

PATH_FAILED: Final = b"path_normalization_failed"


class ConnectionManager:
    """One HCM of one filter chain. Durations in seconds; ``inf`` or 0.0 where noted means "no limit".

    Built by ``proxy.http.hcm_config.compile_connection_manager``; immutable afterwards but for ``route_table`` (one
    assignment swaps it) and ``draining``.
    """

    __slots__ = (
        "accept_http_10",
        "access_logs",
        "buffer_limit_bytes",
        "chain",
        "closes_on_invalid",
        "codec_settings",
        "codes",
        "connection_idle_timeout_s",
        "delayed_close_timeout_s",
        "detects_http2",
        "drain_timeout_s",
        "draining",
        "enable_trailers",
        "forwarding",
        "http2_settings",
        "http2_stats",
        "is_http2",
        "log_interval_s",
        "logs_start",
        "logs_tunnels",
        "host_rules",
        "local_replies",
        "local_reset",
        "max_connection_duration_s",
        "max_headers_bytes",
        "max_headers_count",
        "max_requests_per_connection",
        "max_stream_duration_s",
        "monotonic",
        "path_rules",
        "proxy_100_continue",
        "rds",
        "proxy_status",
        "request_headers_timeout_s",
        "request_timeout_s",
        "route_table",
        "stat_prefix",
        "stats",
        "stream_idle_timeout_s",
        "tracing",
        "upgraded",
        "upgrade_chains",
        "upgrades",
        "wall",
    )

    def __init__(self, stat_prefix: str, scope: Scope, listener_scope: Scope, clock: Clock) -> None:
        self.stat_prefix = stat_prefix
        self.monotonic = clock.monotonic
        self.wall = clock.wall
        self.stats = HcmStats(scope)
        self.codes = CodeStats(
            scope,
            listener_scope.scope("http").scope(stat_prefix),
            prefix="downstream_rq_",
            used_lazily=False,
            each_code=False,
        )
        self.local_reset = LOCAL_RESET
        self.draining = False
        self.chain: FilterChain
        self.forwarding: Forwarding
        self.route_table: RouteTable
        self.access_logs: tuple[AccessLog, ...] = ()
        self.tracing: HttpTracing | None = None
        self.buffer_limit_bytes = 1024 * 1024
        self.request_headers_timeout_s = 10.0
        self.request_timeout_s = 0.0
        self.stream_idle_timeout_s = 300.0  # inf: none
        self.connection_idle_timeout_s = 3600.0  # inf: none
        self.max_connection_duration_s = inf
        self.max_stream_duration_s = 0.0
        self.delayed_close_timeout_s = 1.0
        self.max_headers_bytes = 60 * 1024
        self.max_headers_count = 100
        self.max_requests_per_connection = 0
        self.accept_http_10 = False
        self.enable_trailers = False
        self.codec_settings: Http1Settings
        self.detects_http2 = True  # codec_type AUTO: HTTP/2 where a connection begins with its preface
        self.is_http2 = False  # codec_type HTTP2
        self.http2_settings: Http2Settings
        # made with the first connection that needs them, as in Envoy
        self.http2_stats: Callable[[], Http2Stats]
        self.drain_timeout_s = 5.0
        self.path_rules: PathRules | None = None
        self.host_rules: HostRules | None = None
        self.local_replies: LocalReplies | None = None
        self.closes_on_invalid = True  # stream_error_on_invalid_http_message: only the request ends
        self.proxy_100_continue = False
        self.upgrades: dict[
            bytes, bool
        ] = {}  # by lower-case protocol: whether it is taken where a route does not say
        self.upgrade_chains: dict[bytes, FilterChain] = {}  # of those that have filters of their own
        self.upgraded: set[ActiveStream] = set()  # whose upgrade was taken
        self.rds: RouteDiscovery | None = None  # what brings the route table, where it does not stand there
        self.proxy_status: ProxyStatus | None = None
        self.logs_start = False  # a line with each request's beginning
        self.logs_tunnels = False  # one when a host has granted an upgrade or a tunnel
        self.log_interval_s = 0.0  # and one so often while it lasts

    def admit(self, stream: ActiveStream, headers: RequestHeaders) -> bool:
        """What every request must have, whatever its route; answers and returns False where it is missing.

        The order of the checks is Envoy's (ConnectionManagerImpl::ActiveStream::decodeHeaders).
        """
        if not headers.authority and not headers.known & HOST:
            self._reject(stream, b"missing_host_header")
            return False
        path = headers.path
        if path[:1] != b"/" and (path or headers.method != b"CONNECT"):
            self.stats.downstream_rq_non_relative_path.value += 1
            stream.local_reply(404, b"", b"absolute_path_rejected")
            return False
        if b"#" in path:
            self.stats.downstream_rq_failed_path_normalization.value += 1
            self._reject(stream, PATH_FAILED)
            return False
        if headers.method == b"QUERY" and not headers.get(b"content-type"):
            stream.local_reply(400, b"", b"query_missing_content_type")  # its body is the question (as Envoy)
            return False
        return self.path_rules is None or not path or self._admit_path(stream, headers, self.path_rules)

    def _admit_path(self, stream: ActiveStream, headers: RequestHeaders, rules: PathRules) -> bool:
        headers.path, verdict = rules.apply(headers.path)
        if verdict == FORWARD:
            return True
        if verdict == REJECT or wants_grpc(headers):  # gRPC clients follow no redirects
            self.stats.downstream_rq_failed_path_normalization.value += 1
            self._reject(stream, PATH_FAILED)
            return False
        self.stats.downstream_rq_redirected_with_normalized_path.value += 1
        stream.local_reply(307, b"", PATH_FAILED, 0, ((b"location", headers.path),))
        return False

    def _reject(self, stream: ActiveStream, details: bytes) -> None:
        stream.local_reply(400, b"", details)

    def admit_upgrade(self, stream: ActiveStream) -> bool:
        """A request for another protocol, or a tunnel: its route says whether that is taken, or else we do. Without a
        route it is answered as any other (as Envoy)."""
        headers, route = stream.request_headers, stream.route
        assert headers is not None and headers.upgrade is not None
        wanted = headers.upgrade.lower()
        action = route.forward if route is not None else None
        taken: bool | None = None
        if wanted != CONNECT or headers.method == b"CONNECT":
            if action is not None and action.upgrades is not None:
                taken = action.upgrades.get(wanted)
            if taken is None:
                taken = self.upgrades.get(wanted, False)
        if taken:
            if wanted in self.upgrade_chains:
                chains = route.upgrade_chains if route is not None else None
                stream.chain = (chains or self.upgrade_chains)[wanted]
            self.stats.downstream_cx_upgrades_total.value += 1
            self.stats.downstream_cx_upgrades_active.value += 1
            self.upgraded.add(stream)
            return True
        headers.upgrade = None
        stream.codec.goaway()
        if route is None:
            return True
        if action is not None:
            stream.cluster_name = (action.choose_cluster(headers, stream) or "").encode()
        self.stats.downstream_rq_ws_on_non_ws_route.value += 1
        stream.local_reply(403, b"", b"upgrade_failed")
        return False

    def end_incomplete(self, stream: ActiveStream) -> None:
        """An HTTP/1 stream ends whose request never did."""
        if stream.encode_ended:
            self.stats.downstream_rq_rx_reset.value += 1
        if self.upgraded:
            self.end_upgrade(stream)

    def end_upgrade(self, stream: ActiveStream) -> None:
        """A stream ends: perhaps one whose upgrade was taken."""
        if stream in self.upgraded:
            self.upgraded.remove(stream)
            self.stats.downstream_cx_upgrades_active.value -= 1

    @staticmethod
    def answers_expect(headers: RequestHeaders) -> bool:
        """Whether ``expect: 100-continue`` is asked, which we answer ourselves (RFC 9110 section 10.1.1)."""
        value = headers.get(b"expect")
        return value is not None and value.lower() == b"100-continue"

    def log_start(self, stream: ActiveStream) -> None:
        """A request has begun and has its route: its first line, where access_log_options ask for it."""
        route = stream.route
        if route is not None and route.forward is not None:
            assert stream.request_headers is not None
            stream.cluster_name = (
                route.forward.choose_cluster(stream.request_headers, stream) or ""
            ).encode()
        if self.logs_start:
            self._log(stream, b"DownstreamStart")
        if self.log_interval_s:
            stream.log_deadline = stream.started_at + self.log_interval_s
            stream.connection.watch(stream.log_deadline)

    def log_tunnel(self, stream: ActiveStream) -> None:
        """Its tunnel stands."""
        self._log(stream, b"DownstreamTunnelSuccessfullyEstablished")

    def log_again(self, stream: ActiveStream, now: float) -> None:
        """It lasts."""
        stream.log_deadline = now + self.log_interval_s
        self._log(stream, b"DownstreamPeriodic")

    def _log(self, stream: ActiveStream, moment: bytes) -> None:
        stream.log_type = moment
        for access_log in self.access_logs:
            access_log.log(stream)
        stream.log_type = b"DownstreamEnd"

    def complete(self, stream: ActiveStream) -> None:
        """The only place where a request is counted as completed, its span ended and its log line written."""
        stats = self.stats
        stats.downstream_rq_active.value -= 1
        received, sent = stream.bytes_received, stream.bytes_sent
        elapsed_ms = int((stream.ended_at - stream.started_at) * 1000.0)
        stats.downstream_rq_time.record(elapsed_ms)
        stats.downstream_rq_body_size.record(received)
        stats.downstream_rs_body_size.record(sent)
        if stream.status:
            self.codes.record(stream.status)
        if stream.route is not None:
            vhost = stream.route.virtual_host.stats
            assert vhost is not None
            if stream.route.has_special_stats:
                vhost = count_special(stream, stream.route, elapsed_ms)
            vhost.rq_total.value += 1
            vhost.rq_time.record(elapsed_ms)
            vhost.rq_body_size.record(received)
            vhost.rs_body_size.record(sent)
            if stream.status:
                vhost.codes.record(stream.status)
        if stream.cluster is not None:
            stats_of_cluster = stream.cluster.stats
            stats_of_cluster.upstream_rq_body_size.record(received)
            stats_of_cluster.upstream_rs_body_size.record(sent)
            if stream.cluster.timeout_budgets is not None:
                count_request(stream, stream.cluster.timeout_budgets)
        if self.tracing is not None:
            self.tracing.finish(stream)
        for access_log in self.access_logs:
            access_log.log(stream)
