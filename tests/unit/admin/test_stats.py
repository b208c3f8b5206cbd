"""proxy.admin.stats and proxy.admin.prometheus: /stats in all its shapes."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.admin.fake import FakeState, ask


@pytest.fixture
def state() -> FakeState:
    state = FakeState()
    store = state.store
    store.counter("cluster.back.upstream_rq_total").value = 2
    store.counter("cluster.back.upstream_rq_retry")
    store.gauge("server.state").set(0)
    store.gauge("listener_manager.workers_started").set(1)
    store.gauge("server.idle")
    store.text("control_plane.identifier").value = "cp"
    store.histogram("cluster.back.upstream_rq_time").record(4)
    store.histogram("cluster.back.upstream_cx_connect_ms")
    return state


def test_text(state: FakeState) -> None:
    percents = ("0", "25", "50", "75", "90", "95", "99", "99.5", "99.9", "100")
    percentiles = " ".join(f"P{percent}(nan,4.05)" for percent in percents)
    assert ask(state, "/stats").body.splitlines() == [
        'control_plane.identifier: "cp"',
        "cluster.back.upstream_rq_retry: 0",
        "cluster.back.upstream_rq_total: 2",
        "listener_manager.workers_started: 1",
        "server.idle: 0",
        "server.state: 0",
        "server.stats_overflow: 0",
        "cluster.back.upstream_cx_connect_ms: No recorded values",
        f"cluster.back.upstream_rq_time: {percentiles}",
    ]


def test_the_interval_is_filled_by_a_flush(state: FakeState) -> None:
    state.store.flush()
    assert "P0(4.05,4.05)" in ask(state, "/stats").body


def test_used_only_keeps_a_gauge_that_was_set_to_zero(state: FakeState) -> None:
    pattern = "^(server\\.state|listener_manager\\.workers_started|server\\.idle)$"
    body = ask(state, f"/stats?usedonly&filter={pattern}").body
    assert body == "listener_manager.workers_started: 1\nserver.state: 0\n"


def test_filters_find_parts_and_can_be_inverted(state: FakeState) -> None:
    assert ask(state, "/stats?filter=workers").body == "listener_manager.workers_started: 1\n"
    inverted = ask(state, "/stats?filter=^(cluster|control|listener)&invert_filter").body
    assert inverted == "server.idle: 0\nserver.state: 0\nserver.stats_overflow: 0\n"
    assert ask(state, "/stats?filter=.&invert_filter").body == ""


@pytest.mark.parametrize(
    "kind, count", [("Counters", 3), ("Gauges", 3), ("Histograms", 2), ("TextReadouts", 1), ("All", 9)]
)
def test_types(state: FakeState, kind: str, count: int) -> None:
    assert len(ask(state, f"/stats?type={kind}").body.splitlines()) == count


@pytest.mark.parametrize(
    "query, body",
    [
        ("format=xx", "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"),
        ("filter=(", "Invalid re2 regex: missing ): ("),
        ("type=Foo", "invalid &type= param"),
        ("hidden=bogus", "usage: /stats?hidden=(include|only|exclude)\n\n"),
    ],
)
def test_wrong_options_are_refused(state: FakeState, query: str, body: str) -> None:
    reply = ask(state, "/stats?" + query)
    assert (reply.status, reply.body) == (400, body)


def test_bucket_modes(state: FakeState) -> None:
    query = "/stats?usedonly&type=Histograms&histogram_buckets="
    assert ask(state, query + "bogus").status == 400
    cumulative = ask(state, query + "cumulative").body
    assert cumulative.startswith("cluster.back.upstream_rq_time: B0.5(0,0) B1(0,0) B5(0,1) B10(0,1) ")
    assert cumulative.endswith(" B1.8e+06(0,1) B3.6e+06(0,1)\n")
    assert " B5(0,1) B10(0,0) " in ask(state, query + "disjoint").body
    state.store.flush()
    assert " B5(1,1) B10(1,1) " in ask(state, query + "cumulative").body
    assert " B5(1,1) B10(0,0) " in ask(state, query + "disjoint").body
    detailed = ask(state, query + "detailed").body
    assert "  totals=4,0.1:1\n  intervals=4,0.1:1\n  summary=P0(4.05,4.05) " in detailed


def test_json(state: FakeState) -> None:
    reply = ask(state, "/stats?format=json")
    assert reply.content_type == "application/json"
    stats = json.loads(reply.body)["stats"]
    assert stats[0] == {"name": "control_plane.identifier", "value": "cp"}
    assert stats[2] == {"name": "cluster.back.upstream_rq_total", "value": 2}
    histograms = stats[-1]["histograms"]
    assert histograms["supported_quantiles"] == [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]
    unused, used = histograms["computed_quantiles"]
    assert unused["values"][0] == {"cumulative": None, "interval": None}
    assert used["values"][9] == {"cumulative": 4.05, "interval": None}


def test_json_without_histograms(state: FakeState) -> None:
    assert ask(state, "/stats?format=json&filter=nomatch").body == '{"stats":[]}'


def test_json_bucket_modes(state: FakeState) -> None:
    query = "/stats?format=json&usedonly&type=Histograms&histogram_buckets="
    buckets = json.loads(ask(state, query + "cumulative").body)["stats"][0]["histograms"]
    assert buckets[0]["buckets"][2] == {"upper_bound": 5, "interval": 0, "cumulative": 1}
    detailed = json.loads(ask(state, query + "detailed").body)["stats"][0]["histograms"]
    assert detailed["details"][0]["totals"] == [{"lower_bound": 4.0, "width": 0.1, "count": 1}]


def test_html_is_escaped(state: FakeState) -> None:
    state.store.counter("<script>alert(1)</script>")
    for shape in ("html", "active-html"):
        reply = ask(state, f"/stats?format={shape}")
        assert reply.content_type == "text/html; charset=UTF-8"
        assert "&lt;script&gt;" in reply.body
        assert "<script>" not in reply.body


# -- Prometheus


def test_prometheus_page(state: FakeState) -> None:
    reply = ask(state, "/stats/prometheus")
    assert reply.content_type == "text/plain; version=0.0.4; charset=UTF-8"
    assert ask(state, "/stats?format=prometheus").content_type == reply.content_type
    families = {family.name: family for family in text_string_to_metric_families(reply.body)}
    assert families["envoy_server_state"].type == "gauge"
    assert families["envoy_cluster_upstream_rq_time"].type == "histogram"
    assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="back"} 2\n' in reply.body
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    assert "python_info" in families


def test_prometheus_options(state: FakeState) -> None:
    used = ask(state, "/stats/prometheus?usedonly&filter=^cluster").body
    assert "upstream_rq_retry" not in used
    assert "process_" not in used
    assert "envoy_cluster_upstream_rq_total" in used
    assert ask(state, "/stats/prometheus?filter=^process_&usedonly").body.startswith("# HELP process_")
    inverted = ask(state, "/stats/prometheus?filter=^(cluster|python|process)&invert_filter").body
    assert "envoy_cluster_" not in inverted
    assert "envoy_server_state" in inverted
    assert "process_" not in inverted
    assert "identifier" in ask(state, "/stats/prometheus?text_readouts").body
    assert 'quantile="0.5"' in ask(state, "/stats/prometheus?histogram_buckets=summary").body
    assert "_bucket{" in ask(state, "/stats/prometheus?histogram_buckets=cumulative").body


@pytest.mark.parametrize(
    "query, body",
    [
        ("filter=(", "Invalid re2 regex: missing ): ("),
        ("histogram_buckets=detailed", "unsupported prometheus histogram bucket mode"),
    ],
)
def test_wrong_prometheus_options_are_refused(state: FakeState, query: str, body: str) -> None:
    reply = ask(state, "/stats/prometheus?" + query)
    assert (reply.status, reply.body) == (400, body)


def test_users_metrics_are_on_the_page(state: FakeState) -> None:
    from prometheus_client import REGISTRY, Counter

    mine = Counter("my_filter_hits", "Hits of a user's filter")
    shadow = Counter("envoy_my_own", "Takes our prefix")
    try:
        mine.inc(3)
        body = ask(state, "/stats/prometheus").body
        assert "my_filter_hits_total 3.0" in body
        assert "envoy_my_own" not in body
    finally:
        REGISTRY.unregister(mine)
        REGISTRY.unregister(shadow)
