"""/stats: every stat as text, JSON or a plain HTML page.

Text: text readouts, then counters and gauges together, then histograms, each sorted by name. Percentiles are
``(interval, since start)``; the interval is the last complete one between two flushes of the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from proxy.admin import prometheus
from proxy.admin.patterns import BadPattern, compile_filter
from proxy.admin.state import HTML, JSON, AdminState, Endpoint, Reply, Request
from proxy.stats.histogram import QUANTILES, ZERO_BIN, Histogram, bin_edges, quantiles
from proxy.stats.prometheus import HasUsed
from proxy.stats.store import Store

_FORMATS = ("html", "active-html", "json", "prometheus", "text")
_TYPES = ("All", "Counters", "Histograms", "Gauges", "TextReadouts")
_BUCKETS = ("cumulative", "disjoint", "detailed", "summary")

S = TypeVar("S", bound=HasUsed)


class _Chosen(NamedTuple):
    """The stats a query keeps: sorted (name, value or histogram)."""

    texts: list[tuple[str, str]]
    numbers: list[tuple[str, int]]
    histograms: list[tuple[str, Histogram]]


def answer(state: AdminState, request: Request) -> Reply:
    """Options: format, usedonly, filter, invert_filter, type, histogram_buckets, hidden; a wrong one is a 400."""
    params = request.params
    shape = params.get("format", "text")
    buckets = params.get("histogram_buckets", "")
    kind = params.get("type", "All")
    if shape not in _FORMATS:
        return Reply(f"usage: /stats?format=({'|'.join(_FORMATS)})\n\n", 400)
    if buckets not in ("", "none", "prometheusnative", *_BUCKETS):
        return Reply(f"usage: /stats?histogram_buckets=({'|'.join(_BUCKETS)})\n", 400)
    if params.get("hidden", "exclude") not in ("include", "only", "exclude"):
        return Reply("usage: /stats?hidden=(include|only|exclude)\n\n", 400)
    if shape == "prometheus":
        return prometheus.answer(state, request)
    if kind not in _TYPES:
        return Reply("invalid &type= param", 400)
    try:
        accepts = name_filter(request)
    except BadPattern as error:
        return Reply(f"Invalid re2 regex: {error}", 400)
    if params.get("hidden") == "only":  # outrider has no hidden stats
        return Reply("") if shape == "text" else Reply('{"stats":[]}', 200, JSON)
    chosen = _choose(state.store, kind, "usedonly" in params, accepts)
    if shape == "json":
        import orjson

        return Reply(orjson.dumps({"stats": _json(chosen, buckets)}).decode(), 200, JSON)
    text = _text(chosen, buckets)
    if shape == "text":
        return Reply(text)
    import html

    page = f"<!DOCTYPE html>\n<title>outrider stats</title>\n<pre>\n{html.escape(text)}</pre>\n"
    return Reply(page, 200, HTML)


def name_filter(request: Request) -> Callable[[str], bool] | None:
    """?filter= (and ?invert_filter) as a test on names, None when there is none. Raises BadPattern."""
    pattern = request.params.get("filter", "")
    if not pattern:
        return None
    accepts = compile_filter(pattern)
    if "invert_filter" in request.params:
        return lambda name: not accepts(name)
    return accepts


def _choose(store: Store, kind: str, used_only: bool, accepts: Callable[[str], bool] | None) -> _Chosen:
    def keep(stats: Mapping[str, S], *kinds: str) -> list[tuple[str, S]]:
        if kind not in ("All", *kinds):
            return []
        return [
            (name, stat)
            for name, stat in stats.items()
            if (not used_only or stat.used) and (accepts is None or accepts(name))
        ]

    numbers = [(name, counter.value) for name, counter in keep(store.counters, "Counters")]
    numbers += [(name, gauge.value) for name, gauge in keep(store.gauges, "Gauges")]
    texts = sorted((name, text.value) for name, text in keep(store.texts, "TextReadouts"))
    histograms = sorted(keep(store.histograms, "Histograms"), key=_name)
    return _Chosen(texts, sorted(numbers), histograms)


def _name(item: tuple[str, object]) -> str:
    return item[0]


# -- text


def _text(chosen: _Chosen, buckets: str) -> str:
    lines = [f'{name}: "{value}"\n' for name, value in chosen.texts]
    lines += [f"{name}: {value}\n" for name, value in chosen.numbers]
    for name, histogram in chosen.histograms:
        if buckets == "detailed":
            lines.append(f"{name}:\n{_detailed_text(histogram)}")
        elif buckets in ("cumulative", "disjoint"):
            lines.append(f"{name}: {_buckets_text(histogram, buckets == 'cumulative')}\n")
        else:
            lines.append(f"{name}: {summary_text(histogram)}\n")
    return "".join(lines)


def summary_text(histogram: Histogram) -> str:
    """``P0(interval,since start) P25(...) ... P100(...)``, or Envoy's words when nothing was recorded."""
    if not histogram.used:
        return "No recorded values"
    pairs = zip(QUANTILES, quantiles(histogram.interval_bins()), quantiles(histogram.bins()), strict=True)
    return " ".join(f"P{percent:g}({_shortest(young)},{_shortest(all_)})" for percent, young, all_ in pairs)


