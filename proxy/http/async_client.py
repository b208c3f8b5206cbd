"""Requests that the proxy itself sends through a configured cluster: span collectors, later ext_authz, JWKS.

The same clusters, pools, breakers and codecs as for traffic; no filters, no retries, one answer per request. gRPC calls
are ``proxy.http.grpc_stream``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from proxy.base.errors import ResetReason, ResponseFlag
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.stream_info import UpstreamBytes
from proxy.base.timers import Timed
from proxy.http.grpc_stream import GrpcStream, UnaryCall
from proxy.router.upstream_request import Owner, UpstreamRequest

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.base.timers import TimerWheel
    from proxy.http.grpc_service import GrpcService
    from proxy.http.grpc_stream import GrpcReceiver, OnReply
    from proxy.tracing.mirror_span import MirrorSpan
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host
    from proxy.upstream.manager import ClusterManager

MAX_ANSWER_BYTES: Final = 64 * 1024

OnDone = Callable[[int, bytes], None]


def forget(status: int, body: bytes) -> None:
    """The answer to a mirrored request."""


class AsyncCall(Timed, Owner):
    """One request under way: owner of its only try. ``on_done`` is called exactly once."""

    __slots__ = (
        "answer",
        "answer_bytes",
        "client",
        "deadline",
        "on_done",
        "request",
        "status",
    )

    def __init__(self, client: AsyncClient, deadline: float, on_done: OnDone) -> None:
        self.client = client
        self.deadline = deadline
        self.due = inf
        self.on_done: OnDone | None = on_done
        self.request: UpstreamRequest | None = None
        self.status = 0
        self.answer: list[bytes] = []
        self.answer_bytes = 0

    def _finish(self, status: int) -> None:
        on_done, self.on_done = self.on_done, None
        if on_done is None:
            return
        self.client.timers.forget(self)
        self.client.calls.discard(self)
        self.request = None
        on_done(status, b"".join(self.answer)[:MAX_ANSWER_BYTES])

    def on_due(self, now: float) -> float:
        """The wheel's call: out of time."""
        if now < self.deadline:
            return self.deadline
        request = self.request
        if request is not None:
            request.cluster.stats.upstream_rq_timeout.value += 1
            request.cancel()
            self._fail(request, 504, ResponseFlag.UT)
        return inf

    def _fail(self, request: UpstreamRequest, status: int, flag: int) -> None:
        """There is no answer, or not all of it. What a client would be told counts, as in Envoy."""
        if not self.status:
            request.cluster.codes.record_internal(status)
        self._finish(0)

    # -- router.upstream_request.Owner ---------------------------------------------------------------------------

    def on_upstream_ready(self, request: UpstreamRequest) -> None:
        """Nothing to note."""

    def on_upstream_write_blocked(self, request: UpstreamRequest, blocked: bool) -> None:
        """The body is in memory already."""

    def on_upstream_informational(self, request: UpstreamRequest, headers: ResponseHeaders) -> None:
        """Not for us."""

    def on_upstream_headers(self, request: UpstreamRequest, headers: ResponseHeaders, end: bool) -> None:
        self.status = headers.status
        request.cluster.codes.record_internal(headers.status)
        if end:
            self._finish(self.status)

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        self.answer.append(data)
        self.answer_bytes += len(data)
        if end:
            self._finish(self.status)
        elif self.answer_bytes > MAX_ANSWER_BYTES:
            request.cancel()  # enough: a host could send for as long as the timeout lets it
            self._finish(self.status)

    def on_upstream_trailers(self, request: UpstreamRequest, trailers: HeaderMap) -> None:
        self._finish(self.status)

    def on_upstream_reset(self, request: UpstreamRequest, reason: ResetReason, details: bytes) -> None:
        self._fail(request, 503, reason.flag)


