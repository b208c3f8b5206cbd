"""HttpTunnel: a client's bytes inside an HTTP request: the far end of a ``network.joint.Joint`` that is no socket.

tcp_proxy's tunneling_config: CONNECT (or POST) to a host of the cluster, over HTTP/1.1 or HTTP/2, whichever its pools
speak. Nothing of the client leaves before the host has answered 2xx; any other answer is a failed attempt to connect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.base.errors import REMOTE_CONNECT_ERROR, REMOTE_CONNECTION_FAILURE, REMOTE_RESET, ResetReason
from proxy.base.filter_state import TextState
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.stream_info import StreamInfo, UpstreamBytes
from proxy.network.tcp_upstream import TunnelEnd, Tunnels
from proxy.router.header_ops import HeaderOps, evaluate
from proxy.router.upgrade_request import TunnelRequest
from proxy.router.upstream_request import Owner, UpstreamRequest

if TYPE_CHECKING:
    from proxy.base.ids import Ids
    from proxy.formatter import Formatter
    from proxy.network.tcp_session import TcpProxyConnection
    from proxy.stats.store import Gauge
    from proxy.upstream.connection import UpstreamStream
    from proxy.upstream.host import Host


HEADERS_KEY: Final = "envoy.tcp_proxy.propagate_response_headers"
TRAILERS_KEY: Final = "envoy.tcp_proxy.propagate_response_trailers"
_NAMESPACE: Final = "envoy.filters.network.tcp_proxy"


class HttpTunnels(Tunnels):
    """What is asked of the host. path: of a POST, b"" for CONNECT

    ids: of requests, None for requests without; id_header: the field that has it, id_key: of dynamic metadata
    leaves_headers, leaves_trailers: what the host answers becomes filter state
    """

    __slots__ = ("hostname", "id_header", "id_key", "ids", "leaves_headers", "leaves_trailers", "ops", "path")

    def __init__(self, hostname: bytes | Formatter, path: bytes, ops: HeaderOps) -> None:
        self.hostname = hostname
        self.path = path
        self.ops = ops
        self.ids: Ids | None = None
        self.id_header = b"x-request-id"
        self.id_key = "tunnel_request_id"
        self.leaves_headers = self.leaves_trailers = False

    def make(self, session: TcpProxyConnection, host: Host, stream: StreamInfo) -> HttpTunnel:
        """See Tunnels."""
        return HttpTunnel(self, session, host, self.head(stream))

    def head(self, stream: StreamInfo) -> RequestHeaders:
        """The head for one connection."""
        authority = evaluate(self.hostname, stream)
        headers = RequestHeaders(b"POST" if self.path else b"CONNECT", self.path, authority)
        if not self.path:
            headers.upgrade = b"CONNECT"
        if self.ids is not None:
            self._name(headers, stream, self.ids.request_id())
        self.ops.apply(headers, stream)
        return headers

    def _name(self, headers: RequestHeaders, stream: StreamInfo, name: bytes) -> None:
        """Each attempt has an id of its own."""
        headers.add(self.id_header, name)
        info = stream.info
        if info.metadata is None:
            info.metadata = {}
        stream.metadata = info.metadata
        info.metadata.setdefault(_NAMESPACE, {})[self.id_key] = name.decode()


class HttpTunnel(Owner, TunnelEnd):
    """One request. session: None once it has been told how it ended, or has let go; joined: the host has granted it
    request: None once it is over, so that no cycle is left
    """

    __slots__ = ("blocked", "connection", "joined", "request", "session", "tunnels")

    def __init__(
        self, tunnels: HttpTunnels, session: TcpProxyConnection, host: Host, headers: RequestHeaders
    ) -> None:
        self.tunnels = tunnels
        self.session: TcpProxyConnection | None = session
        self.connection: UpstreamStream | None = None
        self.joined = self.blocked = False
        self.request: TunnelRequest | None = TunnelRequest(
            self, UpstreamBytes(), headers, host.cluster, host, host.pools[0]
        )
        self.request.begin(session.listener.buffer_limit_bytes)

    def begin(self) -> None:
        """Ask. The session may be told of a failure before this returns."""
        request, session = self.request, self.session
        if request is None or session is None:
            return
        if (
            b" " in request.request_headers.authority
        ):  # made of a peer's words: it would end the target of the request
            self.close_now()
            session.on_pool_failure(REMOTE_CONNECTION_FAILURE, b"tunnel_hostname_with_blank")
            return
        request.pool.new_stream(request)

    # -- what the session and its joint say ----------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """Bytes that wait for the host's window."""
        upstream, request = self.connection, self.request
        return 0 if upstream is None or request is None else upstream.codec.queued_bytes(request)

    def write(self, data: bytes) -> None:
        if self.request is not None:
            self.request.encode_data(data, False)

    def end_writing(self) -> None:
        """HTTP/1 has no half-closed exchange: the host's half ends with the client's (as Envoy)."""
        if self.request is not None:
            self.request.encode_data(b"", True)
        upstream = self.connection
        granted = self.request is not None and self.request.granted
        if granted and self.session is not None and upstream is not None and upstream.protocol != b"HTTP/2":
            self.session.on_upstream_end()

    def hold_reading(self) -> None:
        if self.request is not None:
            self.request.hold_reading()

    def release_reading(self) -> None:
        if self.request is not None:
            self.request.release_reading()

    def let_go(self) -> None:
        self.session = None

    def finish(self, remote: bool, patience_s: float, active: Gauge) -> bool:
        """Whoever writes for us sees to what is not written yet."""
        self.close_now()
        return False

    def close_now(self) -> None:
        self.session = None
        request = self._cut()
        if request is not None:
            request.cancel()

    def _cut(self) -> TunnelRequest | None:
        request, self.request = self.request, None
        self.connection = None
        return request

    def reset(self) -> None:
        self.close_now()

    # -- what the request says (router.upstream_request.Owner) ---------------------------------------------------

    def on_upstream_ready(self, request: UpstreamRequest) -> None:
        upstream = self.connection = request.connection
        if self.session is not None and upstream is not None:
            self.session.stream.upstream_connection_id = upstream.connection_id

    def on_upstream_informational(self, request: UpstreamRequest, headers: ResponseHeaders) -> None:
        """1xx means nothing to a client that speaks no HTTP."""

    def on_upstream_upgrade(
        self, request: UpstreamRequest, headers: ResponseHeaders, end: bool, granted: bool
    ) -> None:
        session = self.session
        upstream = self.connection
        if session is None or upstream is None:
            return
        if self.tunnels.leaves_headers:
            status = [{"key": ":status", "value": str(headers.status)}]
            session.info.leave(HEADERS_KEY, TextState("", {"headers": status + _shown(headers)}))
        if granted:
            self.joined = True
            session.on_joined(self, upstream)
            if end:
                session.on_upstream_end()
            return
        self.close_now()
        session.on_pool_failure(REMOTE_CONNECTION_FAILURE, b"tunnel_response:%d" % headers.status)

    def on_upstream_data(self, request: UpstreamRequest, data: bytes, end: bool) -> None:
        session = self.session
        if session is not None and data:
            session.on_upstream_data(data)
        if end and self.session is not None:
            self.session.on_upstream_end()

    def on_upstream_trailers(self, request: UpstreamRequest, trailers: HeaderMap) -> None:
        session = self.session
        if session is None:
            return
        if self.tunnels.leaves_trailers:
            session.info.leave(TRAILERS_KEY, TextState("", {"headers": _shown(trailers)}))
        session.on_upstream_end()

    def on_upstream_reset(self, request: UpstreamRequest, reason: ResetReason, details: bytes) -> None:
        session, self.session = self.session, None
        self._cut()
        if session is None:
            return
        if self.joined:
            ended = (
                isinstance(request, TunnelRequest) and request.host_ended
            )  # what comes behind that is no failure
            session.on_upstream_gone(not ended and (reason is REMOTE_RESET or reason is REMOTE_CONNECT_ERROR))
        else:
            session.on_pool_failure(REMOTE_CONNECTION_FAILURE if request.sent else reason, details)

    def on_upstream_write_blocked(self, request: UpstreamRequest, blocked: bool) -> None:
        if self.session is not None and self.joined and blocked != self.blocked:
            self.blocked = blocked
            self.session.on_upstream_blocked(blocked)


def _shown(headers: HeaderMap) -> list[dict[str, str]]:
    return [{"key": name.decode("latin-1"), "value": value.decode("latin-1")} for name, value in headers]
