"""gRPC calls that the proxy itself makes to a configured cluster: streams of messages both ways, and unary calls.

    stream = client.grpc_stream(GrpcService("xds"), b"/package.Service/Method", receiver)
    stream.start()
    stream.send(message)        # any number of times, also before there is a connection
    stream.end()                # no further message from us
    stream.cancel()             # no more at all; the receiver hears nothing more

The receiver is told of messages as they come and, exactly once and last, of the status. Everything runs in the turns of
the loop that other traffic runs in: whoever calls from elsewhere (a file watcher, say) flushes the dispatcher after it
(``Tasks.flush``). Over HTTP/2, with the cluster's pools, breakers and limits; framing is ``proxy.codec.grpc``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from proxy.base.errors import CodecError, ResetReason
from proxy.base.headers import Field, HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.stream_info import UpstreamBytes
from proxy.base.timers import Timed
from proxy.codec.grpc import COMPRESSED, FrameReader, frame
from proxy.formatter.grpc_status import HTTP_TO_GRPC, UNKNOWN, grpc_message, read_grpc_status
from proxy.router.upstream_request import Owner, UpstreamRequest

if TYPE_CHECKING:
    from proxy.http.async_client import AsyncClient
    from proxy.http.grpc_service import GrpcService

DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

#: (status, message, text): the message is b"" unless status is 0
OnReply = Callable[[int, bytes, str], None]


@mypyc_attr(allow_interpreted_subclasses=True)
class GrpcReceiver:
    """Who hears of a call."""

    __slots__ = ()

    def on_grpc_metadata(self, headers: ResponseHeaders) -> None:
        """The host has accepted the call: its initial metadata."""

    def on_grpc_message(self, message: bytes) -> None:
        """One message."""
        raise NotImplementedError

    def on_grpc_status(self, status: int, text: str) -> None:
        """The call is over: its gRPC status and what was said with it. Nothing follows."""
        raise NotImplementedError

    def on_grpc_writable(self) -> None:
        """The host takes messages again after ``blocked``."""


class CallBytes(UpstreamBytes):
    """What a call moves; pools that follow their client are asked for HTTP/2."""

    __slots__ = ("protocol",)

    def __init__(self) -> None:
        UpstreamBytes.__init__(self)
        self.protocol = b"HTTP/2"


class GrpcStream(Timed, Owner):
    """One call. blocked: the host reads too slowly, so that further messages wait in memory: better send later.

    method: b"/package.Service/Method"; timeout_s: of the whole call, 0.0 for none
    """

    __slots__ = (
        *("_answered", "_client", "_deadline", "_method", "_reader", "_receiver", "_request", "_service"),
        *("_timeout_s", "blocked"),
    )

    def __init__(
        self,
        client: AsyncClient,
        service: GrpcService,
        method: bytes,
        receiver: GrpcReceiver,
        timeout_s: float = 0.0,
    ) -> None:
        self.due = inf
        self.blocked = False
        self._client = client
        self._service = service
        self._method = method
        self._receiver: GrpcReceiver | None = receiver
        self._timeout_s = timeout_s
        self._deadline = inf
        self._reader = FrameReader(service.limit_bytes)
        self._request: UpstreamRequest | None = None
        self._answered = False

    # -- for whoever calls ---------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The receiver has not heard of the end, and it was not cancelled."""
        return self._receiver is not None

    def start(self) -> None:
        """Ask for a connection. Where there is no such cluster or no host, the receiver hears so before this returns."""
        client = self._client
        name = self._service.cluster
        target = client.clusters.get(name)
        if target is None:
            self._over(UNAVAILABLE, f"there is no cluster '{name}'")
            return
        host = target.choose_host(None)
        if host is None:
            self._over(UNAVAILABLE, "no healthy upstream")
            return
        if self._timeout_s:
            self._deadline = client.clock.monotonic() + self._timeout_s
            client.calls.add(self)
            client.timers.watch(self, self._deadline)
        request = UpstreamRequest(self, CallBytes(), self._head(), target, host, host.pools[0])
        self._request = request
        request.pool.new_stream(request)

    def send(self, message: bytes) -> None:
        """One message; nothing happens when the call is over."""
        if self._request is not None:
            self._request.encode_data(frame(message), False)

    def send_last(self, message: bytes) -> None:
        """One message, and no further one."""
        if self._request is not None:
            self._request.encode_data(frame(message), True)

    def end(self) -> None:
        """No further message from us."""
        if self._request is not None and not self._request.ended:
            self._request.encode_data(b"", True)

    def cancel(self) -> None:
        """Give the call up: the host sees a reset, the receiver hears nothing more."""
        self._receiver = None
        request = self._leave()
        if request is not None:
            request.cancel()

    # -- inside --------------------------------------------------------------------------------------------------

    def _head(self) -> RequestHeaders:
        service = self._service
        fields: list[Field] = [(b"te", b"trailers")]
        if self._timeout_s:
            fields.append((b"grpc-timeout", b"%dm" % max(1, round(self._timeout_s * 1000.0))))
        fields.append((b"content-type", b"application/grpc"))
        fields += service.metadata
        if service.says_envoy:
            fields.append((b"x-envoy-internal", b"true"))
            fields.append((b"x-forwarded-for", self._client.local_address))
        authority = service.authority or service.cluster.encode()
        return RequestHeaders(b"POST", self._method, authority, b"http", fields)

    def _leave(self) -> UpstreamRequest | None:
        """The call is over for us."""
        request, self._request = self._request, None
        self.blocked = False
        if self._timeout_s:
            self._client.timers.forget(self)
            self._client.calls.discard(self)
        return request

    def _over(self, status: int, text: str) -> None:
        receiver, self._receiver = self._receiver, None
        self._leave()
        if receiver is not None:
            receiver.on_grpc_status(status, text)

    def _give_up(self, request: UpstreamRequest, status: int, text: str) -> None:
        request.cancel()
        self._over(status, text)

    def on_due(self, now: float) -> float:
        """The wheel's call: out of time."""
        if now < self._deadline:
            return self._deadline
        request = self._request
        if request is not None:
            request.cluster.stats.upstream_rq_timeout.value += 1
            self._give_up(request, DEADLINE_EXCEEDED, "the call took too long")
        return inf

    # -- router.upstream_request.Owner ---------------------------------------------------------------------------

    def on_upstream_ready(self, request: UpstreamRequest) -> None:
        """Nothing to note."""

    def on_upstream_write_blocked(self, request: UpstreamRequest, blocked: bool) -> None:
        was, self.blocked = self.blocked, blocked
        if was and not blocked and self._receiver is not None:
            self._receiver.on_grpc_writable()

    def on_upstream_informational(self, request: UpstreamRequest, headers: ResponseHeaders) -> None:
        """Nothing in gRPC."""

    def on_upstream_headers(self, request: UpstreamRequest, headers: ResponseHeaders, end: bool) -> None:
        request.cluster.codes.record_internal(headers.status)
        if end and (headers.status == 200 or read_grpc_status(headers) is not None):
            self._finish(headers)
        elif headers.status != 200:
            status = HTTP_TO_GRPC.get(headers.status, UNKNOWN)
            self._give_up(request, status, f"the host answered with HTTP status {headers.status}")
        elif self._receiver is not None:
            self._answered = True
            self._receiver.on_grpc_metadata(headers)

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        try:
            messages = self._reader.feed(data)
        except CodecError as error:
            self._give_up(request, RESOURCE_EXHAUSTED, error.body.decode())
            return
        for flags, message in messages:
            if flags & COMPRESSED:
                self._give_up(request, INTERNAL, "a compressed message, which was not asked for")
                return
            if self._receiver is None:
                return
            self._receiver.on_grpc_message(message)
        if end:
            self._over(UNKNOWN, "the host ended the call without a status")

    def on_upstream_trailers(self, request: UpstreamRequest, trailers: HeaderMap) -> None:
        self._finish(trailers)

    def _finish(self, trailers: HeaderMap) -> None:
        status = read_grpc_status(trailers)
        if status is None:
            self._over(UNKNOWN, "the host ended the call without a status")
        elif status == 0 and not self._reader.is_between:
            self._over(INTERNAL, "the host ended the call within a message")
        else:
            self._over(status, grpc_message(trailers))

    def on_upstream_reset(self, request: UpstreamRequest, reason: ResetReason, details: bytes) -> None:
        text = reason.text.decode()
        if details:
            text = f"{text}: {details.decode('utf-8', 'replace')}"
        self._over(INTERNAL if self._answered else UNAVAILABLE, text)


class UnaryCall(GrpcReceiver):
    """One message there, one back: what the stream of a unary call tells, gathered. ``on_reply`` is called once."""

    __slots__ = ("_message", "_messages", "_on_reply")

    def __init__(self, on_reply: OnReply) -> None:
        self._on_reply = on_reply
        self._message = b""
        self._messages = 0

    def on_grpc_message(self, message: bytes) -> None:
        self._message = message
        self._messages += 1

    def on_grpc_status(self, status: int, text: str) -> None:
        if status == 0 and self._messages != 1:
            self._on_reply(INTERNAL, b"", f"{self._messages} messages instead of one")
        else:
            self._on_reply(status, self._message if status == 0 else b"", text)
