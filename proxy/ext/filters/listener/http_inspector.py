"""envoy.filters.listener.http_inspector: is it HTTP in plain text, and which version?"""

from __future__ import annotations

from proxy.api.reader import Reader
from proxy.http.context import FactoryContext
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Facts
from proxy.listener.inspectors.http_start import read_http_start


class HttpInspector(Inspector):
    """Statistics are ``http_inspector.`` , one tree for all listeners."""

    __slots__ = ("counters",)

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        scope = context.stats.scope("http_inspector")
        self.counters = {
            "http/1.0": scope.counter("http10_found"),
            "http/1.1": scope.counter("http11_found"),
            "h2c": scope.counter("http2_found"),
            "": scope.counter("http_not_found"),
        }
        scope.counter("read_error")

    def inspect(self, data: bytes, facts: Facts) -> bool | None:
        """See ``Inspector``. TLS is none of its business."""
        if facts.transport_protocol == "tls":
            return True
        protocol = read_http_start(data)
        if protocol is None:
            return None
        self.counters[protocol].value += 1
        if protocol:
            facts.application_protocols = (protocol,)
        return True
