"""The HTTP connection manager as a network filter: makes the connection objects of its filter chain.

Configuration: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.reader import Reader
from proxy.http.context import FactoryContext
from proxy.http.hcm_config import compile_connection_manager
from proxy.network.downstream import DownstreamConnection

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher


class HttpConnectionManagerFilter:
    """Terminal network filter. ``drain()``: from now on every response closes its connection."""

    __slots__ = ("hcm",)

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.hcm = compile_connection_manager(config, context, context.scope)

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> AcceptedConnection:
        """The protocol object of one accepted connection. One that may speak either is HTTP/1 until its preface."""
        if self.hcm.is_http2:
            from proxy.network.downstream_http2 import (
                Http2DownstreamConnection,  # see server.later.import_later
            )

            return Http2DownstreamConnection(listener, self.hcm, dispatcher)
        return DownstreamConnection(listener, self.hcm, dispatcher)

    def drain(self, begin: bool = True) -> None:
        """Responses carry ``connection: close`` from now on, or (False) no longer."""
        self.hcm.draining = begin
