"""TlsParameters (envoy.extensions.transport_sockets.tls.v3): versions, ciphers, curves and signature algorithms.

What is not configured is as with Envoy, which is BoringSSL's choice (measured, Envoy 1.40), where OpenSSL can be told:
``network.openssl``.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.api.reader import Reader, reads
from proxy.network.openssl import reach

#: tells a context names of one kind: whether OpenSSL knows them
Told = Callable[[ssl.SSLContext, str], bool]

_VERSIONS: Final = {
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}
_OLD: Final = ("TLSv1_0", "TLSv1_1")
#: Envoy's own, for TLS 1.2; those of 1.3 cannot be chosen there either. [A|B] in Envoy's list of these: AES 128 and
#: ChaCha20 are as good as one another.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)
#: what BoringSSL does not have, so that it is in none of the names of several either (ALL, HIGH). Without a certificate or a
#: cipher: nobody wants to have asked for it
_NEVER: Final = "!aNULL:!eNULL:!kDHE:!kDHEPSK:!SRP:!AESCCM:!ARIA:!CAMELLIA"
#: TLS 1.3's, in the order in which Envoy offers them. OpenSSL's own begins with AES 256, whose SHA-384 costs a handshake
#: a tenth of its time.
_CIPHERSUITES: Final = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#: Envoy's own. More would be a gift to who wants to keep us busy: OpenSSL before 3.5 takes finite fields too, and a client
#: that asks for one of 8,192 bits has us work for 0.2 s.
_GROUPS: Final = "X25519:P-256"
_POST_QUANTUM: Final = f"X25519MLKEM768:{_GROUPS}"  # from OpenSSL 3.5 on
_CAREFUL: Final = (3, 5)
#: SSL_OP_PRIORITIZE_CHACHA, which has no name in Python's ssl: a client that puts ChaCha20 first has no AES in hardware
_PRIORITIZE_CHACHA: Final = 1 << 21
#: of certificates that a client shows. OpenSSL takes 0.4 ms to read each, believed or not, and would take 100 KiB of them:
#: 0.1 s. This is room for four with post-quantum signatures. Not of hosts: OpenSSL has one limit for their certificates and
#: for the names of roots that they ask for certificates of.
_CERTIFICATE_BYTES: Final = 32 * 1024

#: what Envoy calls curves → OpenSSL's name
_CURVES: Final = {
    "X25519": "X25519",
    "x25519": "X25519",
    "P-256": "P-256",
    "prime256v1": "P-256",
    "P-384": "P-384",
    "secp384r1": "P-384",
    "P-521": "P-521",
    "secp521r1": "P-521",
    "X25519MLKEM768": "X25519MLKEM768",
    "MLKEM1024": "MLKEM1024",
}
_HASHES: Final = ("SHA256", "SHA384", "SHA512")
#: what Envoy calls signature algorithms → OpenSSL's name
_SIGNATURES: Final = {
    **{f"{kind}+{each}": f"{kind}+{each}" for kind in ("RSA", "ECDSA", "RSA-PSS") for each in _HASHES},
    **{f"PSS+{each}": f"RSA-PSS+{each}" for each in _HASHES},
    **{f"rsa_pkcs1_{each.lower()}": f"RSA+{each}" for each in _HASHES},
    **{f"rsa_pss_rsae_{each.lower()}": f"rsa_pss_rsae_{each.lower()}" for each in _HASHES},
    "ecdsa_secp256r1_sha256": "ECDSA+SHA256",
    "ecdsa_secp384r1_sha384": "ECDSA+SHA384",
    "ecdsa_secp521r1_sha512": "ECDSA+SHA512",
    "RSA+SHA1": "RSA+SHA1",
    "rsa_pkcs1_sha1": "RSA+SHA1",
    "ECDSA+SHA1": "ECDSA+SHA1",
    "ecdsa_sha1": "ECDSA+SHA1",
    "ed25519": "ed25519",
    "rsa_pkcs1_sha256_legacy": "rsa_pkcs1_sha256_legacy",
}


@dataclass(slots=True)
class Params:
    """What a context is told. ciphers: of TLS 1.2; groups, signatures: names with colons between them, "" for ours.

    strict: of ciphers that the client has as well, the first of ours is taken, whatever the client would rather
    """

    maximum: ssl.TLSVersion
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = _CIPHERS
    groups: str = ""
    signatures: str = ""
    strict: bool = False
    is_server: bool = True

    def apply(self, context: ssl.SSLContext) -> None:
        context.minimum_version = self.minimum
        context.maximum_version = self.maximum
        context.set_ciphers(self.ciphers)
        if not self.strict:
            context.options |= _PRIORITIZE_CHACHA
        openssl = reach()
        if openssl is None:
            if ssl.OPENSSL_VERSION_INFO < _CAREFUL:
                context.set_ecdh_curve("prime256v1")  # one is all that can be said, and all know it
            return
        if self.is_server:
            openssl.limit_certificates(context, _CERTIFICATE_BYTES)
        openssl.set_ciphersuites(context, _CIPHERSUITES)
        if self.groups:
            openssl.set_groups(context, self.groups)
        elif not openssl.set_groups(context, _POST_QUANTUM):
            openssl.set_groups(context, _GROUPS)  # nor these with FIPS: then it is OpenSSL's own
        if self.signatures:
            openssl.set_signatures(context, self.signatures)


@reads("envoy.extensions.transport_sockets.tls.v3.TlsParameters")
def compile_params(reader: Reader | None, is_server: bool) -> Params:
    """Findings go to the reader."""
    params = Params(ssl.TLSVersion.TLSv1_3 if is_server else ssl.TLSVersion.TLSv1_2)  # Envoy's own
    params.is_server = is_server
    if reader is None:
        return params
    lowest = reader.enum("tls_minimum_protocol_version")
    highest = reader.enum("tls_maximum_protocol_version")
    params.minimum = _VERSIONS.get(lowest, params.minimum)
    params.maximum = _VERSIONS.get(highest, params.maximum)
    if lowest in _OLD:
        reader.unsupported("tls_minimum_protocol_version", "TLS before 1.2 is not spoken")
    if highest in _OLD:
        reader.unsupported("tls_maximum_protocol_version", "TLS before 1.2 is not spoken")
    if params.minimum > params.maximum:
        reader.fail("tls_minimum_protocol_version", "is above the highest version")
    _compile_ciphers(reader, params)
    _compile_names(reader, params)
    return params


@reads("envoy.extensions.transport_sockets.tls.v3.TlsParameters")
def _compile_names(reader: Reader, params: Params) -> None:
    openssl = reach()
    told = openssl.set_groups if openssl is not None else None
    try:
        params.groups = _names(reader.values("ecdh_curves"), _CURVES, told)
    except _NoName as unknown:
        reader.fail("ecdh_curves", str(unknown))
    except _NotHere as lacking:
        reader.unsupported("ecdh_curves", str(lacking))
    told = openssl.set_signatures if openssl is not None else None
    try:
        params.signatures = _names(reader.values("signature_algorithms"), _SIGNATURES, told)
    except _NoName as unknown:
        reader.fail("signature_algorithms", str(unknown))
    except _NotHere as lacking:
        reader.unsupported("signature_algorithms", str(lacking))


@reads("envoy.extensions.transport_sockets.tls.v3.TlsParameters")
def _compile_ciphers(reader: Reader, params: Params) -> None:
    groups = [str(group) for group in reader.values("cipher_suites")]
    names: list[str] = []
    for group in groups:
        names += group.strip("[]").replace("|", ":").split(":")  # [A|B]: as good as one another
    for name in names:
        if not _is_cipher(name):
            reader.fail("cipher_suites", f"there is no cipher {name}")
            return
    for group in groups:
        if any(each in group for each in "[|]") and not (group.startswith("[") and group.endswith("]")):
            reader.fail("cipher_suites", f"{group}: a group stands in brackets, [A|B]")
            return
    if names:
        params.ciphers = ":".join([*names, _NEVER])
        params.strict = not any("|" in group and "CHACHA20" in group for group in groups)


def _is_cipher(name: str) -> bool:
    """Whether it is one, or a name of several, that Envoy knows too. (OpenSSL also takes lists in other forms, and
    commands.)"""
    if not name.replace("-", "").replace("+", "").isalnum():
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(f"{name}:{_NEVER}")
    except ssl.SSLError:
        return False
    return True


class _NoName(Exception):
    """Of a curve or a signature algorithm, or one that was there before."""


class _NotHere(Exception):
    """It is a name, but the OpenSSL that is here cannot do it, or cannot be told to."""


def _names(values: Iterable[object], known: Mapping[str, str], told: Told | None) -> str:
    """OpenSSL's names of what is listed, with colons between them. Raises _NoName, _NotHere."""
    names: list[str] = []
    listed = ":".join(str(each) for each in values)
    for name in listed.split(":") if listed else ():
        if name not in known:
            raise _NoName(f"there is no {name}")
        if known[name] in names:
            raise _NoName(f"has {name} twice")
        if told is None:
            raise _NotHere("OpenSSL is built into this Python, and Python's ssl has nothing to say it with")
        if not told(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), known[name]):
            raise _NotHere(f"{ssl.OPENSSL_VERSION} has no {name}")
        names.append(known[name])
    return ":".join(names)
