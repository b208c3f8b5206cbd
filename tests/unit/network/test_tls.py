"""Whom a peer's certificate is for."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from proxy.base.x509 import DNS, Certificate
from proxy.network.tls import PeerRules, TlsRefused, is_named
from proxy.stats.store import Store
from proxy.stats.tls import TlsStats
from tests.support.certs import Authority

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


def checked(rules: PeerRules, *given: Any, peer: Certificate | None = PEER) -> tuple[str, int, int]:
    """(why it is refused, fail_verify_san, fail_verify_no_cert)"""
    stats = TlsStats(Store().scope("cluster.c"), False)
    words = ""
    try:
        rules.check(peer, stats, *given)
    except TlsRefused as refused:
        words = refused.words
    return words, stats.fail_verify_san.value, stats.fail_verify_no_cert.value


def test_a_name_beside_the_configured_ones_and_in_their_place() -> None:
    anybody = PeerRules((), frozenset(), frozenset())
    assert checked(anybody, "a.example") == ("", 0, 0)
    assert checked(anybody, "b.example") == ("verify cert failed: verify SAN list", 1, 0)
    assert checked(anybody, "a.example", peer=None) == ("peer did not return a certificate", 0, 1)
    assert checked(NOBODY, "a.example")[1] == 1, "both have to be right"
    assert checked(NOBODY, "a.example", True) == ("", 0, 0)
