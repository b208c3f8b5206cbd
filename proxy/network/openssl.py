"""What OpenSSL knows and Python's ssl passes neither way: TLS 1.3's order of ciphers, groups, signature algorithms.

Python 3.15 has methods for it. Before, OpenSSL's own functions are called on what Python's objects hold: the SSL_CTX is
the first field of ``PySSLContext``, the SSL the second of ``PySSLSocket`` (Modules/_ssl.c, 3.11 to 3.14). Where neither
goes (a Python with OpenSSL built into it, another Python than CPython), ``reach`` gives None: what is configured is
refused then, the defaults are OpenSSL's, and what was agreed on is not told. See decision 14.
"""

from __future__ import annotations

import ssl
import sys
from typing import Any, Final, Protocol

from proxy.network.openssl_tickets import TicketKeys

#: SSL_CTX_ctrl's and SSL_ctrl's numbers of SSL_CTX_set_max_cert_list, SSL_CTX_set1_groups_list, SSL_CTX_set1_sigalgs_list,
#: SSL_get_peer_signature_nid and SSL_get_negotiated_group
_MOST_CERTIFICATES: Final = 51
_SET_GROUPS: Final = 92
_SET_SIGNATURES: Final = 98
_PEER_HASH: Final = 108
_GROUP: Final = 134
_SET_TICKET_KEYS: Final = 59
_MODE: Final = 33  # SSL_CTX_set_mode's
_NO_AUTO_CHAIN: Final = 8
_GOOD: Final = 0  # X509_V_OK
_VERIFIES: Final = 1  # what the callback of chains is told
_PROBE: Final = 5  # tickets, which no default has

