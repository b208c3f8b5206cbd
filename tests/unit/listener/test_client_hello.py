"""The ClientHello reader, on what Python's own TLS client says, in every split."""

from __future__ import annotations

import ssl

import pytest

from proxy.listener.inspectors.client_hello import NOT_TLS, read_client_hello
from proxy.listener.inspectors.http_start import read_http_start


def hello(name: str | None, alpn: list[str]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


@pytest.mark.parametrize(
    ("name", "alpn"), [(None, []), ("a.example", []), ("A.Example", ["h2", "http/1.1"]), (None, ["istio"])]
)
def test_what_it_finds_and_that_it_waits_for_the_rest(name: str | None, alpn: list[str]) -> None:
    data = hello(name, alpn)
    found = read_client_hello(data)
    assert found is not None
    assert (found.is_tls, found.server_name, list(found.alpn)) == (True, (name or "").lower(), alpn)
    assert all(read_client_hello(data[:length]) is None for length in range(len(data)))


@pytest.mark.parametrize("size", [10, 50, 200])
def test_a_hello_in_many_records(size: int) -> None:
    message = hello("a.example", ["h2"])[5:]
    records = b""
    for at in range(0, len(message), size):
        part = message[at : at + size]
        records += b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
    found = read_client_hello(records)
    assert found is not None
    assert (found.server_name, found.alpn) == ("a.example", ("h2",))
    assert all(read_client_hello(records[:length]) is None for length in range(len(records)))


def test_a_hello_in_too_many_records_is_not_worth_the_work() -> None:
    message = hello("a.example", ["h2"])[5:]
    assert read_client_hello(b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in message)) == NOT_TLS


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"\x16\x02\x00\x00\x01", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x04\x02"],
)
def test_what_is_no_hello(data: bytes) -> None:
    assert read_client_hello(data) == NOT_TLS


def test_a_mangled_hello_raises_nothing() -> None:
    data = hello("a.example", ["h2", "http/1.1"])
    for at in range(len(data)):
        for value in (0, 255, data[at] ^ 1):
            read_client_hello(data[:at] + bytes([value]) + data[at + 1 :])


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"", None),
        (b"GE", None),
        (b"GET / HTTP/1.1\r\n", "http/1.1"),
        (b"GET / HTTP/1.0\r\n", "http/1.0"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2c"),
        (b"PRI * HTTP/2.0\r\n", None),
        (b"\x16\x03\x01", ""),
        (b"SSH-2.0-x\r\n", ""),
        (b"GET /\r\n", ""),
    ],
)
def test_how_http_begins(data: bytes, protocol: str | None) -> None:
    assert read_http_start(data) == protocol
