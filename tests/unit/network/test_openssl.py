"""How OpenSSL is reached where Python's ssl passes nothing on, and where it is not."""

from __future__ import annotations

import gc
import ssl
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from proxy.network import openssl as module
from proxy.network.openssl import ByAddress, ByMethods, find
from tests.support.certs import Authority
from tests.support.tls_memory import resumed, shake

CA = Authority()
SERVER = CA.signs("server")
CLIENT = CA.signs("client")


@pytest.fixture
def reached() -> ByAddress:
    found = find()
    if not isinstance(found, ByAddress):
        pytest.skip(f"{sys.implementation.name} {sys.version_info[:2]}: {found}")
    return found


def context(is_server: bool, folder: Path, mutual: bool = False) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(cadata=CA.pem)
    made.verify_mode = ssl.CERT_REQUIRED if mutual or not is_server else ssl.CERT_NONE
    if is_server or mutual:
        made.load_cert_chain(*(SERVER if is_server else CLIENT).write(folder, str(is_server)))
    return made


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends, once they have agreed. Raises ssl.SSLError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = server.wrap_bio(there, back, True), client.wrap_bio(back, there)
    shake(*ends)
    return ends


def cipher(tls: ssl.SSLObject) -> str:
    agreed = tls.cipher()
    return agreed[0] if agreed is not None else ""


def test_the_order_of_ciphersuites(reached: ByAddress, tmp_path: Path) -> None:
    server, client = context(True, tmp_path), context(False, tmp_path)
    suites = "AES_128_GCM_SHA256", "AES_256_GCM_SHA384"
    for first, second in (suites, reversed(suites)):
        assert reached.set_ciphersuites(server, f"TLS_{first}:TLS_{second}")
        ours, _ = shaken(server, client)
        assert cipher(ours) == f"TLS_{first}"


def test_what_openssl_does_not_know_changes_nothing(reached: ByAddress, tmp_path: Path) -> None:
    server, client = context(True, tmp_path), context(False, tmp_path)
    assert reached.set_groups(server, "P-384")
    assert reached.set_signatures(server, "ECDSA+SHA256")
    assert reached.set_ciphersuites(server, "TLS_AES_128_GCM_SHA256")
    assert not reached.set_groups(server, "P-256:no-such")
    assert not reached.set_signatures(server, "no+such")
    assert not reached.set_ciphersuites(server, "TLS_NO_SUCH")
    server.set_ciphers("ECDHE+AESGCM")  # finds no error of before in OpenSSL's queue
    ours, _ = shaken(server, client)
    assert reached.group(ours) == "P-384"
    assert cipher(ours) == "TLS_AES_128_GCM_SHA256"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384", "P-521"])
def test_what_was_agreed_on(reached: ByAddress, tmp_path: Path, version: ssl.TLSVersion, group: str) -> None:
    server, client = context(True, tmp_path, mutual=True), context(False, tmp_path, mutual=True)
    client.maximum_version = version
    names = (
        f"{group}:P-256" if group != "P-256" else group
    )  # TLS 1.2 asks them for the certificate's curve too
    assert reached.set_groups(client, names) and reached.set_groups(server, names)
    ours, theirs = shaken(server, client)
    assert reached.group(ours) == reached.group(theirs) == group
    assert reached.peer_signature(ours) == reached.peer_signature(theirs) == "ecdsa_secp256r1_sha256"


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [("ECDSA+SHA384", "ecdsa_secp384r1_sha384"), ("ECDSA+SHA512", "ecdsa_secp521r1_sha512")],
)
def test_the_hash_of_a_signature(reached: ByAddress, tmp_path: Path, algorithm: str, name: str) -> None:
    server, client = context(True, tmp_path, mutual=True), context(False, tmp_path, mutual=True)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 ties the hash to the key's curve
    assert reached.set_signatures(server, algorithm)
    ours, theirs = shaken(server, client)
    assert reached.peer_signature(ours) == reached.peer_signature(theirs) == name


def test_a_peer_without_a_certificate_has_signed_nothing(reached: ByAddress, tmp_path: Path) -> None:
    ours, theirs = shaken(context(True, tmp_path), context(False, tmp_path))
    assert (reached.peer_signature(ours), reached.peer_signature(theirs)) == ("", "ecdsa_secp256r1_sha256")


