"""envoy.transport_sockets.tls: DownstreamTlsContext and UpstreamTlsContext → ``network.tls.TlsSide``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.api.discovery import Rejected
from proxy.api.reader import Reader, reads
from proxy.base.x509 import Certificate
from proxy.ext.transport_sockets.by_sds import SecretsInUse, compile_by_sds, compile_tickets
from proxy.ext.transport_sockets.common_tls import (
    CommonTls,
    TlsContextFactory,
    compile_common,
    is_ip,
)
from proxy.ext.transport_sockets.peer_validation import compile_validation
from proxy.ext.transport_sockets.sessions import apply_sessions, compile_timeout, place_of
from proxy.ext.transport_sockets.several import Shown, choose_by_name, compile_several
from proxy.network.openssl import reach
from proxy.network.tls import TlsSide
from proxy.stats.store import Scope
from proxy.stats.tls import TlsStats

if TYPE_CHECKING:
    from proxy.base.init import InitManager

_REQUIRED: Final = (
    "needs a trusted_ca, or a pin, to check it with: Envoy takes it without, and serves whoever shows none"
)
_UNASKED: Final = (
    "this Python's ssl asks for no certificate that it does not verify itself, which it does with a trusted_ca alone and "
    "without ACCEPT_UNTRUSTED"
)
_UNCHECKED: Final = "was configured without configuring a trusted CA"
_NO_SNI: Final = (
    "is not supported: Envoy takes it and asks nothing by it; filter chains with server_names and no default one refuse "
    "who names no other"
)

#: of a TLS 1.3 handshake. BoringSSL and OpenSSL send two, for clients that open two connections at once; each costs us a
#: twentieth of the handshake, and a client takes the ticket of its next connection anyway
_TICKETS: Final = 1


class DownstreamTls:
    """A listener's side. side: None when there were findings.

    scope: ``listener.<address>.``; init: waits for what comes by SDS
    """

    __slots__ = ("_clients_choice", "_requires", "_stateful", "_stateless", "side")

    def __init__(self, config: Reader, scope: Scope, context: TlsContextFactory, init: InitManager) -> None:
        self.side: TlsSide | None = None
        common = _compile_common(config.sub("common_tls_context"), context, init, True)
        self._requires = config.wrapped("require_client_certificate", False)
        self._stateless = not config.flag("disable_stateless_session_resumption")
        self._stateful = not config.flag("disable_stateful_session_resumption")
        self._clients_choice = config.flag("prefer_client_ciphers")
        compile_tickets(config, common, context, init)
        compile_timeout(config, common)
        if config.enum("ocsp_staple_policy") == "MUST_STAPLE":
            config.unsupported("ocsp_staple_policy", "OCSP responses are not stapled")
        if config.wrapped("require_sni", False):
            config.unsupported("require_sni", _NO_SNI)
        names = common.by_sds
        if names is None or names.validation is None:
            words = self._unverifiable(common)
            if words == _REQUIRED:
                config.unsupported("require_client_certificate", _REQUIRED)
            elif words:
                config.unsupported("common_tls_context", _UNASKED, whole=False)
        if not common.has_pairs:
            config.fail("common_tls_context", "No TLS certificates found for server context")
        if names is not None:
            context_yet_to_come = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.side = TlsSide(context_yet_to_come, True, common.rules, TlsStats(scope, True))
            self.side.is_ready = False
            self.side.release = SecretsInUse(common, names, context, self._renew).release
        elif common.pairs and not config.errors.findings:
            try:
                contexts = self._make(common)
            except OSError as error:
                config.fail("common_tls_context", f"cannot be used: {error}")
                return
            self.side = TlsSide(contexts[0][0], True, common.rules, TlsStats(scope, True))
            self._describe(common, contexts, self.side)

    def _unverifiable(self, common: CommonTls) -> str:
        """Why what is asked of clients cannot be asked, "" for nothing."""
        accepts, rules = common.accepts_untrusted, common.rules
        if self._requires and not rules.has_roots and (accepts or not rules.are_pins):
            return _REQUIRED
        if _takes_any_chain(common) and not _accept_any_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), False):
            return _UNASKED
        return ""

    def _asks(self, common: CommonTls) -> ssl.VerifyMode:
        """Whether clients are asked for certificates, and may come without; as in Envoy what is asked of a certificate
        asks for one."""
        rules = common.rules
        if rules.accepts_untrusted:
            needs = self._requires and rules.has_roots
        else:
            needs = bool(rules.sans) or rules.are_pins or (self._requires and rules.has_roots)
        if needs:
            return ssl.CERT_REQUIRED
        return ssl.CERT_OPTIONAL if rules.has_roots or rules.accepts_untrusted else ssl.CERT_NONE

    def _describe(
        self, common: CommonTls, contexts: list[tuple[ssl.SSLContext, tuple[Certificate, ...]]], side: TlsSide
    ) -> None:
        common.describe(side)
        side.place = place_of(common, self._requires)
        side.several = contexts if len(common.pairs) > 1 else []

    def _make(self, common: CommonTls) -> list[tuple[ssl.SSLContext, tuple[Certificate, ...]]]:
        """The contexts, each with the certificates that it may show; handshakes begin with the first. Raises OSError."""
        leaves = [pair.leaf for pair in common.pairs]
        several = compile_several(leaves)
        contexts: dict[Shown, ssl.SSLContext] = {}
        for shown in several:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            common.apply(context, [common.pairs[index] for index in shown])
            context.verify_mode = self._asks(common)
            if _takes_any_chain(common):  # where that cannot be said OpenSSL believes nobody
                _accept_any_chain(context, common.rules.has_roots)
            if self._clients_choice:
                context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
            context.num_tickets = _TICKETS
            if not self._stateless:
                context.options |= ssl.OP_NO_TICKET
                if not self._stateful:
                    context.num_tickets = 0
            contexts[shown] = context
        apply_sessions(list(contexts.values()), common)
        if len(contexts) > 1:
            contexts[several.nameless].sni_callback = choose_by_name(several, contexts)
        return [(made, tuple(leaves[index] for index in shown)) for shown, made in contexts.items()]

    def _renew(self, common: CommonTls) -> Callable[[], None]:
        """See SecretsInUse."""
        words = self._unverifiable(common)
        if words:
            raise Rejected(words)
        made, side = self._make(common), self.side
        assert side is not None

        def use() -> None:
            side.renew(made[0][0], common.rules)
            self._describe(common, made, side)

        return use


class UpstreamTls:
    """A cluster's side. side: None when there were findings; scope: ``cluster.<name>.``; init: waits for SDS."""

    __slots__ = ("side",)

    def __init__(self, config: Reader, scope: Scope, context: TlsContextFactory, init: InitManager) -> None:
        self.side: TlsSide | None = None
        common = _compile_common(config.sub("common_tls_context"), context, init, False)
        names = common.by_sds
        server_name = config.text("sni")
        names_host = config.flag("auto_host_sni")
        checks_sni = config.flag("auto_sni_san_validation")
        if checks_sni and not common.rules.has_roots and (names is None or names.validation is None):
            config.fail("auto_sni_san_validation", _UNCHECKED)
        keys = config.wrapped("max_session_keys", 1)
        config.ignore("enforce_rsa_key_usage", why="OpenSSL checks key usage by itself")
        if len(common.pairs) + (len(names.pairs) if names is not None else 0) > 1:
            config.fail(
                "common_tls_context", "Multiple TLS certificates are not supported for client contexts"
            )
        if len(server_name) > 255:
            config.fail("sni", "SNI names longer than 255 characters are not allowed")
        if config.errors.findings:
            return
        try:
            made = _client_context(common)
        except OSError as error:
            config.fail("common_tls_context", f"cannot be used: {error}")
            return
        side = self.side = TlsSide(made, False, common.rules, TlsStats(scope, False))
        side.offers = bool(common.alpn)
        side.server_name = "" if is_ip(server_name) else server_name
        side.names_host = names_host
        side.checks_sni = checks_sni
        if keys:
            side.sessions = {}
        if names is not None:
            side.is_ready = False
            side.release = SecretsInUse(common, names, context, self._renew).release
        else:
            common.describe(side)

    def _renew(self, common: CommonTls) -> Callable[[], None]:
        """See SecretsInUse."""
        made, side = _client_context(common), self.side
        assert side is not None
        if side.checks_sni and not common.rules.has_roots:
            raise Rejected(f"auto_sni_san_validation {_UNCHECKED}")

        def use() -> None:
            side.renew(made, common.rules)
            common.describe(side)

        return use


@reads("envoy.extensions.transport_sockets.tls.v3.CommonTlsContext")
def _compile_common(
    reader: Reader | None, context: TlsContextFactory, init: InitManager, is_server: bool
) -> CommonTls:
    common = compile_common(reader, context, is_server)
    if reader is not None:
        validation = reader.sub("validation_context")
        if validation is not None:
            compile_validation(validation, common, context.environ or {})
        compile_by_sds(reader, common, context, init)
    return common


def _takes_any_chain(common: CommonTls) -> bool:
    """Whether a client gets through the handshake whoever has signed its certificate: ``TlsSide.shaken`` looks at it."""
    return common.accepts_untrusted or (common.rules.are_pins and not common.rules.has_roots)


def _accept_any_chain(context: ssl.SSLContext, verifies: bool) -> bool:
    """See OpenSsl. False where it cannot be said."""
    openssl = reach()
    return openssl is not None and openssl.accept_any_chain(context, verifies)


def _client_context(common: CommonTls) -> ssl.SSLContext:
    """Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # Envoy checks names by its matchers alone
    verifies = bool(common.roots) and not common.accepts_untrusted
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    common.apply(context, common.pairs[:1])
    return context
