"""The same bootstrap through the real Envoy and outrider: what the client, the upstream, the log, the statistics and
the collector see must be equal, except for what docs/differences.md names.

``PARITY_SELF=1`` puts Envoy on both sides: then everything must be equal, or the comparison itself is at fault.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.scenarios import SCENARIOS
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.parity.compare import DOCUMENT, compare, documented
from tests.support.parity.observe import Seen, observe
from tests.support.parity.scenario import Scenario, World
from tests.support.process import ProxyProcess

SELF = os.environ.get("PARITY_SELF") == "1"

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param.upstreams)
    yield made
    made.close()


def seen_through(kind: type[ProxyProcess], scenario: Scenario, world: World) -> Seen:
    world.reset()
    folder = world.folder / "run"
    folder.mkdir(exist_ok=True)
    with kind(scenario.config(world), folder=folder) as proxy:
        return observe(scenario, world, proxy)


@pytest.mark.parametrize(
    ("scenario", "world"),
    [pytest.param(scenario, scenario, id=scenario.name) for scenario in SCENARIOS],
    indirect=["world"],
)
def test_parity(scenario: Scenario, world: World, record_property) -> None:
    row = [scenario.name, scenario.title, 0, 0, ""]
    record_property("parity", row)
    unknown = {*scenario.allow, *filter(None, [scenario.native])} - documented()
    assert not unknown, f"docs/differences.md does not name {unknown}"
    if scenario.native and os.environ.get("OUTRIDER_NATIVE") != "1":
        pytest.skip(f"needs the native build (docs/differences.md: {scenario.native})")
    envoy = seen_through(Envoy, scenario, world)
    outrider = seen_through(Envoy if SELF else Outrider, scenario, world)
    found = compare(envoy, outrider, {} if SELF else scenario.allow)
    wrong = [difference for difference in found if not difference.allowed_by]
    row[2:] = len(envoy.places()), len(wrong), ", ".join(sorted({item.allowed_by for item in found} - {""}))
    assert not wrong, "\n".join(map(str, wrong))


def test_differences_are_shown(root: Path) -> None:
    """Every entry of docs/differences.md is used by a scenario or names tests ("file::test") that exist."""
    text = DOCUMENT.read_text()
    used = {name for scenario in SCENARIOS for name in scenario.allow}
    for name in documented():
        entry = text.split(f"### {name}:", 1)[1].split("\n### ", 1)[0]
        shown = re.search(r"Shown by\s+(`.*)", entry, re.DOTALL)
        tests = re.findall(r"`([^`]+)`", shown[1]) if shown is not None else []
        assert name in used or tests, f"{name} is used by no scenario and names no test"
        missing = [test for test in tests if not _is_test(root, test)]
        assert not missing, f"{name} names what is no test: {missing}"


def _is_test(root: Path, test: str) -> bool:
    file, _, function = test.partition("::")
    path = root / file
    found = path.is_file() and re.search(
        rf"^(async )?def {re.escape(function)}\(", path.read_text(), re.MULTILINE
    )
    return function.startswith("test_") and bool(found)