@pytest.mark.parametrize(("depth", "is_taken"), [(0, False), (1, True)])
def test_how_long_a_chain_may_be(reached: ByAddress, tmp_path: Path, depth: int, is_taken: bool) -> None:
    middle = Authority("Middle CA", CA)
    server, client = context(True, tmp_path), context(False, tmp_path)
    server.load_cert_chain(*middle.signs("server").under(middle).write(tmp_path, "deep"))
    assert reached.set_depth(client, depth)
    if is_taken:
        shaken(server, client)
        return
    with pytest.raises(ssl.SSLCertVerificationError, match="chain too long"):
        shaken(server, client)


@pytest.mark.parametrize("looks", [True, False])
def test_no_chain_of_the_roots(reached: ByAddress, tmp_path: Path, looks: bool) -> None:
    server, client = context(True, tmp_path), context(False, tmp_path)
    assert looks or reached.set_no_auto_chain(server)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    for end in client.wrap_bio(back, there), server.wrap_bio(there, back, True):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    assert (ssl.PEM_cert_to_DER_cert(CA.pem) in back.read()) is looks


def test_the_names_that_clients_are_told(reached: ByAddress, tmp_path: Path) -> None:
    """As long as its size says, in a flight of TLS 1.2."""
    server, client = context(True, tmp_path, mutual=True), context(False, tmp_path, mutual=True)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    roots = tmp_path / "roots.pem"
    roots.write_text(Authority("Somebody Else").pem)

    def first_flight() -> bytes:
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        for end in client.wrap_bio(back, there), server.wrap_bio(there, back, True):
            with pytest.raises(ssl.SSLWantReadError):
                end.do_handshake()
        return back.read()

    assert b"Somebody Else" not in first_flight()
    assert reached.set_client_names(server, str(roots))
    assert b"Somebody Else" in first_flight()
    assert not reached.set_client_names(server, str(tmp_path / "none"))
    assert b"Somebody Else" in first_flight()  # and OpenSSL's queue holds no error of before


def resumes(
    server: ssl.SSLContext, client: ssl.SSLContext, session: Any = None, named: Any = None
) -> tuple[bool, Any]:
    """(whether the session was resumed, the one to resume next). named: is told of the server's connection"""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = server.wrap_bio(there, back, True), client.wrap_bio(back, there, session=session)
    if named is not None:
        named(ours)
    return resumed(ours, theirs)


KEYS = [bytes([number]) * 80 for number in range(3)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("sealing", "opening", "name", "is_resumed"),
    [
        ([0], [0], b"a", True),
        ([0], [1], b"a", False),
        ([0], [0], b"b", False),
        ([0, 2], [1, 0], b"a", True),
        ([0, 2], [2, 1], b"a", False),
        ([0], [2, 1, 0], b"a", True),
        ([0, 1], [0], b"a", True),
        ([0, 1], [0, 1], b"b", False),
    ],
)
def test_keys_of_tickets(
    reached: ByAddress,
    tmp_path: Path,
    version: ssl.TLSVersion,
    sealing: list[int],
    opening: list[int],
    name: bytes,
    is_resumed: bool,
) -> None:
    first, second, client = context(True, tmp_path), context(True, tmp_path), context(False, tmp_path)
    client.maximum_version = version
    for server, numbers in (first, sealing), (second, opening):
        if not reached.set_ticket_keys([server], [KEYS[number] for number in numbers]):
            pytest.skip(f"{ssl.OPENSSL_VERSION} takes one key alone")
    _, session = resumes(first, client, None, lambda tls: reached.set_sessions_of(tls, b"a" * 32))
    named = resumes(second, client, session, lambda tls: reached.set_sessions_of(tls, name * 32))
    assert named[0] is is_resumed


def test_keys_that_openssl_does_not_take(reached: ByAddress, tmp_path: Path) -> None:
    assert not reached.set_ticket_keys([context(True, tmp_path)], [b"short"])
    tls = context(True, tmp_path).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), True)
    assert not reached.set_sessions_of(tls, bytes(33))
    context(True, tmp_path).set_ciphers("ECDHE+AESGCM")  # finds no error of before in OpenSSL's queue


def test_keys_outlive_the_first_of_their_contexts(reached: ByAddress, tmp_path: Path) -> None:
    """A handshake that went over to another context has the first one's tickets."""
    first, second, client = context(True, tmp_path), context(True, tmp_path), context(False, tmp_path)
    if not reached.set_ticket_keys([first, second], KEYS[:2]):
        pytest.skip(f"{ssl.OPENSSL_VERSION} takes one key alone")

    def over(tls: Any, name: str | None, _: ssl.SSLContext) -> None:
        tls.context = second

    first.sni_callback = over
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = first.wrap_bio(there, back, True)
    theirs = client.wrap_bio(back, there, server_hostname="server")
    for end in (theirs, ours):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    assert ours.context is second
    first.sni_callback = None
    del first
    gc.collect()
    theirs.do_handshake()
    ours.do_handshake()
    ours.write(b"x")
    assert theirs.read(1) == b"x"
    assert theirs.session is not None and theirs.session.has_ticket


