"""The admin interface's access log (bootstrap.admin.access_log): the line of an answered request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.network.addresses import address_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import h11

    from proxy.admin.messages import Messages

HOST = b"host"


def log_request(
    messages: Messages,
    request: h11.Request,
    status: int,
    headers: Iterable[tuple[str, str]],
    sent: int,
) -> None:
    """Write the lines of a request that has been answered. sent: bytes of the response's body"""
    transport, clock = messages.connection.transport, messages.server.clock
    if transport is None:
        return
    local, peer = (address_text(transport.get_extra_info(name)) for name in ("sockname", "peername"))
    now = clock.monotonic()
    info = ConnectionInfo(0, peer, local, messages.began_at)
    stream = StreamInfo(info, clock.wall() - (now - messages.began_at), messages.began_at)
    fields = list(request.headers)
    authority = next((value for name, value in fields if name == HOST), b"")
    others = [(name, value) for name, value in fields if name != HOST]
    stream.request_headers = RequestHeaders(request.method, request.target, authority, b"http", others)
    answer = [(name.encode(), value.encode()) for name, value in headers]
    stream.response_headers = ResponseHeaders(status, answer)
    stream.status = status
    stream.bytes_received, stream.bytes_sent = len(messages.body), sent
    stream.rx_headers_end_at = stream.rx_end_at = messages.began_at
    stream.tx_start_at = stream.tx_end_at = stream.ended_at = now
    for access_log in messages.server.access_logs:
        access_log.log(stream)
