"""TcpStreamInfo: the facts of a client's connection that carries bytes, as access logs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.stream_info import ConnectionInfo, StreamInfo

if TYPE_CHECKING:
    from proxy.base.ids import Ids
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host


class TcpStreamInfo(StreamInfo):
    """log_type: TcpConnectionStart, TcpUpstreamConnected, TcpPeriodic, TcpConnectionEnd
    tried: the host of every attempt; upstream_end: how the host's connection ended; upstream_reason: why we ended it
    """

    __slots__ = ("_id", "_ids", "cluster", "tried", "upstream_end", "upstream_reason")

    def __init__(self, info: ConnectionInfo, start_time: float, started_at: float) -> None:
        StreamInfo.__init__(self, info, start_time, started_at)
        self.protocol = b""
        self.cluster: Cluster | None = None
        self.log_type = b"TcpConnectionStart"
        self.tried: list[Host] = []
        self.upstream_end = b"Normal"
        self.upstream_reason = b""
        self._ids: Ids | None = None
        self._id = b""

    def name(self, ids: Ids) -> None:
        """It has an id from now on."""
        self._ids = ids

    @property
    def hosts_attempted(self) -> list[Host]:
        """Every one, a host as often as it was tried."""
        return self.tried

    @property
    def upstream_close_type(self) -> bytes:
        return self.upstream_end

    @property
    def upstream_local_close_reason(self) -> bytes:
        return self.upstream_reason

    @property
    def stream_id(self) -> bytes:
        """A connection's own, made when it is first asked for; none where a filter before ours has kept it."""
        if not self._id and self._ids is not None:
            self._id = self._ids.request_id()
        return self._id
