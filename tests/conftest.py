"""What every test shares. Helpers that are imported by name live in tests/support."""

from __future__ import annotations

import compileall
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import engine
from tests.support.upstream import Upstream

ROOT = Path(__file__).resolve().parents[1]
engine.use_built()
# How long an example takes says more of the machine, and of what else runs on it, than of the code.
settings.register_profile("outrider", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("outrider")


def pytest_configure(config: pytest.Config) -> None:
    """Where nobody may write bytecode (CI), each of the hundreds of proxies that tests start would compile three hundred
    modules, in more time than it takes to start. So that is done once."""
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "proxy", quiet=2)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the checkout; tests that read it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared (other projects' files, not part of this one)")
    return folder


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A recording upstream that answers 200 "ok" until its script is changed."""
    with Upstream() as server:
        yield server


def _recorded(terminalreporter: pytest.TerminalReporter, name: str) -> list[tuple[str, Any]]:
    """(outcome, value) of each test that has recorded a property of that name."""
    return [
        (outcome, value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for key, value in getattr(report, "user_properties", [])
        if key == name
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured, from whatever process they ran in: how a worker was replaced, and the parity table, one
    line a scenario."""
    for _, measured in _recorded(terminalreporter, "replaced"):
        terminalreporter.line(measured)
    rows = _recorded(terminalreporter, "parity")
    if not rows:
        return
    terminalreporter.section("parity with Envoy 1.40.0")
    for outcome, (name, title, places, wrong, allowed) in sorted(rows, key=lambda row: row[1][0]):
        verdict = "equal" if outcome == "passed" and not allowed else allowed or f"{wrong} DIFFER"
        if outcome == "failed":
            verdict = f"{wrong} DIFFER" if wrong else "FAILED"
        terminalreporter.line(f"{name:16} {places:5} places  {verdict:24} {title}")
    differing = sum(outcome == "failed" for outcome, _ in rows)
    terminalreporter.line(f"{len(rows)} scenarios, {len(rows) - differing} agree, {differing} differ")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands in tests/parity is a parity test."""
    for item in items:
        if ROOT / "tests" / "parity" in item.path.parents:
            item.add_marker(pytest.mark.parity)
