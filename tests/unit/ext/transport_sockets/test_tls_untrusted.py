"""Clients whose chains OpenSSL does not judge: pins without roots, and ACCEPT_UNTRUSTED. First of all, who is not let in."""

from __future__ import annotations

import hashlib
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from proxy.base.tls_info import TlsInfo
from proxy.ext.transport_sockets import tls as module
from proxy.ext.transport_sockets.tls import DownstreamTls, UpstreamTls
from proxy.network.openssl import ByMethods, reach
from proxy.network.tls import PeerRules, TlsRefused, TlsSide
from proxy.stats.store import Store
from tests.support.certs import Authority, Pair
from tests.support.tls_memory import shake
from tests.unit.ext.transport_sockets.test_sessions import KEY, keyed
from tests.unit.ext.transport_sockets.test_tls_context import CA, COMMON, ROOTS, findings, read, serving

ELSEWHERE = Authority("Another CA")
OURS = CA.signs("ours", uri=("spiffe://mesh/client",))
OLD = CA.signs("old", uri=("spiffe://mesh/client",), days=(-3, -1))
STRANGER = ELSEWHERE.signs("stranger", uri=("spiffe://mesh/client",))
STRANGE_AND_OLD = ELSEWHERE.signs("old", days=(-3, -1))
NAMED_OTHERWISE = CA.signs("other", uri=("spiffe://elsewhere/client",))
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

pytestmark = pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")


def pinned(*pairs: Pair, by_key: bool = False) -> dict[str, Any]:
    if by_key:
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        keys = [each.parsed.public_key().public_bytes(*form) for each in pairs]
        return {"verify_certificate_spki": [b64encode(hashlib.sha256(key).digest()).decode() for key in keys]}
    ders = [each.parsed.public_bytes(Encoding.DER) for each in pairs]
    return {"verify_certificate_hash": [hashlib.sha256(der).hexdigest() for der in ders]}


