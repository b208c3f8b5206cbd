"""The compiled filter-chain matcher against a slow, literal reading of Envoy's rules."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.listener.chain_match import ANY, EXTERNAL, LOCAL, ChainMatcher, Criteria, Facts, Overlap

NETS = [ip_network(text) for text in ("127.0.0.0/8", "127.0.0.1/32", "10.0.0.0/8", "10.1.0.0/16", "::/0")]
ADDRESSES = [
    ip_address(text) for text in ("127.0.0.1", "127.0.0.2", "10.1.2.3", "10.2.2.3", "192.0.2.1", "::1")
]
NAMES = ["a.b.c", "b.c", "x.b.c", "*.b.c", "*.c", "c"]
PROTOCOLS = ["h2", "http/1.1", "istio"]


def some(values: list[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


CRITERIA = st.builds(
    Criteria,
    destination_port=st.sampled_from([0, 0, 80, 443]),
    prefix_ranges=some(NETS),
    server_names=some(NAMES),
    transport_protocol=st.sampled_from(["", "", "tls", "raw_buffer"]),
    application_protocols=some(PROTOCOLS),
    direct_source_prefix_ranges=some(NETS),
    source_type=st.sampled_from([ANY, ANY, LOCAL, EXTERNAL]),
    source_prefix_ranges=some(NETS),
    source_ports=some([1000, 2000]),
)


def facts_of(**known: Any) -> Facts:
    """What is known of a connection."""
    facts = Facts()
    for name, value in known.items():
        setattr(facts, name, value)
    return facts


FACTS = st.builds(
    facts_of,
    destination=st.sampled_from(ADDRESSES),
    destination_port=st.sampled_from([80, 443, 8080]),
    server_name=st.sampled_from(["", "a.b.c", "b.c", "c", "z.x.b.c", "other"]),
    transport_protocol=st.sampled_from(["tls", "raw_buffer"]),
    application_protocols=some([*PROTOCOLS, "spdy"]),
    direct_source=st.sampled_from(ADDRESSES),
    source=st.sampled_from(ADDRESSES),
    source_port=st.sampled_from([1000, 2000, 3000]),
)


def nets_rank(nets: tuple[Any, ...], address: Any) -> int | None:
    """How specifically the ranges hold the address; none at all is the whole of both families; None: not."""
    if not nets:
        return 0
    held = [net.prefixlen for net in nets if net.version == address.version and address in net]
    return max(held) if held else None


def name_rank(names: tuple[str, ...], name: str) -> int | None:
    ranks = [0] if not names else []
    ranks += [1000 for each in names if name and each == name]
    ranks += [
        len(each)
        for each in names
        if each[0] == "*" and len(name) > len(each) - 1 and name.endswith(each[1:])
    ]
    return max(ranks) if ranks else None


def protocol_rank(wanted: tuple[str, ...], offered: tuple[str, ...]) -> int | None:
    ranks = [0] if not wanted else []
    ranks += [100 - at for at, each in enumerate(offered) if each in wanted]
    return max(ranks) if ranks else None


def exact_rank(wanted: Any, value: Any, anything: Any) -> int | None:
    return 1 if wanted == value else 0 if wanted == anything else None


def literal(chains: list[Criteria], facts: Facts) -> Criteria | None:
    """Criterion by criterion: only the chains that fit best go on."""
    local = facts.source == facts.destination or (facts.source is not None and facts.source.is_loopback)
    steps = [
        lambda c: exact_rank(c.destination_port, facts.destination_port, 0),
        lambda c: nets_rank(c.prefix_ranges, facts.destination),
        lambda c: name_rank(c.server_names, facts.server_name),
        lambda c: exact_rank(c.transport_protocol, facts.transport_protocol, ""),
        lambda c: protocol_rank(c.application_protocols, facts.application_protocols),
        lambda c: nets_rank(c.direct_source_prefix_ranges, facts.direct_source),
        lambda c: exact_rank(c.source_type, LOCAL if local else EXTERNAL, ANY),
        lambda c: nets_rank(c.source_prefix_ranges, facts.source),
        lambda c: 0 if not c.source_ports else 1 if facts.source_port in c.source_ports else None,
    ]
    left = chains
    for step in steps:
        ranks = [(rank, chain) for chain in left if (rank := step(chain)) is not None]
        best = max((rank for rank, _ in ranks), default=0)
        left = [chain for rank, chain in ranks if rank == best]
    return left[0] if left else None


@settings(max_examples=200, deadline=None)
@given(st.lists(CRITERIA, max_size=6), st.lists(FACTS, min_size=1, max_size=4))
def test_it_finds_what_the_rules_say(wanted: list[Criteria], connections: list[Facts]) -> None:
    matcher = ChainMatcher()
    chains: list[Criteria] = []
    for criteria in wanted:
        try:
            matcher.add(criteria, criteria)
        except Overlap:  # Envoy refuses the whole listener then
            return
        chains.append(criteria)
    for facts in connections:
        assert matcher.find(facts) == literal(chains, facts)
    matcher.default = "default"
    for facts in connections:
        assert matcher.find(facts) == (literal(chains, facts) or "default")
