"""CertificateValidationContext (envoy.extensions.transport_sockets.tls.v3): whom to believe, and what a peer is called."""

from __future__ import annotations

import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Final

from proxy.api.matchers import compile_string_matcher
from proxy.api.reader import Reader, reads
from proxy.base.x509 import DNS, EMAIL, IP_ADDRESS, URI, BadCertificate, read_pem, san_text
from proxy.ext.transport_sockets.common_tls import CRL_MARK, CommonTls, compile_data, in_memory, shown_path
from proxy.network.openssl import reach
from proxy.network.tls import PeerRules, SanMatcher, is_dns_name

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"
_DEEPEST: Final = 100  # what Envoy takes
_KINDS: Final = {"EMAIL": EMAIL, "DNS": DNS, "URI": URI, "IP_ADDRESS": IP_ADDRESS}


@reads(f"{_TLS}.CertificateValidationContext")
def compile_validation(reader: Reader, common: CommonTls, environ: Mapping[str, str]) -> None:
    """CertificateValidationContext into ``common``."""
    trusted = reader.sub("trusted_ca")
    if trusted is not None:
        common.has_roots = True
        common.roots = compile_data(trusted, environ)
        try:
            if common.roots:
                path = shown_path(trusted)
                common.shown_roots = [(path, each) for each in read_pem(common.roots)]
        except BadCertificate as error:
            trusted.fail("", f"Failed to load trusted CA certificates: {error}")
            common.roots = b""
    crl = reader.sub("crl")
    if crl is not None:
        common.crl = compile_data(crl, environ)
        if not common.has_roots:
            crl.fail("", f"Failed to load CRL from {shown_path(crl)} without trusted CA")
        if not _is_list(common.crl):
            crl.fail("", "is no certificate revocation list in PEM")
            common.crl = b""
    common.crl_leaf_only = reader.flag("only_verify_leaf_cert_crl")
    reader.ignore("watched_directory", why="as in Envoy, only roots that come by SDS are read again")
    common.accepts_untrusted = reader.enum("trust_chain_verification") == "ACCEPT_UNTRUSTED"
    _compile_chain(reader, common)
    hashes = frozenset(
        str(each).replace(":", "").lower() for each in reader.values("verify_certificate_hash")
    )
    for each in hashes:
        if len(each) != 64 or set(each) - set("0123456789abcdef"):
            reader.fail("verify_certificate_hash", f"{each} is no SHA-256 in hex")
    spki = frozenset(str(each) for each in reader.values("verify_certificate_spki"))
    for each in spki:
        if not _is_sha256_in_base64(each):
            reader.fail("verify_certificate_spki", f"Invalid base64-encoded SHA-256 {each}")
    matchers = [_compile_san(each) for each in reader.each("match_typed_subject_alt_names")]
    for older in reader.each("match_subject_alt_names"):
        matches = compile_string_matcher(older)
        matchers += [(kind, _of_kind(kind, older, matches)) for kind in (DNS, URI, EMAIL, IP_ADDRESS)]
    if matchers and not common.has_roots:
        reader.fail(
            "", "SAN-based verification of peer certificates without trusted CA is insecure and not allowed"
        )
    common.rules = PeerRules(tuple(matchers), hashes, spki, common.has_roots, common.accepts_untrusted)


@reads(f"{_TLS}.CertificateValidationContext")
def _compile_chain(reader: Reader, common: CommonTls) -> None:
    """How old and how long chains may be, and what is told of their roots."""
    common.allows_expired = reader.flag("allow_expired_certificate")
    if common.allows_expired and not common.has_roots:
        reader.fail(
            "allow_expired_certificate",
            "Certificate validity period is always ignored without trusted CA",
        )
    common.names_roots = not reader.flag("suppress_client_ca_list")
    reader.unsupported("system_root_certs", "is not supported: Envoy takes it and verifies nothing by it")
    if not common.is_server:
        reader.ignore("max_verify_depth", why="as in Envoy, it counts for clients' certificates alone")
        return
    if not reader.has("max_verify_depth"):
        return
    most = reader.wrapped("max_verify_depth", 0)
    if most > _DEEPEST:
        reader.fail("max_verify_depth", f"must not be more than {_DEEPEST}")
        return
    common.depth = max(most - 1, 0)  # Envoy counts the trusted one as well
    openssl = reach()
    if openssl is None or not openssl.set_depth(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), common.depth):
        reader.unsupported("max_verify_depth", "Python's ssl has nothing to say it with")


def _is_list(data: bytes) -> bool:
    """Whether OpenSSL can read it as certificate revocation lists."""
    if CRL_MARK not in data:
        return False
    try:
        with in_memory(data) as path:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _is_sha256_in_base64(text: str) -> bool:
    """In its one spelling: bits that stand for nothing are zero."""
    try:
        digest = b64decode(text, validate=True)
    except ValueError:
        return False
    return len(digest) == 32 and b64encode(digest).decode() == text


@reads(f"{_TLS}.SubjectAltNameMatcher")
def _compile_san(reader: Reader) -> SanMatcher:
    kind = reader.enum("san_type")
    if kind not in _KINDS:
        reader.unsupported("san_type", f"{kind} is not supported; {', '.join(_KINDS)} are")
    matcher = reader.sub("matcher")
    if matcher is None:
        return _KINDS.get(kind, DNS), lambda value: False
    tag = _KINDS.get(kind, DNS)
    return tag, _of_kind(tag, matcher, compile_string_matcher(matcher))


@reads("envoy.type.matcher.v3.StringMatcher")
def _of_kind(tag: int, reader: Reader, matches: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """The matcher of names of one kind; matches: what it says of other texts."""
    return _dns_name(reader.text("exact")) if tag == DNS and reader.has("exact") else _readable(tag, matches)


def _readable(tag: int, matches: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """Addresses are matched as text; in others a NUL is never part of a name."""
    if tag == IP_ADDRESS:
        return lambda value: matches(san_text(IP_ADDRESS, value).encode())
    return lambda value: b"\0" not in value and matches(value)


def _dns_name(wanted: str) -> Callable[[bytes], bool]:
    """An exact DNS name, in any case."""
    name = wanted.lower()
    return lambda value: is_dns_name(name, value.decode("latin-1").lower())
