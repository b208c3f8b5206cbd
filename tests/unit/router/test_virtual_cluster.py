"""Which virtual cluster a request belongs to, and how the statistics of it and of single routes count."""

from __future__ import annotations

from tests.support.transcript import Transcript, to
from tests.unit.router.tables import findings_of, request, routes, stream_of, table_of

KINDS = [
    {"name": "post", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]},
    {
        "name": "both",
        "headers": [{"name": "x", "present_match": True}, {"name": "y", "present_match": True}],
    },
]


def kind(method: str = "GET", *names: str) -> int:
    table = table_of(routes(to("one"), virtual_clusters=KINDS))
    headers = request(method=method, fields=[(name, "1") for name in names])
    stream = stream_of(headers)
    assert table.find(headers, stream) is not None
    return stream.virtual_cluster


def test_the_first_whose_matchers_all_match():
    assert kind("POST", "x", "y") == 0
    assert kind("GET", "x", "y") == 1
    assert kind("GET", "x") == kind("GET", "y") == -1


def test_a_virtual_cluster_needs_name_and_headers():
    found = findings_of(routes(to("one"), virtual_clusters=[{}]))
    assert [finding.path for finding in found] == [
        "virtual_hosts[0].virtual_clusters[0].name",
        "virtual_hosts[0].virtual_clusters[0].headers",
    ]


def test_each_request_is_counted_in_one_virtual_cluster():
    talk = Transcript(to("a"), vhost={"virtual_clusters": KINDS, "name": "v"})
    for method in (b"GET", b"POST", b"GET"):
        talk.client(method + b" / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        talk.upstream().replies(200)
    assert talk.stats["vhost.v.vcluster.post.upstream_rq_200"] == 1
    assert talk.stats["vhost.v.vcluster.post.upstream_rq_total"] == 1
    assert talk.stats["vhost.v.vcluster.other.upstream_rq_200"] == 2
    assert talk.stats["vhost.v.vcluster.other.upstream_rq_total"] == 2
    assert talk.stats["vhost.v.vcluster.both.upstream_rq_total"] == 0


def test_a_route_is_counted_where_it_asks_for_it():
    policy = {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}
    counted = {**to("a", "/r", retry_policy=policy), "stat_prefix": "r"}
    talk = Transcript(counted, to("a"), vhost={"name": "v"})
    talk.client(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).replies(200)
    assert talk.stats["vhost.v.route.r.upstream_rq_total"] == 0
    talk.client(b"GET /r HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).replies(503)
    talk.waits(0.1)
    talk.upstream(1).replies(200)
    assert talk.stats["vhost.v.route.r.upstream_rq_total"] == 2
    assert talk.stats["vhost.v.route.r.upstream_rq_retry"] == 1
    assert talk.stats["vhost.v.route.r.upstream_rq_retry_success"] == 1
    assert talk.stats["vhost.v.route.r.upstream_rq_completed"] == 1
    assert talk.stats["vhost.v.vcluster.other.upstream_rq_total"] == 2


def test_weighted_clusters_count_for_their_route():
    weighted = {"clusters": [{"name": "a", "weight": 1}, {"name": "a", "weight": 1}]}
    action = {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}, "stat_prefix": "w"}
    talk = Transcript(action, vhost={"name": "v"})
    for _ in range(4):
        talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        talk.upstream().replies(200)
    assert talk.stats["vhost.v.route.w.upstream_rq_total"] == 4
