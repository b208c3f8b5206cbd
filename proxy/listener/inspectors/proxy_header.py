"""PROXY protocol headers, versions 1 and 2 (HAProxy's proxy-protocol.txt), as they come in. Reads bytes, no sockets.

``read_proxy_header`` answers once it is clear whether there is a header and all of it has come.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Final

from proxy.base.ip import Address, parse_address

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1_BEGINS: Final = b"PROXY "
_MOST_V1_BYTES: Final = 108
_FIXED_BYTES: Final = 16  # of version 2
_LOCAL: Final = 0
_PROXIED: Final = 1
#: address family → bytes of an address
_WIDTHS: Final = {1: 4, 2: 16}
_BROADCAST: Final = IPv4Address("255.255.255.255")


class BadProxyHeader(ValueError):
    """It began like a header and is none. version: 1 or 2"""

    def __init__(self, version: int) -> None:
        super().__init__(f"not a PROXY protocol header of version {version}")
        self.version = version


@dataclass(slots=True, frozen=True)
class ProxyHeader:
    """version: 0 where there is no header; length: its bytes; source, destination: (address, port), None where it tells
    of none; tlvs: (type, value) in order"""

    version: int
    length: int = 0
    source: tuple[Address, int] | None = None
    destination: tuple[Address, int] | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()


NO_HEADER: Final = ProxyHeader(0)


def read_proxy_header(data: bytes, versions: frozenset[int] = frozenset((1, 2))) -> ProxyHeader | None:
    """The header; None while more bytes are needed. versions: those to look for. Raises BadProxyHeader."""
    if 2 in versions and data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _read_v2(data) if len(data) >= len(SIGNATURE) else None
    if 1 in versions and data[: len(_V1_BEGINS)] == _V1_BEGINS[: len(data)]:
        return _read_v1(data) if len(data) >= len(_V1_BEGINS) else None
    return NO_HEADER


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _MOST_V1_BYTES)
    if end < 0:
        if len(data) >= _MOST_V1_BYTES:
            raise BadProxyHeader(1)
        return None
    words = data[len(_V1_BEGINS) : end].rstrip(b" \t\r").split(b" ")  # as Envoy
    length = end + 2
    if words[0] == b"UNKNOWN":
        return ProxyHeader(1, length)
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        raise BadProxyHeader(1)
    version = int(words[0][3:])
    source, destination = (_unicast(_parse(word, version), 1) for word in words[1:3])
    return ProxyHeader(1, length, (source, _port(words[3])), (destination, _port(words[4])))


def _parse(word: bytes, version: int) -> Address:
    address = parse_address(word.decode("latin-1"))
    if address is None or address.version != version:
        raise BadProxyHeader(1)
    return address


def _port(word: bytes) -> int:
    digits = word.removeprefix(b"+")
    if not digits.isdigit() or int(digits[:7]) > 65535 or len(digits) > 7:
        raise BadProxyHeader(1)
    return int(digits)


def _unicast(address: Address, version: int) -> Address:
    if address.is_multicast or address.is_unspecified or address == _BROADCAST:
        raise BadProxyHeader(version)
    return address


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) > 12 and data[12] >> 4 != 2:
        raise BadProxyHeader(2)
    if len(data) < _FIXED_BYTES:
        return None
    command, family, transport = data[12] & 15, data[13] >> 4, data[13] & 15
    if command not in (_LOCAL, _PROXIED):
        raise BadProxyHeader(2)
    length = _FIXED_BYTES + int.from_bytes(data[14:16], "big")
    width = _WIDTHS.get(family, 0)
    addresses = 2 * width + 4 if width else 0
    if command == _PROXIED and (not width or transport not in (1, 2) or length < _FIXED_BYTES + addresses):
        raise BadProxyHeader(2)
    if len(data) < length:
        return None
    rest = data[_FIXED_BYTES:length]
    tlvs = _read_tlvs(rest[addresses:])
    if command == _LOCAL:
        return ProxyHeader(2, length, tlvs=tlvs)
    # ip_address takes packed bytes
    source, destination = (_unicast(ip_address(rest[at : at + width]), 2) for at in (0, width))
    ports = rest[2 * width : addresses]
    return ProxyHeader(
        2,
        length,
        (source, int.from_bytes(ports[:2], "big")),
        (destination, int.from_bytes(ports[2:], "big")),
        tlvs,
    )


def _read_tlvs(data: bytes) -> tuple[tuple[int, bytes], ...]:
    found = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        value = data[at + 3 : at + 3 + length]
        if len(data) < at + 3 or len(value) < length:
            raise BadProxyHeader(2)
        found.append((data[at], value))
        at += 3 + length
    return tuple(found)
