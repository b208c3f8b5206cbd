"""proxy.stats.prometheus: Envoy's page, readable by others' parsers."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.stats.prometheus import PrometheusWriter, Query
from proxy.stats.store import CodeStats, Store
from proxy.stats.tags import Tag, TagExtractor


def sample_store() -> Store:
    store = Store()
    back = store.scope("cluster").scope("back")
    CodeStats(back, prefix="upstream_rq_").record(200)
    back.gauge("upstream_cx_active").value = 2
    back.gauge("membership_total").set(0)
    back.histogram("upstream_rq_time").record(7)
    store.scope("cluster").scope("od:d").histogram("upstream_rq_time")
    store.scope("listener").scope("[::1]_80").counter("downstream_cx_total").value = 3
    store.text("control_plane.identifier").value = 'a "quoted"\nname'
    return store


def lines(store: Store, query: Query | None = None) -> list[str]:
    return PrometheusWriter(store).write(query).splitlines()


def test_numbers_are_written_as_envoy_writes_them() -> None:
    page = lines(sample_store())
    assert page[:8] == [
        "# TYPE envoy_cluster_upstream_rq counter",
        'envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="back"} 1',
        "# TYPE envoy_cluster_upstream_rq_completed counter",
        'envoy_cluster_upstream_rq_completed{envoy_cluster_name="back"} 1',
        "# TYPE envoy_cluster_upstream_rq_xx counter",
        'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="back"} 1',
        "# TYPE envoy_listener_downstream_cx_total counter",
        'envoy_listener_downstream_cx_total{envoy_listener_address="[__1]_80"} 3',
    ]
    assert "envoy_server_stats_overflow{} 0" in page
    assert 'envoy_cluster_upstream_cx_active{envoy_cluster_name="back"} 2' in page


def test_histograms_have_cumulative_buckets() -> None:
    page = [line for line in lines(sample_store()) if "upstream_rq_time" in line]
    assert page[0] == "# TYPE envoy_cluster_upstream_rq_time histogram"
    assert len(page) == 1 + 2 * 22
    assert page[3:6] == [
        'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="back",le="5"} 0',
        'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="back",le="10"} 1',
        'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="back",le="25"} 1',
    ]
    assert page[20:23] == [
        'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="back",le="+Inf"} 1',
        'envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="back"} 7',
        'envoy_cluster_upstream_rq_time_count{envoy_cluster_name="back"} 1',
    ]


def test_summaries_show_the_last_interval() -> None:
    store = sample_store()
    page = lines(store, Query(histograms="summary", used_only=True))
    assert 'envoy_cluster_upstream_rq_time{envoy_cluster_name="back",quantile="0.5"} nan' in page
    store.flush()
    page = lines(store, Query(histograms="summary", used_only=True))
    assert 'envoy_cluster_upstream_rq_time{envoy_cluster_name="back",quantile="0.999"} 7.05' in page
    assert 'envoy_cluster_upstream_rq_time_count{envoy_cluster_name="back"} 1' in page


def test_used_only_leaves_empty_families_out() -> None:
    page = "\n".join(lines(sample_store(), Query(used_only=True)))
    assert "envoy_server_stats_overflow" not in page
    assert "od_d" not in page
    assert 'envoy_cluster_membership_total{envoy_cluster_name="back"} 0' in page


def test_a_filter_sees_envoys_flat_names() -> None:
    page = lines(sample_store(), Query(accepts=lambda name: name == "cluster.back.upstream_rq_200"))
    assert page == [
        "# TYPE envoy_cluster_upstream_rq counter",
        'envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="back"} 1',
    ]


def test_texts_only_when_asked_for() -> None:
    assert not any("identifier" in line for line in lines(sample_store()))
    page = lines(sample_store(), Query(text_readouts=True))
    assert r'envoy_control_plane_identifier{text_value="a \"quoted\"\nname"} 0' in page


def test_nothing_kept_is_an_empty_page() -> None:
    assert PrometheusWriter(sample_store()).write(Query(accepts=lambda name: False)) == ""


def test_new_stats_and_new_values_appear_on_the_next_page() -> None:
    store = sample_store()
    writer = PrometheusWriter(store)
    writer.write()
    store.counter("cluster.back.upstream_rq_200").value = 9
    store.counter("cluster.new.upstream_rq_200").value = 1
    page = writer.write()
    assert 'upstream_rq{envoy_response_code="200",envoy_cluster_name="back"} 9' in page
    assert 'upstream_rq{envoy_response_code="200",envoy_cluster_name="new"} 1' in page


def test_other_tags_make_another_page() -> None:
    store = sample_store()
    writer = PrometheusWriter(store)
    writer.write()
    store.tags = TagExtractor(())
    assert "envoy_cluster_back_upstream_rq_200{} 1" in writer.write()


def test_names_that_clash_across_kinds_stay_apart() -> None:
    store = Store()
    store.counter("a.b")
    store.gauge("a_b")
    page = lines(store)
    assert "# TYPE envoy_a_b counter" in page
    assert "# TYPE envoy_a_b_gauge gauge" in page


def test_names_that_clash_within_a_kind_share_one_type_line() -> None:
    store = Store()
    store.counter("a.b")
    store.counter("a_b")
    assert lines(store).count("# TYPE envoy_a_b counter") == 1


def test_hostile_names_and_values_cannot_break_the_page() -> None:
    store = Store()
    store.tags = TagExtractor(fixed=(Tag("a.b", 'x"} 1\n# \\'), Tag("a_b", "again"), Tag("9", "%s")))
    store.scope("cluster").scope('back"} 5\nfoo{').counter("c").value = 1
    store.histogram('http.%s%d".h').record(1)
    page = PrometheusWriter(store).write()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    samples = [sample for family in families.values() for sample in family.samples]
    assert all(sample.name.startswith("envoy_") for sample in samples)
    assert all(sample.labels["a_b"] == 'x"} 1\n# \\' and sample.labels["_9"] == "%s" for sample in samples)


def test_prometheus_client_reads_the_page() -> None:
    page = PrometheusWriter(sample_store()).write(Query(text_readouts=True))
    families = {family.name: family for family in text_string_to_metric_families(page)}
    histogram = families["envoy_cluster_upstream_rq_time"]
    assert histogram.type == "histogram"
    buckets = {
        s.labels["le"]: s.value
        for s in histogram.samples
        if s.labels.get("envoy_cluster_name") == "back" and "le" in s.labels
    }
    assert buckets["5"] == 0
    assert buckets["10"] == buckets["+Inf"] == 1
    assert families["envoy_cluster_upstream_cx_active"].type == "gauge"


@pytest.mark.system
def test_promtool_reads_the_page() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    page = PrometheusWriter(sample_store()).write(Query(text_readouts=True))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=30
    )
    # Exit 3 is advice on style (help texts, counters that do not end in _total): Envoy's names are a given.
    assert done.returncode in (0, 3), done.stderr
    assert "error while linting" not in done.stderr
