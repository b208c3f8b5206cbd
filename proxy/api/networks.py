"""Address ranges: CidrRange (envoy.config.core.v3), as every room reads them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from proxy.api.reader import Reader, reads

Network = IPv4Network | IPv6Network


@reads("envoy.config.core.v3.CidrRange")
def compile_networks(readers: list[Reader]) -> tuple[Network, ...]:
    """The ranges, without those that are none, which are findings. Host bits do not count, as in Envoy."""
    found = []
    for reader in readers:
        text = f"{reader.text('address_prefix')}/{reader.wrapped('prefix_len', 0)}"
        try:
            found.append(ip_network(text, strict=False))
        except ValueError:
            reader.fail("address_prefix", f"{text} is not an address range")
    return tuple(found)
