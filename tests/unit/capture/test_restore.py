"""Rules as text: of iptables-restore, of iptables-save, of nft."""

from __future__ import annotations

import pytest

from proxy.capture import nft, restore
from proxy.capture.options import CaptureOptions
from proxy.capture.rules import build

PAIRS = [  # as we write it, as iptables-save prints it
    ("-p tcp --dport 15008 -j RETURN", "-p tcp -m tcp --dport 15008 -j RETURN"),
    ("-j MARK --set-mark 1337", "-j MARK --set-xmark 0x539/0xffffffff"),
    ("! -d 127.0.0.1/8 -p tcp -j DROP", "! -d 127.0.0.0/8 -p tcp -j DROP"),
    (
        "-p tcp -m mark --mark 1337 -j CONNMARK --save-mark",
        "-p tcp -m mark --mark 0x539 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    ),
    (
        "! -d ::1/128 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
        "! -d ::1/128 -p tcp -j TPROXY --on-port 15006 --on-ip :: --tproxy-mark 0x539/0xffffffff",
    ),
    ("-o lo -s ::6/128 -j RETURN", "-s ::6/128 -o lo -j RETURN"),
    (
        "-p udp --dport 53 -j REDIRECT --to-port 15053",
        "-p udp -m udp --dport 53 -j REDIRECT --to-ports 15053",
    ),
]


@pytest.mark.parametrize(("ours", "printed"), PAIRS)
def test_one_rule_written_twice(ours, printed):
    assert restore.canonical(ours) == restore.canonical(printed)


@pytest.mark.parametrize(
    "other",
    [
        "-p tcp --dport 80 -j DROP",
        "-p tcp ! --dport 80 -j RETURN",
        "-p udp --dport 80 -j RETURN",
        "-j RETURN",
    ],
)
def test_other_rules_are_other_rules(other):
    assert restore.canonical("-p tcp --dport 80 -j RETURN") != restore.canonical(other)


def as_saved(text: str) -> restore.Saved:
    """What iptables-save would print after a restore that only appends."""
    return restore.parse_save(
        "\n".join(line for line in text.splitlines() if not line.startswith(("-D", "-X")))
    )


def test_what_has_been_applied_has_no_differences_and_is_cleaned_whole():
    rules = build(CaptureOptions(exclude_interfaces="eth1"))[4]
    saved = as_saved(restore.render_apply(rules, {}))
    assert restore.differences(rules, saved) == []
    again = restore.render_apply(rules, saved)
    assert again.count("-D ") == 4  # two jumps, and one interface each way
    cleaned = restore.render_clean(saved)
    assert cleaned.count("-D ") == 4 and "-A" not in cleaned
    assert [line for line in cleaned.splitlines() if line.startswith("-X")] == [
        f"-X {chain}" for chain in saved["nat"].chains
    ]
    assert restore.render_clean({}) == ""


def test_differences_are_named():
    rules = build(CaptureOptions())[4]
    saved = as_saved(restore.render_apply(rules, {}))
    chain = [pair for pair in saved["nat"].rules if pair[0] == "ISTIO_INBOUND"]
    saved["nat"].rules.remove(chain[0])
    assert restore.differences(rules, saved) == ["nat ISTIO_INBOUND: missing: -p tcp --dport 15008 -j RETURN"]
    saved["nat"].rules.append(chain[0])
    assert restore.differences(rules, saved) == [
        "nat ISTIO_INBOUND: the rules stand in another order, or twice"
    ]
    saved["nat"].rules.append(("ISTIO_INBOUND", "-p tcp -j DROP"))
    assert restore.differences(rules, saved) == ["nat ISTIO_INBOUND: not ours: -j DROP -p tcp"]


def test_a_table_that_is_no_longer_wanted_is_emptied():
    before = as_saved(restore.render_apply(build(CaptureOptions(mode="TPROXY"))[4], {}))
    text = restore.render_apply(build(CaptureOptions())[4], before)
    mangle = text[text.index("*mangle") : text.index("*nat")]
    assert (
        "-A" not in mangle
        and "-X ISTIO_TPROXY" in mangle
        and "-D PREROUTING -p tcp -j ISTIO_INBOUND" in mangle
    )


def test_nft_has_a_statement_for_every_rule():
    options = CaptureOptions(
        mode="TPROXY",
        dns=True,
        dns_servers=("192.0.2.1", "2001:db8::53"),
        drop_invalid=True,
        exclude_interfaces="eth+",
        virtual_interfaces="tap0",
        groups="java,202",
        outbound_exclude="10.0.0.1/8,2001:db8::/32",
        ipv6=True,
    )
    for version, rules in build(options).items():
        text = nft.render_apply(rules)
        assert sum(nft.sizes(text).values()) == len(rules.rules)
        assert f"table {'ip' if version == 4 else 'ip6'} outrider" in text
    four = nft.render_apply(build(options)[4])
    assert "ip daddr 10.0.0.0/8 return" in four
    assert 'meta skgid != "java" meta skgid != 202 return' in four
    assert 'iifname "eth*" return' in four
    assert "meta l4proto tcp ct mark 1337 meta mark set ct mark" in four
