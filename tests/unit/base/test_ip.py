"""Addresses as peers write them; zones as the real Envoy was seen to take them in PROXY protocol and x-forwarded-for."""

from __future__ import annotations

import pytest

from proxy.base.ip import parse_address


@pytest.mark.parametrize(
    "text", ["10.1.2.3", "::1", "2001:db8::1", "fe80::1%1", "2001:db8::1%1", "fe80::1%4294967295"]
)
def test_addresses(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "10.1.2", "10.1.2.3:80", "[::1]", "::1 ", "10.1.2.3%1", "fe80::1%", "fe80::1%%1"),
        *(
            "fe80::1%lo",
            "fe80::1%x y",
            "fe80::1%1\nx-evil: y",
            "fe80::1%\xb2",
            "fe80::1%-1",
            "fe80::1%4294967296",
        ),
    ],
)
def test_none_are(text: str) -> None:
    assert parse_address(text) is None
