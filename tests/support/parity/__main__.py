"""Shows what one proxy did: ``python -m tests.support.parity envoy plain_get`` (or ``outrider``; no name: lists)."""

from __future__ import annotations

import sys

from tests.parity.scenarios import SCENARIOS
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.parity.observe import observe
from tests.support.parity.scenario import World

if len(sys.argv) < 3:
    for scenario in SCENARIOS:
        print(f"{scenario.name:24} {scenario.title}")
    sys.exit(0)
kind = {"envoy": Envoy, "outrider": Outrider}[sys.argv[1]]
for scenario in SCENARIOS:
    if scenario.name not in sys.argv[2:]:
        continue
    world = World(scenario.upstreams)
    try:
        with kind(scenario.config(world)) as proxy:
            try:
                seen = observe(scenario, world, proxy)
            finally:
                print(proxy.output()[-3000:], file=sys.stderr)
        for place, value in seen.places().items():
            lines = value.splitlines()
            print(f"{place}: {value}" if len(lines) < 2 else f"{place}:\n    " + "\n    ".join(lines))
    finally:
        world.close()
