"""Listeners that take connections for others: who is found for an address, what stays with the connection."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from proxy.listener.chain_match import Facts
from proxy.listener.directory import ListenerDirectory
from proxy.listener.listener import Listener
from proxy.listener.place import Place


def directory(*places: tuple[str, Place]) -> ListenerDirectory:
    made = ListenerDirectory()
    made.renew([Listener(name, (place,), SimpleNamespace(), None) for name, place in places])
    return made


LISTENERS = (
    ("exact", Place("10.0.0.1", 80)),
    ("wild", Place("0.0.0.0", 80)),
    ("wild6", Place("::", 80)),
    ("both", Place("::", 81, ipv4_compat=True)),
    ("pipe", Place("/run/x", None)),
)


@pytest.mark.parametrize(
    ("ip", "port", "name"),
    [
        ("10.0.0.1", 80, "exact"),
        ("10.0.0.2", 80, "wild"),
        ("2001:db8::1", 80, "wild6"),
        ("10.0.0.1", 81, "both"),
        ("2001:db8::1", 81, "both"),
        ("10.0.0.1", 82, None),
    ],
)
def test_who_listens_at_an_address(ip, port, name):
    found = directory(*LISTENERS).find(ip, port)
    assert (found.name if found else None) == name


def test_who_has_stopped_is_not_found_and_the_wildcard_stands_in():
    both = directory(*LISTENERS)
    both.find("10.0.0.1", 80).stopped = True
    assert both.find("10.0.0.1", 80).name == "wild"


def test_whose_address_it_is():
    """Of that very one: who stands in for others does not have theirs."""
    owners = directory(*LISTENERS, ("any", Place("10.0.0.3", 0)))
    asked = [
        *[place for _, place in LISTENERS],
        Place("10.0.0.1", 81),
        Place("0.0.0.0", 81),
        Place("10.0.0.3", 0),
    ]
    found = [owners.at(place) for place in asked]
    assert [each and each.name for each in found] == [
        "exact",
        "wild",
        "wild6",
        "both",
        "pipe",
        None,
        None,
        None,
    ]
    assert owners.named("pipe") is found[4] and owners.named("else") is None
    owners.renew([])
    assert owners.at(asked[0]) is owners.named("exact") is owners.find("10.0.0.1", 80) is None


def test_a_restored_destination_is_what_chains_match_and_logs_say():
    facts = Facts()
    facts.restore("10.0.0.1", 80)
    assert (facts.local_address, facts.destination_port, facts.restored) == ("10.0.0.1:80", 80, True)
    facts.restore("2001:db8::1", 81)
    assert facts.local_address == "[2001:db8::1]:81"
