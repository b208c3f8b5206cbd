"""Network filters before the terminal one: in order, stopped, going on."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.http.filter import STOP
from proxy.network.read_filter import ReadFilter, ReadFilterFactory
from tests.support.config import network_filter, tcp_proxy
from tests.support.transcript import RawTranscript, ends_clean  # noqa: F401


class Watching(ReadFilter):
    """Writes down what it is told; stops where its name is in ``Recorded.stops``."""

    def __init__(self, name: str, made: Recorded) -> None:
        self.name = name
        self.made = made

    def on_new_connection(self) -> Any:
        self.made.told.append(f"{self.name} new")
        return STOP if f"{self.name} new" in self.made.stops else None

    def on_data(self, data: bytes, end: bool) -> Any:
        self.made.told.append(f"{self.name} {data.decode()}{'.' if end else ''}")
        return STOP if f"{self.name} data" in self.made.stops else None

    def on_closed(self) -> None:
        self.made.told.append(f"{self.name} closed")


class Recorded(ReadFilterFactory):
    def __init__(self, name: str, told: list[str], stops: set[str]) -> None:
        self.name, self.told, self.stops = name, told, stops
        self.filters: list[Watching] = []

    def new_filter(self) -> ReadFilter:
        self.filters.append(Watching(self.name, self))
        return self.filters[-1]


class Chain:
    """Two filters before tcp_proxy, and a client."""

    def __init__(self, *stops: str) -> None:
        self.talk = RawTranscript(tcp_proxy("a"), listener={"per_connection_buffer_limit_bytes": 1000})
        self.told: list[str] = []
        self.stops = set(stops)
        self.first, self.second = (Recorded(name, self.told, self.stops) for name in "12")
        self.talk.listener.filter_chains[0].before = (self.first, self.second)
        self.client = self.talk.connects()

    def goes_on(self, which: Recorded) -> None:
        self.stops.clear()
        which.filters[-1].gate.continue_reading(which.filters[-1])
        self.talk.loop.run()


def test_every_filter_sees_what_passes() -> None:
    chain = Chain()
    chain.client(b"x")
    chain.client(b"y")
    chain.client.closes()
    assert chain.told == ["1 new", "2 new", "1 x", "2 x", "1 y", "2 y", "1 .", "2 ."]
    assert chain.talk.upstream(1).got == b"xy" and chain.talk.upstream(1).is_closed


def test_one_that_stops_a_new_connection_keeps_it_from_the_others() -> None:
    chain = Chain("1 new")
    assert chain.told == ["1 new"] and chain.talk.upstreams == 1, "only the first client's"
    chain.goes_on(chain.first)
    assert chain.told == ["1 new", "2 new"] and chain.talk.upstreams == 2


def test_bytes_wait_until_it_goes_on() -> None:
    chain = Chain("2 data")
    chain.client(b"a")
    chain.client(b"b")
    assert chain.talk.upstream(1).got == b""
    chain.client.closes()
    chain.goes_on(chain.second)
    assert chain.talk.upstream(1).got == b"ab" and chain.talk.upstream(1).is_closed
    assert chain.told[2:] == ["1 a", "2 a", "1 ab", "2 ab", "1 ab.", "2 ab."]


def test_what_waits_is_bounded() -> None:
    chain = Chain("1 data")
    chain.client(b"x" * 600)
    assert chain.client.pipe.reading
    chain.client(b"x" * 600)
    assert not chain.client.pipe.reading
    chain.goes_on(chain.first)
    assert chain.client.pipe.reading and chain.talk.upstream(1).got == b"x" * 1200


def test_they_are_told_of_the_end() -> None:
    chain = Chain()
    chain.client.resets()
    assert chain.told[-2:] == ["1 closed", "2 closed"]


def test_a_mistake_of_a_filter_closes_its_connection_alone() -> None:
    class Broken(Recorded):
        def new_filter(self) -> ReadFilter:
            class Raises(ReadFilter):
                def on_data(self, data: bytes, end: bool) -> Any:
                    raise RuntimeError("a mistake")

            return Raises()

    chain = Chain()
    chain.talk.listener.filter_chains[0].before = (Broken("b", [], set()),)
    other = chain.talk.connects()
    other(b"x")
    chain.talk.bugs = 1
    assert other.pipe.lost and not chain.client.is_closed


@pytest.mark.parametrize("delay_s", [0, 2])
def test_connections_beyond_a_limit(delay_s: int) -> None:
    limit = network_filter(
        "connection_limit",
        "connection_limit.v3.ConnectionLimit",
        stat_prefix="lim",
        max_connections=1,
        **({"delay": f"{delay_s}s"} if delay_s else {}),
    )
    talk = RawTranscript(limit, tcp_proxy("a"))
    second = talk.connects()
    second(b"x")
    if delay_s:
        talk.waits(1.9)
        assert not second.pipe.lost and talk.stats["connection_limit.lim.active_connections"] == 2
        talk.waits(0.2)
    assert second.pipe.lost and talk.upstreams == 1
    assert talk.stats["connection_limit.lim.limited_connections"] == 1
    assert talk.stats["connection_limit.lim.active_connections"] == 1
    talk.client.resets()
    talk.connects()
    assert talk.upstreams == 2 and talk.stats["connection_limit.lim.active_connections"] == 1


def test_a_limit_that_the_runtime_has_switched_off() -> None:
    limit = network_filter(
        "connection_limit",
        "connection_limit.v3.ConnectionLimit",
        stat_prefix="lim",
        max_connections=1,
        runtime_enabled={"default_value": True, "runtime_key": "limit.on"},
    )
    talk = RawTranscript(limit, tcp_proxy("a"))
    talk.overrides(limit__on="false")
    assert not talk.connects().pipe.lost
    talk.overrides(limit__on="true")
    assert talk.connects().pipe.lost
