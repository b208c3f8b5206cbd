"""envoy.filters.listener.tls_inspector: is it TLS, for which name, with which protocols on offer?"""

from __future__ import annotations

from proxy.api.reader import Reader
from proxy.http.context import FactoryContext
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Facts
from proxy.listener.inspectors.client_hello import TOO_LONG, read_client_hello
from proxy.listener.inspectors.fingerprints import Offer, ja3, ja4

NAME = "envoy.filters.listener.tls_inspector"
_MAX_HELLO_BYTES = 16 * 1024


class TlsInspector(Inspector):
    """Statistics are ``tls_inspector.``, one tree for all listeners, as in Envoy.

    closes: what is no TLS is not let in
    """

    __slots__ = (
        "alpn_found",
        "alpn_not_found",
        "bytes_processed",
        "closes",
        "limit_bytes",
        "sni_found",
        "sni_not_found",
        "takes_ja3",
        "takes_ja4",
        "tls_found",
        "tls_not_found",
        "too_large",
    )

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.limit_bytes: int = config.wrapped("max_client_hello_size", _MAX_HELLO_BYTES)
        config.ignore("initial_read_buffer_size", why="bytes are taken as they come")
        self.takes_ja3: bool = config.wrapped("enable_ja3_fingerprinting", False)
        self.takes_ja4: bool = config.wrapped("enable_ja4_fingerprinting", False)
        self.closes = config.flag("close_connection_on_client_hello_parsing_errors")
        scope = context.stats.scope("tls_inspector")
        self.alpn_found = scope.counter("alpn_found")
        self.alpn_not_found = scope.counter("alpn_not_found")
        self.too_large = scope.counter("client_hello_too_large")
        self.sni_found = scope.counter("sni_found")
        self.sni_not_found = scope.counter("sni_not_found")
        self.tls_found = scope.counter("tls_found")
        self.tls_not_found = scope.counter("tls_not_found")
        self.bytes_processed = scope.histogram("bytes_processed", "bytes")

    def inspect(self, data: bytes, facts: Facts) -> bool | None:
        """See ``Inspector``."""
        hello = read_client_hello(data[: self.limit_bytes])
        if hello is None or hello is TOO_LONG:
            if len(data) >= self.limit_bytes:
                self.too_large.value += 1
                return self._refuse(facts, "ClientHelloTooLarge")
            if hello is None:
                return None
        self.bytes_processed.record(len(data))
        if not hello.is_tls:
            self.tls_not_found.value += 1
            if not hello.is_old:
                if self.closes:
                    return self._refuse(facts, "ClientHelloNotDetected")
                _tell(facts, "ClientHelloNotDetected")
                return True
            # whoever speaks so gets no answer from Envoy, and is in no other statistic
            (self.sni_found if hello.server_name else self.sni_not_found).value += 1
            facts.is_counted = True
            return False
        self.tls_found.value += 1
        facts.transport_protocol = "tls"
        facts.server_name = hello.server_name
        facts.application_protocols = hello.alpn
        (self.sni_found if hello.server_name else self.sni_not_found).value += 1
        (self.alpn_found if hello.alpn else self.alpn_not_found).value += 1
        if self.takes_ja3 or self.takes_ja4:
            offer = Offer(hello.body)
            facts.fingerprints = (ja3(offer) if self.takes_ja3 else "", ja4(offer) if self.takes_ja4 else "")
        return True

    def _refuse(self, facts: Facts, why: str) -> bool:
        facts.is_counted = True
        _tell(facts, why)
        return False


def _tell(facts: Facts, why: str) -> None:
    facts.metadata.setdefault(NAME, {})["failure_reason"] = why
