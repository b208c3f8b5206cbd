"""proxy.admin.certs: certificates as Envoy prints them; how it prints them stands in tests/parity/test_admin_shapes.py."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from proxy.admin.certs import details
from proxy.base.x509 import Certificate, read_pem
from tests.support.certs import Authority, serial_text
from tests.unit.admin.fake import FakeState, ask

CA = Authority()


def read(pem: str) -> Certificate:
    return read_pem(pem.encode())[0]


def test_contexts_and_their_names() -> None:
    pair = CA.signs("leaf", dns=("a.example",), uri=("spiffe://a/b",), ip=("192.0.2.1",))
    state = FakeState()
    state.tls_contexts = [
        SimpleNamespace(chains=[("/leaf.pem", read(pair.certificate))], roots=[("<inline>", read(CA.pem))]),
        SimpleNamespace(chains=[], roots=[]),
    ]
    first, second = json.loads(ask(state, "/certs").body)["certificates"]
    assert second == {"ca_cert": [], "cert_chain": []}
    (shown,) = first["cert_chain"]
    assert (shown["path"], first["ca_cert"][0]["path"]) == ("/leaf.pem", "<inline>")
    assert shown["serial_number"] == serial_text(pair.parsed.serial_number)
    assert shown["subject_alt_names"] == [
        {"dns": "a.example"},
        {"uri": "spiffe://a/b"},
        {"ip_address": "192.0.2.1"},
    ]
    assert shown["expiration_time"] == f"{pair.parsed.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(("passed_s", "days"), [(0, "9"), (1, "8"), (8.5 * 86_400, "0"), (20 * 86_400, "0")])
def test_days_that_are_whole(passed_s: float, days: str) -> None:
    certificate = read(CA.signs(days=(-1, 9)).certificate)
    shown = details("x", certificate, certificate.not_after - 9 * 86_400 + passed_s)
    assert shown["days_until_expiration"] == days