#: OpenSSL's numbers of groups → their names in BoringSSL, which are Envoy's. Those that it has no number for of its own
#: it numbers as TLS does, and a bit above.
_UNNUMBERED: Final = 1 << 24
_GROUPS: Final = {
    1034: "X25519",
    415: "P-256",
    715: "P-384",
    716: "P-521",
    _UNNUMBERED | 0x11EC: "X25519MLKEM768",
    _UNNUMBERED | 0x0202: "MLKEM1024",
}
#: the same by OpenSSL's names
_GROUPS_BY_NAME: Final = {
    "x25519": "X25519",
    "secp256r1": "P-256",
    "prime256v1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}
#: OpenSSL's number of what signs, and of the hash → the algorithm's name in TLS
_SIGNATURES: Final = {
    (408, 64): "ecdsa_sha1",
    (408, 672): "ecdsa_secp256r1_sha256",
    (408, 673): "ecdsa_secp384r1_sha384",
    (408, 674): "ecdsa_secp521r1_sha512",
    (6, 64): "rsa_pkcs1_sha1",
    (6, 672): "rsa_pkcs1_sha256",
    (6, 673): "rsa_pkcs1_sha384",
    (6, 674): "rsa_pkcs1_sha512",
    (912, 672): "rsa_pss_rsae_sha256",
    (912, 673): "rsa_pss_rsae_sha384",
    (912, 674): "rsa_pss_rsae_sha512",
}
_ED25519: Final = 1087
_RSA: Final = (6, 912)


class OpenSsl(Protocol):
    """set_*: names with colons between them; whether OpenSSL knows them all. If not, nothing has changed.

    set_no_auto_chain: what is shown is the chain that is configured; OpenSSL would look for one among the roots, in each
    handshake
    set_depth: how many certificates may stand between the peer's and the trusted one
    set_client_names: a server tells clients whose certificates it trusts: those in a file of PEM
    set_sessions_of: a new connection's session is resumed where the name (32 bytes) is the same; the keys of tickets may be the
    same elsewhere. Python names all of them alike, some versions by the context, some by the connection
    set_session_timeout: seconds
    set_ticket_keys: of 80 bytes each; the first seals, all open
    accept_any_chain: whoever has the key of the certificate that is shown gets through the handshake, and must be looked at
    afterwards; verifies: ``is_chain_good`` tells then what OpenSSL thinks of the chain. Of these seven: False where it
    cannot be said

    group, peer_signature: what a handshake has agreed on, and what the peer has proved itself with; "" for none. Only of
    handshakes that are over: before, OpenSSL 3.0 has no session to look into, and looks all the same
    is_chain_good: whether the chain is one of our roots, of a handshake that resumes no session; None where that cannot be
    told
    has_signed_by_rsa: whether we have proved ourselves so
    limit_certificates: a peer may show so many bytes of them, if that can be said; else OpenSSL's 100 KiB
    """

    def set_ciphersuites(self, context: ssl.SSLContext, names: str) -> bool: ...
    def set_groups(self, context: ssl.SSLContext, names: str) -> bool: ...
    def set_signatures(self, context: ssl.SSLContext, names: str) -> bool: ...
    def set_no_auto_chain(self, context: ssl.SSLContext) -> bool: ...
    def set_depth(self, context: ssl.SSLContext, depth: int) -> bool: ...
    def set_client_names(self, context: ssl.SSLContext, path: str) -> bool: ...
    def set_sessions_of(self, tls: ssl.SSLObject, name: bytes) -> bool: ...
    def set_session_timeout(self, context: ssl.SSLContext, seconds: int) -> bool: ...
    def set_ticket_keys(self, contexts: list[ssl.SSLContext], keys: list[bytes]) -> bool: ...
    def accept_any_chain(self, context: ssl.SSLContext, verifies: bool) -> bool: ...
    def is_chain_good(self, tls: ssl.SSLObject) -> bool | None: ...
    def has_signed_by_rsa(self, tls: ssl.SSLObject) -> bool: ...
    def limit_certificates(self, context: ssl.SSLContext, size: int) -> None: ...
    def group(self, tls: ssl.SSLObject) -> str: ...
    def peer_signature(self, tls: ssl.SSLObject) -> str: ...


class ByMethods:
    """Python 3.15 and later."""

    def set_ciphersuites(self, context: Any, names: str) -> bool:
        return _takes(context.set_ciphersuites, names)

    def set_groups(self, context: Any, names: str) -> bool:
        return _takes(context.set_groups, names)

    def set_signatures(self, context: Any, names: str) -> bool:
        """Those we sign with and those we take from the peer, as SSL_CTX_set1_sigalgs_list does."""
        return _takes(context.set_server_sigalgs, names) and _takes(context.set_client_sigalgs, names)

    def set_no_auto_chain(self, context: Any) -> bool:
        return False

    def set_depth(self, context: Any, depth: int) -> bool:
        return False

    def set_client_names(self, context: Any, path: str) -> bool:
        return False

    def set_sessions_of(self, tls: Any, name: bytes) -> bool:
        return False

    def set_session_timeout(self, context: Any, seconds: int) -> bool:
        return False

    def set_ticket_keys(self, contexts: list[ssl.SSLContext], keys: list[bytes]) -> bool:
        return False

    def accept_any_chain(self, context: Any, verifies: bool) -> bool:
        return False

    def is_chain_good(self, tls: Any) -> bool | None:
        return None

    def has_signed_by_rsa(self, tls: Any) -> bool:
        inner = tls._sslobj
        return str((inner.server_sigalg() if tls.server_side else inner.client_sigalg()) or "")[:3] == "rsa"

    def limit_certificates(self, context: Any, size: int) -> None:
        """There is no method."""

    def group(self, tls: Any) -> str:
        name = str(tls._sslobj.group() or "")
        return _GROUPS_BY_NAME.get(name.lower(), name)

    def peer_signature(self, tls: Any) -> str:
        inner = tls._sslobj
        return str((inner.client_sigalg() if tls.server_side else inner.server_sigalg()) or "")


def _takes(method: Any, names: str) -> bool:
    try:
        method(names)
    except ssl.SSLError:
        return False
    return True


class ByAddress:
    """Before Python 3.15. library: OpenSSL's, by ctypes."""

    def __init__(self, library: Any) -> None:
        """Raises AttributeError where a function is not to be seen."""
        import ctypes  # 2 ms, which only those pay who speak TLS

        address, number = ctypes.c_void_p, ctypes.c_int
        self._library = library
        self._pointer: Any = address
        self._number: Any = number
        self._head: int = object.__basicsize__  # every Python object's
        self._second: int = self._head + ctypes.sizeof(address)
        self._answer = number()
        self._at = ctypes.addressof(self._answer)
        library.SSL_CTX_set_ciphersuites.argtypes = [address, ctypes.c_char_p]
        library.SSL_CTX_set_ciphersuites.restype = number
        library.SSL_CTX_ctrl.argtypes = [address, number, ctypes.c_long, ctypes.c_char_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
        library.SSL_CTX_get_num_tickets.argtypes = [address]
        library.SSL_CTX_get_num_tickets.restype = ctypes.c_size_t
        library.SSL_get_SSL_CTX.argtypes = [address]
        library.SSL_get_SSL_CTX.restype = address
        library.SSL_ctrl.argtypes = [address, number, ctypes.c_long, address]
        library.SSL_ctrl.restype = ctypes.c_long
        library.SSL_get_peer_signature_type_nid.argtypes = [address, address]
        library.SSL_get_peer_signature_type_nid.restype = number
        library.SSL_get_signature_type_nid.argtypes = [address, address]
        library.SSL_get_signature_type_nid.restype = number
        library.SSL_CTX_set_verify_depth.argtypes = [address, number]
        library.SSL_CTX_set_verify_depth.restype = None
        library.SSL_load_client_CA_file.argtypes = [ctypes.c_char_p]
        library.SSL_load_client_CA_file.restype = address
        library.SSL_CTX_set_client_CA_list.argtypes = [address, address]
        library.SSL_CTX_set_client_CA_list.restype = None
        library.SSL_set_session_id_context.argtypes = [address, ctypes.c_char_p, ctypes.c_uint]
        library.SSL_set_session_id_context.restype = number
        library.SSL_CTX_set_timeout.argtypes = [address, ctypes.c_long]
        library.SSL_CTX_set_timeout.restype = ctypes.c_long
        library.ERR_clear_error.argtypes = []
        library.ERR_clear_error.restype = None
        library.SSL_CTX_set_cert_verify_callback.argtypes = [address, address, address]
        library.SSL_CTX_set_cert_verify_callback.restype = None
        library.X509_verify_cert.argtypes = [address]
        library.X509_verify_cert.restype = number
        library.SSL_get_verify_result.argtypes = [address]
        library.SSL_get_verify_result.restype = ctypes.c_long
        self._accepting: Any = ctypes.CFUNCTYPE(number, address, address)(self._accept)

    def is_right(self) -> bool:
        """Whether what is found at the addresses is what Python works on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = _PROBE
        address = self._of_context(context)
        if self._library.SSL_CTX_get_num_tickets(address) != _PROBE:
            return False
        tls = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), True)
        return bool(self._library.SSL_get_SSL_CTX(self._of_connection(tls)) == address)

    def set_ciphersuites(self, context: Any, names: str) -> bool:
        return self._took(self._library.SSL_CTX_set_ciphersuites(self._of_context(context), names.encode()))

    def set_groups(self, context: Any, names: str) -> bool:
        return self._tell(context, _SET_GROUPS, names)

    def set_signatures(self, context: Any, names: str) -> bool:
        return self._tell(context, _SET_SIGNATURES, names)

    def set_no_auto_chain(self, context: Any) -> bool:
        self._library.SSL_CTX_ctrl(self._of_context(context), _MODE, _NO_AUTO_CHAIN, None)
        return True

    def set_depth(self, context: Any, depth: int) -> bool:
        self._library.SSL_CTX_set_verify_depth(self._of_context(context), depth)
        return True

    def set_client_names(self, context: Any, path: str) -> bool:
        names = self._library.SSL_load_client_CA_file(path.encode())
        if not names:
            return self._took(0)
        address = self._of_context(context)
        self._library.SSL_CTX_set_client_CA_list(address, names)  # which owns them from now on
        self._library.ERR_clear_error()  # the file's end is one
        return True

    def set_sessions_of(self, tls: Any, name: bytes) -> bool:
        address = self._of_connection(tls)
        return self._took(self._library.SSL_set_session_id_context(address, name, len(name)))

    def set_session_timeout(self, context: Any, seconds: int) -> bool:
        self._library.SSL_CTX_set_timeout(self._of_context(context), seconds)
        return True

    def set_ticket_keys(self, contexts: list[ssl.SSLContext], keys: list[bytes]) -> bool:
        library = self._library
        if len(keys) == 1:
            key, size = keys[0], len(keys[0])
            addresses = [self._of_context(each) for each in contexts]
            return all(
                self._took(library.SSL_CTX_ctrl(each, _SET_TICKET_KEYS, size, key)) for each in addresses
            )
        tell = getattr(library, "SSL_CTX_set_tlsext_ticket_key_evp_cb", None)
        if tell is None:
            return False  # before OpenSSL 3.0
        tell.argtypes, tell.restype = [self._pointer, self._pointer], self._number
        made = TicketKeys(library, keys)
        for context in contexts:
            # A handshake may go on in one of them when the others are gone, with the tickets of the first.
            context.ticket_keys = made  # type: ignore[attr-defined]
            tell(self._of_context(context), made.callback)
        return True

    def accept_any_chain(self, context: Any, verifies: bool) -> bool:
        context.accepting = self._accepting  # is called as long as there is the context
        argument = _VERIFIES if verifies else None
        self._library.SSL_CTX_set_cert_verify_callback(self._of_context(context), self._accepting, argument)
        return True

    def _accept(self, store: Any, argument: Any) -> int:
        """See SSL_CTX_set_cert_verify_callback. What is raised here, or not, decides nothing: who has asked for this takes
        any chain."""
        if argument == _VERIFIES:
            self._library.X509_verify_cert(store)  # leaves what it found for SSL_get_verify_result
            self._library.ERR_clear_error()  # or the handshake, which goes on, would have failed
        return 1

    def is_chain_good(self, tls: Any) -> bool | None:
        return bool(self._library.SSL_get_verify_result(self._of_connection(tls)) == _GOOD)

    def has_signed_by_rsa(self, tls: Any) -> bool:
        if self._library.SSL_get_signature_type_nid(self._of_connection(tls), self._at) != 1:
            return False
        return self._answer.value in _RSA

    def limit_certificates(self, context: Any, size: int) -> None:
        self._library.SSL_CTX_ctrl(self._of_context(context), _MOST_CERTIFICATES, size, None)

    def group(self, tls: Any) -> str:
        number: int = self._library.SSL_ctrl(self._of_connection(tls), _GROUP, 0, None)
        return _GROUPS.get(number) or (str(number) if number > 0 else "")

    def peer_signature(self, tls: Any) -> str:
        address, answer = self._of_connection(tls), self._answer
        if self._library.SSL_get_peer_signature_type_nid(address, self._at) != 1:
            return ""
        signs: int = answer.value
        if signs == _ED25519:
            return "ed25519"
        if self._library.SSL_ctrl(address, _PEER_HASH, 0, self._at) != 1:
            return ""
        return _SIGNATURES.get((signs, answer.value)) or f"{signs}_{answer.value}"

    def _of_context(self, context: Any) -> Any:
        """The address of the SSL_CTX."""
        return self._pointer.from_address(id(context) + self._head).value

    def _of_connection(self, tls: Any) -> Any:
        """The address of the SSL."""
        return self._pointer.from_address(id(tls._sslobj) + self._second).value

    def _tell(self, context: Any, what: int, names: str) -> bool:
        return self._took(self._library.SSL_CTX_ctrl(self._of_context(context), what, 0, names.encode()))

    def _took(self, result: int) -> bool:
        if result == 1:
            return True
        self._library.ERR_clear_error()  # or Python's next call would take the error for its own
        return False


def find() -> OpenSsl | None:
    """The way that goes here."""
    if hasattr(ssl.SSLContext, "set_groups"):
        return ByMethods()
    if sys.implementation.name != "cpython" or sys.version_info >= (3, 15):
        return None
    import _ssl

    path = getattr(_ssl, "__file__", "")
    if not path:
        return None  # built in, and then its functions are not to be seen
    try:
        import ctypes

        library = ctypes.CDLL(path)  # its functions, and those of the libraries it is linked with
        found = ByAddress(library)
        return found if found.is_right() else None
    except (AttributeError, ImportError, OSError):
        return None


#: what ``find`` has found, once it was asked
_FOUND: Final[list[OpenSsl | None]] = []


def reach() -> OpenSsl | None:
    """``find``, once a process."""
    if not _FOUND:
        _FOUND.append(find())
    return _FOUND[0]