class MirrorCall(AsyncCall):
    """A copy of a client's request: its answer is read to its end and thrown away. span: of the sampled ones"""

    __slots__ = ("span",)

    def __init__(self, client: AsyncClient, deadline: float, span: MirrorSpan | None) -> None:
        AsyncCall.__init__(self, client, deadline, forget)
        self.span = span

    def _fail(self, request: UpstreamRequest, status: int, flag: int) -> None:
        self._end_span(request, self.status or status, flag)
        AsyncCall._fail(self, request, status, flag)

    def _finish(self, status: int) -> None:
        if self.request is not None:
            self._end_span(self.request, status, 0)
        AsyncCall._finish(self, status)

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        if end:
            self._finish(self.status)

    def _end_span(self, request: UpstreamRequest, status: int, flags: int) -> None:
        span, self.span = self.span, None
        if span is not None:
            span.end(request.cluster.name, request.host.address, status, flags)


class AsyncClient:
    """Implements ``proxy.http.context.HttpClient``. ``calls``: what is under way and will end by its deadline."""

    __slots__ = ("calls", "clock", "clusters", "local_address", "timers")

    def __init__(
        self, clusters: ClusterManager, timers: TimerWheel, clock: Clock, local_address: str = "127.0.0.1"
    ) -> None:
        self.local_address = local_address.encode()
        self.clusters = clusters
        self.timers = timers
        self.clock = clock
        self.calls: set[Timed] = set()

    def send(
        self, cluster: str, headers: RequestHeaders, body: bytes, timeout_s: float, on_done: OnDone
    ) -> None:
        """See ``HttpClient.send``. Answers with status 0 at once when the cluster or its hosts are missing."""
        target = self.clusters.get(cluster)
        host = target.choose_host(None) if target is not None else None
        if target is None or host is None:
            if target is not None:
                target.codes.record_internal(503)
            on_done(0, b"")
            return
        headers.set(b"x-envoy-internal", b"true")
        headers.set(b"x-forwarded-for", self.local_address)
        headers.set(b"x-envoy-expected-rq-timeout-ms", b"%d" % (timeout_s * 1000.0))
        call = AsyncCall(self, self.clock.monotonic() + timeout_s, on_done)
        self._start(call, headers, body, target, host)

    def mirror(
        self,
        cluster: str,
        headers: RequestHeaders,
        body: bytes,
        trailers: HeaderMap | None,
        timeout_s: float,
        span: MirrorSpan | None = None,
    ) -> None:
        """See ``HttpClient.mirror``."""
        target = self.clusters.get(cluster)
        if target is None:
            return
        if span is not None:
            span.begin()
        host = target.choose_host(None)
        if host is None:
            target.codes.record_internal(503)
            if span is not None:
                span.end(cluster, "", 503, ResponseFlag.UH)
            return
        before = headers.get(b"x-forwarded-for")
        headers.set(b"x-envoy-internal", b"true")
        headers.set(b"x-forwarded-for", before + b"," + self.local_address if before else self.local_address)
        call = MirrorCall(self, self.clock.monotonic() + timeout_s, span)
        self._start(call, headers, body, target, host, trailers)

    def grpc_stream(
        self, service: GrpcService, method: bytes, receiver: GrpcReceiver, timeout_s: float = 0.0
    ) -> GrpcStream:
        """See ``HttpClient.grpc_stream``."""
        return GrpcStream(self, service, method, receiver, timeout_s)

    def grpc_call(self, service: GrpcService, method: bytes, message: bytes, on_reply: OnReply) -> None:
        """See ``HttpClient.grpc_call``."""
        stream = self.grpc_stream(service, method, UnaryCall(on_reply), service.timeout_s)
        stream.start()
        stream.send_last(message)

    def _start(
        self,
        call: AsyncCall,
        headers: RequestHeaders,
        body: bytes,
        target: Cluster,
        host: Host,
        trailers: HeaderMap | None = None,
    ) -> None:
        self.calls.add(call)
        request = UpstreamRequest(call, UpstreamBytes(), headers, target, host, host.pools[0])
        if body:
            request.queue = [body]
        if trailers is not None:
            request.trailers = trailers
            request.queue = request.queue or []
        call.request = request
        self.timers.watch(call, call.deadline)
        request.ended = True
        request.pool.new_stream(request)
