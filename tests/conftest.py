"""What every test shares. Helpers that are imported by name live in tests/support."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.upstream import Upstream

ROOT = Path(__file__).resolve().parents[1]


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
