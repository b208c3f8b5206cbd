"""An upstream connection as the try that has it sees it. Opens no socket: ``network.upstream`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.pool_connection import PoolConnection

if TYPE_CHECKING:
    from proxy.base.tls_info import TlsInfo
    from proxy.codec.interface import ClientCodec
    from proxy.router.upstream_request import UpstreamRequest


class UpstreamStream(PoolConnection):
    """An upstream connection as the try that has it sees it (``network.upstream.UpstreamConnection``)."""

    __slots__ = (
        "codec",
        "connected_at",
        "connection_id",
        "dirty",
        "local_address",
        "protocol",
        "remote_address",
        "request",
        "tls",
        "write_blocked",
    )

    codec: ClientCodec
    connection_id: int
    connected_at: float  # monotonic seconds; created_at: when connecting began
    local_address: str
    protocol: bytes  # b"HTTP/1.1", b"HTTP/2"
    remote_address: str
    tls: TlsInfo | None  # the facts of its handshake
    write_blocked: bool
    request: UpstreamRequest | None  # the try that has the connection
    dirty: bool  # touched already

    def touch(self) -> None:
        """The codec has output: write it before this turn of the loop ends."""
        raise NotImplementedError

    def give_up(self, request: UpstreamRequest) -> None:
        """The try will read no further: HTTP/1 closes the connection, HTTP/2 resets the stream."""
        raise NotImplementedError

    def end_tunnel(self, request: UpstreamRequest) -> None:
        """As give_up, for a try that has become a tunnel: what the codec was given is still written."""
        self.give_up(request)

    def end_writing(self) -> None:
        """A tunnel's client will send no more, and the codec has been told: where that is the connection's end, end this
        half of it."""

    def hold_reading(self) -> None:
        """Take no more response bytes."""
        raise NotImplementedError

    def release_reading(self) -> None:
        """Take response bytes again."""
        raise NotImplementedError
