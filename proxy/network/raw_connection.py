"""RawConnection: a client's connection whose bytes a terminal network filter takes as they are.

The near end of a ``network.joint.Joint``, or the whole of a filter that needs no host. Ends of both sides are apart: a
client that will say no more is still written to.
"""

from __future__ import annotations

import socket
import struct
from math import inf
from typing import TYPE_CHECKING, Final

from proxy.network.accepted import LAST_BYTES_S, AcceptedConnection
from proxy.network.joint import ByteEnd

if TYPE_CHECKING:
    import asyncio

    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher

CLOSING_LOOK_S: Final = 1.0  # a connection that closes is looked at so often, until all is written
_LINGER_NONE: Final = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close at once, so that the peer is told that not all has come (RST)."""
    own = transport.get_extra_info("socket")
    if own is not None:
        try:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        except OSError:  # a unix socket may not have it, or the peer has gone
            pass
    transport.abort()


class RawConnection(AcceptedConnection, ByteEnd):
    """read_ended: the client will say no more; write_ended: nor shall we; held: reading is"""

    __slots__ = ("held", "read_ended", "write_ended")

    def __init__(self, listener: Listener, dispatcher: Dispatcher) -> None:
        AcceptedConnection.__init__(self, listener, dispatcher)
        self.held = self.read_ended = self.write_ended = False

    def on_accepted(self, now: float) -> None:
        self.transport.set_write_buffer_limits(high=self.listener.buffer_limit_bytes)

    # -- what a filter does with it ------------------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Bytes of the client (Envoy's ReadFilter::onData)."""
        raise NotImplementedError

    def on_end(self) -> None:
        """The client will say no more (its end_stream)."""
        raise NotImplementedError

    def on_blocked(self, blocked: bool) -> None:
        """The client takes no more for now, or again."""

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.info.bytes_received += len(data)
        if self.closing:
            return  # what still comes is thrown away
        try:
            self.on_data(data)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def eof_received(self) -> bool:
        self.read_ended = True
        if self.closing:
            return True  # it closes once all is written
        try:
            self.on_end()
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)
        return True

    def pause_writing(self) -> None:
        self.write_blocked = True
        self.on_blocked(True)

    def resume_writing(self) -> None:
        self.write_blocked = False
        try:
            self.on_blocked(False)
            self.dispatcher.flush()
        except Exception as error:
            self.fence(error)

    def flush(self) -> None:
        """Bytes are written as they come."""
        self.dirty = False

    # -- the joint's calls ---------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.open and not self.closing:
            self.info.bytes_sent += len(data)
            self.transport.write(data)

    def end_writing(self) -> None:
        """The other half is over: end this one; where the client's has ended too, that is the end of all."""
        if self.write_ended or self.closing or not self.open:
            return
        self.write_ended = True
        if self.read_ended:
            self.close_flushed()
        else:
            self.transport.write_eof()

    def hold_reading(self) -> None:
        if not self.held and self.open and not self.transport.is_closing():
            self.held = True
            self.transport.pause_reading()

    def release_reading(self) -> None:
        if self.held:
            self.held = False
            if self.open and not self.transport.is_closing():
                self.transport.resume_reading()

    # -- the end -------------------------------------------------------------------------------------------------

    def close_flushed(self) -> None:
        """Close once all is written (Envoy's FlushWrite)."""
        if not self.closing and self.open:
            self.closing = True
            self.close_once_written(CLOSING_LOOK_S)

    def close_for(self, reason: bytes) -> None:
        """Close at once (Envoy's NoFlush). reason: %DOWNSTREAM_LOCAL_CLOSE_REASON%"""
        self.info.local_close_reason = reason
        self.abort()

    def reset(self) -> None:
        """Close at once; the client shall know that not all has come."""
        self.closing = True
        if self.open:
            reset(self.transport)

    def close_idle(self) -> None:
        """Draining: bytes have no ends at which to close."""

    def detach(self) -> None:
        """Nothing to cut."""

    # -- time ----------------------------------------------------------------------------------------------------

    def on_due(self, now: float) -> float:
        if now < self.close_deadline:
            return self.close_deadline
        return self.close_deadline if self.linger(now, CLOSING_LOOK_S, LAST_BYTES_S) else inf


class UnfilteredConnection(RawConnection):
    """Of a chain without filters: nobody is there to speak with, so that it closes at once."""

    __slots__ = ()

    def on_new_connection(self) -> None:
        self.listener.stats.network_extension_config_missing.value += 1
        self.close_for(b"no_filters")

    def on_data(self, data: bytes) -> None:
        """Nothing more comes."""

    def on_end(self) -> None:
        """It has closed."""

    def on_lost(self, exc: Exception | None) -> None:
        """Nothing runs on it."""

    def count_end(self, length_s: float) -> None:
        """It has no statistics."""
