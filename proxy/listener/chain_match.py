"""Which filter chain takes a connection: Envoy's nine criteria in Envoy's order, compiled into nested tables.

At each criterion the most specific entry that fits is taken, and there is no way back from it: a chain that would fit
otherwise, but whose entry was less specific at an earlier criterion, is not taken (as in Envoy's filter chain manager).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from proxy.base.filter_state import FilterState
from proxy.base.stream_info import NO_FINGERPRINTS
from proxy.upstream.host import format_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ANY = "ANY"
LOCAL = "SAME_IP_OR_LOOPBACK"
EXTERNAL = "EXTERNAL"
_EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Criteria(NamedTuple):
    """filter_chain_match, compiled: what is empty (port 0, ANY) matches everything. server_names: lower case;
    "*.example.com" for all below it."""

    destination_port: int = 0
    prefix_ranges: tuple[Network, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    direct_source_prefix_ranges: tuple[Network, ...] = ()
    source_type: str = ANY
    source_prefix_ranges: tuple[Network, ...] = ()
    source_ports: tuple[int, ...] = ()


class Facts:
    """What is known of a connection when its chain is chosen. Addresses are None for unix sockets.

    restored: the destination is the one before a redirection to us; socket: to be asked, while listener filters run
    is_proxied: the source is the one that a proxy before us has told of
    tlvs: of its header, to be passed on, None where there was no header
    metadata: dynamic metadata of the connection; consumed: how many of its first bytes a listener filter has taken for
    itself; is_counted: the listener filter that closes it has counted that itself
    filter_state: of the connection, None while there is none
    fingerprints: JA3 and JA4 of its client, "" where they are not taken
    """

    __slots__ = (
        *(
            "application_protocols",
            "consumed",
            "destination",
            "destination_port",
            "direct_source",
            "filter_state",
            "fingerprints",
            "is_counted",
        ),
        *("is_proxied", "metadata", "restored", "server_name", "socket", "source", "source_port", "tlvs"),
        "transport_protocol",
    )

    def __init__(self, destination_port: int = 0) -> None:
        self.destination: Address | None = None
        self.destination_port = destination_port
        self.server_name = ""
        self.transport_protocol = "raw_buffer"
        self.application_protocols: tuple[str, ...] = ()
        self.direct_source: Address | None = None
        self.source: Address | None = None
        self.source_port = 0
        self.restored = False
        self.socket: Any = None
        self.is_proxied = False
        self.tlvs: tuple[tuple[int, bytes], ...] | None = None
        self.metadata: dict[str, Any] = {}
        self.consumed = 0
        self.is_counted = False
        self.fingerprints = NO_FINGERPRINTS
        self.filter_state: dict[str, FilterState] | None = None

    def restore(self, ip: str, port: int) -> None:
        """Where the connection was going."""
        self.destination, self.destination_port, self.restored = ip_address(ip), port, True

    def proxied(self, address: Address, port: int) -> None:
        """Who the client is, as a proxy before us says."""
        self.source, self.source_port, self.is_proxied = address, port, True

    @property
    def local_address(self) -> str:
        """The destination as "ip:port" text, IPv6 in brackets."""
        return format_address(_text(self.destination), self.destination_port)

    @property
    def remote_address(self) -> str:
        """The source in the same way."""
        return format_address(_text(self.source), self.source_port)


def _text(address: Address | None) -> str:
    """As Envoy prints it: an IPv4 address within IPv6 with its dots."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return f"::ffff:{mapped}" if mapped is not None else str(address)


class Overlap(ValueError):
    """Two chains of the same rules; ``first`` and ``second`` as added."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__("the same matching rules")
        self.first = first
        self.second = second


class _Addresses:
    """By the longest prefix that holds an address."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[Network, dict[Any, Any]] = {}

    def find(self, address: Address | None) -> dict[Any, Any] | None:
        if address is None:
            return None
        fitting = [net for net in self.entries if net.version == address.version and address in net]
        return self.entries[max(fitting, key=lambda net: net.prefixlen)] if fitting else None


