"""The rules row by row, as docs/sidecar.md tells them; options that make none."""

from __future__ import annotations

import pytest

from proxy.capture.options import BadOptions, CaptureOptions
from proxy.capture.rules import build

OWNER = "-m owner --uid-owner 1337"
GROUP = "-m owner --gid-owner 1337"
#: (chain, rule) of table nat, in order, with the defaults
ROWS = [
    ("ISTIO_INBOUND", "-p tcp --dport 15008 -j RETURN"),
    ("ISTIO_REDIRECT", "-p tcp -j REDIRECT --to-ports 15001"),
    ("ISTIO_IN_REDIRECT", "-p tcp -j REDIRECT --to-ports 15006"),
    ("PREROUTING", "-p tcp -j ISTIO_INBOUND"),
    ("ISTIO_INBOUND", "-p tcp --dport 15090 -j RETURN"),
    ("ISTIO_INBOUND", "-p tcp --dport 15021 -j RETURN"),
    ("ISTIO_INBOUND", "-p tcp --dport 15020 -j RETURN"),
    ("ISTIO_INBOUND", "-p tcp -j ISTIO_IN_REDIRECT"),
    ("OUTPUT", "-j ISTIO_OUTPUT"),
    ("ISTIO_OUTPUT", "-p tcp --dport 3306 -j RETURN"),
    ("ISTIO_OUTPUT", "-p udp --dport 3306 -j RETURN"),
    ("ISTIO_OUTPUT", "-o lo -s 127.0.0.6/32 -j RETURN"),
    ("ISTIO_OUTPUT", f"-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 {OWNER} -j ISTIO_IN_REDIRECT"),
    ("ISTIO_OUTPUT", "-o lo -m owner ! --uid-owner 1337 -j RETURN"),
    ("ISTIO_OUTPUT", f"{OWNER} -j RETURN"),
    ("ISTIO_OUTPUT", f"-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 {GROUP} -j ISTIO_IN_REDIRECT"),
    ("ISTIO_OUTPUT", "-o lo -m owner ! --gid-owner 1337 -j RETURN"),
    ("ISTIO_OUTPUT", f"{GROUP} -j RETURN"),
    ("ISTIO_OUTPUT", "-d 127.0.0.1/32 -j RETURN"),
    ("ISTIO_OUTPUT", "-d 198.51.100.0/24 -j RETURN"),
    ("ISTIO_OUTPUT", "-p tcp --dport 9000 -j ISTIO_REDIRECT"),
    ("ISTIO_OUTPUT", "-j ISTIO_REDIRECT"),
]


def rows(version: int = 4, **options) -> list[tuple[str, str]]:
    return [(rule.chain, rule.spec) for rule in build(CaptureOptions(**options))[version].rules]


def test_the_table():
    assert (
        rows(
            outbound_exclude_ports="3306",
            outbound_exclude="198.51.100.0/24,2001:db8::/32",
            outbound_ports="9000",
        )
        == ROWS
    )


def test_the_table_for_ipv6():
    translated = [
        (chain, spec.replace("127.0.0.6/32", "::6/128").replace("127.0.0.1/32", "::1/128"))
        for chain, spec in ROWS
        if "9000" not in spec and "3306" not in spec and "198.51" not in spec
    ]
    assert rows(6, ipv6=True) == translated


def test_groups_are_left_alone_or_the_only_ones():
    assert ("ISTIO_OUTPUT", "-m owner --gid-owner ftp -j RETURN") in rows(groups_exclude="ftp,888")
    only = "-m owner ! --gid-owner java -m owner ! --gid-owner 202 -j RETURN"
    assert ("ISTIO_OUTPUT", only) in rows(groups="java,202")
    assert ("ISTIO_OUTPUT", "-j RETURN") in rows(groups="")  # nobody is captured, as in Istio


def test_an_application_whose_loopback_is_captured_does_not_return_early():
    assert not [spec for _, spec in rows(outbound_ranges="127.1.2.3/32") if "-o lo -m owner !" in spec]


def test_dns_without_a_server_is_no_dns():
    assert rows(dns=True) == rows()
    assert [spec for chain, spec in rows(dns=True, dns_all=True) if chain == "ISTIO_OUTPUT_DNS"][:2] == [
        "-p tcp --dport 53 -j REDIRECT --to-ports 15053",
        "-p udp --dport 53 -j REDIRECT --to-port 15053",
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"proxy_port": 0}, "proxy port 0 is not a port"),
        ({"inbound_ports": "80,http"}, "inbound ports: 'http' is not a port"),
        ({"inbound_exclude": "*"}, "excluded inbound ports: '*' is not a port"),
        ({"outbound_ranges": "10.0.0.0/8,10.0.0.0/64"}, "outbound ranges: '10.0.0.0/64' is not a network"),
        ({"outbound_exclude": "*"}, "excluded outbound ranges: '*' would capture nothing"),
        ({"proxy_uid": "root"}, "proxy uid: 'root' is no number"),
        ({"proxy_uid": "", "proxy_gid": ""}, "proxy uid and gid: '' is no number"),
        ({"exclude_interfaces": "eth0 -j ACCEPT"}, "is not an interface"),
        ({"groups": "a\n-A OUTPUT"}, "is neither a number nor a name"),
        ({"groups": "1", "groups_exclude": "2"}, "either those to capture or those to leave alone"),
        ({"mode": "NONE"}, "mode 'NONE' is neither"),
        ({"mark": "0"}, "mark '0' is not a number"),
        ({"dns_servers": ("fe80::1%eth0",)}, "is not an address"),
    ],
)
def test_what_is_wrong_is_said(given, problem):
    with pytest.raises(BadOptions) as found:
        build(CaptureOptions(**given))
    assert problem in "\n".join(found.value.problems)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(BadOptions) as found:
        build(CaptureOptions(inbound_ports="x", outbound_ranges="y", mode="z"))
    assert len(found.value.problems) == 3
