"""A filter chain of a listener: its name, the TLS before it, its network filters, of which the last is terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.network.handshake_deadline import HandshakeDeadline
from proxy.network.raw_connection import UnfilteredConnection
from proxy.network.read_filter import FilterGate
from proxy.network.tls_transport import TlsTransport

if TYPE_CHECKING:
    from proxy.listener.chain_match import Criteria
    from proxy.listener.listener import Listener, NetworkFilter
    from proxy.network.accepted import AcceptedConnection
    from proxy.network.dispatcher import Dispatcher
    from proxy.network.read_filter import ReadFilterFactory
    from proxy.network.tls import TlsSide


class NoFilters:
    """The terminal filter of a chain without any."""

    __slots__ = ()

    def new_connection(self, listener: Listener, dispatcher: Dispatcher) -> AcceptedConnection:
        """One that closes."""
        return UnfilteredConnection(listener, dispatcher)

    def drain(self, begin: bool = True) -> None:
        """None of its connections is there."""


class FilterChain:
    """filter: the terminal one; before: those before it, in order; tls: None for plain text
    handshake_s: how long a client's TLS handshake may take, 0 for as long as it likes
    criteria: None of the default one; message: envoy.config.listener.v3.FilterChain
    metadata: of its listener and its own, None where neither has any"""

    __slots__ = ("before", "criteria", "filter", "handshake_s", "message", "metadata", "name", "tls")

    def __init__(self, name: str, terminal: NetworkFilter, tls: TlsSide | None, message: Any) -> None:
        self.name = name
        self.filter = terminal
        self.before: tuple[ReadFilterFactory, ...] = ()
        self.tls = tls
        self.handshake_s = 0.0
        self.message = message
        self.criteria: Criteria | None = None
        self.metadata: tuple[dict[str, Any], dict[str, Any]] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the terminal filter's connection speaks with the socket itself."""
        return self.tls is None and not self.before

    def new_protocol(self, listener: Listener, dispatcher: Dispatcher) -> Any:
        """Who speaks with the socket of a connection: the terminal filter's object, behind the filters before it and
        TLS, where there are any."""
        protocol: Any = self.filter.new_connection(listener, dispatcher)
        if self.before:
            protocol = FilterGate(protocol, self.before, dispatcher, listener.buffer_limit_bytes)
        if self.tls is None:
            return protocol
        layer = TlsTransport(protocol, self.tls)
        if self.handshake_s:
            when = dispatcher.clock.monotonic() + self.handshake_s
            timeouts = listener.stats.downstream_cx_transport_socket_connect_timeout
            layer.deadline = HandshakeDeadline(layer, dispatcher.timers, when, timeouts)
        return layer
