"""A connection between its accept and its filter chain: listener filters look at its first bytes, then a chain takes it.

Only listeners with listener filters or several chains have one of these per connection; others are on the fast path
(``Listener.serve``). What has been read is given on to the chain, or to TLS, as if it came then.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, cast

from proxy.base.stream_info import ConnectionInfo
from proxy.base.timers import Timed
from proxy.listener.chain_match import Facts, address_of
from proxy.network.addresses import address_text
from proxy.network.raw_connection import reset

if TYPE_CHECKING:
    from proxy.listener.filter_chain import FilterChain
    from proxy.listener.listener import Listener

_MOST_BYTES = 128 * 1024  # a PROXY protocol header may be half as long


class Inspector:
    """A listener filter: reads the first bytes, or asks the socket. One object a listener: it keeps nothing of a
    connection."""

    __slots__ = ()

    def inspect(self, data: bytes, facts: Facts) -> bool | None:
        """True: it has all it wants and has told ``facts``; None: more bytes are needed; False: close it.

        Called without bytes first: whoever speaks first may be the server.
        """
        raise NotImplementedError


class Accepting(Timed):
    """Duck-typed asyncio.Protocol until a chain takes the connection."""

    __slots__ = ("at", "began_at", "data", "deadline", "facts", "hands_off", "listener", "transport")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.transport: asyncio.Transport
        self.data = b""
        self.began_at = listener.dispatcher.clock.monotonic()
        self.at = 0  # the inspector whose turn it is
        self.facts = Facts()
        self.hands_off = listener.hands_off  # another listener may take it; the other one keeps it
        self.due = inf
        self.deadline = inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        facts = self.facts
        local, peer = (address_text(transport.get_extra_info(name)) for name in ("sockname", "peername"))
        facts.destination, facts.source = address_of(local), address_of(peer)
        facts.direct_source = facts.source
        if facts.destination is not None:
            facts.destination_port = int(local.rpartition(":")[2])
        if facts.source is not None:
            facts.source_port = int(peer.rpartition(":")[2])
        try:
            self._begin()
        except Exception as error:
            self.fence(error)

    def take_over(self, other: Accepting) -> None:
        """The connection was going to an address of this object's listener."""
        self.hands_off = False
        self.transport, self.facts, self.data = other.transport, other.facts, other.data
        self.transport.set_protocol(cast(asyncio.BaseProtocol, self))
        self._begin()

    def _begin(self) -> None:
        listener = self.listener
        if not listener.inspectors:
            self._enter()
            return
        if not listener.may_wait(self):
            self.transport.abort()
            return
        if listener.filters_timeout_s:
            self.deadline = listener.dispatcher.clock.monotonic() + listener.filters_timeout_s
            listener.dispatcher.timers.watch(self, self.deadline)
        self.facts.socket = self.transport.get_extra_info("socket")
        self._inspect()

    def data_received(self, data: bytes) -> None:
        try:
            self.data = self.data + data if self.data else data
            self._inspect()
        except Exception as error:
            self.fence(error)

    def _inspect(self) -> None:
        inspectors = self.listener.inspectors
        while self.at < len(inspectors):
            done = inspectors[self.at].inspect(self.data, self.facts)
            if done is None and len(self.data) < _MOST_BYTES:
                return
            if done is False:
                if not self.facts.is_counted:
                    self.listener.stats.downstream_listener_filter_error.value += 1
                self._log()
                self._leave()
                self._drop()
                return
            if self.facts.consumed:
                self.data = self.data[self.facts.consumed :]
                self.facts.consumed = 0
            self.at += 1
        self._enter()

    def _enter(self) -> None:
        """A chain takes the connection; or the listener at the address it was going to, which chooses anew."""
        self._leave()
        listener, facts = self.listener, self.facts
        facts.socket = None
        if self.hands_off and facts.restored:
            other = listener.find_listener(str(facts.destination), facts.destination_port)
            if other is not None:
                Accepting(other).take_over(self)
                return
        chain: FilterChain | None = listener.chains.find(facts)
        if chain is None:
            listener.stats.no_filter_chain_match.value += 1
            if listener.access_logs:
                listener.log_unmatched(self._info())
            self._drop()
            return
        protocol = chain.new_protocol(listener, listener.dispatcher)
        listener.filter_chain_name, listener.metadata = chain.name, chain.metadata  # ``introduce`` reads them
        listener.entering = self.facts
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        listener.entering = None
        data, self.data = self.data, b""
        if data and not self.transport.is_closing():
            protocol.data_received(data)

    def _info(self) -> ConnectionInfo:
        """Of a connection that no chain takes, which so gets no number."""
        local, peer = (address_text(self.transport.get_extra_info(name)) for name in ("sockname", "peername"))
        info = ConnectionInfo(0, peer, local, self.began_at)
        facts = self.facts
        info.requested_server_name = facts.server_name
        if facts.restored:
            info.local_address, info.local_address_restored = facts.local_address, True
        if facts.is_proxied:
            info.remote_address = facts.remote_address
        if facts.metadata:
            info.metadata = facts.metadata
        info.fingerprints = facts.fingerprints
        info.filter_state = facts.filter_state
        return info

    def _log(self) -> None:
        """The line of a connection that ends before its listener filters do, as in Envoy."""
        if self.listener.access_logs:
            self.listener.log_unentered(self._info())

    def _drop(self) -> None:
        """Close it; a client that has said something learns that nobody has heard it."""
        if self.data:
            reset(self.transport)
        else:
            self.transport.abort()

    def _leave(self) -> None:
        self.listener.no_longer_waits(self)
        self.listener.dispatcher.timers.forget(self)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.listener.waiting:
            self.listener.stats.downstream_listener_filter_remote_close.value += 1
            self._log()
        self._leave()

    def pause_writing(self) -> None:
        """Nothing is written here."""

    def resume_writing(self) -> None:
        """Nothing is written here."""

    def abort(self) -> None:
        """The listener ends, or has waited long enough."""
        if self in self.listener.waiting:
            self._log()
        self._leave()
        self._drop()

    def fence(self, error: Exception) -> None:
        """Our own mistake: this connection is closed."""
        self.listener.dispatcher.bug("a connection's first bytes", error)
        self.abort()

    def on_due(self, now: float) -> float:
        """Listener filters have not come to an end in time."""
        if now < self.deadline:
            return self.deadline
        self.deadline = inf
        self.listener.stats.downstream_pre_cx_timeout.value += 1
        if self.listener.continues_on_timeout:
            self._enter()
        else:
            self.abort()
        return inf
