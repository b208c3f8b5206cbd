"""docs/mistakes.md is true: what it says that Envoy and outrider print, they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.envoy import ENVOY_MISSING
from tests.support.mistakes import Section, envoy_says, outrider_says, sections

SECTIONS = sections()


def test_there_are_ten() -> None:
    assert len(SECTIONS) == 10
    assert all("envoyproxy/envoy issue" in section.text for section in SECTIONS)
    assert len({section.title for section in SECTIONS}) == 10


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_outrider_prints_it(section: Section, tmp_path: Path) -> None:
    assert outrider_says(section, tmp_path) == section.outrider
    assert section.outrider.count(": error: ") >= 1
    assert all(": unsupported: " not in line for line in section.outrider.splitlines())


@pytest.mark.parity
@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_envoy_prints_it(section: Section, tmp_path: Path) -> None:
    assert section.envoy
    assert envoy_says(section, tmp_path) == section.envoy
