"""Options → rules: the chains and rules that Istio's init container makes, in its order. Pure: text in, text out.

The reasons stand at the rules. Chains that begin with ISTIO_ are ours; the built-in ones only get jumps to them, and
exceptions that must come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from proxy.capture.dns_rules import add_dns
from proxy.capture.options import ANYTHING, REDIRECT, CaptureOptions, of_family, split

NAT: Final = "nat"
MANGLE: Final = "mangle"
RAW: Final = "raw"
BUILT_IN: Final = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
OWN: Final = "ISTIO_"
#: set on what the proxy sends to its own pod (TPROXY): app → proxy, outbound → proxy, inbound → app
OUTBOUND_MARK: Final = "1338"
LOOPBACK6: Final = "::1/128"
#: where the proxy's connections to its own application come from (bind of inbound clusters)
SOURCE4: Final = "127.0.0.6/32"
SOURCE6: Final = "::6/128"


@dataclass(slots=True, frozen=True)
class Rule:
    """One rule of one IP version. position: None to append, else where it is inserted (1: first)."""

    table: str
    chain: str
    spec: str
    position: int | None = None

    @property
    def line(self) -> str:
        """As iptables-restore takes it."""
        if self.position is None:
            return f"-A {self.chain} {self.spec}"
        return f"-I {self.chain} {self.position} {self.spec}"


class Rules:
    """The rules of one IP version, in the order they are made."""

    __slots__ = ("loopback", "rules", "source", "version")

    def __init__(self, version: int, options: CaptureOptions) -> None:
        self.version = version
        self.loopback = options.loopback if version == 4 else LOOPBACK6
        self.source = SOURCE4 if version == 4 else SOURCE6
        self.rules: list[Rule] = []

    def add(self, table: str, chain: str, spec: str) -> None:
        """Append a rule to a chain."""
        self.rules.append(Rule(table, chain, spec))

    def insert(self, table: str, chain: str, position: int, spec: str) -> None:
        """Insert a rule into a chain."""
        self.rules.append(Rule(table, chain, spec, position))

    def tables(self) -> dict[str, list[Rule]]:
        """Rules by table, tables by name."""
        names = sorted({rule.table for rule in self.rules})
        return {name: [rule for rule in self.rules if rule.table == name] for name in names}


def chains(rules: Iterable[Rule]) -> list[str]:
    """Our chains that the rules of a table fill, in order."""
    return list(dict.fromkeys(rule.chain for rule in rules if rule.chain.startswith(OWN)))


def build(options: CaptureOptions) -> dict[int, Rules]:
    """The rules by IP version (4, and 6 where wanted). Raises BadOptions."""
    options.check()
    return {version: _build(options, version) for version in ((4, 6) if options.ipv6 else (4,))}


def _build(options: CaptureOptions, version: int) -> Rules:
    rules = Rules(version, options)
    _interfaces(rules, options)
    if options.drop_invalid:
        rules.add(MANGLE, "PREROUTING", "-m conntrack --ctstate INVALID -j ISTIO_DROP")
        rules.add(MANGLE, "ISTIO_DROP", "-j DROP")
    rules.add(NAT, "ISTIO_INBOUND", f"-p tcp --dport {options.tunnel_port} -j RETURN")
    rules.add(NAT, "ISTIO_REDIRECT", f"-p tcp -j REDIRECT --to-ports {options.proxy_port}")
    rules.add(NAT, "ISTIO_IN_REDIRECT", f"-p tcp -j REDIRECT --to-ports {options.inbound_port}")
    _inbound(rules, options)
    _outbound(rules, options)
    if options.mode != REDIRECT:
        _tproxy_marks(rules, options)
    return rules


def _interfaces(rules: Rules, options: CaptureOptions) -> None:
    for name in split(options.exclude_interfaces):
        for table in (NAT,) if options.mode == REDIRECT else (NAT, MANGLE):
            rules.add(table, "PREROUTING", f"-i {name} -j RETURN")
            rules.add(table, "OUTPUT", f"-o {name} -j RETURN")
    for name in split(options.virtual_interfaces):
        rules.insert(NAT, "PREROUTING", 1, f"-i {name} -j RETURN")


def _inbound(rules: Rules, options: CaptureOptions) -> None:
    """What enters the pod. Without inbound ports nothing is captured."""
    if not options.inbound_ports:
        return
    table = NAT if options.mode == REDIRECT else MANGLE
    if table == MANGLE:
        # what belongs to a socket of the proxy is delivered to it: the mark routes it to loopback
        rules.add(MANGLE, "ISTIO_DIVERT", f"-j MARK --set-mark {options.mark}")
        rules.add(MANGLE, "ISTIO_DIVERT", "-j ACCEPT")
        rules.add(
            MANGLE,
            "ISTIO_TPROXY",
            f"! -d {rules.loopback} -p tcp -j TPROXY"
            f" --tproxy-mark {options.mark}/0xffffffff --on-port {options.inbound_port}",
        )
    rules.add(table, "PREROUTING", "-p tcp -j ISTIO_INBOUND")
    if options.inbound_ports == ANYTHING:
        for port in split(options.inbound_exclude):
            rules.add(table, "ISTIO_INBOUND", f"-p tcp --dport {port} -j RETURN")
        _inbound_port(rules, table, "")
    else:
        for port in split(options.inbound_ports):
            _inbound_port(rules, table, f" --dport {port}")


def _inbound_port(rules: Rules, table: str, match: str) -> None:
    if table == NAT:
        rules.add(NAT, "ISTIO_INBOUND", f"-p tcp{match} -j ISTIO_IN_REDIRECT")
        return
    rules.add(
        MANGLE, "ISTIO_INBOUND", f"-p tcp{match} -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT"
    )
    rules.add(MANGLE, "ISTIO_INBOUND", f"-p tcp{match} -j ISTIO_TPROXY")


def _outbound(rules: Rules, options: CaptureOptions) -> None:
    """What leaves the pod, or goes from one of its processes to another."""
    add = rules.add
    add(NAT, "OUTPUT", "-j ISTIO_OUTPUT")
    for port in split(options.outbound_exclude_ports):
        add(NAT, "ISTIO_OUTPUT", f"-p tcp --dport {port} -j RETURN")
        add(NAT, "ISTIO_OUTPUT", f"-p udp --dport {port} -j RETURN")
    # the proxy to its own application, at the pod's address: would loop
    add(NAT, "ISTIO_OUTPUT", f"-o lo -s {rules.source} -j RETURN")
    with_dns = captures_dns(options)
    stays_local = not any(
        network.network_address.is_loopback
        for version in (4, 6)
        for network in of_family(options.outbound_ranges, version)
    )
    for kind, owner in _owners(options):
        _own_traffic(rules, options, kind, owner, with_dns, stays_local)
    _groups(rules, options)
    if with_dns:
        add_dns(rules, options)
    add(NAT, "ISTIO_OUTPUT", f"-d {rules.loopback} -j RETURN")
    for network in of_family(options.outbound_exclude, rules.version):
        add(NAT, "ISTIO_OUTPUT", f"-d {network} -j RETURN")
    for port in split(options.outbound_ports):
        add(NAT, "ISTIO_OUTPUT", f"-p tcp --dport {port} -j ISTIO_REDIRECT")
    for match in _included(options, rules.version):
        for name in split(options.virtual_interfaces):
            rules.insert(NAT, "PREROUTING", 1, f"-i {name} {match}-j ISTIO_REDIRECT")
        add(NAT, "ISTIO_OUTPUT", f"{match}-j ISTIO_REDIRECT")


def _own_traffic(
    rules: Rules, options: CaptureOptions, kind: str, owner: str, with_dns: bool, stays_local: bool
) -> None:
    """The proxy's own connections, and what its application says to itself."""
    not_tunnel = f"! --dport {options.tunnel_port}"
    if with_dns and kind == "uid":  # an answer to the agent's question must not come in through the proxy
        not_tunnel = f"-m multiport ! --dports 53,{options.tunnel_port}"
    # the proxy calls its own pod by the service's address: that enters by the inbound side
    rules.add(
        NAT,
        "ISTIO_OUTPUT",
        f"-o lo ! -d {rules.loopback} -p tcp {not_tunnel} -m owner --{kind}-owner {owner} -j ISTIO_IN_REDIRECT",
    )
    if stays_local:  # the application to localhost, or to its own address, stays direct
        port = " -p tcp ! --dport 53" if with_dns else ""
        rules.add(NAT, "ISTIO_OUTPUT", f"-o lo{port} -m owner ! --{kind}-owner {owner} -j RETURN")
    # whatever else the proxy sends, of any protocol: would loop
    rules.add(NAT, "ISTIO_OUTPUT", f"-m owner --{kind}-owner {owner} -j RETURN")


