"""CommonTlsContext (envoy.extensions.transport_sockets.tls.v3) → ssl.SSLContext and the rules for the peer.

What cannot be honoured is not read, and so refused by name: OCSP staples, keyless signing, certificate providers. Keys
and certificates are given to OpenSSL through anonymous files in memory: it takes paths only, and secrets do not touch the
disk.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxy.api.reader import Reader, reads
from proxy.base.x509 import BadCertificate, Certificate, read_pem
from proxy.ext.transport_sockets.tls_params import Params, compile_params
from proxy.network.openssl import reach
from proxy.network.tls import INLINE, PeerRules, TlsSide

if TYPE_CHECKING:
    from proxy.api.discovery import Secret, Secrets
    from proxy.base.clock import Clock

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"
#: what Envoy calls certificates without a name in its statistics (the digits are the hash of nothing)
_UNNAMED: Final = "unnamed_cert_e3b0c442"
_UNNAMED_ROOTS: Final = "unnamed_ca_cert_e3b0c442"
#: X509_V_FLAG_NO_CHECK_TIME, which has no name in Python's ssl
_NO_CHECK_TIME: Final = 0x200000
_LONGEST_PROTOCOL: Final = 255
CRL_MARK: Final = b"-----BEGIN X509 CRL-----"


class TlsContextFactory(Protocol):
    """What of a FactoryContext, or of an UpstreamContext, TLS uses. environ: environment variables."""

    @property
    def clock(self) -> Clock: ...
    @property
    def environ(self) -> Mapping[str, str] | None: ...
    @property
    def secrets(self) -> Secrets | None: ...


@dataclass(slots=True, frozen=True)
class KeyPair:
    """A certificate chain with its key, PEM; leaf: the first certificate; path: its file, or INLINE; secret: the name of
    what brought it, "" where it stands in the context itself."""

    chain: bytes
    key: bytes
    password: bytes
    leaf: Certificate
    path: str
    secret: str = ""


@dataclass(slots=True)
class SecretNames:
    """What a CommonTlsContext has by SDS. pairs: secrets of certificates; validation: that of roots and rules; default:
    the CertificateValidationContext that it is merged over (combined_validation_context); tickets: that of the keys of
    session tickets."""

    pairs: list[Secret] = field(default_factory=list)
    validation: Secret | None = None
    default: Any = None
    tickets: Secret | None = None


@dataclass(slots=True)
class CommonTls:
    """What both sides have in common. pairs: those that can be used; has_pairs: some are configured. roots: PEM, b"" for none that can be read; has_roots: some are configured; crl: PEM or b"".

    shown_roots: the certificates of ``roots``, each with its file, or INLINE; roots_secret: as in KeyPair
    by_sds: certificates or roots that come by SDS, None for none
    accepts_untrusted: peers may show any certificate (trust_chain_verification: ACCEPT_UNTRUSTED); allows_expired: its
    certificates may be too old, or too new; depth: how many of them may stand between the peer's and the trusted one, None
    for OpenSSL's own limit; names_roots: clients are told whose certificates are trusted
    session_timeout_s: 0 for OpenSSL's own; ticket_keys: of 80 bytes, none for OpenSSL's own
    key_log: the file that keys of connections are written to, "" for none
    """

    pairs: list[KeyPair]
    has_pairs: bool
    params: Params
    alpn: list[str]
    roots: bytes
    has_roots: bool
    crl: bytes
    crl_leaf_only: bool
    accepts_untrusted: bool
    rules: PeerRules
    shown_roots: list[tuple[str, Certificate]] = field(default_factory=list)
    roots_secret: str = ""
    by_sds: SecretNames | None = None
    allows_expired: bool = False
    depth: int | None = None
    names_roots: bool = True
    session_timeout_s: int = 0
    ticket_keys: list[bytes] = field(default_factory=list)
    key_log: str = ""

    @property
    def is_server(self) -> bool:
        """Whether it is a listener's."""
        return self.params.is_server

    def describe(self, side: TlsSide) -> None:
        """What a side shows of itself."""
        side.chains = [(pair.path, pair.leaf) for pair in self.pairs]
        side.roots = self.shown_roots
        side.local = self.pairs[0].leaf if self.pairs else None
        ends: dict[str, float] = {}
        for pair in self.pairs:
            name = pair.secret or _UNNAMED
            ends[name] = min(pair.leaf.not_after, ends.get(name, inf))
        if self.shown_roots:
            ends[self.roots_secret or _UNNAMED_ROOTS] = min(root.not_after for _, root in self.shown_roots)
        for name, when in ends.items():
            side.stats.expires(name, when)

    def apply(self, context: ssl.SSLContext, pairs: Sequence[KeyPair]) -> None:
        """Give it all to a context; pairs: to show, one of each kind of key. Raises OSError: ssl.SSLError, or what the file
        of keys is the reason of."""
        self.params.apply(context)
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        if self.key_log:
            context.keylog_filename = self.key_log
        for pair in pairs:
            load_pair(context, pair)
        if self.roots:
            self._trust(context)

    def _trust(self, context: ssl.SSLContext) -> None:
        """The roots, and what chains to them have to be. Raises ssl.SSLError."""
        flags = context.verify_flags | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # any of them ends a chain
        if self.allows_expired:
            flags |= _NO_CHECK_TIME
        context.load_verify_locations(cadata=self.roots.decode("latin-1"))
        for source in (self.roots, self.crl):  # some keep the lists with the roots
            if CRL_MARK in source:
                with in_memory(source) as path:
                    context.load_verify_locations(path)
                flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
                if not self.crl_leaf_only:
                    flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
        context.verify_flags = flags
        openssl = reach()
        if openssl is None:
            return
        openssl.set_no_auto_chain(context)
        if not self.is_server:
            return
        if self.depth is not None:
            openssl.set_depth(context, self.depth)
        if self.names_roots:
            with in_memory(self.roots) as path:
                openssl.set_client_names(context, path)


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """The path of a file that holds ``data`` and exists in memory alone."""
    descriptor = os.memfd_create("outrider", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def load_pair(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Raises ssl.SSLError when key and certificate do not belong together, or one is unreadable."""
    password = pair.password or b"\0"  # never ask at the terminal
    with in_memory(pair.chain) as chain, in_memory(pair.key) as key:
        context.load_cert_chain(chain, key, password)


@reads("envoy.config.core.v3.DataSource")
def compile_data(reader: Reader | None, environ: Mapping[str, str]) -> bytes:
    """The content of a file, a text of the configuration, or an environment variable; b"" and a finding without."""
    if reader is None:
        return b""
    reader.ignore("watched_directory", why="as in Envoy, only what comes by SDS is read again")
    path, name = reader.text("filename"), reader.text("environment_variable")
    data = reader.blob("inline_bytes") or reader.text("inline_string").encode()
    if path:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            reader.fail("filename", f"cannot read {path}: {error.strerror}")
            return b""
    elif name:
        if name not in environ:
            reader.fail("environment_variable", f"there is no environment variable {name}")
            return b""
        data = environ[name].encode()
    if not data:
        reader.fail("", "is empty")
    return data


@reads("envoy.config.core.v3.DataSource")
def shown_path(reader: Reader | None) -> str:
    """How /certs calls where it stands: its file, or INLINE."""
    return (reader.text("filename") if reader is not None else "") or INLINE


@reads(f"{_TLS}.CommonTlsContext")
def compile_common(reader: Reader | None, context: TlsContextFactory, is_server: bool) -> CommonTls:
    """What stands in the message itself; ``by_sds`` adds what it names. Findings go to the reader."""
    common = empty_common(is_server)
    if reader is None:
        return common
    environ, now = context.environ or {}, context.clock.wall()
    common.params = compile_params(reader.sub("tls_params"), is_server)
    common.alpn = _compile_protocols(reader)
    key_log = reader.sub("key_log")
    if key_log is not None:
        common.key_log = _compile_key_log(key_log)
    for each in reader.each("tls_certificates"):
        common.has_pairs = True
        pair = compile_pair(each, environ, now)
        if pair is not None:
            common.pairs.append(pair)
    return common


@reads(f"{_TLS}.CommonTlsContext")
def _compile_protocols(reader: Reader) -> list[str]:
    """alpn_protocols, each of which may be several with commas between them."""
    names = ",".join(str(name) for name in reader.values("alpn_protocols")).split(",")
    if any(len(name.encode()) > _LONGEST_PROTOCOL for name in names):
        reader.fail("alpn_protocols", "Invalid ALPN protocol string: a name is too long")
        return []
    if "" not in names:
        return names
    if reader.has("alpn_protocols"):
        reader.warn("alpn_protocols", "one is empty: as in Envoy, no protocol is agreed on")
    return []


@reads(f"{_TLS}.TlsKeyLog")
def _compile_key_log(reader: Reader) -> str:
    """The file, which is made when there is none; "" and a finding where it cannot be opened."""
    all_of_them = "is not supported: keys of all connections are written, or of none"
    reader.unsupported("local_address_range", all_of_them)
    reader.unsupported("remote_address_range", all_of_them)
    path = reader.text("path")
    if not path:
        reader.fail("path", "is missing")
        return ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).keylog_filename = path
    except OSError as error:
        reader.fail("path", f"cannot open {path}: {error.strerror}")
        return ""
    return path


def empty_common(is_server: bool = True) -> CommonTls:
    """Nothing configured."""
    rules = PeerRules((), frozenset(), frozenset())
    params = compile_params(None, is_server)
    return CommonTls([], False, params, [], b"", False, b"", False, False, rules)


@reads(f"{_TLS}.TlsCertificate")
def compile_pair(reader: Reader, environ: Mapping[str, str], now: float, secret: str = "") -> KeyPair | None:
    """A certificate with its key; None with a finding."""
    reader.ignore("watched_directory", why="as in Envoy, only certificates that come by SDS are read again")
    before = len(reader.errors.findings)
    chain = compile_data(reader.sub("certificate_chain"), environ)
    key = compile_data(reader.sub("private_key"), environ)
    password_source = reader.sub("password")
    password = compile_data(password_source, environ) if password_source is not None else b""
    if not reader.has("certificate_chain"):
        reader.fail("certificate_chain", "is missing")
    if not reader.has("private_key"):
        reader.fail("private_key", "is missing: a certificate is of no use without its key")
    if not chain or not key or len(reader.errors.findings) > before:
        return None
    try:
        leaf = read_pem(chain)[0]
    except BadCertificate as error:
        reader.fail("certificate_chain", f"is no certificate in PEM: {error}")
        return None
    path = shown_path(reader.sub("certificate_chain"))
    pair = KeyPair(chain, key, password.rstrip(b"\r\n"), leaf, path, secret)
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
    except ssl.SSLError as error:
        reader.fail("private_key", _words_of_pair(error))
        return None
    if leaf.not_after < now:
        reader.warn(
            "certificate_chain", f'the certificate of "{leaf.subject}" has expired: peers will refuse it'
        )
    return pair


def _words_of_pair(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "is not the key of the certificate"
    if error.reason in ("KEY_TYPE_MISMATCH", "WRONG_CERTIFICATE_TYPE"):
        return "is of another kind than the certificate's key"
    return f"cannot be used with the certificate: {error.reason or 'no key in PEM, or a wrong password'}"


def is_ip(text: str) -> bool:
    """Whether it is an IP address: those are not sent as SNI."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
