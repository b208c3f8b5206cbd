"""The Prometheus page of a store: text format 0.0.4 in Envoy's names.

``envoy_`` + the name without its tags, every other character ``_``; tags are labels; ``{}`` where there are none; TYPE
lines, no HELP lines; counters, then gauges, text readouts, histograms, each kind sorted.

Everything that does not change between scrapes (names, labels, order, one template per histogram) is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Final, NamedTuple, Protocol

from proxy.stats.histogram import QUANTILES, Histogram, quantiles
from proxy.stats.store import Counter, Gauge, Store, TextReadout
from proxy.stats.tags import Tag

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=UTF-8"

_BAD: Final = re.compile(r"[^a-zA-Z0-9_]")


class HasUsed(Protocol):
    """A stat: says whether ?usedonly shows it."""

    @property
    def used(self) -> bool:
        """Whether anything was ever written."""


@dataclass(slots=True, frozen=True)
class Query:
    """What a scrape asks for.

    accepts: keeps stats by their full name (None: all); text_readouts: also write texts, as gauges of value 0
    histograms: "cumulative" (buckets) or "summary" (quantiles of the last interval)
    """

    used_only: bool = False
    accepts: Callable[[str], bool] | None = None
    text_readouts: bool = False
    histograms: str = "cumulative"


class _Series(NamedTuple):
    name: str  # Envoy's flat name
    metric: str
    labels: str  # 'a="b",c="d"'


class _Family:
    """The series of one metric name; order: the base name in a form that sorts like its words."""

    __slots__ = ("metric", "order", "series")

    def __init__(self, metric: str, order: str) -> None:
        self.metric = metric
        self.order = order
        self.series: list[_Series] = []


class _Layout:
    """The families of one kind of stat, sorted; known: how many names of the store are in it."""

    __slots__ = ("families", "kind", "known")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.known = 0
        self.families: dict[str, _Family] = {}


def sanitise_metric(name: str) -> str:
    """A legal metric or label name: other characters become ``_``; a leading digit gets one before it."""
    clean = _BAD.sub("_", name)
    return "_" + clean if clean[:1].isdigit() else clean


def escape_label(value: str) -> str:
    """A label value between quotes: backslash, quote and line feed escaped."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(tags: Iterable[Tag]) -> str:
    written: dict[str, str] = {}
    for tag in tags:  # a label name may stand only once: the first wins
        written.setdefault(sanitise_metric(tag.name), escape_label(tag.value))
    return ",".join(f'{name}="{value}"' for name, value in written.items())


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "nan"
    return repr(value).removesuffix(".0")