def captures_dns(options: CaptureOptions) -> bool:
    """Whether there is a server whose questions can be captured."""
    return options.dns and (options.dns_all or bool(options.dns_servers))


def _owners(options: CaptureOptions) -> Iterator[tuple[str, str]]:
    yield from (("uid", each) for each in split(options.proxy_uid))
    yield from (("gid", each) for each in split(options.proxy_gid))


def _groups(rules: Rules, options: CaptureOptions) -> None:
    """Processes that are not captured, by the group they run as."""
    for group in split(options.groups_exclude):
        rules.add(NAT, "ISTIO_OUTPUT", f"-m owner --gid-owner {group} -j RETURN")
    if options.groups != ANYTHING:
        none_of = " ".join(f"-m owner ! --gid-owner {group}" for group in split(options.groups))
        rules.add(NAT, "ISTIO_OUTPUT", f"{none_of} -j RETURN".lstrip())


def _included(options: CaptureOptions, version: int) -> list[str]:
    if options.outbound_ranges == ANYTHING:
        return [""]
    return [f"-d {network} " for network in of_family(options.outbound_ranges, version)]


def _tproxy_marks(rules: Rules, options: CaptureOptions) -> None:
    """Who has been here is known by marks: those of original_src (``mark``), and the proxy's own (OUTBOUND_MARK)."""
    mark, add = options.mark, rules.add
    add(MANGLE, "PREROUTING", f"-p tcp -m mark --mark {mark} -j CONNMARK --save-mark")
    add(MANGLE, "OUTPUT", f"-p tcp -o lo -m mark --mark {mark} -j RETURN")
    for kind, owner in _owners(options):
        match = f"! -d {rules.loopback} -p tcp -o lo -m owner --{kind}-owner {owner}"
        add(MANGLE, "OUTPUT", f"{match} -j MARK --set-mark {OUTBOUND_MARK}")
    add(MANGLE, "OUTPUT", f"-p tcp -m connmark --mark {mark} -j CONNMARK --restore-mark")
    rules.insert(MANGLE, "ISTIO_INBOUND", 1, f"-p tcp -m mark --mark {mark} -j RETURN")
    rules.insert(MANGLE, "ISTIO_INBOUND", 2, f"-p tcp -s {rules.source} -i lo -j RETURN")
    rules.insert(MANGLE, "ISTIO_INBOUND", 3, f"-p tcp -i lo -m mark ! --mark {OUTBOUND_MARK} -j RETURN")
