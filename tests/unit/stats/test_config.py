"""proxy.stats.config: bootstrap.stats_config."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader, unread
from proxy.stats.config import compile_stats_config
from proxy.stats.histogram import DEFAULT_BOUNDS
from proxy.stats.store import Store
from proxy.stats.tags import Tag


def compiled(config: dict[str, Any]) -> tuple[Store, Reader]:
    message = new_message("envoy.config.metrics.v3.StatsConfig")
    json_format.ParseDict(config, message, descriptor_pool=pool())
    reader, store = Reader(message, "stats_config"), Store()
    compile_stats_config(reader, store)
    return store, reader


def findings(reader: Reader) -> list[str]:
    return [str(finding) for finding in reader.errors.findings if finding.kind != "warning"]


def names(store: Store) -> list[str]:
    for name in ("cluster.back.rq", "cluster.other.rq", "http.in.rq_total"):
        store.counter(name)
    return [name for name in store.counters if name != "server.stats_overflow"]


def test_no_config_keeps_the_default_tags_and_adds_fixed_ones() -> None:
    store = Store()
    compile_stats_config(None, store, (Tag("pod", "p"),))
    assert store.tags.extract("http.in.rq")[1] == (
        Tag("pod", "p"),
        Tag("envoy.http_conn_manager_prefix", "in"),
    )


def test_custom_tags() -> None:
    store, reader = compiled(
        {
            "stats_tags": [
                {"tag_name": "zone", "fixed_value": "a"},
                {"tag_name": "shard", "regex": r"(shard_(\d+)\.)"},
            ]
        }
    )
    assert store.tags.extract("cluster.back.shard_7.rq") == (
        "cluster.rq",
        (Tag("zone", "a"), Tag("shard", "7"), Tag("envoy.cluster_name", "back")),
    )
    assert not findings(reader)
    assert not unread(reader)


def test_a_tag_regex_may_look_ahead_as_in_istios_bootstrap() -> None:
    regex = r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"
    store, reader = compiled({"stats_tags": [{"tag_name": "prefix", "regex": regex}]})
    assert not findings(reader)
    assert Tag("prefix", "10.0.0.1_80") in store.tags.extract("listener.x.http.10.0.0.1_80.rq")[1]
    _, reader = compiled({"stats_tags": [{"tag_name": "prefix", "regex": "(?=x"}]})
    assert "is no regular expression" in "".join(findings(reader))


def test_without_all_defaults_named_ones_can_be_kept() -> None:
    store, reader = compiled(
        {"use_all_default_tags": False, "stats_tags": [{"tag_name": "envoy.response_code"}]}
    )
    assert store.tags.extract("cluster.back.upstream_rq_200") == (
        "cluster.back.upstream_rq",
        (Tag("envoy.response_code", "200"),),
    )
    assert not findings(reader)


@pytest.mark.parametrize(
    "specifier, part",
    [
        ({"tag_name": "x"}, "no default regex for name: 'x'"),
        ({"tag_name": "x", "regex": "("}, "missing )"),
    ],
)
def test_bad_tags_are_refused(specifier: dict[str, str], part: str) -> None:
    _, reader = compiled({"stats_tags": [specifier]})
    assert part in "".join(findings(reader))


def test_a_regex_without_a_group_finds_nothing_and_is_warned_of() -> None:
    store, reader = compiled({"stats_tags": [{"tag_name": "x", "regex": "abc"}]})
    assert not findings(reader)
    assert [warning.path for warning in reader.errors.warnings] == ["stats_config.stats_tags[0].regex"]
    assert store.tags.extract("cluster.abc") == ("cluster.abc", ())


def test_a_tag_specified_twice_is_refused() -> None:
    twice = {"tag_name": "a", "fixed_value": "b"}
    _, reader = compiled({"stats_tags": [twice, twice]})
    assert "specified twice" in "".join(findings(reader))


@pytest.mark.parametrize(
    "pattern, kept",
    [
        ({"exact": "cluster.back.rq"}, {"cluster.back.rq"}),
        ({"prefix": "cluster."}, {"cluster.back.rq", "cluster.other.rq"}),
        ({"suffix": "_total"}, {"http.in.rq_total"}),
        ({"contains": "OTHER", "ignore_case": True}, {"cluster.other.rq"}),
        ({"safe_regex": {"regex": r"cluster\..*"}}, {"cluster.back.rq", "cluster.other.rq"}),
        ({"safe_regex": {"regex": r"cluster"}}, set()),
    ],
)
def test_stats_matcher(pattern: dict[str, Any], kept: set[str]) -> None:
    store, reader = compiled({"stats_matcher": {"inclusion_list": {"patterns": [pattern]}}})
    assert set(names(store)) == kept
    store, reader = compiled({"stats_matcher": {"exclusion_list": {"patterns": [pattern]}}})
    assert len(names(store)) == 3 - len(kept)
    assert not findings(reader)
    assert not unread(reader)


def test_reject_all() -> None:
    store, _ = compiled({"stats_matcher": {"reject_all": True}})
    assert names(store) == []
    store, _ = compiled({"stats_matcher": {"reject_all": False}})
    assert len(names(store)) == 3


def test_histogram_bounds() -> None:
    store, reader = compiled(
        {"histogram_bucket_settings": [{"match": {"prefix": "http."}, "buckets": [10, 1, 5]}]}
    )
    assert store.histogram("http.in.x").bounds == (1, 5, 10)
    assert store.histogram("cluster.x").bounds == DEFAULT_BOUNDS
    assert not findings(reader)


@pytest.mark.parametrize("buckets, part", [([1, 1], "unique"), ([0], "greater than 0")])
def test_bad_histogram_bounds_are_refused(buckets: list[float], part: str) -> None:
    _, reader = compiled({"histogram_bucket_settings": [{"match": {"prefix": "h"}, "buckets": buckets}]})
    assert part in "".join(findings(reader))
