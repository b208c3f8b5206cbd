"""PROXY protocol headers: what is one, what is none, what is a bad one; as Envoy 1.40 was seen to judge."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.listener.inspectors.proxy_header import (
    NO_HEADER,
    SIGNATURE,
    BadProxyHeader,
    ProxyHeader,
    read_proxy_header,
)

PORTS = struct.pack("!HH", 1111, 2222)
FOUR = socket.inet_aton("1.2.3.4") + socket.inet_aton("5.6.7.8") + PORTS
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "::2") + PORTS


def v2(first: int = 0x21, family: int = 0x11, addresses: bytes = FOUR, tlvs: bytes = b"") -> bytes:
    return SIGNATURE + bytes([first, family]) + struct.pack("!H", len(addresses + tlvs)) + addresses + tlvs


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


GOOD = {
    "TCP4": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n", "1.2.3.4", 1111, "5.6.7.8", 2222),
    "TCP6": (b"PROXY TCP6 ::1 2001:db8::2 1 65535\r\n", "::1", 1, "2001:db8::2", 65535),
    "a zone": (b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n", "fe80::1%1", 1, "::1", 2),
    "ports 0": (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4", 0, "5.6.7.8", 0),
    "ports with more digits": (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 +2\r\n", "1.2.3.4", 1, "5.6.7.8", 2),
    "2, IPv4": (v2(), "1.2.3.4", 1111, "5.6.7.8", 2222),
    "2, IPv6": (v2(family=0x21, addresses=SIX), "2001:db8::1", 1111, "::2", 2222),
    "2, datagrams": (v2(family=0x12), "1.2.3.4", 1111, "5.6.7.8", 2222),
}


@pytest.mark.parametrize("name", GOOD)
def test_addresses(name: str) -> None:
    data, source, source_port, destination, port = GOOD[name]
    header = read_proxy_header(data + b"the client's own")
    assert header is not None and header.length == len(data)
    assert header.source is not None and header.destination is not None
    assert (str(header.source[0]), header.source[1]) == (source, source_port)
    assert (str(header.destination[0]), header.destination[1]) == (destination, port)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN whatever it says\r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        v2(first=0x20, family=0, addresses=b""),
        v2(first=0x20),
    ],
)
def test_headers_that_tell_of_no_addresses(data: bytes) -> None:
    assert read_proxy_header(data) == ProxyHeader(1 if data[:1] == b"P" else 2, len(data))


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"proxy TCP4 1.2.3.4", SIGNATURE[:6] + b"xxxxxx", b"\x16\x03"]
)
def test_no_header(data: bytes) -> None:
    assert read_proxy_header(data) is NO_HEADER


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 fe80::1%x ::1 1 2\r\n",
        b"PROXY TCP6 fe80::1%1\nx-evil:y ::1 1 2\r\n",
        b"PROXY TCP6 ::1 fe80::1%4294967296 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 " + b"1" * 70 + b" 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n",
        b"PROXY TCP4 ::1 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 224.0.0.1 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 0.0.0.0 1 2\r\n",
        b"PROXY TCP4 255.255.255.255 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 ff02::1 ::2 1 2\r\n",
        b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n",
        b"PROXY TCP4 " + b"1" * 120,
        v2(first=0x11),
        v2(first=0x22),
        v2(family=0, addresses=b""),
        v2(family=0x31, addresses=b"\0" * 216),
        v2(addresses=b"1234"),
        v2(tlvs=b"\xea\x00\x50abc"),
        v2(tlvs=b"\xea\x00"),
        v2(addresses=socket.inet_aton("224.0.0.1") + FOUR[4:]),
    ],
)
def test_bad_headers(data: bytes) -> None:
    with pytest.raises(BadProxyHeader) as caught:
        read_proxy_header(data)
    assert caught.value.version == (1 if data[:1] == b"P" else 2)


def test_tlvs_come_in_order() -> None:
    header = read_proxy_header(v2(tlvs=tlv(0xEA, b"one") + tlv(2, b"") + tlv(0xEA, b"two")))
    assert header is not None and header.tlvs == ((0xEA, b"one"), (2, b""), (0xEA, b"two"))
    large = read_proxy_header(v2(tlvs=tlv(0xEA, b"x" * 65000)) + b"more")
    assert large is not None and large.tlvs == ((0xEA, b"x" * 65000),)


def test_versions_that_are_not_looked_for_are_no_headers() -> None:
    assert read_proxy_header(v2(), frozenset((1,))) is NO_HEADER
    assert read_proxy_header(b"PROXY UNKNOWN\r\n", frozenset((2,))) is NO_HEADER
    assert read_proxy_header(b"PROXY UNKNOWN\r\n", frozenset()) is NO_HEADER


@given(st.sampled_from([*(row[0] for row in GOOD.values()), v2(tlvs=tlv(1, b"h2"))]), st.data())
def test_any_cut_waits_for_the_rest(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    assert read_proxy_header(data[:at]) is None
    assert read_proxy_header(data) == read_proxy_header(data + b"x")


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_have_an_answer(data: bytes, begins: bytes) -> None:
    try:
        header = read_proxy_header(begins + data)
    except BadProxyHeader:
        return
    assert header is None or header.length <= len(begins + data)
