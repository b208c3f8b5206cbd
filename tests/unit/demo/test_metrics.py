from __future__ import annotations

from math import inf, isnan

import pytest

from proxy.demo.metrics import hops, quantile

PAGE = """\
# TYPE envoy_http_downstream_rq_total counter
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="inbound"} 20
envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="outbound"} 7
# TYPE envoy_http_downstream_rq_xx counter
envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="inbound"} 17
envoy_http_downstream_rq_xx{envoy_response_code_class="3",envoy_http_conn_manager_prefix="inbound"} 0
envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="inbound"} 3
# TYPE envoy_cluster_upstream_rq_retry counter
envoy_cluster_upstream_rq_retry{envoy_cluster_name="app"} 4
envoy_cluster_upstream_rq_retry{envoy_cluster_name="other"} 9
# TYPE envoy_http_downstream_rq_time histogram
envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="inbound",le="10"} 10
envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="inbound",le="100"} 20
envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="inbound",le="+Inf"} 20
envoy_http_downstream_rq_time_sum{envoy_http_conn_manager_prefix="inbound"} 500
envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix="inbound"} 20
# TYPE envoy_http_downstream_rq_body_size histogram
envoy_http_downstream_rq_body_size_bucket{envoy_http_conn_manager_prefix="inbound",le="+Inf"} 20
envoy_http_downstream_rq_body_size_sum{envoy_http_conn_manager_prefix="inbound"} 321
envoy_http_downstream_rq_body_size_count{envoy_http_conn_manager_prefix="inbound"} 20
"""


def test_a_row_holds_only_what_is_its_own():
    inbound, outbound = hops("front", PAGE, [("inbound", "app"), ("outbound", "nobody")])
    assert (inbound.sidecar, inbound.listener, inbound.requests) == ("front", "inbound", 20)
    assert inbound.classes == {2: 17, 5: 3}
    assert (inbound.of_class(2), inbound.of_class(4)) == (17, 0)
    assert (inbound.retries, inbound.body_bytes_in, inbound.body_bytes_out) == (4, 321, 0)
    assert (inbound.p50_ms, inbound.p95_ms) == (10.0, 91.0)
    assert (outbound.requests, outbound.retries) == (7, 0)
    assert isnan(outbound.p50_ms)


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ([(1.0, 0.0), (5.0, 4.0), (inf, 4.0)], 0.5, 3.0),
        ([(1.0, 4.0), (5.0, 4.0), (inf, 4.0)], 0.5, 0.5),
        ([(1.0, 1.0), (5.0, 2.0), (inf, 4.0)], 0.95, 5.0),  # beyond the last bound: that bound
    ],
)
def test_quantiles_are_linear_within_a_bucket(buckets, share, value):
    assert quantile(buckets, share) == pytest.approx(value)


def test_nothing_recorded_is_no_number():
    assert isnan(quantile([], 0.5))
    assert isnan(quantile([(1.0, 0.0), (inf, 0.0)], 0.5))
