"""Values that follow the snapshots. Whoever serves requests holds one and reads an attribute of it.

A slot lives as long as somebody holds it: ``Runtime`` knows it weakly, so what a removed cluster or an older route
table held goes with them.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.runtime.snapshot import Snapshot


class Slot:
    """Something that is refreshed with each new snapshot."""

    __slots__ = ("__weakref__",)

    def refresh(self, snapshot: Snapshot) -> None:
        """Take over what the snapshot says."""
        raise NotImplementedError


class IntegerSlot(Slot):
    """``value``: a whole number of 0 and more."""

    __slots__ = ("_default", "key", "value")

    def __init__(self, key: str, default: int) -> None:
        self.key = key
        self.value = self._default = default

    def refresh(self, snapshot: Snapshot) -> None:
        self.value = snapshot.integer(self.key, self._default)


class DoubleSlot(Slot):
    """``value``: any number."""

    __slots__ = ("_default", "key", "value")

    def __init__(self, key: str, default: float) -> None:
        self.key = key
        self.value = self._default = default

    def refresh(self, snapshot: Snapshot) -> None:
        self.value = snapshot.double(self.key, self._default)


class BooleanSlot(Slot):
    """``value``: yes or no."""

    __slots__ = ("_default", "key", "value")

    def __init__(self, key: str, default: bool) -> None:
        self.key = key
        self.value = self._default = default

    def refresh(self, snapshot: Snapshot) -> None:
        self.value = snapshot.boolean(self.key, self._default)


class FractionSlot(Slot):
    """``numerator`` of ``denominator``; ``share``: the two as a number, 0 and more, above 1 for always."""

    __slots__ = ("_default", "denominator", "key", "numerator", "share")

    def __init__(self, key: str, numerator: int, denominator: int) -> None:
        self.key = key
        self._default = (numerator, denominator)
        self._set(numerator, denominator)

    def refresh(self, snapshot: Snapshot) -> None:
        self._set(*snapshot.fraction(self.key, self._default))

    def _set(self, numerator: int, denominator: int) -> None:
        self.numerator = numerator
        self.denominator = denominator
        self.share = numerator / denominator


class Watch(Slot):
    """Calls somebody with each new snapshot; stops when nobody holds the Watch any more."""

    __slots__ = ("_on_snapshot",)

    def __init__(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        self._on_snapshot = on_snapshot

    def refresh(self, snapshot: Snapshot) -> None:
        self._on_snapshot(snapshot)
