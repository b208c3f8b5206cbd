"""/stats/prometheus: the store's page, then what prometheus-client knows (process, Python, users' own metrics)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from proxy.admin.patterns import BadPattern, compile_filter
from proxy.admin.state import AdminState, Endpoint, Reply, Request
from proxy.stats.prometheus import CONTENT_TYPE, PrometheusWriter, Query

if TYPE_CHECKING:
    from prometheus_client import Metric

    from proxy.stats.store import Store

_HISTOGRAMS = {"": "cumulative", "cumulative": "cumulative", "summary": "summary", "none": "summary"}


def answer(state: AdminState, request: Request) -> Reply:
    """Options: usedonly, text_readouts, filter, invert_filter, histogram_buckets (cumulative, summary)."""
    params = request.params
    histograms = _HISTOGRAMS.get(params.get("histogram_buckets", ""))
    if histograms is None:
        return Reply("unsupported prometheus histogram bucket mode", 400)
    accepts = None
    pattern = params.get("filter", "")
    if pattern:
        try:
            accepts = compile_filter(pattern)
        except BadPattern as error:
            return Reply(f"Invalid re2 regex: {error}", 400)
        if "invert_filter" in params:
            accepts = _inverted(accepts)
    query = Query("usedonly" in params, accepts, "text_readouts" in params, histograms)
    return Reply(page(state.store, query), 200, CONTENT_TYPE)


def page(store: Store, query: Query | None = None) -> str:
    """The whole page; query: what is asked for, everything without one."""
    query = query or Query()
    return _writer(store).write(query) + registered(query.accepts)


def _inverted(accepts: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda name: not accepts(name)


def _writer(store: Store) -> PrometheusWriter:
    writer = store.page_writer
    if writer is None:
        writer = store.page_writer = PrometheusWriter(store)
    return writer


class _Kept:
    """The collectors of prometheus-client's default registry, without what the filter drops."""

    def __init__(self, accepts: Callable[[str], bool] | None) -> None:
        self.accepts = accepts

    def collect(self) -> Iterator[Metric]:
        """As a registry does; a family whose name starts like ours is not let onto the page twice."""
        from prometheus_client import REGISTRY

        for metric in REGISTRY.collect():
            if not metric.name.startswith("envoy_") and (self.accepts is None or self.accepts(metric.name)):
                yield metric


def registered(accepts: Callable[[str], bool] | None = None) -> str:
    """Everything in prometheus-client's default registry (process_*, python_*, users' metrics) as text 0.0.4."""
    from prometheus_client import generate_latest  # takes tens of milliseconds: only who scrapes pays

    page: bytes = generate_latest(_Kept(accepts))
    return page.decode()


ENDPOINT = Endpoint(
    "/stats/prometheus",
    "print server stats in prometheus format",
    answer,
    params=(
        ("usedonly", "Only include stats that have been written by system since restart"),
        (
            "text_readouts",
            "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)",
        ),
        ("filter", "Regular expression (Google re2) for filtering stats"),
        ("invert_filter", "Invert the filter regex"),
        ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, summary)"),
    ),
)