class PrometheusWriter:
    """Writes the page of one store, again and again."""

    __slots__ = ("_layouts", "_taken", "_tags", "_templates", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self._start_anew()

    def _start_anew(self) -> None:
        self._tags = self.store.tags
        self._layouts = {kind: _Layout(kind) for kind in ("counter", "gauge", "text", "histogram")}
        self._taken: dict[str, str] = {}  # metric name -> kind that has it
        self._templates: dict[str, str] = {}

    def write(self, query: Query | None = None) -> str:
        """The page; ends with a line feed unless it is empty."""
        query = query or Query()
        store = self.store
        if self._tags is not store.tags:
            self._start_anew()  # every name and label is another one now
        out: list[str] = []
        self._write_numbers(out, "counter", store.counters, query)
        self._write_numbers(out, "gauge", store.gauges, query)
        if query.text_readouts:
            self._write_texts(out, query)
        write = self._write_summaries if query.histograms == "summary" else self._write_histograms
        write(out, query)
        return "".join(out)

    def _families(self, kind: str, names: Mapping[str, object]) -> Iterable[_Family]:
        """Every family of a kind; names that are new since the last page are put in their place."""
        layout = self._layouts[kind]
        if layout.known < len(names):
            self._arrange(layout, islice(names, layout.known, None))
            layout.known = len(names)
        return layout.families.values()

    def _arrange(self, layout: _Layout, names: Iterable[str]) -> None:
        extract = self._tags.extract
        labels: dict[tuple[Tag, ...], str] = {}
        touched: dict[str, _Family] = {}
        for name in names:
            base, tags = extract(name)
            family = touched.get(base)
            if family is None:
                family = touched[base] = self._family(layout, base)
            text = labels.get(tags)
            if text is None:
                text = labels[tags] = _labels(tags)
            family.series.append(_Series(name, family.metric, text))
        for family in touched.values():
            family.series.sort(key=_by_words)
        ordered = sorted(layout.families.values(), key=_order)
        layout.families = {family.metric: family for family in ordered}

    def _family(self, layout: _Layout, base: str) -> _Family:
        metric = "envoy_" + _BAD.sub("_", base)
        if self._taken.setdefault(metric, layout.kind) != layout.kind:
            metric = f"{metric}_{layout.kind}"  # one TYPE per name, or Prometheus refuses the whole page
            self._taken.setdefault(metric, layout.kind)
        family = layout.families.get(metric)
        if family is None:
            family = layout.families[metric] = _Family(metric, _sortable(base))
        return family

    def _chosen(
        self, kind: str, stats: Mapping[str, HasUsed], query: Query
    ) -> Iterable[tuple[str, list[_Series]]]:
        """Metric names and what the query keeps of their series, empty ones left out."""
        accepts, used_only = query.accepts, query.used_only
        for family in self._families(kind, stats):
            kept = family.series
            if used_only or accepts is not None:
                kept = [
                    one
                    for one in kept
                    if (not used_only or stats[one.name].used) and (accepts is None or accepts(one.name))
                ]
            if kept:
                yield family.metric, kept

    def _write_numbers(
        self, out: list[str], kind: str, stats: Mapping[str, Counter] | Mapping[str, Gauge], query: Query
    ) -> None:
        for metric, series in self._chosen(kind, stats, query):
            out.append(f"# TYPE {metric} {kind}\n")
            out.extend(f"{metric}{{{labels}}} {stats[name].value}\n" for name, metric, labels in series)

    def _write_texts(self, out: list[str], query: Query) -> None:
        texts: dict[str, TextReadout] = self.store.texts
        for metric, series in self._chosen("text", texts, query):
            out.append(f"# TYPE {metric} gauge\n")
            for name, _, labels in series:
                text = f'text_value="{escape_label(texts[name].value)}"'
                out.append(f"{metric}{{{labels + ',' if labels else ''}{text}}} 0\n")

    def _write_histograms(self, out: list[str], query: Query) -> None:
        histograms = self.store.histograms
        templates = self._templates
        for metric, family in self._chosen("histogram", histograms, query):
            out.append(f"# TYPE {metric} histogram\n")
            for series in family:
                histogram = histograms[series.name]
                template = templates.get(series.name)
                if template is None:
                    template = templates[series.name] = _template(series, histogram)
                counts = accumulate(histogram.buckets())
                out.append(template % (*counts, _number(histogram.sum), histogram.count))

    def _write_summaries(self, out: list[str], query: Query) -> None:
        histograms = self.store.histograms
        for metric, family in self._chosen("histogram", histograms, query):
            out.append(f"# TYPE {metric} summary\n")
            for name, _, labels in family:
                histogram = histograms[name]
                before = labels + "," if labels else ""
                for percent, value in zip(QUANTILES, quantiles(histogram.interval_bins()), strict=True):
                    out.append(f'{metric}{{{before}quantile="{percent / 100:g}"}} {_number(value)}\n')
                out.append(f"{metric}_sum{{{labels}}} {_number(histogram.sum)}\n")
                out.append(f"{metric}_count{{{labels}}} {histogram.count}\n")


def _sortable(name: str) -> str:
    """Sorts like the list of its dotted words, as Envoy sorts (names hold no control characters)."""
    return name.replace(".", "\0")


def _by_words(series: _Series) -> str:
    return _sortable(series.name)


def _order(family: _Family) -> str:
    return family.order


def _template(series: _Series, histogram: Histogram) -> str:
    """The lines of a histogram with %s for each number."""
    metric, labels = series.metric, series.labels.replace("%", "%%")
    before = labels + "," if labels else ""
    bounds = [_number(bound) for bound in histogram.bounds] + ["+Inf"]
    lines = [f'{metric}_bucket{{{before}le="{bound}"}} %s\n' for bound in bounds]
    return "".join(lines) + f"{metric}_sum{{{labels}}} %s\n{metric}_count{{{labels}}} %s\n"
