"""The routes of one virtual host, indexed by path; the first in configuration order that matches wins.

Literal paths go through a dict. Literal prefixes are kept sorted: the longest one that a path begins with is found by
bisection, the shorter ones by following links to each prefix's own longest prefix. Everything else is tried in order.
Each entry carries its place in the configuration, so that the three answers can be compared.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.api.matchers import without_query
from proxy.base.headers import RequestHeaders
from proxy.router.match import CONNECT, EXACT, PREFIX, SEPARATED, Condition, PathMatch

if TYPE_CHECKING:
    from proxy.router.route import Route

_HASH: Final = 35  # by number: see codec.http1_write
_QUESTION: Final = 63
# Of each segment of a path, from its first ";".
_PARAMETERS: Final = re.compile(rb";[^/]*")

# pick(headers, random value) -> the Route itself or, with weighted clusters, one of its variants
Pick = Callable[[RequestHeaders, float], "Route"]


class Entry:
    """One route of the configuration. ``route`` is None when ``pick`` must choose it.

    kind, text, matches: of its PathMatch, which is not kept: there may be thousands
    """

    __slots__ = ("conditions", "kind", "matches", "order", "pick", "route", "text")

    def __init__(
        self,
        order: int,
        path_match: PathMatch,
        conditions: tuple[Condition, ...],
        route: Route | None,
        pick: Pick | None = None,
    ) -> None:
        self.order = order
        self.kind, self.text, self.matches = path_match.kind, path_match.text, path_match.matches
        self.conditions = conditions
        self.route = route
        self.pick = pick


class _Node:
    """A literal prefix: its entries in order, and the node of its longest proper prefix that is one too."""

    __slots__ = ("entries", "parent", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.entries: list[Entry] = []
        self.parent: _Node | None = None


class PathIndex:
    """Immutable once made. ``sole`` is the Route when every path beginning with ``sole_prefix`` is its."""

    __slots__ = (
        "_connect",
        "_exact",
        "_nodes",
        "_others",
        "_random",
        "_texts",
        "_without_parameters",
        "sole",
        "sole_prefix",
    )

    def __init__(
        self, entries: list[Entry], random: Callable[[], float], without_parameters: bool = False
    ) -> None:
        """random: in [0, 1), drawn once per look-up; without_parameters: path segments count without their ``;`` parts"""
        self._random = random
        self._without_parameters = without_parameters
        self._exact: dict[bytes, list[Entry]] = {}
        self._others: list[Entry] = []
        self._connect: list[Entry] = []
        nodes: dict[bytes, _Node] = {}
        for entry in entries:
            self._place(entry, nodes)
        self._nodes = [nodes[text] for text in sorted(nodes)]
        self._texts = [node.text for node in self._nodes]
        _link(self._nodes)
        self.sole, self.sole_prefix = _sole(entries)

    def _place(self, entry: Entry, nodes: dict[bytes, _Node]) -> None:
        kind, text = entry.kind, entry.text
        if kind == EXACT:
            self._exact.setdefault(text, []).append(entry)
        elif kind in (PREFIX, SEPARATED):
            nodes.setdefault(text, _Node(text)).entries.append(entry)
        elif kind == CONNECT:
            self._connect.append(entry)
        else:
            self._others.append(entry)

    def find(self, headers: RequestHeaders) -> Route | None:
        """The route of a request, None when no route matches; a request without a path has none."""
        path = headers.path
        if not path:
            return None
        if self.sole is not None:
            return self.sole if path.startswith(self.sole_prefix) else None
        if _QUESTION in path or _HASH in path:
            path = without_query(path)
        if self._without_parameters:
            path = _PARAMETERS.sub(b"", path)
        random = self._random()
        best: Entry | None = None
        exact = self._exact.get(path)
        if exact is not None:
            best = _first(exact, headers, path, random, None)
        best = self._first_prefix(headers, path, random, best)
        if self._others:
            best = _first(self._others, headers, path, random, best)
        if best is None:
            return None
        return best.route if best.pick is None else best.pick(headers, random)

    def find_connect(self, headers: RequestHeaders) -> Route | None:
        """The route of a CONNECT request, which has no path; None when no route with a connect_matcher matches."""
        random = self._random()
        for entry in self._connect:
            if all(condition(headers, random) for condition in entry.conditions):
                return entry.route if entry.pick is None else entry.pick(headers, random)
        return None

    def _first_prefix(
        self, headers: RequestHeaders, path: bytes, random: float, best: Entry | None
    ) -> Entry | None:
        at = bisect_right(self._texts, path)
        node = self._nodes[at - 1] if at else None
        while node is not None:
            if path.startswith(node.text):
                best = _first(node.entries, headers, path, random, best)
            node = node.parent
        return best


def _first(
    entries: list[Entry], headers: RequestHeaders, path: bytes, random: float, best: Entry | None
) -> Entry | None:
    """The first entry that matches and stands before ``best`` in the configuration, else ``best``."""
    for entry in entries:
        if best is not None and entry.order > best.order:
            return best
        kind = entry.kind
        if kind == SEPARATED:
            text = entry.text
            if len(path) != len(text) and path[len(text)] != 47:
                continue
        elif kind != PREFIX and kind != EXACT:
            matches = entry.matches
            if matches is None or not matches(path):
                continue
        for condition in entry.conditions:
            if not condition(headers, random):
                break
        else:
            return entry
    return best


def _link(nodes: list[_Node]) -> None:
    """Sorted order puts every prefix of a text before it: a stack of open prefixes gives each node its parent."""
    open_nodes: list[_Node] = []
    for node in nodes:
        while open_nodes and not node.text.startswith(open_nodes[-1].text):
            open_nodes.pop()
        node.parent = open_nodes[-1] if open_nodes else None
        open_nodes.append(node)


def _sole(entries: list[Entry]) -> tuple[Route | None, bytes]:
    """The common case: the first route is an unconditional prefix, and the only one that can ever win on it."""
    if len(entries) != 1:
        return None, b""
    entry = entries[0]
    text = entry.text
    if entry.kind != PREFIX or entry.conditions or entry.pick is not None:
        return None, b""
    if any(mark in text for mark in (b"?", b"#", b";")):
        return None, b""
    return entry.route, text
