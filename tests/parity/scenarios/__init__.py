"""The scenarios, by theme; each module holds its own list."""

from __future__ import annotations

from tests.parity.scenarios import basics
from tests.support.parity.scenario import Scenario

SCENARIOS: list[Scenario] = [*basics.SCENARIOS]