SAN = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://mesh/"}}]}
ACCEPTS = {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
NEEDS = {"require_client_certificate": True}


class Door:
    """A listener's side and a client's context, in memory."""

    def __init__(
        self, folder: Path, validation: dict[str, Any], version: ssl.TLSVersion, **more: Any
    ) -> None:
        made, reader = read(DownstreamTls, serving(validation_context=validation), Store(), **more)
        assert isinstance(made.side, TlsSide), reader.errors.findings
        self.side = made.side
        self.folder = folder
        self.version = version
        self.session: Any = None

    def client(self, pair: Pair | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = self.version
        if pair is not None:
            context.load_cert_chain(*pair.write(self.folder, "client"))
        return context

    def enter(self, client: ssl.SSLContext, session: Any = None, rules: PeerRules | None = None) -> TlsInfo:
        """What is known of a client who got in. Raises TlsRefused, ssl.SSLError."""
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = self.side.begin(there, back, "")
        theirs = client.wrap_bio(back, there, session=session)
        shake(ours, theirs)
        info = self.side.shaken(ours, rules or self.side.rules)
        ours.write(b"x")
        assert theirs.read(1) == b"x"
        self.session = theirs.session
        self.resumed = bool(theirs.session_reused)
        return info

    def count(self) -> tuple[int, int, int]:
        """Of chains, pins and names that were not good."""
        stats = self.side.stats
        return (
            stats.fail_verify_error.value,
            stats.fail_verify_cert_hash.value,
            stats.fail_verify_san.value,
        )


versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


@versions
@pytest.mark.parametrize("by_key", [False, True], ids=["hash", "key"])
@pytest.mark.parametrize("other", [OURS, OLD, STRANGE_AND_OLD], ids=["trusted", "old", "strange"])
def test_another_certificate_than_the_pinned_one(
    tmp_path: Path, version: ssl.TLSVersion, by_key: bool, other: Pair
) -> None:
    door = Door(tmp_path, pinned(STRANGER, by_key=by_key), version)
    with pytest.raises(TlsRefused, match="cert hash and spki"):
        door.enter(door.client(other))
    assert door.count() == (0, 1, 0)


@versions
@pytest.mark.parametrize("more", [{}, NEEDS], ids=["", "required"])
def test_no_certificate_where_one_is_pinned(
    tmp_path: Path, version: ssl.TLSVersion, more: dict[str, Any]
) -> None:
    door = Door(tmp_path, pinned(STRANGER), version, **more)
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        door.enter(door.client(None))


def without_its_key(pair: Pair) -> Pair:
    """A certificate with another's key, which says that it is that of the certificate: all that OpenSSL looks at."""
    theirs = pair.parsed.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    own = ec.generate_private_key(ec.SECP256R1())
    point = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    key = own.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert key.count(point) == 1
    text = b64encode(key.replace(point, theirs)).decode()
    return Pair(pair.certificate, f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")


@versions
@pytest.mark.parametrize("validation", [pinned(STRANGER), ACCEPTS, {**ROOTS, **ACCEPTS}])
def test_a_certificate_without_its_key(
    tmp_path: Path, version: ssl.TLSVersion, validation: dict[str, Any]
) -> None:
    door = Door(tmp_path, validation, version)
    with pytest.raises(ssl.SSLError, match=r"(?i)bad signature"):
        door.enter(door.client(without_its_key(STRANGER)))


@versions
@pytest.mark.parametrize("keys", [{}, keyed(KEY)], ids=["", "keys"])
def test_who_resumes_is_asked_again(tmp_path: Path, version: ssl.TLSVersion, keys: dict[str, Any]) -> None:
    """A session of the pinned client is good, and one of a listener that pins another is none here."""
    door = Door(tmp_path, pinned(STRANGER), version, **keys)
    client = door.client(STRANGER)
    first = door.enter(client)
    assert first.verified and not door.resumed
    again = door.enter(client, door.session)
    assert door.resumed and not again.verified, "as in Envoy: this handshake has verified nothing"
    assert again.peer is not None and again.peer.subject == "CN=stranger"
    other_pin = read(DownstreamTls, serving(validation_context=pinned(OURS)), Store())[0].side
    assert other_pin is not None
    with pytest.raises(TlsRefused, match="cert hash and spki"):
        door.enter(client, door.session, other_pin.rules)
    assert door.count() == (0, 1, 0)


@versions
def test_a_ticket_of_a_listener_that_asks_for_less(tmp_path: Path, version: ssl.TLSVersion) -> None:
    easy, hard = (
        Door(tmp_path, validation, version, **keyed(KEY)) for validation in (ACCEPTS, pinned(STRANGER))
    )
    client = easy.client(OURS)
    assert not easy.enter(client).verified
    with pytest.raises(TlsRefused, match="cert hash and spki"):
        hard.enter(client, easy.session)
    nobody = easy.client(None)
    easy.enter(nobody)
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        hard.enter(nobody, easy.session)


@versions
def test_rules_that_come_while_a_handshake_is_under_way(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Its context takes any chain, so it is judged by what came with that; what is asked now has roots, and no pins."""
    door = Door(tmp_path, pinned(STRANGER), version)
    before = door.side.rules
    new = read(DownstreamTls, serving(validation_context=ROOTS), Store())[0].side
    assert new is not None
    door.side.rules = new.rules
    with pytest.raises(TlsRefused, match="cert hash and spki"):
        door.enter(door.client(OURS), rules=before)


@versions
@pytest.mark.parametrize("by_key", [False, True], ids=["hash", "key"])
@pytest.mark.parametrize("pair", [STRANGER, STRANGE_AND_OLD, OURS], ids=["strange", "old", "trusted"])
def test_the_pinned_certificate(tmp_path: Path, version: ssl.TLSVersion, by_key: bool, pair: Pair) -> None:
    door = Door(tmp_path, pinned(CA.signs("x"), pair, by_key=by_key), version)
    info = door.enter(door.client(pair))
    assert info.verified and info.peer is not None
    assert info.peer.der == pair.parsed.public_bytes(Encoding.DER)
    assert door.count() == (0, 0, 0)


@versions
def test_a_pin_beside_roots_asks_for_both(tmp_path: Path, version: ssl.TLSVersion) -> None:
    door = Door(tmp_path, {**ROOTS, **pinned(STRANGER)}, version)
    with pytest.raises(ssl.SSLError):
        door.enter(door.client(STRANGER))
    with pytest.raises(TlsRefused):
        door.enter(door.client(OURS))


@versions
@pytest.mark.parametrize(
    ("validation", "more"),
    [
        (ROOTS, NEEDS),
        ({**ROOTS, **SAN}, {}),
        ({**ROOTS, **ACCEPTS}, NEEDS),
        ({**ROOTS, **SAN, **ACCEPTS}, NEEDS),
    ],
    ids=["required", "names", "untrusted", "untrusted-names"],
)
def test_no_certificate_where_one_is_needed(
    tmp_path: Path, version: ssl.TLSVersion, validation: dict[str, Any], more: dict[str, Any]
) -> None:
    door = Door(tmp_path, validation, version, **more)
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        door.enter(door.client(None))


NOT_GOOD, NOT_PINNED, NOT_NAMED = (1, 0, 0), (0, 1, 0), (0, 0, 1)
GOOD = (0, 0, 0)


@versions
@pytest.mark.parametrize(
    ("validation", "pair", "verified", "count"),
    [
        (ROOTS, OURS, True, GOOD),
        (ROOTS, OLD, False, NOT_GOOD),
        (ROOTS, STRANGER, False, NOT_GOOD),
        (ROOTS, STRANGE_AND_OLD, False, NOT_GOOD),
        ({**ROOTS, "allow_expired_certificate": True}, OLD, True, GOOD),
        ({**ROOTS, **SAN}, OURS, True, GOOD),
        ({**ROOTS, **SAN}, NAMED_OTHERWISE, False, NOT_NAMED),
        ({**ROOTS, **SAN}, STRANGER, False, NOT_GOOD),
        ({**ROOTS, **pinned(OURS)}, OURS, True, GOOD),
        ({**ROOTS, **pinned(OURS)}, NAMED_OTHERWISE, False, NOT_PINNED),
        ({**ROOTS, **pinned(STRANGER)}, STRANGER, False, NOT_GOOD),
        (pinned(STRANGER), STRANGER, True, GOOD),
        (pinned(STRANGER), OURS, False, NOT_PINNED),
        ({}, OURS, False, GOOD),
        ({}, STRANGER, False, GOOD),
    ],
)
def test_untrusted_clients_are_counted_and_let_in(
    tmp_path: Path,
    version: ssl.TLSVersion,
    validation: dict[str, Any],
    pair: Pair,
    verified: bool,
    count: tuple[int, int, int],
) -> None:
    door = Door(tmp_path, {**validation, **ACCEPTS}, version)
    client = door.client(pair)
    info = door.enter(client)
    assert info.verified is verified and info.peer is not None
    assert info.peer.der == pair.parsed.public_bytes(Encoding.DER)
    assert door.count() == count
    again = door.enter(client, door.session)
    assert door.resumed and not again.verified and again.peer is not None
    assert door.count() == count, "who resumes is not judged, as in Envoy"
    nobody = door.enter(door.client(None))
    assert nobody.peer is None and not nobody.verified


@versions
def test_a_host_that_is_not_trusted(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*STRANGER.write(tmp_path, "server"))
    server.maximum_version = version
    made, _ = read(UpstreamTls, {"validation_context": {**ROOTS, **SAN, **ACCEPTS}}, Store())
    side = made.side
    assert side is not None
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = side.begin(there, back, "")
    shake(server.wrap_bio(back, there, True), ours)
    assert not side.shaken(ours, side.rules).verified
    assert side.stats.fail_verify_error.value == 1


@pytest.mark.parametrize("found", [None, ByMethods()], ids=["built-in", "3.15"])
@pytest.mark.parametrize("validation", [pinned(OURS), ACCEPTS, {**ROOTS, **ACCEPTS}])
def test_where_openssl_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, found: Any, validation: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "reach", lambda: found)
    assert findings(DownstreamTls, serving(validation_context=validation)) == [COMMON]


@pytest.mark.parametrize("validation", [{}, ACCEPTS, {**pinned(OURS), **ACCEPTS}])
def test_a_certificate_that_nothing_would_require(validation: dict[str, Any]) -> None:
    """Envoy takes it, and serves whoever shows none."""
    refused = findings(DownstreamTls, serving(validation_context=validation), **NEEDS)
    assert refused == ["require_client_certificate"]
