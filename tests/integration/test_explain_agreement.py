"""``outrider explain`` against traffic: every request of the route table's corpus, sent and rehearsed.

The same corpus that holds the route table against the real Envoy (tests/parity/route_cases.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.explain.engine import Engine
from proxy.explain.report import explain, place_of
from tests.parity.route_cases import GROUPS, Ask, Group
from tests.parity.test_route_agreement import UNCOMPARED, UPSTREAM_HEADERS, Outcome, Rig, settled
from tests.support.client import Client
from tests.support.explaining import ask_of, engine_of, told
from tests.support.outrider import Outrider


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig(Outrider)
    try:
        with made.proxy:
            yield made
    finally:
        made.one.close()
        made.two.close()


@pytest.fixture(scope="module")
def engine(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine_of(rig.bootstrap, tmp_path_factory.mktemp("rehearsed"))


def rehearse(engine: Engine, group: Group, ask: Ask) -> Outcome:
    listener = next(one for one in engine.listeners if one.name == group.name)
    outcome = engine.ask(listener, ask_of(ask.path, ask.fields, ask.host, UPSTREAM_HEADERS))
    status, cluster, seen, fields = told(outcome, UNCOMPARED)
    if seen is not None:
        seen = (seen[0], seen[1], settled(seen[2], frozenset()))
    assert outcome.response is not None
    return Outcome(status, cluster, seen, settled(fields), outcome.response.body if seen is None else b"")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_what_is_explained_is_what_happens(rig: Rig, engine: Engine, group: Group) -> None:
    differences = []
    for ask in group.asks:
        with Client(rig.ports[group.name]) as client:
            happened = rig.ask(client, ask)
        explained = rehearse(engine, group, ask)
        if happened != explained:
            differences.append(f"{ask}\n  happened:  {happened}\n  explained: {explained}")
    assert not differences, f"{len(differences)} of {len(group.asks)} differ\n" + "\n".join(differences)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_reasons_fit_the_choice(engine: Engine, group: Group) -> None:
    """Every route before the chosen one has a reason; without a chosen one every route has."""
    listener = next(one for one in engine.listeners if one.name == group.name)
    for ask in group.asks[::9]:
        outcome = engine.ask(listener, ask_of(ask.path, ask.fields, ask.host, []))
        shown = explain(engine, outcome)
        host_at, route_at = place_of(outcome)
        if host_at is None:
            assert "virtual_host" not in shown
            assert all("none of its domains" in one["why"] for one in shown["virtual_hosts_passed_over"])
            continue
        assert shown["virtual_host"]["domains"], ask
        passed = shown.get("routes_passed_over", [])
        assert all(one["why"] for one in passed), (ask, passed)
        if route_at is not None:
            assert [one["index"] for one in passed] == list(range(route_at))
            assert shown["route"]["index"] == route_at
