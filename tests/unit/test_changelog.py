"""Notes for the changelog are named so that a release can sort them."""

from __future__ import annotations

import re
from pathlib import Path

NAME = re.compile(r"^[a-z0-9-]+\.(behavior_change|bug_fix|new_feature|removed)\.md$")


def test_notes_are_named_by_area_and_kind(root: Path) -> None:
    notes = [path.name for path in (root / "changelog.d").iterdir() if path.name != "README.md"]
    assert [name for name in notes if not NAME.match(name)] == []
    assert all((root / "changelog.d" / name).read_text().strip() for name in notes)
