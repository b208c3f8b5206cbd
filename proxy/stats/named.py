"""The stats of one kind by name, where most have no name yet.

A cluster has more than a hundred stats, all under the same names after its own prefix. Making those names, and hashing
them, took as long as everything else that a cluster is made of; what nobody looks at (a page, a sink, another process)
needs none. So a group of stats stands under its prefix until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def prefix_of(name: str) -> str:
    """What stands before the last part of a name, with its dot; "" of a name without dots."""
    return name[: name.rfind(".") + 1]


class StatNames:
    """The names of a group after its prefix, each once, in order. Made once, at import."""

    __slots__ = ("inner", "known", "names")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.known = frozenset(self.names)
        self.inner = tuple({prefix_of(name): None for name in self.names})


class Named(Generic[T]):
    """The stats of one kind.

    A name stands for one stat: a group is only taken where none of its names can be there (``take_group``), and a single
    name is looked for in the groups, too (``get``).
    """

    __slots__ = ("_groups", "_named", "_prefixes")

    def __init__(self) -> None:
        self._named: dict[str, T] = {}
        self._groups: dict[str, tuple[StatNames, list[T]]] = {}
        self._prefixes: set[str] = set()  # of every name, whether it is made or not

    def all(self) -> dict[str, T]:
        """Everything by its full name; live, so that the next call may be needed to see what is new."""
        for prefix, (names, stats) in self._groups.items():
            self._named.update(zip([prefix + name for name in names.names], stats, strict=True))
        self._groups.clear()
        return self._named

    def get(self, name: str) -> T | None:
        """The stat of a full name."""
        found = self._named.get(name)
        if found is None and self._groups:
            end = name.find(".") + 1
            while end:
                group = self._groups.get(name[:end])
                if group is not None and name[end:] in group[0].known:
                    return group[1][group[0].names.index(name[end:])]
                end = name.find(".", end) + 1
        return found

    def keep(self, name: str, stat: T) -> None:
        """A stat whose name is new."""
        self._named[name] = stat
        self._prefixes.add(prefix_of(name))

    def group(self, prefix: str, names: StatNames) -> list[T] | None:
        """The stats of a group that still has no names."""
        group = self._groups.get(prefix)
        return group[1] if group is not None and group[0] is names else None

    def take_group(self, prefix: str, names: StatNames, stats: list[T]) -> bool:
        """Keep a group; False, and nothing is done, where one of its names may be there."""
        prefixes = [prefix + inner for inner in names.inner]
        if not self._prefixes.isdisjoint(prefixes):
            return False
        self._prefixes.update(prefixes)
        self._groups[prefix] = (names, stats)
        return True
