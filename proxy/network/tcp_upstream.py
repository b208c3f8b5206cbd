"""TcpUpstreamConnection: a host's socket that carries a client's bytes: the far end of a ``network.joint.Joint``.

It comes as an HTTP/1 connection does (``network.upstream``), whose codec stays idle, and ends with its owner.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from mypy_extensions import trait

from proxy.network.joint import ByteEnd
from proxy.network.raw_connection import reset
from proxy.network.upstream import LAST_BYTES_S, UpstreamConnection

if TYPE_CHECKING:
    from proxy.base.stream_info import StreamInfo
    from proxy.network.dispatcher import Dispatcher
    from proxy.network.tcp_session import TcpProxyConnection
    from proxy.stats.store import Gauge
    from proxy.upstream.host import Host
    from proxy.upstream.pool import ConnectionPool


@trait
class TcpUpstreamOwner:
    """Who has the connection, and is told what happens on it."""

    __slots__ = ()

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes of the host."""
        raise NotImplementedError

    def on_upstream_end(self) -> None:
        """The host will say no more."""
        raise NotImplementedError

    def on_upstream_blocked(self, blocked: bool) -> None:
        """The host takes no more for now, or again."""
        raise NotImplementedError

    def on_upstream_gone(self, was_reset: bool) -> None:
        """The connection is gone; said once, unless the owner has let go of it before."""
        raise NotImplementedError


@trait
class TcpFarEnd(ByteEnd):
    """The host's end of a client's bytes, as their session sees it: a socket, or a request that carries them."""

    __slots__ = ()

    @property
    def unwritten(self) -> int:
        """Bytes that the host has not taken yet."""
        raise NotImplementedError

    def let_go(self) -> None:
        """The session wants to hear no more."""
        raise NotImplementedError

    def finish(self, remote: bool, patience_s: float, active: Gauge) -> bool:
        """Close once all is written; whether that is still to come, and counted by ``active``."""
        raise NotImplementedError

    def close_now(self) -> None:
        """Close at once."""
        raise NotImplementedError

    def reset(self) -> None:
        """Close at once; the host shall know that not all has come."""
        raise NotImplementedError


@trait
class TunnelEnd(TcpFarEnd):
    """A request that carries the bytes (tunneling_config)."""

    __slots__ = ()

    def begin(self) -> None:
        """Ask the host. The session may be told of a failure before this returns."""
        raise NotImplementedError


class Tunnels:
    """Makes the tunnels of one filter."""

    __slots__ = ()

    def make(self, session: TcpProxyConnection, host: Host, stream: StreamInfo) -> TunnelEnd:
        """One to a host, not begun."""
        raise NotImplementedError


class TcpUpstreamConnection(UpstreamConnection, TcpFarEnd):
    """owner: None until it has one and when it has let go; finishing: it closes once all is written, which
    ``active`` counts"""

    __slots__ = ("active", "finish_deadline", "finishing", "owner", "write_ended")

    def __init__(self, pool: ConnectionPool, host: Host, dispatcher: Dispatcher) -> None:
        UpstreamConnection.__init__(self, pool, host, dispatcher)
        self.owner: TcpUpstreamOwner | None = None
        self.finishing = self.write_ended = False
        self.finish_deadline = inf
        self.active: Gauge | None = None

    @property
    def unwritten(self) -> int:
        """Bytes that the host has not taken yet."""
        return self.transport.get_write_buffer_size() if self.open and self.transport is not None else 0

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.pool.stats.upstream_cx_rx_bytes_total.value += len(data)
        owner = self.owner
        try:
            if owner is not None:
                owner.on_upstream_data(data)
            elif self.finishing:
                self.close()  # nobody is left to take them: what a kernel would do
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def eof_received(self) -> bool:
        try:
            if self.owner is None:
                return self.finishing
            self.owner.on_upstream_end()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        local = self.closed or self.finishing
        self.open = False
        self.closed = True
        self.dispatcher.timers.forget(self)
        if self.active is not None:
            self.active.value -= 1
            self.active = None
        try:
            self.pool.on_closed(self, remote=not local)
            self._tell_gone(isinstance(exc, ConnectionResetError))
            self.codec.detach()
            self.dispatcher.flush()
        except Exception as error:
            self.dispatcher.bug("an upstream connection's end", error)

    def _tell_gone(self, was_reset: bool) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.on_upstream_gone(was_reset)

    def pause_writing(self) -> None:
        self.write_blocked = True
        if self.owner is not None:
            self.pool.stats.upstream_flow_control_backed_up_total.value += 1
            self.owner.on_upstream_blocked(True)

    def resume_writing(self) -> None:
        self.write_blocked = False
        try:
            if self.owner is not None:
                self.pool.stats.upstream_flow_control_drained_total.value += 1
                self.owner.on_upstream_blocked(False)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    # -- the joint's calls ---------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.open and self.transport is not None:
            self.pool.stats.upstream_cx_tx_bytes_total.value += len(data)
            self.transport.write(data)

    def end_writing(self) -> None:
        if self.open and not self.write_ended and self.transport is not None:
            self.write_ended = True
            self.transport.write_eof()

    # -- the end -------------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        self.owner = None

    def close_now(self) -> None:
        self.close()

    def finish(self, remote: bool, patience_s: float, active: Gauge) -> bool:
        """Close once all is written; whether that is still to come. remote: the host has closed too, and was the last
        to. patience_s: how long at most it may take none of it. active: counts it until then"""
        if self.closed or self.finishing or self.transport is None:
            return False
        self.finishing = True
        if remote:
            self.pool.on_closed(self, remote=True)
        self.unsent = self.unwritten
        self.release_reading()
        self.transport.close()
        if self.unsent:
            self.active = active
            active.value += 1
            self.finish_deadline = self.dispatcher.clock.monotonic() + min(patience_s, LAST_BYTES_S)
            self.dispatcher.timers.watch(self, self.finish_deadline)
        return self.unsent > 0

    def reset(self) -> None:
        """Close at once; the host shall know that not all has come."""
        if not self.closed and self.transport is not None:
            self.closed = True
            self.open = False
            self.dispatcher.timers.forget(self)
            reset(self.transport)
            self.pool.on_closed(self)

    def fence(self, error: Exception) -> None:
        self.dispatcher.bug("an upstream connection", error)
        self.close()
        self._tell_gone(True)
        self.dispatcher.flush()

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        """Connecting takes too long, or finishing. Whoever owns it sees to idleness."""
        if not self.finishing:
            return UpstreamConnection.on_due(self, now)
        if now < self.finish_deadline:
            return self.finish_deadline
        unsent = self.unwritten
        if unsent == self.unsent:
            self.close()
            return inf
        self.unsent = unsent
        self.finish_deadline = now + LAST_BYTES_S
        return self.finish_deadline

    def _idle_until(self, now: float) -> float:
        return inf
