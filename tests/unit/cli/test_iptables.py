"""``outrider iptables``: flags and variables of istio-iptables."""

from __future__ import annotations

import pytest

from proxy.cli import iptables
from proxy.cli.iptables import dns_servers, has_ipv6, main

#: the command line of Istio's init container (its injection template)
ISTIO = [
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
]


@pytest.fixture(autouse=True)
def no_tools(monkeypatch):
    """No rules are read: what is shown does not depend on this machine."""
    monkeypatch.setenv("PATH", "/nonexistent")


def shown(capsys, *arguments: str) -> str:
    assert main(["show", "--ipv6", "off", *arguments]) == 0
    return capsys.readouterr().out


def test_istios_command_line_is_our_default(capsys):
    assert shown(capsys, *ISTIO) == shown(capsys)
    assert main(["apply", "--dry-run", "--ipv6", "off", *ISTIO]) == 0


def test_variables_stand_for_flags_and_flags_win(capsys, monkeypatch):
    monkeypatch.setenv("ENVOY_PORT", "7001")
    monkeypatch.setenv("ISTIO_SERVICE_CIDR", "10.0.0.0/8")
    assert "--to-ports 7001" in shown(capsys) and "-d 10.0.0.0/8 -j ISTIO_REDIRECT" in shown(capsys)
    assert "--to-ports 7002" in shown(capsys, "-p", "7002")


def test_what_is_wrong_is_said_at_once(capsys):
    assert main(["show", "-b", "http", "-m", "NONE"]) == 2
    error = capsys.readouterr().err
    assert "inbound ports: 'http' is not a port" in error and "mode 'NONE'" in error


def test_without_tools_nothing_can_be_applied(capsys):
    assert main(["apply", "--ipv6", "off"]) == 1
    assert "neither iptables-restore nor nft" in capsys.readouterr().err


def test_ipv6_where_there_is_an_address_others_know(tmp_path):
    table = tmp_path / "if_inet6"
    table.write_text("00000000000000000000000000000001 01 80 10 80       lo\n")
    assert not has_ipv6(table)
    table.write_text("fe800000000000000000000000000001 02 40 20 80     eth0\n")
    assert not has_ipv6(table)
    table.write_text("00000000000000000000000000000006 01 80 00 80       lo\n")
    assert not has_ipv6(table)
    table.write_text("fd000000000000000000000000000002 02 40 00 80     eth0\n")
    assert has_ipv6(table)
    assert not has_ipv6(tmp_path / "none")


def test_dns_servers_of_resolv_conf(tmp_path):
    file = tmp_path / "resolv.conf"
    file.write_text(
        "search a b\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\n#nameserver 1.1.1.1\nnameserver ::1\n"
    )
    assert dns_servers(file) == ("10.96.0.10", "::1")


def test_every_flag_is_an_option_of_the_rules():
    from dataclasses import fields

    from proxy.capture.options import CaptureOptions

    known = {each.name for each in fields(CaptureOptions)}
    assert {name for _, _, name, *_ in iptables._OPTIONS} < known
