"""envoy.filters.network.echo (envoy.extensions.filters.network.echo.v3.Echo): says what it hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.reader import Reader
from proxy.http.context import FactoryContext
from proxy.network.raw_connection import RawConnection

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher


class Echo:
    """The filter of one chain."""

    __slots__ = ()

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        """There is nothing to configure."""

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> AcceptedConnection:
        """The protocol object of one accepted connection."""
        return EchoConnection(listener, dispatcher)

    def drain(self, begin: bool = True) -> None:
        """Bytes have no ends at which to close."""


class EchoConnection(RawConnection):
    """A client that does not read is not read either."""

    __slots__ = ()

    def on_data(self, data: bytes) -> None:
        self.write(data)

    def on_blocked(self, blocked: bool) -> None:
        if blocked:
            self.hold_reading()
        else:
            self.release_reading()

    def on_end(self) -> None:
        self.close_flushed()

    def on_lost(self, exc: Exception | None) -> None:
        """Nothing runs on it."""

    def count_end(self, length_s: float) -> None:
        """It has no statistics."""
