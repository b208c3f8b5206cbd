"""Whom a peer's certificate is for."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from proxy.base.x509 import DNS, Certificate
from proxy.network import tls as network_tls
from proxy.network.tls import PeerRules, TlsRefused, TlsSide, is_dns_name, is_named
from proxy.stats.store import Store
from proxy.stats.tls import TlsStats
from tests.support.certs import Authority, Pair

PEER = Certificate(
    ssl.PEM_cert_to_DER_cert(
        Authority().signs("x", dns=("a.example", "*.wild.example"), ip=("10.0.0.1", "::1")).certificate
    )
)
NOBODY = PeerRules(((DNS, lambda value: False),), frozenset(), frozenset())


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("a.example", True),
        ("A.EXAMPLE", True),
        ("b.example", False),
        ("x.wild.example", True),
        ("x.y.wild.example", False),
        ("wild.example", False),
        ("example", False),
        ("10.0.0.1", True),
        ("::1", True),
        ("10.0.0.2", False),
        ("", False),
    ],
)
def test_names(name: str, named: bool) -> None:
    assert is_named(PEER, name) is named


@pytest.mark.parametrize(
    ("name", "shown", "same"),
    [
        ("foo.example", "f*.example", True),
        ("foo.example", "*oo.example", True),
        ("foo.example", "f*o.example", True),
        ("foo.example", "foo*.example", True),
        ("fo.example", "fo*o.example", False),
        ("foo.example", "**.example", False),
        ("foo.example", "f*f*o.example", False),
        ("xn--a.example", "xn--*.example", False),
        ("xn--a.example", "*.example", True),
        ("foo", "*", False),
        ("foo.example", "foo.*", False),
        ("foo.example", "*.*", False),
        ("a.foo.example", "*.example", False),
        ("*.example", "*.example", True),
        ("foo.example.", "foo.example", False),
    ],
)
def test_wildcards(name: str, shown: str, same: bool) -> None:
    assert is_dns_name(name, shown) is same


def checked(rules: PeerRules, *given: Any, peer: Certificate | None = PEER) -> tuple[str, int, int]:
    """(why it is refused, fail_verify_san, fail_verify_no_cert)"""
    stats = TlsStats(Store().scope("cluster.c"), False)
    words = ""
    try:
        rules.check(peer, stats, *given)
    except TlsRefused as refused:
        words = refused.words
    return words, stats.fail_verify_san.value, stats.fail_verify_no_cert.value


NAMES = (
    "verify cert failed: verify SAN list, expected SANs: [b.example], "
    "certificate SANs: [a.example, *.wild.example, 10.0.0.1, ::1]"
)


def test_a_name_beside_the_configured_ones_and_in_their_place() -> None:
    anybody = PeerRules((), frozenset(), frozenset())
    assert checked(anybody, "a.example") == ("", 0, 0)
    assert checked(anybody, "b.example") == (NAMES, 1, 0)
    assert checked(anybody, "a.example", peer=None) == ("peer did not return a certificate", 0, 1)
    assert checked(NOBODY, "a.example")[1] == 1, "both have to be right"
    assert checked(NOBODY, "a.example", True) == ("", 0, 0)
    shown = "a.example, *.wild.example, 10.0.0.1, ::1"
    words = f"verify cert failed: SAN matcher, certificate SANs are [{shown}]"
    assert checked(NOBODY, "b.example", True) == (words, 1, 0)


ANYBODY = PeerRules((), frozenset(), frozenset(), has_roots=True)


def context_of(pair: Pair, authority: Authority, folder: Path, is_server: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(cadata=authority.pem)
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(*pair.write(folder, pair.parsed.subject.rfc4514_string()))
    return made


class Shaken:
    """A client's handshake with a side, in memory."""

    def __init__(self, side: TlsSide, client: ssl.SSLContext) -> None:
        self.there, self.back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ours = side.begin(self.there, self.back, "")
        theirs = client.wrap_bio(self.back, self.there)
        for end in (theirs, self.ours, theirs, self.ours):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        self.info = side.shaken(self.ours, side.rules)


def test_what_a_handshake_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that comes again is not read again, and no more than so many are kept."""
    authority = Authority()
    server = context_of(authority.signs("server"), authority, tmp_path, True)
    clients = [context_of(authority.signs(name), authority, tmp_path, False) for name in ("one", "two")]
    side = TlsSide(server, True, ANYBODY, TlsStats(Store().scope("listener.l"), True))
    monkeypatch.setattr(network_tls, "_MOST_PEERS", 1)
    first, again, other, back = (Shaken(side, clients[at]).info for at in (0, 0, 1, 0))
    assert first.peer is not None and first.peer.subject == "CN=one" and first.verified
    assert again.peer is first.peer
    assert other.peer is not None and other.peer.subject == "CN=two"
    assert back.peer is not None and back.peer is not first.peer and back.peer.der == first.peer.der
    assert first.chain[0] == first.peer.der and len(first.chain) == 2, "its issuer comes with it"
    assert len(first.session_id) == 64 and first.session_id != again.session_id
    assert side.stats.scope.counter("peer_certificates_forgotten").value == 2


@pytest.mark.parametrize(("room", "kept"), [(2.5, True), (1.2, False), (0.3, False)])
def test_certificates_of_peers_are_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: float, kept: bool
) -> None:
    """Those that come with them count as well. room: for so many of both."""
    authority = Authority()
    server = context_of(authority.signs("server"), authority, tmp_path, True)
    clients = [context_of(authority.signs(name), authority, tmp_path, False) for name in ("one", "two")]
    side = TlsSide(server, True, ANYBODY, TlsStats(Store().scope("listener.l"), True))
    first = Shaken(side, clients[0]).info.peer
    assert first is not None
    monkeypatch.setattr(network_tls, "_MOST_PEER_BYTES", int(room * sum(map(len, first.chain))))
    side = TlsSide(server, True, ANYBODY, TlsStats(Store().scope("listener.l"), True))
    first, _, back = (Shaken(side, clients[at]).info.peer for at in (0, 1, 0))
    assert first is not None and back is not None
    assert (back is first) is kept and back.der == first.der
    forgotten = side.stats.scope.counter("peer_certificates_forgotten").value
    assert forgotten == {2.5: 0, 1.2: 2, 0.3: 0}[room], "one that does not fit at all makes no room"
