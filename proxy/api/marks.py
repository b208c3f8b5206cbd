"""Where things stand in the operator's text: a tree of marks, and the locator that follows a field path through it.

Paths use the schema's names ("static_resources.clusters[0].lb_policy", 'metadata["envoy.lb"]'); the text may use
JSON names (lbPolicy) or give one element where a list is expected: the locator finds them all the same. Marks are
made only when a place is asked for, so a configuration without findings pays nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

Place = tuple[str | None, int | None, int | None]

# A name, an index in brackets, or a quoted key in brackets.
_STEP = r'\.?([^.\[\]"]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]'


class Mark:
    """One value: where its key (or, without one, the value) begins, 1-based; and its children."""

    __slots__ = ("column", "items", "keys", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.keys: dict[str, Mark] | None = None
        self.items: list[Mark] | None = None

    def at(self, line: int, column: int) -> Mark:
        """The same children at another place: that of the key."""
        moved = Mark(line, column)
        moved.keys, moved.items = self.keys, self.items
        return moved


class TextLocator:
    """Places in one text, or in several merged ones: later texts override fields and append to lists."""

    __slots__ = ("_sources", "_trees")

    def __init__(self, sources: Sequence[tuple[str | None, Callable[[], Mark | None]]]) -> None:
        """sources: (file name, a function that reads the text again, for its marks) in order of merging."""
        self._sources = sources
        self._trees: list[tuple[str | None, Mark]] | None = None

    def locate(self, path: str) -> Place:
        """(file, line, column) of the field, or of its nearest parent that stands in a text."""
        here = self._roots()
        if not here:
            return (self._sources[0][0] if self._sources else None, None, None)
        at = here[0]
        for step in _steps(path):
            here = _descend(here, step)
            if not here:
                break
            at = here[-1]  # what was merged last is what counts
        return at[0], at[1].line, at[1].column

    @property
    def file(self) -> str:
        """The first text's name, "" when there is none."""
        return (self._sources[0][0] or "") if self._sources else ""

    def _roots(self) -> list[tuple[str | None, Mark]]:
        if self._trees is None:
            read = ((file, marks()) for file, marks in self._sources)
            self._trees = [(file, mark) for file, mark in read if mark is not None]
        return self._trees


def child_path(path: str, name: str) -> str:
    """The path of a field of the message at ``path``."""
    return f"{path}.{name}" if path else name


def join_paths(path: str, inner: str) -> str:
    """A path inside the message at ``path``; either may be empty."""
    return path + inner if inner.startswith("[") or not inner or not path else f"{path}.{inner}"


def parent_path(path: str) -> str:
    """The path one step up; "" for the document and for its own fields."""
    # quotes within keys are escaped
    before = '["' if path.endswith('"]') else "[" if path.endswith("]") else "."
    return path[: max(path.rfind(before), 0)]


def paths_around(path: str) -> Iterator[str]:
    """The path itself and those of everything around it, but not of the whole document."""
    while path:
        yield path
        path = parent_path(path)


def key_step(key: object) -> str:
    """How a map key stands in a path: ["key"]."""
    text = str(key).replace("\\", "\\\\").replace('"', '\\"')
    return f'["{text}"]'


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for name, index, key in re.findall(_STEP, path):
        steps.append(int(index) if index else name or re.sub(r"\\(.)", r"\1", key))
    return steps


def _descend(here: list[tuple[str | None, Mark]], step: str | int) -> list[tuple[str | None, Mark]]:
    if isinstance(step, str):
        names = {step, _json_name(step)}
        return [
            (file, mark.keys[name])
            for file, mark in here
            if mark.keys is not None
            for name in names
            if name in mark.keys
        ]
    # Merging appends lists, base first.
    for file, mark in here:
        count = len(mark.items) if mark.items is not None else 1
        if step < count:
            return [(file, mark.items[step] if mark.items is not None else mark)]
        step -= count
    return []


def _json_name(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)
