"""``ssl.``: handshakes of a listener or a cluster, in Envoy's names."""

from __future__ import annotations

from proxy.stats.store import Counter, Scope


class TlsStats:
    """Counters of one listener's or cluster's TLS; what handshakes agree on appears once it is seen, as in Envoy.

    seen: the counters of that, by (kind, name)
    """

    __slots__ = (
        "connection_error",
        "fail_verify_cert_hash",
        "fail_verify_error",
        "fail_verify_no_cert",
        "fail_verify_san",
        "handshake",
        "no_certificate",
        "scope",
        "secrets_not_ready",
        "seen",
        "session_reused",
        "ssl_context_update_by_sds",
    )

    def __init__(self, above: Scope, is_server: bool) -> None:
        factory = above.scope("server_ssl_socket_factory" if is_server else "client_ssl_socket_factory")
        self.ssl_context_update_by_sds = factory.counter("ssl_context_update_by_sds")
        downstream = factory.counter("downstream_context_secrets_not_ready")
        upstream = factory.counter("upstream_context_secrets_not_ready")
        self.secrets_not_ready = downstream if is_server else upstream
        scope = self.scope = above.scope("ssl")
        self.seen: dict[tuple[str, str], Counter] = {}
        self.connection_error = scope.counter("connection_error")
        self.fail_verify_cert_hash = scope.counter("fail_verify_cert_hash")
        self.fail_verify_error = scope.counter("fail_verify_error")
        self.fail_verify_no_cert = scope.counter("fail_verify_no_cert")
        self.fail_verify_san = scope.counter("fail_verify_san")
        self.handshake = scope.counter("handshake")
        self.no_certificate = scope.counter("no_certificate")
        self.session_reused = scope.counter("session_reused")
        for name in (
            "ocsp_staple_failed",
            "ocsp_staple_omitted",
            "ocsp_staple_requests",
            "ocsp_staple_responses",
        ):
            scope.counter(name)
        scope.counter("was_key_usage_invalid")

    def forgot(self, count: int) -> None:
        """So many certificates of peers, kept as they had been read, made room for others. (Not a statistic of Envoy's;
        it appears once it counts.)"""
        self.scope.counter("peer_certificates_forgotten").value += count

    def flooded(self) -> None:
        """A peer was cut off that sent records without data. (Not a statistic of Envoy's; as above.)"""
        self.connection_error.value += 1
        self.scope.counter("records_without_data").value += 1

    def expires(self, name: str, when: float) -> None:
        """A certificate of ours, or a root that we trust, is good until then, in Unix time."""
        self.scope.gauge(f"certificate.{name}.expiration_unix_time_seconds").set(int(when))

    def saw(self, kind: str, name: str) -> None:
        """A handshake has agreed on this: "ciphers", "curves", "sigalgs" or "versions", and what OpenSSL calls it."""
        counter = self.seen.get((kind, name))
        if counter is None:
            counter = self.seen[kind, name] = self.scope.counter(f"{kind}.{name}")
        counter.value += 1
