"""Network filters before the terminal one: ReadFilter, one object a connection, and FilterGate, which runs them.

A chain of nothing but its terminal filter has no gate. The terminal filter is the connection object itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from mypy_extensions import mypyc_attr

from proxy.http.filter import STOP, FilterStatus
from proxy.network.layer import TransportLayer

if TYPE_CHECKING:
    from proxy.base.tls_info import TlsInfo
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher


@mypyc_attr(allow_interpreted_subclasses=True)
class ReadFilter:
    """A filter's part in one connection. Hooks return None to go on or STOP to keep the connection from the filters
    behind: until ``gate.continue_reading()``, or until more bytes come, when all filters are asked again (as in Envoy)."""

    __slots__ = ("gate",)

    gate: FilterGate

    def on_new_connection(self) -> FilterStatus | None:
        """A connection has come."""
        return None

    def on_data(self, data: bytes, end: bool) -> FilterStatus | None:
        """All bytes that the terminal filter has not had yet. end: the client will say no more."""
        return None

    def on_closed(self) -> None:
        """The connection has gone."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ReadFilterFactory:
    """What an extension that is not terminal offers: ``Class(config: Reader, context: FactoryContext)``."""

    __slots__ = ()

    def new_filter(self) -> ReadFilter:
        """The filter of one connection."""
        raise NotImplementedError


class FilterGate(TransportLayer):
    """Runs the filters of one connection.

    begun: so many of them have been told of it, the terminal one counted; kept: bytes that the terminal one has not had
    """

    __slots__ = ("begun", "closed", "dispatcher", "ended", "filters", "held", "kept", "limit_bytes")

    def __init__(
        self,
        connection: AcceptedConnection,
        factories: tuple[ReadFilterFactory, ...],
        dispatcher: Dispatcher,
        limit_bytes: int,
    ) -> None:
        """limit_bytes: reading stops when more is kept"""
        TransportLayer.__init__(self, connection)
        connection.gated = True
        self.dispatcher = dispatcher
        self.limit_bytes = limit_bytes
        self.begun = 0
        self.closed = self.ended = self.held = False
        self.kept = b""
        self.filters = [factory.new_filter() for factory in factories]
        for each in self.filters:
            each.gate = self

    # -- for filters ---------------------------------------------------------------------------------------------

    def continue_reading(self, stopped: ReadFilter) -> None:
        """The filter that stopped the connection lets it go on to those behind it."""
        self._run(self.filters.index(stopped) + 1)

    def close_for(self, reason: bytes) -> None:
        """Close at once. reason: %DOWNSTREAM_LOCAL_CLOSE_REASON%"""
        connection: AcceptedConnection = self.connection
        connection.info.local_close_reason = reason
        connection.abort()

    # -- running -------------------------------------------------------------------------------------------------

    def _run(self, start: int) -> None:
        filters = self.filters
        for index in range(start, len(filters)):
            each = filters[index]
            if index >= self.begun:
                self.begun = index + 1
                if each.on_new_connection() is STOP:
                    return
            if (self.kept or self.ended) and each.on_data(self.kept, self.ended) is STOP:
                return
            if self.transport.is_closing():
                return
        self._go_on()

    def _go_on(self) -> None:
        """The terminal filter's turn."""
        connection = self.connection
        if self.begun == len(self.filters):
            self.begun += 1
            connection.on_new_connection()
        kept, self.kept = self.kept, b""
        if self.held:
            self.held = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        if kept:
            connection.data_received(kept)
        if self.ended and not self.closed:
            self.closed = True
            if not connection.eof_received() and not self.transport.is_closing():
                self.transport.close()

    # -- the transport's calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connection.connection_made(self)
        if not self.transport.is_closing():
            self._enter()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self.kept = self.kept + data if self.kept else data
        self._enter()
        if len(self.kept) > self.limit_bytes and not self.held and not self.transport.is_closing():
            self.held = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended = True
        self._enter()
        return not self.transport.is_closing()

    def _enter(self) -> None:
        try:
            self._run(0)
            self.dispatcher.flush()
        except Exception as error:
            self.connection.fence(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.connection_lost(exc)
        for each in self.filters:
            try:
                each.on_closed()
            except Exception as error:
                self.dispatcher.bug("a network filter", error)
        self.filters.clear()

    def on_secure(self, info: TlsInfo) -> None:
        """A TLS handshake below is over."""
        self.connection.on_secure(info)

    def on_tls_failed(self, words: str) -> None:
        """A TLS handshake below has failed."""
        self.connection.on_tls_failed(words)

    def pause_reading(self) -> None:
        if not self.held:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.held:
            self.transport.resume_reading()

    @property
    def info(self) -> Any:
        """The connection's facts."""
        return self.connection.info