class ChainMatcher:
    """``add`` every chain, then ``find``. default: where none matches (default_filter_chain), None for none."""

    __slots__ = ("_ports", "default")

    def __init__(self) -> None:
        self._ports: dict[int, _Addresses] = {}
        self.default: Any = None

    def add(self, criteria: Criteria, chain: Any) -> None:
        """Raises Overlap when another chain has rules in common, or it says one twice itself."""
        addresses = self._ports.setdefault(criteria.destination_port, _Addresses())
        for net in criteria.prefix_ranges or _EVERYWHERE:
            by_name = addresses.entries.setdefault(net, {})
            for name in criteria.server_names or ("",):
                by_transport = by_name.setdefault(name.removeprefix("*"), {})
                by_protocol = by_transport.setdefault(criteria.transport_protocol, {})
                for protocol in criteria.application_protocols or ("",):
                    self._add_sources(by_protocol.setdefault(protocol, _Addresses()), criteria, chain)

    @staticmethod
    def _add_sources(direct: _Addresses, criteria: Criteria, chain: Any) -> None:
        for near in criteria.direct_source_prefix_ranges or _EVERYWHERE:
            by_type = direct.entries.setdefault(near, {})
            sources = by_type.setdefault(criteria.source_type, _Addresses())
            for far in criteria.source_prefix_ranges or _EVERYWHERE:
                by_port = sources.entries.setdefault(far, {})
                for port in criteria.source_ports or (0,):
                    if port in by_port:  # be it by a repeated entry of its own, as in Envoy
                        raise Overlap(by_port[port], chain)
                    by_port[port] = chain

    def find(self, facts: Facts) -> Any:
        """The chain, or the default one, or None."""
        addresses = self._ports.get(facts.destination_port) or self._ports.get(0)
        found = self._find(addresses, facts) if addresses is not None else None
        return self.default if found is None else found

    def _find(self, addresses: _Addresses, facts: Facts) -> Any:
        by_name = addresses.find(facts.destination)
        by_transport = _by_server_name(by_name, facts.server_name)
        by_protocol = _exact_or_any(by_transport, facts.transport_protocol, "")
        direct = _by_protocol(by_protocol, facts.application_protocols)
        by_type = direct.find(facts.direct_source) if direct is not None else None
        sources = _by_source_type(by_type, facts)
        by_port = sources.find(facts.source) if sources is not None else None
        return _exact_or_any(by_port, facts.source_port, 0)


def _exact_or_any(table: dict[Any, Any] | None, key: Any, anything: Any) -> Any:
    if table is None:
        return None
    found = table.get(key)
    return table.get(anything) if found is None else found


def _by_server_name(table: dict[Any, Any] | None, name: str) -> Any:
    """The name itself, then its parents with the most labels first, then chains without names."""
    if table is None:
        return None
    if name and name in table:
        return table[name]
    at = name.find(".", 1)
    while 0 < at < len(name) - 1:
        found = table.get(name[at:])
        if found is not None:
            return found
        at = name.find(".", at + 1)
    return table.get("")


def _by_protocol(table: dict[Any, Any] | None, offered: tuple[str, ...]) -> Any:
    """The first of the client's protocols that a chain names."""
    if table is None:
        return None
    for protocol in offered:
        if protocol in table:
            return table[protocol]
    return table.get("")


def _by_source_type(table: dict[Any, Any] | None, facts: Facts) -> Any:
    if table is None:
        return None
    if LOCAL in table or EXTERNAL in table:
        found = table.get(LOCAL if is_local(facts) else EXTERNAL)
        if found is not None:
            return found
    return table.get(ANY)


def is_local(facts: Facts) -> bool:
    """The same address at both ends, or loopback; unix sockets are local."""
    source = facts.source
    return source is None or source == facts.destination or source.is_loopback


def address_of(text: str) -> Address | None:
    """The address of "ip:port" text, None for a unix socket's."""
    try:
        return ip_address(text.rpartition(":")[0].strip("[]"))
    except ValueError:
        return None
