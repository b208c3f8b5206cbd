"""IP addresses as peers write them, in headers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


def parse_address(text: str) -> Address | None:
    """An IP address without brackets or port; None where it is none.

    A zone (RFC 4007) has to be a number, as Envoy writes it: a name is one of another machine's interfaces, and
    ``ip_address`` takes anything for one, blanks and line ends included.
    """
    zone = text.partition("%")[2]
    if zone and (len(zone) > 10 or not (zone.isascii() and zone.isdigit()) or int(zone) > 0xFFFFFFFF):
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None
