"""How a rehearsed connection comes in: the listener filters and the matcher that serve choose its filter chain."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from proxy.explain.prepare import managers_of
from proxy.listener.chain_match import ANY, LOCAL, Address, Criteria, Facts, is_local
from proxy.listener.filter_chain import FilterChain

Place = tuple[str, int]
_CLIENT: Place = ("127.0.0.1", 40000)
#: what curl and browsers offer
OFFERED = ("h2", "http/1.1")


@dataclass(slots=True, frozen=True)
class Client:
    """Who connects: (IP address, port). destination: None for the listener's own; server_name, alpn: of a TLS client."""

    source: Place = _CLIENT
    destination: Place | None = None
    tls: bool = False
    server_name: str = ""
    alpn: tuple[str, ...] = OFFERED


@dataclass(slots=True)
class Entrance:
    """A connection that has come in. facts: what was known of it; chain: None where none takes it."""

    listener: Any
    source: Place
    destination: Place
    facts: Facts
    chain: FilterChain | None

    @property
    def hcm(self) -> Any:
        """The chain's connection manager, None where it has none."""
        return getattr(self.chain.filter, "hcm", None) if self.chain is not None else None

    @property
    def manager(self) -> Any:
        """Its HttpConnectionManager message, None where it has none."""
        return manager_of(self.chain) if self.chain is not None else None


def manager_of(chain: FilterChain) -> Any:
    """The HttpConnectionManager message of a chain, None where it has none."""
    for _, manager in managers_of(chain.message):
        return manager
    return None


def http_chains(listener: Any) -> list[FilterChain]:
    """Those of a listener's chains that have a connection manager."""
    return [chain for chain in listener.filter_chains if getattr(chain.filter, "hcm", None) is not None]


def host_name(authority: str) -> str:
    """What a TLS client of this authority (host, host:port, [ip]:port) says as server name: "" for an address."""
    host = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdigit() else authority
    return "" if _address((host.strip("[]"), 0)) is not None else host.lower()


def enter(listener: Any, client: Client, data: bytes) -> Entrance:
    """Choose as ``listener.accepting`` does. data: the first bytes of a client in plain text."""
    destination = client.destination or _reachable(listener.address)
    source = _address(client.source)
    facts = Facts()
    facts.destination, facts.destination_port = _address(destination), destination[1]
    facts.direct_source = facts.source = source
    facts.source_port = client.source[1]
    if not listener.chooses:
        chain = listener.filter_chains[0] if listener.filter_chains else None
        return Entrance(listener, client.source, destination, facts, chain)
    if listener.inspectors and client.tls:
        data = client_hello(client.server_name, client.alpn)
    for inspector in listener.inspectors:
        if inspector.inspect(data, facts) is False:
            return Entrance(listener, client.source, destination, facts, None)
    return Entrance(listener, client.source, destination, facts, listener.chains.find(facts))


def client_hello(server_name: str, alpn: tuple[str, ...]) -> bytes:
    """The first flight of a TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name or None)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def _reachable(address: Place) -> Place:
    """Where a client on the same machine reaches a listener."""
    ip = _address(address)
    if ip is None or not ip.is_unspecified:
        return address
    return ("127.0.0.1" if ip.version == 4 else "::1", address[1])


def _address(place: Place) -> Address | None:
    """None for a unix socket."""
    try:
        return ip_address(place[0])
    except ValueError:
        return None


# -- why not another chain -------------------------------------------------------------------------------------------


def _in_ranges(address: Address | None, ranges: tuple[Any, ...]) -> bool:
    return address is not None and any(net.version == address.version and address in net for net in ranges)


def _named(name: str, wanted: tuple[str, ...]) -> bool:
    return any(
        name == one or (one.startswith("*") and name.endswith(one[1:]) and len(name) > len(one) - 1)
        for one in wanted
    )


#: FilterChainMatch's criteria in the order in which they decide: (field, whether it fits, what the connection has)
_CRITERIA: tuple[tuple[str, Callable[[Any, Facts], bool], Callable[[Facts], Any]], ...] = (
    (
        "destination_port",
        lambda want, has: bool(want == has.destination_port),
        lambda has: has.destination_port,
    ),
    ("prefix_ranges", lambda want, has: _in_ranges(has.destination, want), lambda has: has.destination),
    ("server_names", lambda want, has: _named(has.server_name, want), lambda has: has.server_name),
    (
        "transport_protocol",
        lambda want, has: bool(want == has.transport_protocol),
        lambda has: has.transport_protocol,
    ),
    (
        "application_protocols",
        lambda want, has: not set(want).isdisjoint(has.application_protocols),
        lambda has: ", ".join(has.application_protocols),
    ),
    (
        "direct_source_prefix_ranges",
        lambda want, has: _in_ranges(has.direct_source, want),
        lambda has: has.direct_source,
    ),
    (
        "source_type",
        lambda want, has: want == ANY or (want == LOCAL) == is_local(has),
        lambda has: LOCAL if is_local(has) else "EXTERNAL",
    ),
    ("source_prefix_ranges", lambda want, has: _in_ranges(has.source, want), lambda has: has.source),
    ("source_ports", lambda want, has: has.source_port in want, lambda has: has.source_port),
)


def why_not(criteria: Criteria | None, facts: Facts) -> str:
    """Why a chain with these criteria (None: the default one) was passed over."""
    if criteria is None:
        return "it is for what no other chain takes"
    for field, fits, has in _CRITERIA:
        wanted = getattr(criteria, field)
        if wanted and not fits(wanted, facts):
            found = has(facts)
            said = "the connection has none" if found in ("", None) else f"the connection has {found}"
            return f"wants {field} {_shown(wanted)}, but {said}"
    return "its match fits too, but a more specific one goes before it"


def _shown(wanted: Any) -> str:
    return ", ".join(str(one) for one in wanted) if isinstance(wanted, tuple) else str(wanted)
