"""proxy.stats.tags: names and labels as on the pages of Envoy 1.40.0."""

from __future__ import annotations

import re

import pytest

from proxy.stats.tags import DEFAULT_RULES, Regex, Rule, Tag, TagExtractor, first_word_of

CASES = [
    (
        "cluster.back.external.upstream_rq_200",
        "cluster.external.upstream_rq",
        [("response_code", "200"), ("cluster_name", "back")],
    ),
    ("cluster.od_d/c.d x.upstream_rq_time", "cluster.d x.upstream_rq_time", [("cluster_name", "od_d/c")]),
    (
        "listener.127.0.0.1_19902.http.ingress.downstream_rq_2xx",
        "listener.http.downstream_rq_xx",
        [
            ("response_code_class", "2"),
            ("http_conn_manager_prefix", "ingress"),
            ("listener_address", "127.0.0.1_19902"),
        ],
    ),
    (
        "listener.[__1]_19905.worker_0.downstream_cx_total",
        "listener.worker_downstream_cx_total",
        [("worker_id", "0"), ("listener_address", "[__1]_19905")],
    ),
    (
        "listener.admin.http.admin.downstream_rq_4xx",
        "listener.admin.http.downstream_rq_xx",
        [("response_code_class", "4"), ("http_conn_manager_prefix", "admin")],
    ),
    ("http.ingress.rq_total", "http.rq_total", [("http_conn_manager_prefix", "ingress")]),
    (
        "vhost.vh.vcluster.other.upstream_rq_retry",
        "vhost.vcluster.upstream_rq_retry",
        [("virtual_cluster", "other"), ("virtual_host", "vh")],
    ),
    (
        "vhost.vh.route.myroute.upstream_rq_404",
        "vhost.route.upstream_rq",
        [("response_code", "404"), ("virtual_host", "vh"), ("route", "myroute")],
    ),
    ("tcp.tcpx.idle_timeout", "tcp.idle_timeout", [("tcp_prefix", "tcpx")]),
    ("server.worker_12.watchdog_miss", "server.worker_watchdog_miss", [("worker_id", "12")]),
    ("x.http_local_rate_limit.ok", "http_local_rate_limit.ok", [("local_http_ratelimit_prefix", "x")]),
    ("listener_manager.workers_started", "listener_manager.workers_started", []),
    ("cluster_manager.active_clusters", "cluster_manager.active_clusters", []),
    ("cluster.alone", "cluster.alone", []),
    ("", "", []),
]


@pytest.mark.parametrize("name, base, tags", CASES)
def test_envoys_names(name: str, base: str, tags: list[tuple[str, str]]) -> None:
    extractor = TagExtractor()
    expected = (base, tuple(Tag("envoy." + tag, value) for tag, value in tags))
    assert extractor.extract(name) == expected


def test_without_rules_nothing_is_a_tag() -> None:
    assert TagExtractor(()).extract("cluster.back.upstream_rq_200") == ("cluster.back.upstream_rq_200", ())


def test_fixed_tags_come_first_and_win() -> None:
    extractor = TagExtractor(fixed=(Tag("pod", "p1"), Tag("envoy.cluster_name", "fixed")))
    assert extractor.extract("cluster.back.x") == (
        "cluster.back.x",
        (Tag("pod", "p1"), Tag("envoy.cluster_name", "fixed")),
    )


def test_a_rule_with_one_group_cuts_and_keeps_the_same() -> None:
    rule = Rule("method", re.compile(r"method\.(\w+)"))
    assert TagExtractor((rule,)).extract("a.method.get.b") == ("a.method..b", (Tag("method", "get"),))


def test_a_rule_that_cuts_nothing_out_is_no_tag() -> None:
    rules = (Rule("a", re.compile(r"(?:(x)|(y))")), Rule("b", re.compile(r"(\.(z))")))
    assert TagExtractor(rules).extract("y.z.w") == ("y.w", (Tag("b", "z"),))


def test_overlapping_cuts_are_cut_once() -> None:
    rules = (Rule("a", re.compile(r"(b\.(c)\.)")), Rule("b", re.compile(r"(c\.(d)\.)")))
    assert TagExtractor(rules).extract("a.b.c.d.e")[0] == "a.e"


@pytest.mark.parametrize(
    "regex, word",
    [(r"^http\.x", "http"), (r"^ab$", "ab"), (r"^http(?=\.)", "http"), (r"^a|b", ""), (r"x\.", "")],
)
def test_first_words(regex: str, word: str) -> None:
    assert first_word_of(regex) == word


def regex(rule: Rule) -> str:
    assert isinstance(rule.pattern, Regex)
    return rule.pattern.text


def test_every_default_rule_has_a_group_for_its_value() -> None:
    assert all(re.compile(regex(rule), re.ASCII).groups >= 2 for rule in DEFAULT_RULES)


@pytest.mark.parametrize("name", [case[0] for case in CASES])
def test_needles_only_save_time(name: str) -> None:
    plain = TagExtractor(tuple(rule._replace(needle="") for rule in DEFAULT_RULES))
    assert plain.extract(name) == TagExtractor().extract(name)


def test_every_needle_stands_in_its_pattern() -> None:
    for rule in DEFAULT_RULES:
        text = re.sub(r"[\\()]", "", regex(rule))
        assert rule.needle in text
