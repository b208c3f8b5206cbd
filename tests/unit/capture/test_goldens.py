"""The rules beside Istio's own golden files, line by line. The inputs are those of Istio's test of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.capture.options import CaptureOptions
from proxy.capture.rules import BUILT_IN, Rules, build

NOTHING = {"inbound_ports": "", "inbound_exclude": "", "outbound_ranges": ""}
DNS = {"dns": True, "dns_servers": ("127.0.0.53",), "proxy_gid": "1,2", "proxy_uid": "3,4"}
NETS = {
    "inbound_ports": "4000,5000",
    "virtual_interfaces": "eth0,eth1",
    "outbound_exclude": "2001:db8::/32",
    "outbound_ranges": "2001:db8::/32",
    "ipv6": True,
}
CASES = {
    "empty": {},
    "ip-range": {"outbound_exclude": "1.1.0.0/16", "outbound_ranges": "9.9.0.0/16", **DNS},
    "tproxy": {
        "mode": "TPROXY",
        "inbound_ports": "*",
        "outbound_exclude": "1.1.0.0/16",
        "outbound_ranges": "9.9.0.0/16",
        "dns": True,
        "dns_servers": ("127.0.0.53",),
        "exclude_interfaces": "not-istio-nic",
        "ipv6": True,
    },
    "ipv6-ipnets": {"inbound_exclude": "6000,7000,", **NETS},
    "ipv6-uid-gid": {"inbound_exclude": "6000,7000", "proxy_gid": "1,2", "proxy_uid": "3,4", **NETS},
    "ipnets": {"outbound_ranges": "10.0.0.0/8"},
    "inbound-ports-wildcard": {"inbound_ports": "*"},
    "inbound-ports-tproxy": {"inbound_ports": "32000,31000", "mode": "TPROXY"},
    "dns-uid-gid": {**DNS, "dns_servers": ("127.0.0.53", "::127.0.0.53"), "ipv6": True},
    "outbound-owner-groups": {"groups": "java,202"},
    "outbound-ports-include": {"outbound_ports": "32000,31000"},
    "drop-invalid": {"drop_invalid": True},
    "host-ipv4-loopback-cidr": {"loopback": "127.0.0.1/8"},
}


def as_golden(rules: Rules) -> list[str]:
    lines = []
    for table, wanted in rules.tables().items():
        new = dict.fromkeys(rule.chain for rule in wanted if rule.chain not in BUILT_IN)
        lines += [f"* {table}", *(f"-N {chain}" for chain in new), *(rule.line for rule in wanted), "COMMIT"]
    return lines


@pytest.mark.parametrize("name", CASES)
def test_the_rules_are_istios(shared: Path, name: str):
    golden = (shared / "fixtures" / "istio" / "iptables" / f"{name}.golden").read_text().splitlines()
    expected = [line.strip() for line in golden if line and "tables-save" not in line]
    built = build(CaptureOptions(**{**NOTHING, **CASES[name]}))
    assert [line for rules in built.values() for line in as_golden(rules)] == expected


def test_every_golden_file_has_a_case(shared: Path):
    there = {file.stem for file in (shared / "fixtures" / "istio" / "iptables").glob("*.golden")}
    assert there == set(CASES)
