"""What is to be captured: the options of istio-iptables, checked. Knows no flag and no environment (proxy.cli.iptables does)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

REDIRECT: Final = "REDIRECT"
TPROXY: Final = "TPROXY"
ANYTHING: Final = "*"
_MAX_PORT: Final = 65535
_MAX_ID: Final = 2**32 - 2
#: IFNAMSIZ, without its NUL; iptables takes a trailing "+" for "begins with"
_MAX_INTERFACE: Final = 15


class BadOptions(ValueError):
    """Options that make no rules. ``problems``: one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(slots=True, frozen=True)
class CaptureOptions:
    """Lists are comma separated text, as people write them; ``ANYTHING`` where it says so.

    proxy_port, inbound_port: where outbound and inbound connections go; tunnel_port: left alone (HBONE)
    proxy_uid, proxy_gid: lists of numbers, whose connections are the proxy's own
    mode: REDIRECT or TPROXY, for inbound; outbound is always redirected
    inbound_ports: "*", or a list, or "" for none; inbound_exclude: a list that counts with "*"
    outbound_ranges: "*", or networks, or ""; outbound_exclude: networks; outbound_ports: captured whatever the network is
    outbound_exclude_ports: a list, TCP and UDP
    exclude_interfaces: neither way is captured; virtual_interfaces: what they send in counts as outbound (kube-virt)
    groups, groups_exclude: which owners' groups are captured ("*"), numbers or names; one of them only
    loopback: what is never captured in IPv4
    dns: UDP and TCP port 53 go to ``dns_port``: for ``dns_servers`` (addresses) or, with dns_all, for all
    drop_invalid: drop packets that conntrack calls invalid, rather than let the kernel reset connections for them
    mark, table: of TPROXY, numbers as text
    ipv6: rules for IPv6 too
    """

    proxy_port: int = 15001
    inbound_port: int = 15006
    tunnel_port: int = 15008
    proxy_uid: str = "1337"
    proxy_gid: str = "1337"
    mode: str = REDIRECT
    inbound_ports: str = ANYTHING
    inbound_exclude: str = "15090,15021,15020"
    outbound_ranges: str = ANYTHING
    outbound_exclude: str = ""
    outbound_ports: str = ""
    outbound_exclude_ports: str = ""
    exclude_interfaces: str = ""
    virtual_interfaces: str = ""
    groups: str = ANYTHING
    groups_exclude: str = ""
    loopback: str = "127.0.0.1/32"
    dns: bool = False
    dns_all: bool = False
    dns_servers: tuple[str, ...] = ()
    dns_port: int = 15053
    drop_invalid: bool = False
    mark: str = "1337"
    table: str = "133"
    ipv6: bool = False

    def check(self) -> None:
        """Raises BadOptions with everything that is wrong. What passes holds nothing that a rule's line could trip on."""
        problems = [
            *_port_problems(self),
            *(
                f"{what}: {each!r} is no number of a user or group"
                for what, each in self._ids()
                if not _is_id(each)
            ),
            *(
                f"{what}: {each!r} is not a network"
                for what, each in self._networks()
                if not _is_network(each)
            ),
            *(
                f"{what}: {each!r} is not an interface"
                for what, each in self._interfaces()
                if not _is_interface(each)
            ),
            *(
                f"group {each!r} is neither a number nor a name"
                for each in self._groups()
                if not _is_group(each)
            ),
            *(f"DNS server {each!r} is not an address" for each in self.dns_servers if not _is_address(each)),
        ]
        if self.mode not in (REDIRECT, TPROXY):
            problems.append(f"mode {self.mode!r} is neither REDIRECT nor TPROXY")
        if self.groups != ANYTHING and self.groups_exclude:
            problems.append("owner groups: either those to capture or those to leave alone, not both")
        if ANYTHING in split(self.outbound_exclude):
            problems.append(
                "excluded outbound ranges: '*' would capture nothing; leave the ranges empty instead"
            )
        for what, text in (("mark", self.mark), ("route table", self.table)):
            if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _MAX_ID:
                problems.append(f"{what} {text!r} is not a number")
        if problems:
            raise BadOptions(problems)

    def _ids(self) -> list[tuple[str, str]]:
        named = [("proxy uid", each) for each in split(self.proxy_uid)]
        named += [("proxy gid", each) for each in split(self.proxy_gid)]
        return named or [("proxy uid and gid", "")]  # with neither the proxy would capture itself

    def _networks(self) -> list[tuple[str, str]]:
        named = [("outbound ranges", each) for each in split(self.outbound_ranges)]
        named += [("excluded outbound ranges", each) for each in split(self.outbound_exclude)]
        named += [("loopback", self.loopback)]
        return [(what, each) for what, each in named if each != ANYTHING]

    def _interfaces(self) -> list[tuple[str, str]]:
        named = [("excluded interfaces", each) for each in split(self.exclude_interfaces)]
        return named + [("virtual interfaces", each) for each in split(self.virtual_interfaces)]

    def _groups(self) -> list[str]:
        return [each for each in split(self.groups) + split(self.groups_exclude) if each != ANYTHING]


def split(text: str) -> list[str]:
    """The items of a comma separated list; empty ones do not count."""
    return [item for item in (each.strip() for each in text.split(",")) if item]


def of_family(networks: str, version: int) -> list[Network]:
    """The networks of one IP version, "*" left out. As in Istio host bits do not make a network wrong."""
    parsed = [ip_network(each, strict=False) for each in split(networks) if each != ANYTHING]
    return [network for network in parsed if network.version == version]


def _port_problems(options: CaptureOptions) -> Iterable[str]:
    numbers = {
        "proxy port": options.proxy_port,
        "inbound capture port": options.inbound_port,
        "tunnel port": options.tunnel_port,
        "DNS port": options.dns_port,
    }
    yield from (f"{what} {port} is not a port" for what, port in numbers.items() if not 0 < port <= _MAX_PORT)
    lists = {
        "inbound ports": options.inbound_ports,
        "excluded inbound ports": options.inbound_exclude,
        "outbound ports": options.outbound_ports,
        "excluded outbound ports": options.outbound_exclude_ports,
    }
    for what, text in lists.items():
        if text.strip() == ANYTHING and what == "inbound ports":
            continue
        yield from (
            f"{what}: {each!r} is not a port" for each in split(text) if not _is_number(each, _MAX_PORT)
        )


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12 and 0 < int(text) <= most


def _is_id(text: str) -> bool:
    return text == "0" or _is_number(text, _MAX_ID)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and ip_address(text) is not None
    except ValueError:
        return False


def _is_interface(text: str) -> bool:
    return (
        len(text) <= _MAX_INTERFACE
        and all(char.isalnum() or char in "-_.@+" for char in text)
        and text != "+"
    )


def _is_group(text: str) -> bool:
    return _is_id(text) or (text[0].isalpha() and all(char.isalnum() or char in "-_." for char in text))
