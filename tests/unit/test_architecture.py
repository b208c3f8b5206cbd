"""ARCHITECTURE.md cannot rot: every name in it exists, every room is in it, every link leads somewhere."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROOMS = sorted(path.name for path in (ROOT / "proxy").iterdir() if (path / "__init__.py").exists())
NAMES = sorted(
    {
        name
        for name in re.findall(r"`([a-z]\w*(?:\.\w+)+)`", TEXT)
        if name.split(".")[0] in (*ROOMS, "extensions")
    }
)


def resolve(name: str) -> Any:
    """The module, class, function or slot behind a dotted name. Raises AttributeError, ImportError."""
    parts = ["proxy", *name.split(".")]
    for end in range(len(parts), 1, -1):
        try:
            found: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part) if hasattr(found, part) else declared(found, part)
        return found
    raise ImportError(name)


def declared(owner: Any, name: str) -> Any:
    """An attribute that instances have without a value on the class: annotated there, or assigned in __init__."""
    if name in getattr(owner, "__annotations__", {}) or name in owner.__init__.__code__.co_names:
        return name
    raise AttributeError(f"{owner} has no {name}")


def test_there_are_names_to_check():
    assert len(NAMES) > 40


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name):
    resolve(name)


def test_a_wrong_name_would_be_found():
    with pytest.raises(AttributeError):
        resolve("http.stream.ActiveStream.decode_heads")
    with pytest.raises((ImportError, AttributeError)):
        resolve("http.streams.ActiveStream")


def test_every_room_stands_in_the_arrows():
    arrows = TEXT.split("## Arrows")[1].split("\n## ")[0]
    assert [room for room in ROOMS if not re.search(rf"(?<![\w.]){room}(?!\w)", arrows)] == []


def test_links_and_paths_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in target]
    targets += [path for path in re.findall(r"`((?:proxy|tests|docs)/[\w/.-]+)`", TEXT) if "<" not in path]
    assert [target for target in targets if not (ROOT / target).exists()] == []
