"""TLS contexts: what is agreed on in a handshake, whom we believe, and what a handshake has shown.

Made from configuration by ``ext.transport_sockets``; used by ``network.tls_transport``, one TlsTransport a connection.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from proxy.base.tls_info import TlsInfo, sent_chain
from proxy.base.x509 import DNS, IP_ADDRESS, Certificate, san_text
from proxy.network.openssl import reach
from proxy.stats.store import Counter, Gauge
from proxy.stats.tls import TlsStats

#: where a certificate was read from when that is no file, as Envoy's /certs has it
INLINE: Final = "<inline>"

#: (GeneralName tag, matcher of the name's exact bytes)
SanMatcher = tuple[int, Callable[[bytes], bool]]
_MOST_SESSIONS: Final = 64  # names whose sessions are kept for resumption
#: certificates of peers that are kept as read: they come again, and reading one takes 75 us
_MOST_PEERS: Final = 256
#: of DER, over all of them; what is read of a certificate (names, for the most part) is about as much again
_MOST_PEER_BYTES: Final = 1 << 20


class TlsRefused(Exception):
    """The handshake came about, but the peer's certificate is not one we want. words: why, as Envoy says it."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class PeerRules:
    """What a peer's certificate must be beyond being signed by a trusted root.

    hashes: SHA-256 of certificates, lower-case hex; spki: base64 of the SHA-256 of public keys; a certificate has to be
    among either where one is given. sans: one of its names must match one of these, where there are any
    has_roots: there are trusted roots; accepts_untrusted: whoever is not what is asked for here is taken all the same, and
    only counted
    """

    __slots__ = ("accepts_untrusted", "has_roots", "hashes", "sans", "spki")

    def __init__(
        self,
        sans: tuple[SanMatcher, ...],
        hashes: frozenset[str],
        spki: frozenset[str],
        has_roots: bool = False,
        accepts_untrusted: bool = False,
    ) -> None:
        self.sans = sans
        self.hashes = hashes
        self.spki = spki
        self.has_roots = has_roots
        self.accepts_untrusted = accepts_untrusted

    @property
    def are_pins(self) -> bool:
        """Whether certificates or keys are given by name."""
        return bool(self.hashes or self.spki)

    @property
    def are_checked(self) -> bool:
        """Whether anything is asked of a certificate."""
        return self.has_roots or self.are_pins

    def check(self, peer: Certificate | None, stats: TlsStats, name: str = "", instead: bool = False) -> None:
        """Raises TlsRefused, counted. name: what the certificate has to name; instead: of the configured ``sans``, not
        beside them."""
        if name:
            self._check_name(peer, stats, name, instead)
        if not ((self.sans and not instead) or self.hashes or self.spki):
            return
        if peer is None:
            stats.fail_verify_no_cert.value += 1
            raise TlsRefused("peer did not return a certificate")
        if self.sans and not instead and not self._is_named(peer):
            stats.fail_verify_san.value += 1
            raise TlsRefused(_sans_of(peer))
        if self.hashes or self.spki:
            from hashlib import sha256  # few pin certificates

            pinned = peer.fingerprint_256 in self.hashes
            if not pinned and b64encode(sha256(peer.spki).digest()).decode() not in self.spki:
                stats.fail_verify_cert_hash.value += 1
                raise TlsRefused("verify cert failed: cert hash and spki")

    @staticmethod
    def _check_name(peer: Certificate | None, stats: TlsStats, name: str, instead: bool) -> None:
        if peer is None:
            stats.fail_verify_no_cert.value += 1
            raise TlsRefused("peer did not return a certificate")
        if not is_named(peer, name):
            stats.fail_verify_san.value += 1
            raise TlsRefused(
                _sans_of(peer)
                if instead
                else f"verify cert failed: verify SAN list, expected SANs: [{name}], certificate SANs: [{_shown(peer)}]"
            )

    def _is_named(self, peer: Certificate) -> bool:
        for tag, value in peer.sans:
            for kind, matches in self.sans:
                if kind == tag and matches(value):
                    return True
        return False


def _sans_of(peer: Certificate) -> str:
    return f"verify cert failed: SAN matcher, certificate SANs are [{_shown(peer)}]"


def _shown(peer: Certificate) -> str:
    return ", ".join(san_text(kind, value) for kind, value in peer.sans)


def is_named(peer: Certificate, name: str) -> bool:
    """Whether a certificate is for a host: a DNS name, for which a wildcard may stand, or an IP address."""
    wanted = name.lower()
    for kind, value in peer.sans:
        text = san_text(kind, value).lower()
        if kind == IP_ADDRESS and text == wanted:
            return True
        if kind == DNS and is_dns_name(wanted, text):
            return True
    return False


