"""AcceptedConnection: a client's connection, whatever it carries: how it begins, lingers, closes and ends.

``network.http_connection`` extends it for those that speak HTTP, ``network.raw_connection`` for those whose bytes are
taken as they are.
"""

from __future__ import annotations

import asyncio
from math import inf
from sys import intern
from typing import TYPE_CHECKING, Final, cast

from proxy.base.stream_info import ConnectionInfo
from proxy.http.stream_state import StreamConnection
from proxy.network.addresses import address_text
from proxy.network.dispatcher import Flushable

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.network.dispatcher import Dispatcher

LAST_BYTES_S: Final = 300.0  # how long at most a closing connection waits for a client that takes nothing


class AcceptedConnection(StreamConnection, Flushable):
    """Duck-typed asyncio.Protocol: no base class of asyncio's, so that slots hold.

    gated: network filters stand before it, which say when ``on_new_connection`` is due
    left: the client ended the connection, not we; unsent: while closing: bytes that the client had not taken at the
    last look
    """

    __slots__ = (
        # given at birth
        "dispatcher",
        "listener",
        "transport",
        "gated",
        # state
        "open",
        "closing",
        "left",
        "unsent",
        # deadlines
        "idle_since",
        "close_deadline",
        "duration_deadline",
    )

    def __init__(self, listener: Listener, dispatcher: Dispatcher) -> None:
        self.listener = listener
        self.dispatcher = dispatcher
        self.transport: asyncio.Transport
        self.info: ConnectionInfo
        self.gated = False
        self.open = self.dirty = self.closing = self.left = self.write_blocked = False
        self.unsent = 0
        self.due = self.close_deadline = self.duration_deadline = inf
        self.idle_since = 0.0

    # -- the beginning -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        now = self.dispatcher.clock.monotonic()
        self.info = ConnectionInfo(
            self.dispatcher.next_connection_id(),
            address_text(transport.get_extra_info("peername")),
            intern(address_text(transport.get_extra_info("sockname"))),  # one for all of a listener's
            now,
        )
        self.listener.introduce(self.info)
        self.open = True
        if not self.listener.accept(self):
            self.transport.abort()
            return
        self.on_accepted(now)
        if not self.gated:
            self.on_new_connection()

    def on_accepted(self, now: float) -> None:
        """It is one of the listener's: count it, begin its deadlines (Envoy's initializeReadFilterCallbacks)."""
        raise NotImplementedError

    def on_new_connection(self) -> None:
        """Its turn has come; bytes follow (Envoy's ReadFilter::onNewConnection)."""

    # -- the loop's calls ----------------------------------------------------------------------------------------

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
        """Draining: what has nothing to do closes now, others when they have done it."""
        raise NotImplementedError

    def close_once_written(self, wait_s: float) -> bool:
        """Close, once all is written: look after ``wait_s`` how far it is (``linger``). Whether it is closed now."""
        self.idle_since = self.dispatcher.clock.monotonic()
        self.transport.close()
        self.unsent = self.transport.get_write_buffer_size()  # TLS writes its goodbye while it closes
        if not self.unsent:
            return True
        self.look_again(self.idle_since, wait_s)
        return False

    def look_again(self, now: float, wait_s: float) -> None:
        """It is closing; see to it after ``wait_s`` that it comes to an end."""
        self.close_deadline = now + wait_s
        self.watch(self.close_deadline)

    def linger(self, now: float, wait_s: float, patience_s: float) -> bool:
        """Closing for a while already; False: it has ended now. A client that still takes our last bytes may be slow,
        but not idle for longer than ``patience_s``; one that has them all, or takes none, is left."""
        unsent = self.transport.get_write_buffer_size()
        if unsent < self.unsent:
            self.unsent = unsent
            self.idle_since = now
        elif not unsent or now >= self.idle_since + min(patience_s, LAST_BYTES_S):
            self.abort()
            return False
        self.close_deadline = now + wait_s
        return True

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

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self not in self.listener.connections:  # refused when it came
            self.detach()
            return
        try:
            self.on_lost(exc)
            self.dispatcher.flush()
        except Exception as error:
            self.dispatcher.bug("a connection's end", error)
        if isinstance(exc, ConnectionResetError):
            # told in the connection's line, not in those of its requests
            self.info.close_type = b"RemoteReset"
        length_s = self.dispatcher.clock.monotonic() - self.info.started_at
        self.count_end(length_s)
        self.dispatcher.timers.forget(self)
        self.listener.closed(self, length_s)
        self.detach()

    def on_lost(self, exc: Exception | None) -> None:
        """The connection has gone: what runs on it ends."""
        raise NotImplementedError

    def count_end(self, length_s: float) -> None:
        """It has ended, after ``length_s``."""
        raise NotImplementedError

    def detach(self) -> None:
        """Cut links."""
        raise NotImplementedError
