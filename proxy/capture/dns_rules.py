"""DNS capture: questions of the application go to a resolver beside the proxy, and those of the resolver itself do not.

UDP has no connections: both halves of a question (application → resolver, resolver → server) look alike to conntrack,
so each half gets a zone of its own.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from proxy.capture.options import split

if TYPE_CHECKING:
    from proxy.capture.options import CaptureOptions
    from proxy.capture.rules import Rules

_NAT: Final = "nat"
_RAW: Final = "raw"
#: conntrack zones: the resolver and its servers; applications and the resolver
_SERVERS: Final = 1
_APPLICATIONS: Final = 2


def add_dns(rules: Rules, options: CaptureOptions) -> None:
    """Rules for every server of this IP version, or for port 53 wherever it is."""
    size = 32 if rules.version == 4 else 128
    servers = [f"{each}/{size}" for each in options.dns_servers if ip_address(each).version == rules.version]
    rules.add(_RAW, "OUTPUT", "-j ISTIO_OUTPUT_DNS")
    if options.dns_all or servers:
        rules.add(_NAT, "ISTIO_OUTPUT", "-j ISTIO_OUTPUT_DNS")
    there = [""] if options.dns_all else [f" -d {server}" for server in servers]
    for protocol, flag in (("tcp", "--to-ports"), ("udp", "--to-port")):
        for match in there:
            rules.add(
                _NAT,
                "ISTIO_OUTPUT_DNS",
                f"-p {protocol} --dport 53{match} -j REDIRECT {flag} {options.dns_port}",
            )
    _zones(rules, options, servers)


def _zones(rules: Rules, options: CaptureOptions, servers: list[str]) -> None:
    for kind, owners in (("uid", options.proxy_uid), ("gid", options.proxy_gid)):
        for owner in split(owners):
            of_owner = f"-m owner --{kind}-owner {owner} -j CT --zone"
            rules.add(_RAW, "ISTIO_OUTPUT_DNS", f"-p udp --dport 53 {of_owner} {_SERVERS}")
            rules.add(
                _RAW, "ISTIO_OUTPUT_DNS", f"-p udp --sport {options.dns_port} {of_owner} {_APPLICATIONS}"
            )
    if options.dns_all or servers:
        rules.add(_RAW, "PREROUTING", "-j ISTIO_INBOUND")
    for server in [None] if options.dns_all else servers:
        to, back = ("", "") if server is None else (f" -d {server}", f" -s {server}")
        rules.add(_RAW, "ISTIO_OUTPUT_DNS", f"-p udp --dport 53{to} -j CT --zone {_APPLICATIONS}")
        rules.add(_RAW, "ISTIO_INBOUND", f"-p udp --sport 53{back} -j CT --zone {_SERVERS}")
