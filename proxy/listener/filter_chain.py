"""A filter chain of a listener: its name, the TLS before it, its terminal filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxy.listener.chain_match import Criteria
    from proxy.listener.listener import NetworkFilter
    from proxy.network.tls import TlsSide


class FilterChain:
    """tls: None for plain text; criteria: None of the default one; message: envoy.config.listener.v3.FilterChain."""

    __slots__ = ("criteria", "filter", "message", "name", "tls")

    def __init__(self, name: str, terminal: NetworkFilter, tls: TlsSide | None, message: Any) -> None:
        self.name = name
        self.filter = terminal
        self.tls = tls
        self.message = message
        self.criteria: Criteria | None = None
