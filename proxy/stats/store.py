"""Where numbers live: Counter, Gauge, TextReadout, Histogram under Envoy's flat dotted names.

Found once, at configuration time, and bumped as plain slots at request time (``counter.value += 1``). Knows no
clock, no socket, no exposition format (those are in ``proxy.admin`` and ``proxy.ext.stats_sinks``).

Several workers: each has a Store; ``names()`` is sent once, ``values()`` afterwards, ``add(names, values)`` sums them.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from proxy.stats.histogram import DEFAULT_BOUNDS, Histogram
from proxy.stats.named import Named, StatNames
from proxy.stats.tags import TagExtractor

if TYPE_CHECKING:
    from proxy.stats.prometheus import PrometheusWriter

T = TypeVar("T")

DEFAULT_LIMIT: Final = 1_000_000  # about 250 bytes each


class Counter:
    """A number that only grows; the hot path adds to ``value``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    @property
    def used(self) -> bool:
        """Whether ?usedonly shows it."""
        return self.value != 0


class Gauge:
    """A number that goes up and down; the hot path writes ``value``.

    follows: a counter that grows whenever this gauge moves, so that a gauge that is back at zero still counts as used
    without the hot path having to say so.
    """

    __slots__ = ("follows", "value", "was_set")

    def __init__(self, follows: Counter | None = None) -> None:
        self.value = 0
        self.follows = follows
        self.was_set = False

    def set(self, value: int) -> None:
        """Set it and remember that it was set (?usedonly keeps a gauge that was set to 0)."""
        self.value = value
        self.was_set = True

    @property
    def used(self) -> bool:
        """Whether ?usedonly shows it."""
        return self.value != 0 or self.was_set or (self.follows is not None and self.follows.value != 0)


class TextReadout:
    """A text among the stats; Envoy prints it first, in double quotes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = ""

    @property
    def used(self) -> bool:
        """Whether ?usedonly shows it."""
        return self.value != ""


class Names(NamedTuple):
    """The names of a store, in the order of its values."""

    counters: list[str]
    gauges: list[str]
    texts: list[str]
    histograms: list[tuple[str, str]]  # name, unit


class Values(NamedTuple):
    """The values of a store, in the order of its names; a gauge that was never used is None."""

    counters: list[int]
    gauges: list[int | None]
    texts: list[str]
    histograms: list[tuple[int, float, list[int], dict[int, int]]]


def sanitise(name: str) -> str:
    """Envoy's stat name for a configured name: colons become underscores; control characters too (ours)."""
    if ":" in name:
        name = name.replace("://", "_").replace(":/", "_").replace(":", "_")
    if not name.isprintable():
        name = "".join(char if char.isprintable() else "_" for char in name)
    return name