def _shortest(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _bucket_counts(histogram: Histogram, cumulative: bool) -> list[tuple[float, int, int]]:
    """(upper bound, interval count, count) per bound."""
    counts = histogram.buckets()[:-1]
    young = _interval_buckets(histogram)
    if cumulative:
        counts, young = list(accumulate(counts)), list(accumulate(young))
    return list(zip(histogram.bounds, young, counts, strict=True))


def _interval_buckets(histogram: Histogram) -> list[int]:
    """The interval's bins spread over the bounds; a bin belongs to the first bound it starts at or below."""
    counts = [0] * len(histogram.bounds)
    for key, count in histogram.interval_bins().items():
        left = bin_edges(key)[0]
        at = next((i for i, bound in enumerate(histogram.bounds) if left <= bound), None)
        if at is not None:
            counts[at] += count
    return counts


def _buckets_text(histogram: Histogram, cumulative: bool) -> str:
    if not histogram.used:
        return "No recorded values"
    counts = _bucket_counts(histogram, cumulative)
    return " ".join(f"B{bound:g}({young},{count})" for bound, young, count in counts)


def _detailed_text(histogram: Histogram) -> str:
    totals, intervals = _bins_text(histogram.bins()), _bins_text(histogram.interval_bins())
    return f"  totals={totals}\n  intervals={intervals}\n  summary={summary_text(histogram)}\n"


def _bins_text(bins: Mapping[int, int]) -> str:
    return " ".join(
        f"{_shortest(left)},{_shortest(width)}:{count}" for left, width, count in _sorted_bins(bins)
    )


def _sorted_bins(bins: Mapping[int, int]) -> list[tuple[float, float, int]]:
    return [(*bin_edges(key), bins[key]) for key in sorted(bins, key=lambda key: (key != ZERO_BIN, key))]


# -- JSON


def _json(chosen: _Chosen, buckets: str) -> list[dict[str, Any]]:
    stats: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in chosen.texts]
    stats += [{"name": name, "value": value} for name, value in chosen.numbers]
    if chosen.histograms:
        stats.append({"histograms": _histograms_json(chosen.histograms, buckets)})
    return stats


def _histograms_json(histograms: list[tuple[str, Histogram]], buckets: str) -> Any:
    if buckets in ("cumulative", "disjoint"):
        return [
            {"name": name, "buckets": _buckets_json(histogram, buckets == "cumulative")}
            for name, histogram in histograms
        ]
    if buckets == "detailed":
        details = [_detailed_json(name, histogram) for name, histogram in histograms]
        return {"supported_percentiles": list(QUANTILES), "details": details}
    computed = [{"name": name, "values": _percentiles_json(histogram)} for name, histogram in histograms]
    return {"supported_quantiles": list(QUANTILES), "computed_quantiles": computed}


def _buckets_json(histogram: Histogram, cumulative: bool) -> list[dict[str, float]]:
    return [
        {"upper_bound": bound, "interval": young, "cumulative": count}
        for bound, young, count in _bucket_counts(histogram, cumulative)
    ]


def _percentiles_json(histogram: Histogram) -> list[dict[str, float | None]]:
    pairs = zip(quantiles(histogram.bins()), quantiles(histogram.interval_bins()), strict=True)
    return [{"cumulative": _or_null(all_), "interval": _or_null(young)} for all_, young in pairs]


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _detailed_json(name: str, histogram: Histogram) -> dict[str, Any]:
    return {
        "name": name,
        "totals": _bins_json(histogram.bins()),
        "intervals": _bins_json(histogram.interval_bins()),
        "percentiles": _percentiles_json(histogram),
    }


def _bins_json(bins: Mapping[int, int]) -> list[dict[str, float]]:
    return [
        {"lower_bound": left, "width": width, "count": count} for left, width, count in _sorted_bins(bins)
    ]


ENDPOINT = Endpoint(
    "/stats",
    "print server stats",
    answer,
    params=(
        ("usedonly", "Only include stats that have been written by system since restart"),
        ("filter", "Regular expression (Google re2) for filtering stats"),
        ("invert_filter", "Invert the filter regex"),
        ("format", "Format to use; One of (html, active-html, text, json)"),
        ("type", f"Stat types to include.; One of ({', '.join(_TYPES)})"),
        ("histogram_buckets", f"Histogram bucket display mode; One of ({', '.join(_BUCKETS)})"),
    ),
)
