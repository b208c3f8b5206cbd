"""The ClientHello reader, on what Python's own TLS client says, in every split."""

from __future__ import annotations

import ssl

import pytest

from proxy.listener.inspectors.client_hello import NOT_TLS, TOO_LONG, read_client_hello
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


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x03FF])
def test_the_version_of_its_records_says_nothing(version: int) -> None:
    data = hello("a.example", ["h2"])
    found = read_client_hello(data[:1] + version.to_bytes(2, "big") + data[3:])
    assert found == read_client_hello(data)


@pytest.mark.parametrize(
    ("version", "is_tls"),
    [
        *((version, True) for version in (0x0301, 0x0302, 0x0303, 0x0304)),
        *((version, False) for version in (0x0000, 0x0200, 0x0300, 0x0305, 0x0400, 0xFEFD, 0xFFFF)),
    ],
)
def test_its_own_version_is_one_of_tls(version: int, is_tls: bool) -> None:
    data = hello("a.example", ["h2"])
    found = read_client_hello(data[:9] + version.to_bytes(2, "big") + data[11:])
    assert found is not None
    assert (found.is_tls, found.is_old) == (is_tls, not is_tls)
    assert (found.server_name, found.alpn) == ("a.example", ("h2",))


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


def made(extensions: bytes, session: bytes = b"", suites: bytes = b"\x13\x01", more: bytes = b"") -> bytes:
    """A hello in one record; more: bytes behind its extensions"""
    body = b"\3\3" + bytes(32)
    for width, part in ((1, session), (2, suites), (1, b"\0"), (2, extensions)):
        body += len(part).to_bytes(width, "big") + part
    body += more
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def names(*found: bytes, kind: int = 0) -> bytes:
    """A server_name extension."""
    listed = b"".join(bytes((kind,)) + len(name).to_bytes(2, "big") + name for name in found)
    return extension(0, len(listed).to_bytes(2, "big") + listed)


B = names(b"b.example")


def test_what_is_not_known_is_passed_over() -> None:
    grease = extension(0x0A0A, b"") + extension(0xFAFA, b"\0")
    found = read_client_hello(made(grease + B + extension(21, bytes(8000)), suites=b"\x0a\x0a\x13\x01"))
    assert found is not None and (found.is_tls, found.server_name) == (True, "b.example")


@pytest.mark.parametrize(
    "data",
    [
        made(B + B),
        made(names(b"b.example", b"a.example")),
        made(names(b"b.example", kind=1)),
        made(names(b"")),
        made(names(b"b" * 256)),
        made(names(b"b.example\0.a.example")),
        made(extension(0, b"\0\x20b")),
        made(B + b"\0"),
        made(B, more=b"\0"),
        made(B, session=bytes(33)),
        made(B, suites=b""),
        made(B, suites=b"\x13"),
    ],
)
def test_what_boringssl_does_not_take_has_no_name(data: bytes) -> None:
    assert read_client_hello(data) == NOT_TLS


def test_a_hello_that_is_too_long_is_known_by_its_head() -> None:
    data = made(B + extension(21, bytes(16384)))
    assert read_client_hello(data) is TOO_LONG
    assert read_client_hello(data[:9]) is TOO_LONG
    assert read_client_hello(data[:8]) is None


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
        (b"GET /\r\n", "http/1.0"),
        (b"GET / HTTP/3.0\r\n", "http/1.0"),
        (b"PRI * HTTP/2.0\r\n\r\nXX", "http/1.0"),
        (b"GET\t/ HTTP/1.1\n", "http/1.1"),
        (b"QUERY / HTTP/1.1\r\n", "http/1.1"),
        (b"x-own / HTTP/1.1\r\n", "http/1.1"),
        (b"QU", None),
        (b"F@ / HTTP/1.1\r\n", ""),
        (b" GET / HTTP/1.1\r\n", ""),
        (b"\r\nGET / HTTP/1.1\r\n", ""),
        (b"GET / HTTP/1.1 x\r\n", ""),
        (b"GET / RTSP/1.0\r\n", ""),
        (b"get / http/1.1\r\n", ""),
        (b"HELO a.example\r\n", ""),
        (b"GET\r\n", ""),
        (b"*1\r\n$4\r\nPING\r\n", ""),
    ],
)
def test_how_http_begins(data: bytes, protocol: str | None) -> None:
    assert read_http_start(data) == protocol