class Store:
    """Every stat of one process, by name.

    limit: how many stats may be listed. Beyond it (and for names that a stats_matcher rejects) callers get an object
    that works and that no page shows; ``server.stats_overflow`` counts those beyond the limit.
    matcher: says whether a name is kept; bounds_for: histogram bounds by name; tags: tag extraction of the pages.
    """

    __slots__ = (
        *("_codes", "_counters", "_gauges", "histograms", "texts"),
        *("_keeps_values", "bounds_for", "limit", "matcher", "overflow", "page_writer", "size", "tags"),
    )

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._counters: Named[Counter] = Named()
        self._codes: dict[str, CodeStats] = {}
        self._gauges: Named[Gauge] = Named()
        self.texts: dict[str, TextReadout] = {}
        self.histograms: dict[str, Histogram] = {}
        self._keeps_values = False
        self.limit = limit
        self.size = 0
        self.matcher: Callable[[str], bool] | None = None
        self.bounds_for: Callable[[str], tuple[float, ...]] | None = None
        self.tags = TagExtractor()
        self.page_writer: PrometheusWriter | None = None  # made when the page is first asked for
        self.overflow = self.counter("server.stats_overflow")

    def scope(self, prefix: str) -> Scope:
        """Names below ``prefix.``; "" for the root."""
        return Scope(self, sanitise(prefix) + "." if prefix else "")

    def counter(self, name: str) -> Counter:
        """The counter of that full name, made when it is new."""
        found = self._counters.get(name)
        if found is None:
            found = Counter()
            if self._admits(name):
                self._counters.keep(name, found)
        return found

    @property
    def counters(self) -> dict[str, Counter]:
        """Every counter by its full name, with the response codes that were recorded until now."""
        for codes in self._codes.values():
            codes.fold()
        return self._counters.all()

    def add_codes(self, codes: CodeStats) -> CodeStats:
        """Fold these codes whenever counters are looked at, and once a second. What counts under the same names
        already is returned: a cluster or a route table that takes another's place goes on counting there."""
        return self._codes.setdefault(codes.key, codes)

    def gauge(self, name: str, follows: Counter | None = None) -> Gauge:
        """The gauge of that full name, made when it is new."""
        found = self._gauges.get(name)
        if found is None:
            found = Gauge(follows)
            if self._admits(name):
                self._gauges.keep(name, found)
        return found

    @property
    def gauges(self) -> dict[str, Gauge]:
        """Every gauge by its full name."""
        return self._gauges.all()

    def many_counters(self, prefix: str, names: StatNames) -> list[Counter]:
        """The counters of these names after a prefix. A cluster has so many that starting up is to make them."""
        made = self._counters.group(prefix, names)
        if made is not None:
            return made
        if self._admits_many(names):
            made = [Counter() for _ in names.names]
            if self._counters.take_group(prefix, names, made):
                self.size += len(made)
                return made
        return [self.counter(prefix + name) for name in names.names]

    def many_gauges(self, prefix: str, names: StatNames) -> list[Gauge]:
        """As ``many_counters``, for gauges that follow nothing."""
        made = self._gauges.group(prefix, names)
        if made is not None:
            return made
        if self._admits_many(names):
            made = [Gauge() for _ in names.names]
            if self._gauges.take_group(prefix, names, made):
                self.size += len(made)
                return made
        return [self.gauge(prefix + name) for name in names.names]

    def _admits_many(self, names: StatNames) -> bool:
        """Whether all are wanted and within the limit, if they are new."""
        return self.matcher is None and self.size + len(names.names) <= self.limit

    def text(self, name: str) -> TextReadout:
        """The text readout of that full name, made when it is new."""
        return self.texts.get(name) or self._keep(self.texts, name, TextReadout())

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram of that full name, made when it is new."""
        found = self.histograms.get(name)
        if found is not None:
            return found
        bounds = self.bounds_for(name) if self.bounds_for is not None else DEFAULT_BOUNDS
        made = self._keep(self.histograms, name, Histogram(unit, bounds))
        if self._keeps_values and name in self.histograms:
            made.keep_values()
        return made

    def keep_values(self) -> None:
        """There are statistics sinks: histograms that are listed keep single values for them (stats/sink.py)."""
        self._keeps_values = True
        for histogram in self.histograms.values():
            histogram.keep_values()

    def alias(self, name: str, histogram: Histogram) -> None:
        """Show a histogram under a second name, for two stats that are always recorded together."""
        if name not in self.histograms:
            self._keep(self.histograms, name, histogram)

    def split(self, name: str) -> Histogram:
        """A histogram of its own for what was an alias, with what was recorded until now."""
        shared = self.histograms.get(name)
        own = Histogram() if shared is None else Histogram(shared.unit, shared.bounds)
        if shared is not None:
            own.add(shared.export())
            self.histograms[name] = own
        return own

    def _keep(self, table: dict[str, T], name: str, stat: T) -> T:
        if self._admits(name):
            table[name] = stat
        return stat

    def _admits(self, name: str) -> bool:
        """Whether a new stat is kept; counts it, or that it is not."""
        if self.size >= self.limit:
            self.overflow.value += 1
            return False
        if self.matcher is not None and not self.matcher(name):
            return False
        self.size += 1
        return True

    def reset_counters(self) -> None:
        """Every counter back to zero (POST /reset_counters)."""
        for counter in self.counters.values():
            counter.value = 0

    def fold(self) -> None:
        """Fold what histograms and response codes have recorded; once a second keeps them small."""
        for codes in self._codes.values():
            codes.fold()
        for histogram in self.histograms.values():
            histogram.fold()

    def flush(self) -> None:
        """End a statistics interval (bootstrap.stats_flush_interval, 5 s): the intervals of /stats percentiles."""
        for histogram in dict.fromkeys(self.histograms.values()):  # one may stand under two names
            histogram.flush()

    def names(self) -> Names:
        """Names in creation order; ask again when ``size`` has grown."""
        histograms = [(name, histogram.unit) for name, histogram in self.histograms.items()]
        return Names(list(self.counters), list(self.gauges), list(self.texts), histograms)

    def values(self) -> Values:
        """All values, in the order of ``names()``."""
        return Values(
            [counter.value for counter in self.counters.values()],
            [gauge.value if gauge.used else None for gauge in self.gauges.values()],
            [text.value for text in self.texts.values()],
            [histogram.export() for histogram in self.histograms.values()],
        )

    def add(self, names: Names, values: Values) -> None:
        """Add another store's values to this one: counters, gauges and histograms are summed, a set text wins."""
        for name, count in zip(names.counters, values.counters, strict=True):
            self.counter(name).value += count
        for name, level in zip(names.gauges, values.gauges, strict=True):
            gauge = self.gauge(name)
            if level is not None:
                gauge.set(gauge.value + level)
        for name, text in zip(names.texts, values.texts, strict=True):
            readout = self.text(name)
            readout.value = text or readout.value
        for (name, unit), exported in zip(names.histograms, values.histograms, strict=True):
            self.histogram(name, unit).add(exported)


