"""JA3 and JA4 of hellos; that they are Envoy's is for tests/parity/test_tls_inspector.py."""

from __future__ import annotations

from hashlib import md5, sha256

import pytest

from proxy.listener.inspectors.client_hello import read_client_hello
from proxy.listener.inspectors.fingerprints import Offer, ja3, ja4
from tests.support.hellos import HELLOS


def offer(name: str) -> Offer:
    found = read_client_hello(HELLOS[name])
    assert found is not None and found.is_tls
    return Offer(found.body)


def test_ja3_lists_what_is_offered() -> None:
    assert ja3(offer("plain")) == md5(b"771,4865,0-13-16,,").hexdigest()


def test_ja4_of_what_is_offered() -> None:
    suites, rest = (sha256(each).hexdigest()[:12] for each in (b"1301", b"000d_0403,0804"))
    assert ja4(offer("plain")) == f"t12d0103h2_{suites}_{rest}"


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("no extensions", "t12i010000_"),
        ("GREASE everywhere", "t13d02061a_"),
        ("only GREASE", "t12i000000_000000000000_000000000000"),
        ("TLS 1.1 at most", "t11i010100_"),
        ("one letter", "t12i0101xx_"),
        ("a blank at the end", "t12i010160_"),
        ("many suites", "t12d990100_"),
        ("an unknown version", "t00i010100_"),
    ],
)
def test_what_can_be_read(name: str, beginning: str) -> None:
    assert ja4(offer(name)).startswith(beginning)


@pytest.mark.parametrize("name", HELLOS)
def test_a_mangled_hello_raises_nothing(name: str) -> None:
    data = HELLOS[name]
    for at in range(len(data)):
        for value in (0, 255, data[at] ^ 1):
            found = read_client_hello(data[:at] + bytes([value]) + data[at + 1 :])
            if found is not None and found.is_tls:
                made = Offer(found.body)
                assert len(ja3(made)) == 32 and len(ja4(made)) >= 36
