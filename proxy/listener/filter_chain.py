"""A filter chain of a listener: its name, the TLS before it, its terminal filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.listener.listener import NetworkFilter
    from proxy.network.tls import TlsSide


class FilterChain:
    """tls: None for plain text."""

    __slots__ = ("filter", "name", "tls")

    def __init__(self, name: str, terminal: NetworkFilter, tls: TlsSide | None) -> None:
        self.name = name
        self.filter = terminal
        self.tls = tls