class Scope:
    """A prefix in a Store; prefix ends with "." unless it is the root's ""."""

    __slots__ = ("prefix", "store")

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix

    def scope(self, name: str) -> Scope:
        """A scope inside this one. A dot inside the name is kept, as Envoy keeps it."""
        return Scope(self.store, f"{self.prefix}{sanitise(name)}.")

    def counter(self, name: str) -> Counter:
        """The counter ``prefix`` + name."""
        return self.store.counter(self.prefix + sanitise(name))

    def counters(self, names: StatNames) -> list[Counter]:
        """The counters ``prefix`` + each of the names, which need no cleaning. Clusters have so many."""
        return self.store.many_counters(self.prefix, names)

    def gauge(self, name: str, follows: Counter | None = None) -> Gauge:
        """The gauge ``prefix`` + name; follows: see Gauge."""
        return self.store.gauge(self.prefix + sanitise(name), follows)

    def gauges(self, names: StatNames) -> list[Gauge]:
        """The gauges ``prefix`` + each of the names, which need no cleaning."""
        return self.store.many_gauges(self.prefix, names)

    def group(self, kind: str, make: Callable[[Scope], T]) -> T:
        """What ``make`` makes of this scope; kind: its name, the same for all that one of which would do where no stat
        is kept (proxy.stats.dry). Clusters have so many."""
        return make(self)

    def text(self, name: str) -> TextReadout:
        """The text readout ``prefix`` + name."""
        return self.store.text(self.prefix + sanitise(name))

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram ``prefix`` + name; unit "ms", "bytes" or ""."""
        return self.store.histogram(self.prefix + sanitise(name), unit)


class CodeStats:
    """Response codes under one or more scopes: ``<prefix>200``, ``<prefix>2xx``, ``<prefix>completed``.

    scopes: where each response is counted; several when stats always move together (a cluster's plain and external
    codes, say), so that they cost one look-up.
    record(status): count one response. Hot: it only appends to a list (no Python frame); the store folds the list into
    counters once a second and before anybody looks at them.
    used_lazily: class counters and ``completed`` appear with the first response; False: they exist at zero at once.
    key: what they are counted as: two with the same one are the same
    each_code: also count single codes (Envoy does for upstream_rq_, not for downstream_rq_).
    Codes outside 100..599 are counted as ``<prefix>unknown``, so that a peer cannot invent names.
    """

    __slots__ = ("_known", "_pending", "each_code", "key", "prefix", "record", "scopes")

    def __init__(self, *scopes: Scope, prefix: str, used_lazily: bool = True, each_code: bool = True) -> None:
        self.scopes = scopes
        self.prefix = prefix
        self.each_code = each_code
        names = "|".join(scope.prefix for scope in scopes)
        self.key = f"{names}|{prefix}|{each_code}"
        self._known: dict[int, tuple[Counter, ...]] = {}
        self._pending: list[int] = []
        twin = scopes[0].store.add_codes(self)
        if twin is not self:
            self._known, self._pending = twin._known, twin._pending
        self.record = self._pending.append
        if not used_lazily:
            for scope in scopes:
                for digit in range(1, 6):
                    scope.counter(f"{prefix}{digit}xx")
                scope.counter(prefix + "completed")

    def take_back(self) -> None:
        """Forget what was recorded last, in this very turn of the loop."""
        if self._pending:
            self._pending.pop()

    def fold(self) -> None:
        """Count what was recorded since the last time."""
        if not self._pending:
            return
        pending = Tally(self._pending)
        self._pending.clear()
        for status, times in pending.items():
            known = self._known
            for counter in known[status] if status in known else self._first(status):
                counter.value += times

    def _first(self, status: int) -> tuple[Counter, ...]:
        counters = tuple(counter for scope in self.scopes for counter in self._counters(scope, status))
        if 100 <= status <= 599:
            self._known[status] = counters
        return counters

    def _counters(self, scope: Scope, status: int) -> tuple[Counter, ...]:
        counter, prefix = scope.counter, self.prefix
        completed = counter(prefix + "completed")
        if not 100 <= status <= 599:
            return (counter(prefix + "unknown"), completed) if self.each_code else (completed,)
        family = counter(f"{prefix}{status // 100}xx")
        each = (counter(f"{prefix}{status}"),) if self.each_code else ()
        return (*each, family, completed)


def merged(parts: list[tuple[Names, Values]], like: Store) -> Store:
    """The sum of several workers' stores as a new Store with the tags, matcher and bounds of ``like``."""
    total = Store(like.limit)
    total.matcher, total.bounds_for, total.tags = like.matcher, like.bounds_for, like.tags
    for names, values in parts:
        total.add(names, values)
    return total
