"""envoy.filters.network.direct_response (envoy.extensions.filters.network.direct_response.v3.Config): says one thing, then
closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.reader import Reader
from proxy.http.context import FactoryContext
from proxy.network.raw_connection import CLOSING_LOOK_S, RawConnection
from proxy.router.direct import read_data_source

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher


class DirectResponse:
    """The filter of one chain."""

    __slots__ = ("response",)

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        source = config.sub("response")
        self.response = b"" if source is None else read_data_source(source, context.environ or {})

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> AcceptedConnection:
        """The protocol object of one accepted connection."""
        return DirectResponseConnection(listener, dispatcher, self.response)

    def drain(self, begin: bool = True) -> None:
        """Its connections end by themselves."""


class DirectResponseConnection(RawConnection):
    """Ends its half behind the response, and closes when the client does: what the client says meanwhile is read and
    dropped, since bytes that nobody reads would turn the close into a reset."""

    __slots__ = ("response",)

    def __init__(self, listener: Listener, dispatcher: Dispatcher, response: bytes) -> None:
        RawConnection.__init__(self, listener, dispatcher)
        self.response = response

    def on_new_connection(self) -> None:
        if self.response:
            self.write(self.response)
        self.unsent = self.transport.get_write_buffer_size()
        self.end_writing()
        self.look_again(self.dispatcher.clock.monotonic(), CLOSING_LOOK_S)

    def on_data(self, data: bytes) -> None:
        """Dropped."""

    def on_end(self) -> None:
        self.close_flushed()

    def on_lost(self, exc: Exception | None) -> None:
        """Nothing runs on it."""

    def count_end(self, length_s: float) -> None:
        """It has no statistics."""
