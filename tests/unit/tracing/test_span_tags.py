"""Small parts of the standard tags; the whole is tested with Zipkin's JSON."""

from __future__ import annotations

import pytest

from proxy.tracing.span_tags import address_without_port, is_grpc, text


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("", "")])
def test_address_without_port(address: str, host: str) -> None:
    assert address_without_port(address) == host


@pytest.mark.parametrize(
    ("content_type", "yes"),
    [
        (b"application/grpc", True),
        (b"application/grpc;x", True),
        (b"application/grpc-web", False),
        (b"", False),
    ],
)
def test_is_grpc(content_type: bytes, yes: bool) -> None:
    assert is_grpc(content_type) is yes


def test_text_of_any_bytes() -> None:
    assert text(b"caf\xc3\xa9") == "caf\u00e9"
    assert text(b"\xff") == "\N{REPLACEMENT CHARACTER}"
