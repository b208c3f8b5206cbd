"""The differences between two runs, and which of them docs/differences.md allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.parity.observe import Seen

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "differences.md"
ABSENT = "(absent)"


@dataclass(slots=True, frozen=True)
class Difference:
    """One place that differs. allowed_by: the id of its entry in docs/differences.md, "" when it has none."""

    place: str
    envoy: str
    outrider: str
    allowed_by: str = ""

    def __str__(self) -> str:
        return f"{self.place}\n    Envoy:    {self.envoy!r}\n    outrider: {self.outrider!r}"


def documented() -> set[str]:
    """The ids of docs/differences.md: its third-level headings, up to the colon."""
    return set(re.findall(r"^### ([a-z0-9-]+):", DOCUMENT.read_text(), re.MULTILINE))


def compare(envoy: Seen, outrider: Seen, allow: Mapping[str, str]) -> list[Difference]:
    """Every place that differs. ``allow``: documented id → regular expression of the places it explains."""
    left, right = envoy.places(), outrider.places()
    found = []
    for place in [*left, *(name for name in right if name not in left)]:
        one, other = left.get(place, ABSENT), right.get(place, ABSENT)
        if one != other:
            reason = next((name for name, pattern in allow.items() if re.search(pattern, place)), "")
            found.append(Difference(place, one, other, reason))
    return found