def is_dns_name(name: str, shown: str) -> bool:
    """Whether a name is the one of a certificate, both in lower case. As in Envoy one ``*`` in a certificate's first label stands
    for any part of one label, unless that is an encoded one (``xn--``)."""
    if name == shown:
        return True
    label, _, parent = name.partition(".")
    pattern, _, rest = shown.partition(".")
    if not parent or rest != parent or "*" in rest or pattern[:4] == "xn--":
        return False
    before, star, after = pattern.partition("*")
    if not star or "*" in after or len(label) < len(before) + len(after):
        return False
    return label.startswith(before) and label.endswith(after)


class TlsSide:
    """One side's TLS: of the listener's chain (``is_server``) or of a cluster.

    cx_total, cx_active: the connection manager's downstream_cx_ssl_*
    local: our certificate; several: where there is more than one, each context with those that it shows: one, or one with an
    elliptic key and one with a key of RSA
    chains, roots: what /certs shows, (file or INLINE, certificate) of each of our certificates and of each trusted one
    server_name: the SNI we send; names_host: rather the host's own name, where it has one (auto_host_sni)
    checks_sni: the host's certificate has to name it, in place of other names (auto_sni_san_validation)
    offers: alpn_protocols are configured; offered: where none are, what the context offers just now; place: the name of where a server's sessions are good, b"" for in this context alone; sessions: kept for
    resumption by SNI, None where none are kept; is_ready: False until certificates and roots that come by SDS are there; release: to be called when nobody uses it any more, None when that is nobody's business
    """

    __slots__ = (
        "_openssl",
        "_peer_bytes",
        "_peers",
        "chains",
        "checks_sni",
        "context",
        "cx_active",
        "cx_total",
        "is_ready",
        "is_server",
        "local",
        "names_host",
        "offered",
        "offers",
        "place",
        "release",
        "roots",
        "rules",
        "server_name",
        "sessions",
        "several",
        "stats",
    )

    def __init__(self, context: ssl.SSLContext, is_server: bool, rules: PeerRules, stats: TlsStats) -> None:
        self.context = context
        self.is_server = is_server
        self.is_ready = True
        self.rules = rules
        self.stats = stats
        self.server_name = ""
        self.names_host = False
        self.checks_sni = False
        self.offers = False
        self.offered: tuple[str, ...] = ()
        self.place = b""
        self.cx_total = Counter()
        self.cx_active = Gauge()
        self.local: Certificate | None = None
        self.several: list[tuple[ssl.SSLContext, tuple[Certificate, ...]]] = []
        self.chains: list[tuple[str, Certificate]] = []
        self.roots: list[tuple[str, Certificate]] = []
        self.sessions: dict[str, Any] | None = None
        self.release: Callable[[], None] | None = None
        self._openssl = reach()
        self._peers: dict[bytes, Certificate] = {}
        self._peer_bytes = 0

    def renew(self, context: ssl.SSLContext, rules: PeerRules) -> None:
        """Other certificates or roots, for handshakes that begin from now on; sessions of before are not resumed,
        unless their tickets have keys that are configured."""
        self.context = context
        self.rules = rules
        self.is_ready = True
        if self.sessions is not None:
            self.sessions = {}
        self.offered = ()
        self.stats.ssl_context_update_by_sds.value += 1

    def begin(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_name: str,
        alpn: tuple[str, ...] = (),
    ) -> ssl.SSLObject:
        """A connection's TLS, nothing said yet. alpn: the protocols to offer, where no alpn_protocols are configured"""
        if alpn != self.offered and not self.offers:
            # each connection takes what the context has when it begins
            self.offered = alpn
            self.context.set_alpn_protocols(alpn)
        session = self.sessions.get(server_name) if self.sessions is not None else None
        tls = self.context.wrap_bio(incoming, outgoing, self.is_server, server_name or None, session)
        if self.place and self._openssl is not None:
            self._openssl.set_sessions_of(tls, self.place)
        return tls

    def keep(self, tls: ssl.SSLObject, server_name: str) -> None:
        """The peer may have given us what resumes this session."""
        sessions = self.sessions
        if sessions is None or tls.context is not self.context:
            return  # of a context of before: OpenSSL resumes a session in its own context only
        if server_name in sessions or len(sessions) < _MOST_SESSIONS:
            sessions[server_name] = tls.session

    def shaken(
        self, tls: ssl.SSLObject, rules: PeerRules, peer_name: str = "", server_name: str = ""
    ) -> TlsInfo:
        """What the handshake has shown; raises TlsRefused where the peer is not who we want. rules: those of when it
        began, for its context may be one that lets others in; peer_name: what its certificate has to name;
        server_name: the SNI that was sent"""
        cipher = tls.cipher()
        info = TlsInfo(
            tls.version() or "",
            cipher[0] if cipher is not None else "",
            tls.selected_alpn_protocol() or "",
            tls,
        )
        info.local = self.local
        for context, shown in self.several:
            if tls.context is context:
                is_rsa = len(shown) > 1 and self._openssl is not None and self._openssl.has_signed_by_rsa(tls)
                info.local = shown[1] if is_rsa else shown[0]
        der = tls.getpeercert(True)
        if der is not None:
            info.peer = self._peers.get(der) or self._read_peer(der)
            if not info.peer.chain and not tls.session_reused:
                self._note_chain(info.peer, tls)
        by_sni = self.checks_sni and bool(server_name)
        info.verified = self._verify(tls, rules, info.peer, server_name if by_sni else peer_name, by_sni)
        self._count(info, tls)
        if tls.session_reused:
            self.stats.session_reused.value += 1
        if info.peer is None:
            self.stats.no_certificate.value += 1
        return info

    def _verify(
        self, tls: ssl.SSLObject, rules: PeerRules, peer: Certificate | None, name: str, instead: bool
    ) -> bool:
        """Whether this handshake has verified the peer's certificate; one that resumes a session never has, as in
        Envoy. Raises TlsRefused. name, instead: see PeerRules.check"""
        is_new = not tls.session_reused
        if not rules.accepts_untrusted:
            rules.check(peer, self.stats, name, instead)
            return rules.are_checked and is_new
        if peer is None or not is_new:
            return False
        if rules.has_roots:
            is_good = self._openssl.is_chain_good(tls) if self._openssl is not None else None
            if is_good is not None and not is_good:
                self.stats.fail_verify_error.value += 1
            if not is_good:
                return False
        try:
            rules.check(peer, self.stats, name, instead)
        except TlsRefused:
            return False  # counted
        return rules.are_checked

    def _count(self, info: TlsInfo, tls: ssl.SSLObject) -> None:
        stats = self.stats
        stats.handshake.value += 1
        stats.saw("ciphers", info.cipher)
        stats.saw("versions", info.version)
        if self._openssl is None:
            return
        info.group = self._openssl.group(tls)
        if info.group:
            stats.saw("curves", info.group)
        if info.peer is not None:
            algorithm = self._openssl.peer_signature(tls)
            if algorithm:
                stats.saw("sigalgs", algorithm)

    def _read_peer(self, der: bytes) -> Certificate:
        """Raises BadCertificate. Kept are no more than fit; those before them are forgotten then, and counted."""
        read = Certificate(der)
        size = len(der)
        if size > _MOST_PEER_BYTES:
            return read
        if len(self._peers) >= _MOST_PEERS or self._peer_bytes + size > _MOST_PEER_BYTES:
            self.stats.forgot(len(self._peers))
            self._peers.clear()
            self._peer_bytes = 0
        self._peers[der] = read
        self._peer_bytes += size
        return read

    def _note_chain(self, peer: Certificate, tls: ssl.SSLObject) -> None:
        """For connections that resume this session."""
        chain = tuple(sent_chain(tls))
        size = sum(map(len, chain)) - len(peer.der)
        if self._peer_bytes + size <= _MOST_PEER_BYTES:
            peer.chain = chain
            self._peer_bytes += size

    def failed(self, error: ssl.SSLError) -> str:
        """Counts a handshake that failed and says why, in Envoy's words."""
        reason = str(error.reason or "")
        if isinstance(error, ssl.SSLCertVerificationError):
            self.stats.fail_verify_error.value += 1
            return tls_error("CERTIFICATE_VERIFY_FAILED", f"verify cert failed: {error.verify_message}")
        if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            self.stats.fail_verify_no_cert.value += 1
            return tls_error(reason, "peer did not provide required client certificate")
        else:
            self.stats.connection_error.value += 1
        return tls_error(reason or "UNKNOWN")

    def unready(self) -> str:
        """Counts a connection that came before its certificates and says why it fails."""
        self.stats.secrets_not_ready.value += 1
        return NOT_SUPPLIED

    def refused(self, error: TlsRefused) -> str:
        """Why a handshake that came about was of no use."""
        return tls_error("CERTIFICATE_VERIFY_FAILED", error.words)


#: why there is no handshake before SDS has given what it needs
NOT_SUPPLIED: Final = "TLS_error:_Secret_is_not_supplied_by_SDS"

#: BoringSSL's numbers of reasons, where OpenSSL has the same reason by name.
_REASONS: Final = {
    "CERTIFICATE_VERIFY_FAILED": 125,
    "HTTP_REQUEST": 156,
    "NO_SHARED_CIPHER": 184,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": 192,
    "UNSUPPORTED_PROTOCOL": 240,
    "WRONG_VERSION_NUMBER": 247,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": 1040,
    "SSLV3_ALERT_BAD_CERTIFICATE": 1042,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": 1045,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": 1046,
    "TLSV1_ALERT_UNKNOWN_CA": 1048,
    "TLSV1_ALERT_PROTOCOL_VERSION": 1070,
    "TLSV1_ALERT_UNRECOGNIZED_NAME": 1112,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": 1116,
}


def tls_error(reason: str, more: str = "") -> str:
    """A TLS failure as Envoy logs it."""
    number = (16 << 24) + _REASONS.get(reason, 0)
    tail = f":{more}" if more else ""
    return f"TLS_error:|{number}:SSL routines:OPENSSL_internal:{reason}{tail}:TLS_error_end"
