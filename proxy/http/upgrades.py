"""What the router does of requests for another protocol or a tunnel: their try, and what a host has answered."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.router.upgrade_request import ConnectRequest, UpgradeRequest
from proxy.upstream.pool_tunnel import tunnel_pool

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream
    from proxy.router.route import RouteAction
    from proxy.router.upstream_request import Owner, UpstreamRequest
    from proxy.upstream.host import Host

HANDSHAKE_FAILED: Final = b"websocket_handshake_unsuccessful"
OF_BODY: Final = frozenset((b"content-length", b"content-type", b"transfer-encoding"))


def tunnel_request(
    owner: Owner, stream: ActiveStream, headers: RequestHeaders, host: Host, action: RouteAction
) -> UpgradeRequest:
    """A try that asks for another protocol or a tunnel, or that is the end of one."""
    request: UpgradeRequest
    if action.ends_tunnels and headers.method == b"CONNECT":
        pool = tunnel_pool(host, action.priority)
        ends = ConnectRequest(owner, stream, headers, host.cluster, host, pool)
        tells = action.tells_hosts
        ends.preface = b"" if tells is None else tells.header(stream.info)
        request = ends
    else:
        pool = host.pools[action.priority]
        request = UpgradeRequest(owner, stream, headers, host.cluster, host, pool)
    return request.begin(stream.hcm.buffer_limit_bytes)


def is_failed_handshake(stream: ActiveStream, status: int) -> bool:
    """Whether a host answers a WebSocket handshake as if nothing had been asked (200, a redirect)."""
    headers = stream.request_headers
    assert headers is not None
    upgrade = headers.upgrade
    return (
        101 < status < 400
        and headers.method != b"CONNECT"
        and upgrade is not None
        and upgrade.lower() == b"websocket"
    )


def end_handshake(
    stream: ActiveStream, request: UpstreamRequest, headers: ResponseHeaders, end: bool
) -> None:
    """Such an answer: its head travels on without its body, which a client may take for messages (as Envoy)."""
    stream.upstream_rx_start_at = stream.hcm.monotonic()
    stream.upstream = None
    stream.route_deadline = stream.try_deadline = inf
    if not end:
        request.cancel()
    headers.remove_all(OF_BODY)
    stream.details = HANDSHAKE_FAILED
    stream.encode_headers(headers, True)


def begin_tunnel(stream: ActiveStream) -> None:
    """The host has switched: from now on only silence ends the stream; nothing can be tried again."""
    stream.request_deadline = stream.route_deadline = stream.try_deadline = inf
    stream.timeout_s = stream.per_try_timeout_s = 0.0
    stream.request_body = None
    stream.request_body_bytes = 0
    if stream.retry is not None:
        stream.retry.finish()
        stream.retry = None
    if stream.hcm.logs_tunnels:
        stream.hcm.log_tunnel(stream)
