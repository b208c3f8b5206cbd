"""Sessions that clients resume: for how long, and with whose tickets (DownstreamTlsContext, TlsSessionTicketKeys)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.ext.transport_sockets.common_tls import CommonTls, compile_data
from proxy.network.openssl import reach

if TYPE_CHECKING:
    from collections.abc import Iterator

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"
_KEY_BYTES: Final = 80
_LONGEST_S: Final = (1 << 32) - 1
_UNSAYABLE: Final = "Python's ssl has nothing to say it with"


@reads(f"{_TLS}.DownstreamTlsContext")
def compile_timeout(reader: Reader, common: CommonTls) -> None:
    """session_timeout; 0 is OpenSSL's own (7200 s), which is Envoy's as well."""
    seconds = int(reader.seconds("session_timeout", 0.0) or 0.0)
    if seconds > _LONGEST_S:
        reader.fail("session_timeout", f"must not be more than {_LONGEST_S} s")
        return
    openssl = reach()
    if seconds and (openssl is None or not openssl.set_session_timeout(_scratch(), seconds)):
        reader.unsupported("session_timeout", _UNSAYABLE)
    common.session_timeout_s = seconds


@reads(f"{_TLS}.TlsSessionTicketKeys")
def compile_ticket_keys(reader: Reader, environ: Mapping[str, str]) -> list[bytes]:
    """Those that can be used; findings for the others."""
    keys: list[bytes] = []
    for each in reader.each("keys"):
        before = len(reader.errors.findings)
        key = compile_data(each, environ)
        if len(reader.errors.findings) > before:
            continue
        if len(key) != _KEY_BYTES:
            each.fail(
                "",
                f"Incorrect TLS session ticket key length. Length {len(key)}, expected length {_KEY_BYTES}.",
            )
            continue
        keys.append(key)
    if not reader.has("keys"):
        reader.fail("keys", "must have at least one")
    elif keys:
        words = unsayable(len(keys))
        if words:
            reader.unsupported("keys", words)
            return []
    return keys


def unsayable(count: int) -> str:
    """Why so many keys cannot be told to OpenSSL here, "" where they can."""
    openssl = reach()
    if openssl is not None and openssl.set_ticket_keys([_scratch()], [bytes(_KEY_BYTES)]):
        more = [bytes([index]) * _KEY_BYTES for index in range(count)]
        if count == 1 or openssl.set_ticket_keys([_scratch()], more):
            return ""
        return f"{ssl.OPENSSL_VERSION} takes one key alone"
    return _UNSAYABLE


def _scratch() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def apply_sessions(contexts: list[ssl.SSLContext], common: CommonTls) -> None:
    """To the contexts of one listener's certificates. Whose side has keys needs a ``place_of``."""
    openssl = reach()
    if openssl is None:
        return
    if common.session_timeout_s:
        for context in contexts:
            openssl.set_session_timeout(context, common.session_timeout_s)
    if common.ticket_keys:
        openssl.set_ticket_keys(contexts, common.ticket_keys)


def place_of(common: CommonTls, requires: bool) -> bytes:
    """``TlsSide.place``, b"" without keys of one's own. requires: a client has to have a certificate

    What has to be the same where a session is resumed: whom we say to be, and whom we believe, for the chain of a client
    who resumes is not looked at again. Not our certificates themselves: other processes may have others of the same names.
    """
    if not common.ticket_keys:
        return b""
    from hashlib import sha256  # few have keys of their own

    digest = sha256()
    for part in _parts(common, requires):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _parts(common: CommonTls, requires: bool) -> Iterator[bytes]:
    for pair in common.pairs:
        yield pair.leaf.subject.encode()
        yield pair.leaf.issuer.encode()
        for kind, value in pair.leaf.sans:
            yield b"%d:%b" % (kind, value)
    yield common.roots
    yield common.crl
    yield b"%d %d %d" % (requires, common.crl_leaf_only, common.accepts_untrusted)
    yield b"%d %d" % (common.allows_expired, -1 if common.depth is None else common.depth)
    yield ",".join(sorted(common.rules.hashes)).encode()
    yield ",".join(sorted(common.rules.spki)).encode()