def test_before_openssl_3_one_key_is_all(
    reached: ByAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = SimpleNamespace(SSL_CTX_ctrl=reached._library.SSL_CTX_ctrl)
    monkeypatch.setattr(reached, "_library", only)
    assert reached.set_ticket_keys([context(True, tmp_path)], KEYS[:1])
    assert not reached.set_ticket_keys([context(True, tmp_path)], KEYS)


def test_how_long_a_session_lives(reached: ByAddress, tmp_path: Path) -> None:
    server, client = context(True, tmp_path), context(False, tmp_path)
    assert reached.set_session_timeout(server, 5)
    assert resumes(server, client)[1].ticket_lifetime_hint == 5


def test_a_limit_of_certificates(reached: ByAddress, tmp_path: Path) -> None:
    server, client = context(True, tmp_path, mutual=True), context(False, tmp_path, mutual=True)
    reached.limit_certificates(server, 10_000)
    shaken(server, client)
    reached.limit_certificates(server, 100)
    with pytest.raises(ssl.SSLError, match="EXCESSIVE_MESSAGE_SIZE"):
        shaken(server, client)


def test_a_python_with_openssl_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ssl.SSLContext, "set_groups", raising=False)
    monkeypatch.setitem(sys.modules, "_ssl", ModuleType("_ssl"))
    assert find() is None


def test_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ssl.SSLContext, "set_groups", raising=False)
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy"))
    assert find() is None


def test_a_library_without_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    import _ctypes

    monkeypatch.delattr(ssl.SSLContext, "set_groups", raising=False)
    other = ModuleType("_ssl")
    other.__file__ = getattr(_ctypes, "__file__", "")
    if not other.__file__:
        pytest.skip("no library without OpenSSL at hand: ctypes is built into this Python")
    monkeypatch.setitem(sys.modules, "_ssl", other)
    assert find() is None


def test_what_is_found_is_looked_at_first(reached: ByAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reached.is_right()
    tickets = SimpleNamespace(SSL_CTX_get_num_tickets=lambda address: 2)
    monkeypatch.setattr(reached, "_library", tickets)
    assert not reached.is_right()


class Methods:
    """A context of Python 3.15, of which "no" is unknown to OpenSSL."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        def tell(names: str) -> None:
            if names == "no":
                raise ssl.SSLError("unknown")
            self.told[name] = names

        return tell


def test_the_methods_of_python_3_15(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl.SSLContext, "set_groups", lambda *_: None, raising=False)
    found = find()
    assert isinstance(found, ByMethods)
    context: Any = Methods()
    assert found.set_ciphersuites(context, "a") and found.set_groups(context, "b")
    assert found.set_signatures(context, "c")
    assert not found.set_no_auto_chain(context)
    assert not found.set_ticket_keys([context], [b"a"]) and not found.set_sessions_of(context, b"a")
    assert not found.set_session_timeout(context, 1)
    assert not found.set_depth(context, 1) and not found.set_client_names(context, "a")

    found.limit_certificates(context, 1)  # there is no method for it
    assert not found.set_groups(context, "no") and not found.set_signatures(context, "no")
    assert context.told == {
        "set_ciphersuites": "a",
        "set_groups": "b",
        "set_server_sigalgs": "c",
        "set_client_sigalgs": "c",
    }


@pytest.mark.parametrize(
    ("is_server", "group", "shown"),
    [(True, "x25519", "X25519"), (False, "secp256r1", "P-256"), (False, "X25519MLKEM768", "X25519MLKEM768")],
)
def test_what_python_3_15_tells(is_server: bool, group: str, shown: str) -> None:
    inner = SimpleNamespace(
        group=lambda: group, client_sigalg=lambda: "the client's", server_sigalg=lambda: None
    )
    tls: Any = SimpleNamespace(_sslobj=inner, server_side=is_server)
    assert ByMethods().group(tls) == shown
    assert ByMethods().peer_signature(tls) == ("the client's" if is_server else "")


def test_it_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FOUND", [None])
    assert module.reach() is None
