"""setup.py's lists are of files that exist; the build itself is tested by ``make native-test``."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_interpreted_file_exists() -> None:
    text = (ROOT / "setup.py").read_text()
    named = re.findall(r'"(proxy/[a-z_/0-9]+\.py)"', text)
    assert named and [name for name in named if not (ROOT / name).is_file()] == []


def test_every_compiled_room_exists() -> None:
    rooms = re.search(r"ROOMS = \[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL)
    named = re.findall(r'"([a-z_]+)"', rooms[1]) if rooms is not None else []
    assert named and [room for room in named if not (ROOT / "proxy" / room).is_dir()] == []
