"""All layers at one moment: a later layer's value goes before an earlier one's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from proxy.runtime.entry import Entry


class LayerValues(NamedTuple):
    """What one layer held when the snapshot was made."""

    name: str
    entries: Mapping[str, Entry]


def _dots(key: str) -> Iterator[int]:
    at = key.find(".")
    while at >= 0:
        yield at
        at = key.find(".", at + 1)


class Snapshot:
    """Immutable. The empty key names no value: the default is what counts."""

    __slots__ = ("_prefixes", "entries", "layers")

    def __init__(self, layers: Sequence[LayerValues] = ()) -> None:
        self.layers = tuple(layers)
        self.entries: dict[str, Entry] = {}
        for layer in layers:
            self.entries.update(layer.entries)
        self._prefixes: set[str] | None = None

    def has_below(self, prefix: str) -> bool:
        """Whether a key begins with the prefix and a dot."""
        if self._prefixes is None:
            self._prefixes = {key[:at] for key in self.entries for at in _dots(key)}
        return prefix in self._prefixes

    def integer(self, key: str, default: int) -> int:
        """A number of 0 and more, whole."""
        entry = self._find(key)
        return default if entry is None or entry.uint is None else entry.uint

    def double(self, key: str, default: float) -> float:
        """Any number."""
        entry = self._find(key)
        return default if entry is None or entry.double is None else entry.double

    def boolean(self, key: str, default: bool) -> bool:
        """A boolean, or whether a whole number is not 0."""
        entry = self._find(key)
        return default if entry is None or entry.boolean is None else entry.boolean

    def fraction(self, key: str, default: tuple[int, int]) -> tuple[int, int]:
        """(numerator, denominator); a number alone is a percentage. The numerator may be the larger: always."""
        entry = self._find(key)
        if entry is None:
            return default
        if entry.fraction is not None:
            return entry.fraction
        return default if entry.uint is None else (min(entry.uint, 100), 100)

    def share(self, key: str, default: float) -> float:
        """As ``fraction``, as a number of 0..1."""
        entry = self._find(key)
        if entry is None or (entry.fraction is None and entry.uint is None):
            return default
        numerator, denominator = self.fraction(key, (0, 1))
        return min(numerator / denominator, 1.0)

    def _find(self, key: str) -> Entry | None:
        return self.entries.get(key) if key else None
