"""One row per hop from a sidecar's /stats/prometheus, read with Prometheus' own parser."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf, nan

PREFIX = "envoy_http_conn_manager_prefix"
CLASS = "envoy_response_code_class"


@dataclass(slots=True)
class Hop:
    """What one listener of a sidecar has counted. Times in ms, nan when nothing was timed; bytes of bodies."""

    sidecar: str
    listener: str
    requests: int = 0
    classes: dict[int, int] = field(default_factory=dict)
    retries: int = 0
    p50_ms: float = nan
    p95_ms: float = nan
    body_bytes_in: int = 0
    body_bytes_out: int = 0

    def of_class(self, digit: int) -> int:
        """Responses with this first digit."""
        return self.classes.get(digit, 0)


Sample = tuple[dict[str, str], float]


def parse(page: str) -> dict[str, list[Sample]]:
    """Samples by metric name; Prometheus' parser has every counter's name end in _total, as OpenMetrics wants it."""
    from prometheus_client.parser import text_string_to_metric_families

    samples: dict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            samples[sample.name].append((dict(sample.labels), float(sample.value)))
    return samples


def hops(sidecar: str, page: str, listeners: list[tuple[str, str]]) -> list[Hop]:
    """The rows of one sidecar's page; listeners: (stat prefix, cluster it forwards to) in print order."""
    samples = parse(page)
    return [_hop(sidecar, samples, listener, cluster) for listener, cluster in listeners]


def _hop(sidecar: str, samples: dict[str, list[Sample]], listener: str, cluster: str) -> Hop:
    own = {PREFIX: listener}
    hop = Hop(sidecar, listener)
    hop.requests = int(_total(samples, "envoy_http_downstream_rq_total", own))
    for labels, value in samples["envoy_http_downstream_rq_xx_total"]:
        if labels.get(PREFIX) == listener and value:
            hop.classes[int(labels[CLASS])] = int(value)
    hop.retries = int(
        _total(samples, "envoy_cluster_upstream_rq_retry_total", {"envoy_cluster_name": cluster})
    )
    buckets = [
        (inf if labels["le"] == "+Inf" else float(labels["le"]), value)
        for labels, value in samples["envoy_http_downstream_rq_time_bucket"]
        if labels.get(PREFIX) == listener
    ]
    hop.p50_ms, hop.p95_ms = quantile(buckets, 0.50), quantile(buckets, 0.95)
    hop.body_bytes_in = int(_total(samples, "envoy_http_downstream_rq_body_size_sum", own))
    hop.body_bytes_out = int(_total(samples, "envoy_http_downstream_rs_body_size_sum", own))
    return hop


def _total(samples: dict[str, list[Sample]], name: str, labels: dict[str, str]) -> float:
    return sum(value for own, value in samples[name] if labels.items() <= own.items())


def quantile(buckets: list[tuple[float, float]], share: float) -> float:
    """As Prometheus' histogram_quantile: linear within the bucket; nan when nothing was recorded.

    buckets: (upper bound, requests up to it), bounds rising, the last one inf
    """
    if not buckets or not buckets[-1][1]:
        return nan
    wanted = share * buckets[-1][1]
    low, before = 0.0, 0.0
    for high, count in buckets:
        if count >= wanted:
            if high == inf or count == before:
                return low
            return low + (high - low) * (wanted - before) / (count - before)
        low, before = high, count
    return low
