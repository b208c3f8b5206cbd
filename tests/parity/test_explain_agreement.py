"""``outrider explain`` against the real Envoy: the route corpus, sent to Envoy and rehearsed by us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.explain.engine import Engine
from tests.integration.test_explain_agreement import rehearse
from tests.parity.route_cases import GROUPS, Group
from tests.parity.test_route_agreement import Rig
from tests.support.client import Client
from tests.support.envoy import ENVOY_MISSING
from tests.support.explaining import engine_of

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        with made.proxy:
            yield made
    finally:
        made.one.close()
        made.two.close()


@pytest.fixture(scope="module")
def engine(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine_of(rig.bootstrap, tmp_path_factory.mktemp("rehearsed"))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_envoy_does_what_is_explained(rig: Rig, engine: Engine, group: Group) -> None:
    differences = []
    for ask in group.asks[::4]:
        with Client(rig.ports[group.name]) as client:
            theirs = rig.ask(client, ask)
        explained = rehearse(engine, group, ask)
        if theirs != explained:
            differences.append(f"{ask}\n  envoy:     {theirs}\n  explained: {explained}")
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences)
