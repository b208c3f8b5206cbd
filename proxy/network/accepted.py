"""AcceptedConnection: a client's connection whatever it speaks: how it begins, is counted, closes and ends.

``network.downstream`` (HTTP/1, and whoever turns out to speak HTTP/2) and ``network.downstream_http2`` extend it.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, cast

from proxy.base.stream_info import ConnectionInfo
from proxy.http.stream_state import StreamConnection
from proxy.network.addresses import address_text
from proxy.network.dispatcher import Flushable

if TYPE_CHECKING:
    from proxy.http.connection_manager import ConnectionManager
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher
    from proxy.stats.store import Gauge

LAST_BYTES_S: Final = 300.0  # how long at most a closing connection waits for a client that takes nothing


class AcceptedConnection(StreamConnection, Flushable):
    """Duck-typed asyncio.Protocol: no base class of asyncio's, so that slots hold.

    protocol_active: downstream_cx_http1_active or downstream_cx_http2_active, None until it is known which
    left: the client ended the connection, not we; unsent: while closing: bytes that the client had not taken at the
    last look
    """

    __slots__ = (
        # given at birth
        "dispatcher",
        "hcm",
        "listener",
        "transport",
        # state
        "open",
        "closing",
        "left",
        "protocol_active",
        "requests",
        "unsent",
        # deadlines
        "headers_deadline",
        "idle_since",
        "close_deadline",
        "duration_deadline",
    )

    def __init__(self, listener: Listener, hcm: ConnectionManager, dispatcher: Dispatcher) -> None:
        self.listener = listener
        self.hcm = hcm
        self.dispatcher = dispatcher
        self.transport: asyncio.Transport
        self.info: ConnectionInfo
        self.open = self.dirty = self.closing = self.left = self.write_blocked = False
        self.protocol_active: Gauge | None = None
        self.requests = self.unsent = 0
        self.due = self.headers_deadline = self.close_deadline = self.duration_deadline = inf
        self.idle_since = 0.0

    # -- the beginning -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        now = self.dispatcher.clock.monotonic()
        self.info = ConnectionInfo(
            self.dispatcher.next_connection_id(),
            address_text(transport.get_extra_info("peername")),
            address_text(transport.get_extra_info("sockname")),
            now,
        )
        self.info.listener_name = self.listener.name
        self.info.filter_chain_name = self.listener.filter_chain_name
        self.open = True
        if not self.listener.accept(self):
            self.transport.abort()
            return
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

    def count_protocol(self, active: Gauge) -> None:
        """It is known what the client speaks."""
        self.protocol_active = active
        active.value += 1

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.hcm.stats.downstream_cx_rx_bytes_total.value += len(data)
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

    def touch(self) -> None:
        """There is output, or a reason to look at the connection once the turn is over."""
        if not self.dirty:
            self.dirty = True
            self.dispatcher.dirty.append(self)

    def watch(self, when: float) -> None:
        """Look at this connection's deadlines no later than ``when``."""
        self.dispatcher.timers.watch(self, when)

    # -- closing -------------------------------------------------------------------------------------------------

    def close_idle(self) -> None:
        """Draining: a connection without a request closes now, others after theirs."""
        raise NotImplementedError

    def close_written(self, at_once: bool) -> None:
        """Close once all is written. Unless ``at_once`` the client may still be sending: wait for it to stop, at most
        delayed_close_timeout, so that a reset cannot destroy what it has not read yet."""
        self.idle_since = self.dispatcher.clock.monotonic()
        self.unsent = self.transport.get_write_buffer_size()
        if at_once or not self.hcm.delayed_close_timeout_s:
            self.transport.close()
            if not self.unsent:
                return
        elif self.transport.can_write_eof():
            self.transport.write_eof()
        self.close_deadline = self.idle_since + (self.hcm.delayed_close_timeout_s or 1.0)
        self.watch(self.close_deadline)

    def linger(self, now: float) -> float:
        """Closing for a while already; when to look again. A client that still takes our last bytes may be slow, but
        not idle for longer than a stream may be; one that has them all, or takes none, is left."""
        unsent = self.transport.get_write_buffer_size()
        if unsent < self.unsent:
            self.unsent = unsent
            self.idle_since = now
        elif not unsent or now >= self.idle_since + min(self.hcm.stream_idle_timeout_s, LAST_BYTES_S):
            self.hcm.stats.downstream_cx_delayed_close_timeout.value += 1
            self.abort()
            return inf
        self.close_deadline = now + (self.hcm.delayed_close_timeout_s or 1.0)
        return self.close_deadline

    def abort(self) -> None:
        """Close at once, dropping what is not written."""
        self.closing = True
        if self.open:
            self.transport.abort()

    def fence(self, error: Exception) -> None:
        """Our own mistake: this connection is closed, no other suffers."""
        self.dispatcher.bug("a downstream connection", error)
        self.abort()

    # -- the end -------------------------------------------------------------------------------------------------

    def has_request(self) -> bool:
        """Whether a request runs."""
        raise NotImplementedError

    def reset_requests(self) -> None:
        """The client has gone: what runs ends."""
        raise NotImplementedError

    def detach(self) -> None:
        """Cut the codec's links."""
        raise NotImplementedError

    def count_end(self) -> None:
        """The connection ends: count once who ended it, and whether in the middle of a request."""
        if self.left:
            return
        self.left = not self.closing
        if self.has_request():
            stats = self.hcm.stats
            stats.downstream_cx_destroy_active_rq.value += 1
            if self.left:
                stats.downstream_cx_destroy_remote_active_rq.value += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self not in self.listener.connections:  # refused when it came
            self.detach()
            return
        try:
            self.count_end()
            self.reset_requests()
            self.dispatcher.flush()
        except Exception as error:
            self.dispatcher.bug("a connection's end", error)
        stats = self.hcm.stats
        stats.downstream_cx_active.value -= 1
        if self.protocol_active is not None:
            self.protocol_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        if self.left:
            stats.downstream_cx_destroy_remote.value += 1
        else:
            stats.downstream_cx_destroy_local.value += 1
        length_s = self.dispatcher.clock.monotonic() - self.info.started_at
        stats.downstream_cx_length_ms.record(int(length_s * 1000.0))
        self.dispatcher.timers.forget(self)
        self.listener.closed(self, length_s)
        self.detach()
