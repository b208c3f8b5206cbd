"""Operators about TLS."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.base.tls_info import TlsInfo
from proxy.base.x509 import Certificate
from proxy.formatter import compile_format
from tests.support.certs import Authority, serial_text

PAIR = Authority().signs("peer", dns=("a.example", "b.example"), uri=("spiffe://a",))


PEER = Certificate(ssl.PEM_cert_to_DER_cert(PAIR.certificate))


def handshake(*chain: bytes) -> Any:
    """What of an ssl.SSLObject is read."""
    sent = [SimpleNamespace(public_bytes=lambda encoding, der=der: der) for der in chain]
    inner = SimpleNamespace(get_unverified_chain=lambda: sent)
    return SimpleNamespace(session=SimpleNamespace(id=b"\xab"), _sslobj=inner)


def shown(text: str, *more: bytes) -> str:
    info = ConnectionInfo(1, "192.0.2.1:1", "192.0.2.2:2", 0.0)
    stream = StreamInfo(info, 0.0, 0.0)
    seen = handshake(PEER.der, *more)
    tls = info.tls = stream.upstream_tls = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2", seen)
    tls.peer = PEER
    tls.group = "X25519"
    return compile_format(text).format(stream)


@pytest.mark.parametrize("side", ["DOWNSTREAM", "UPSTREAM"])
def test_both_sides(side: str) -> None:
    text = f"%{side}_TLS_VERSION% %{side}_TLS_CIPHER% %{side}_TLS_GROUP% %{side}_PEER_SUBJECT% %{side}_PEER_DNS_SAN% %{side}_LOCAL_URI_SAN%"
    assert shown(text) == "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 CN=peer a.example,b.example -"
    year = PAIR.parsed.not_valid_after_utc.year
    assert shown(f"%{side}_PEER_CERT_V_END(%Y)%") == str(year)


def test_of_clients() -> None:
    serial = serial_text(PAIR.parsed.serial_number)
    assert shown("%DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_PEER_CHAIN_SERIALS%") == f"{serial} {serial}"
    assert shown("%DOWNSTREAM_PEER_CERT%").startswith("-----BEGIN%20CERTIFICATE-----%0A")


def test_a_session_and_what_else_was_sent() -> None:
    serial = serial_text(PAIR.parsed.serial_number)
    assert shown("%DOWNSTREAM_TLS_SESSION_ID%") == "ab"
    assert shown("%DOWNSTREAM_PEER_CHAIN_SERIALS%", b"0\x03what") == f"{serial},", (
        "nobody has verified the second"
    )


@pytest.mark.parametrize("name", ["DOWNSTREAM_PEER_OTHERNAME_SAN", "UPSTREAM_PEER_OTHERNAME_SAN"])
def test_what_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"(?i)not supported.*{name}|{name} is not supported"):
        shown(f"%{name}%")


def test_the_days_of_a_certificate_without_a_layout() -> None:
    start = PAIR.parsed.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert shown("%DOWNSTREAM_PEER_CERT_V_START%") == start
    assert shown("%UPSTREAM_PEER_CERT_V_START%") == start
