"""envoy.transport_sockets.tls: DownstreamTlsContext and UpstreamTlsContext → ``network.tls.TlsSide``."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

from proxy.api.reader import Reader
from proxy.base.x509 import DNS
from proxy.ext.transport_sockets.common_tls import CommonTls, choose_by_name, compile_common, is_ip
from proxy.network.tls import TlsSide
from proxy.stats.store import Scope
from proxy.stats.tls import TlsStats

_UNCHECKED: Final = (
    "needs a trusted_ca to check it with: Python's ssl asks for no certificate that it cannot verify"
)


class DownstreamTls:
    """A listener's side. side: None when there were findings.

    scope: ``listener.<address>.``; environ: environment variables; now: seconds since 1970
    """

    __slots__ = ("side",)

    def __init__(self, config: Reader, scope: Scope, environ: Mapping[str, str], now: float) -> None:
        self.side: TlsSide | None = None
        common = compile_common(config.sub("common_tls_context"), environ, True, now)
        requires = config.wrapped("require_client_certificate", False)
        stateless = not config.flag("disable_stateless_session_resumption")
        stateful = not config.flag("disable_stateful_session_resumption")
        if config.enum("ocsp_staple_policy") == "MUST_STAPLE":
            config.unsupported("ocsp_staple_policy", "OCSP responses are not stapled")
        if config.has("require_sni"):
            config.unsupported("require_sni")
        pinned = bool(common.rules.hashes or common.rules.spki)
        if not common.has_roots and requires:
            config.unsupported("require_client_certificate", _UNCHECKED)
        elif not common.has_roots and pinned:
            config.unsupported(
                "common_tls_context", f"a pin of clients' certificates {_UNCHECKED}", whole=False
            )
        elif common.accepts_untrusted and common.has_roots:
            config.unsupported("common_tls_context", f"ACCEPT_UNTRUSTED {_UNCHECKED}", whole=False)
        if not common.has_pairs:
            config.fail("common_tls_context", "No TLS certificates found for server context")
        if not common.pairs:
            return
        contexts = []
        for pair in common.pairs:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            common.apply(context, pair)
            if common.roots and not common.accepts_untrusted:
                context.verify_mode = ssl.CERT_REQUIRED if requires or pinned else ssl.CERT_OPTIONAL
            if not stateless:
                context.options |= ssl.OP_NO_TICKET
                if not stateful:
                    context.num_tickets = 0
            contexts.append((pair.leaf.names(DNS), context))
        first = contexts[0][1]
        if len(contexts) > 1:
            first.sni_callback = choose_by_name(contexts)
        self.side = TlsSide(first, True, common.rules, TlsStats(scope))
        self.side.local = common.pairs[0].leaf
        common.describe(self.side)


class UpstreamTls:
    """A cluster's side. side: None when there were findings; scope: ``cluster.<name>.``"""

    __slots__ = ("side",)

    def __init__(self, config: Reader, scope: Scope, environ: Mapping[str, str], now: float) -> None:
        self.side: TlsSide | None = None
        common = compile_common(config.sub("common_tls_context"), environ, False, now)
        server_name = config.text("sni")
        names_host = config.flag("auto_host_sni")
        keys = config.wrapped("max_session_keys", 1)
        config.ignore("enforce_rsa_key_usage", why="OpenSSL checks key usage by itself")
        if len(common.pairs) > 1:
            config.fail(
                "common_tls_context", "Multiple TLS certificates are not supported for client contexts"
            )
        if len(server_name) > 255:
            config.fail("sni", "SNI names longer than 255 characters are not allowed")
        if config.errors.findings:
            return
        self.side = _upstream_side(common, scope)
        self.side.server_name = "" if is_ip(server_name) else server_name
        self.side.names_host = names_host
        if keys:
            self.side.sessions = {}


def _upstream_side(common: CommonTls, scope: Scope) -> TlsSide:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # Envoy checks names by its matchers alone
    verifies = bool(common.roots) and not common.accepts_untrusted
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    pair = common.pairs[0] if common.pairs else None
    common.apply(context, pair)
    side = TlsSide(context, False, common.rules, TlsStats(scope))
    side.offers = bool(common.alpn)
    side.local = pair.leaf if pair is not None else None
    common.describe(side)
    return side
