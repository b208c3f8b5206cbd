"""envoy.filters.listener.original_dst: where a connection was going before it was redirected to this listener."""

from __future__ import annotations

from proxy.api.reader import Reader
from proxy.http.context import FactoryContext
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Facts
from proxy.network.original_dst import original_destination


class OriginalDst(Inspector):
    """Restores the connection's local address. Reads no bytes; one that was not redirected stays as it is."""

    __slots__ = ()

    def __init__(self, config: Reader | None = None, context: FactoryContext | None = None) -> None:
        """Nothing to configure."""

    def inspect(self, data: bytes, facts: Facts) -> bool | None:
        """See ``Inspector``."""
        found = original_destination(facts.socket)
        if found is not None:
            facts.restore(*found)
        return True
