"""Our reader of certificates against the cryptography package."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy.base.x509 import DNS, IP_ADDRESS, URI, BadCertificate, Certificate
from tests.support.certs import Authority, Pair, serial_text

CA = Authority('The "Test", CA')
PAIRS = [
    CA.signs("plain"),
    CA.signs(
        "many", dns=("a.example", "*.b.example"), uri=("spiffe://a/b",), ip=("192.0.2.1", "2001:db8::1")
    ),
    CA.signs(' odd, "name" + <é>; ', organization_name="#first", country_name="AT"),
]


def read(pair: Pair) -> tuple[Certificate, x509.Certificate]:
    return Certificate(ssl.PEM_cert_to_DER_cert(pair.certificate)), pair.parsed


@pytest.mark.parametrize("pair", PAIRS)
def test_it_reads_what_the_oracle_reads(pair: Pair) -> None:
    ours, theirs = read(pair)
    assert ours.serial == serial_text(theirs.serial_number)
    assert ours.not_before == theirs.not_valid_before_utc.timestamp()
    assert ours.not_after == theirs.not_valid_after_utc.timestamp()
    public = theirs.public_key()
    assert ours.spki == public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_names() -> None:
    many, _ = read(PAIRS[1])
    assert many.names(DNS) == ["a.example", "*.b.example"]
    assert many.names(URI) == ["spiffe://a/b"]
    assert many.names(IP_ADDRESS) == ["192.0.2.1", "2001:db8::1"]
    odd, _ = read(PAIRS[2])
    assert odd.subject == 'CN=\\ odd\\, \\"name\\" \\+ \\<\\C3\\A9\\>\\;\\ ,C=AT,O=\\#first'
    assert odd.issuer == 'CN=The \\"Test\\"\\, CA'


def test_what_is_cut_or_changed_is_no_certificate_or_another_one() -> None:
    der = ssl.PEM_cert_to_DER_cert(PAIRS[1].certificate)
    for length in range(len(der)):
        with pytest.raises(BadCertificate):
            Certificate(der[:length])
