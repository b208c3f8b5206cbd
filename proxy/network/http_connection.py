"""HttpConnection: a client's connection that speaks HTTP, of either version: how it is counted and closes.

``network.downstream`` (HTTP/1, and whoever turns out to speak HTTP/2) and ``network.downstream_http2`` extend it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from proxy.network.accepted import AcceptedConnection

if TYPE_CHECKING:
    from proxy.http.connection_manager import ConnectionManager
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher
    from proxy.stats.store import Gauge


class HttpConnection(AcceptedConnection):
    """protocol_active: downstream_cx_http1_active or downstream_cx_http2_active, None until it is known which;
    requests: so many have begun"""

    __slots__ = ("hcm", "headers_deadline", "protocol_active", "requests")

    def __init__(self, listener: Listener, hcm: ConnectionManager, dispatcher: Dispatcher) -> None:
        AcceptedConnection.__init__(self, listener, dispatcher)
        self.hcm = hcm
        self.protocol_active: Gauge | None = None
        self.requests = 0
        self.headers_deadline = inf

    # -- the beginning -------------------------------------------------------------------------------------------

    def on_accepted(self, now: float) -> None:
        self.transport.set_write_buffer_limits(high=self.hcm.buffer_limit_bytes)
        stats = self.hcm.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        self.begin(now, now + self.hcm.max_connection_duration_s)

    def begin(self, now: float, duration_deadline: float) -> None:
        """Its time runs from now on."""
        self.idle_since = now
        self.duration_deadline = duration_deadline
        first = min(now + self.hcm.connection_idle_timeout_s, duration_deadline)
        if first < inf:
            self.watch(first)

    def count_protocol(self, active: Gauge, protocol: bytes) -> None:
        """It is known what the client speaks."""
        self.info.protocol = protocol
        self.protocol_active = active
        active.value += 1

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.hcm.stats.downstream_cx_rx_bytes_total.value += len(data)
        self.info.bytes_received += len(data)
        if self.closing:
            return  # lingering: what still comes is thrown away
        try:
            self.feed(data)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def feed(self, data: bytes) -> None:
        """Bytes to the codec, whose complaints are answered; b"" goes on with what waits."""
        raise NotImplementedError

    # -- closing -------------------------------------------------------------------------------------------------

    def close_written(self, at_once: bool) -> None:
        """Close once all is written. Unless ``at_once`` the client may still be sending: wait for it to stop, at most
        delayed_close_timeout, so that a reset cannot destroy what it has not read yet."""
        wait_s = self.hcm.delayed_close_timeout_s
        if at_once or not wait_s:
            self.close_once_written(wait_s or 1.0)
            return
        self.idle_since = self.dispatcher.clock.monotonic()
        self.unsent = self.transport.get_write_buffer_size()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.look_again(self.idle_since, wait_s)

    def go_on_closing(self, now: float) -> float:
        """Closing for a while already; when to look again."""
        if self.linger(now, self.hcm.delayed_close_timeout_s or 1.0, self.hcm.stream_idle_timeout_s):
            return self.close_deadline
        self.hcm.stats.downstream_cx_delayed_close_timeout.value += 1
        return inf

    # -- the end -------------------------------------------------------------------------------------------------

    def has_request(self) -> bool:
        """Whether a request runs."""
        raise NotImplementedError

    def reset_requests(self) -> None:
        """The client has gone: what runs ends."""
        raise NotImplementedError

    def count_leaver(self, by_us: bool = False) -> None:
        """The connection ends: count once who ended it, and whether in the middle of a request."""
        if self.left:
            return
        self.left = not (self.closing or by_us)
        if self.has_request():
            stats = self.hcm.stats
            stats.downstream_cx_destroy_active_rq.value += 1
            if self.left:
                stats.downstream_cx_destroy_remote_active_rq.value += 1
            else:
                stats.downstream_cx_destroy_local_active_rq.value += 1

    def on_lost(self, exc: Exception | None) -> None:
        self.count_leaver()
        self.reset_requests()

    def count_end(self, length_s: float) -> None:
        stats = self.hcm.stats
        stats.downstream_cx_active.value -= 1
        if self.protocol_active is not None:
            self.protocol_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        if self.left:
            stats.downstream_cx_destroy_remote.value += 1
        else:
            stats.downstream_cx_destroy_local.value += 1
        stats.downstream_cx_length_ms.record(int(length_s * 1000.0))
