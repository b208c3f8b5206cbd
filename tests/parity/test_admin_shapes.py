"""The same clusters and listeners in the real Envoy: our admin pages have the shape of its pages."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format

from proxy.admin.state import ListenerStatus
from proxy.admin.stats import summary_text
from proxy.api.pool import new_message, pool
from proxy.stats.histogram import Histogram
from proxy.stats.prometheus import PrometheusWriter
from proxy.stats.store import Store
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.ports import free_port
from tests.unit.admin.fake import Cluster, FakeState, Host, ask

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

#: outrider has fewer loggers, endpoints, options and extensions than Envoy
FLAGS_THAT_VARY = {"version", "command_line_options", "node", "uptime_current_epoch", "uptime_all_epochs"}


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap() -> dict[str, Any]:
    hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    admin, main, back = free_port(), free_port(), free_port()
    manager = {
        "@type": hcm,
        "stat_prefix": "ingress",
        "route_config": {"name": "local", "virtual_hosts": [{"name": "vh", "domains": ["*"]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    endpoint = {"endpoint": {"address": address(back)}}
    return {
        "admin": {"address": address(admin)},
        "node": {"id": "n1", "cluster": "c1"},
        "stats_flush_interval": "0.1s",
        "static_resources": {
            "listeners": [
                {"name": "main", "address": address(main), "filter_chains": [{"filters": filters}]}
            ],
            "clusters": [
                {
                    "name": "back",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": {"cluster_name": "back", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        },
    }


class Pair:
    """The real Envoy and our pages on the same configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        resources = config["static_resources"]
        self.admin = config["admin"]["address"]["socket_address"]["port_value"]
        back = resources["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        port = resources["listeners"][0]["address"]["socket_address"]["port_value"]
        host = Host(port=back["address"]["socket_address"]["port_value"])
        host.cx_active = host.cx_total = host.rq_success = host.rq_total = 0
        self.state = FakeState()
        self.state.listeners = [ListenerStatus("main", "127.0.0.1", port)]
        self.state.clusters = {"back": Cluster("back", [host])}
        message = new_message("envoy.config.bootstrap.v3.Bootstrap")
        self.state.bootstrap = json_format.ParseDict(config, message, descriptor_pool=pool())

    def envoys(self, target: str, method: str = "GET") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        connection.request(method, target)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, response.getheader("content-type", ""), body

    def ours(self, target: str, method: str = "GET") -> tuple[int, str, str]:
        reply = ask(self.state, target, method)
        return reply.status, reply.content_type, reply.body


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    config = bootstrap()
    with Envoy(config):
        yield Pair(config)


@pytest.mark.parametrize(
    "target",
    [
        "/ready",
        "/listeners",
        "/listeners?format=json",
        "/clusters",
        "/clusters?format=json",
        "/clusters?filter=nope",
        "/clusters?filter=(",
        "/certs",
        "/hot_restart_version",
        "/quitquitquit",
        "/logging",
        "/stats?format=xx",
        "/stats?type=xx",
        "/stats?hidden=xx",
        "/stats?filter=(",
        "/stats?format=json&filter=nomatch",
        "/stats/prometheus?histogram_buckets=disjoint",
        "/stats?usedonly&filter=nomatch",
    ],
)
def test_replies_are_equal(pair: Pair, target: str) -> None:
    assert pair.ours(target) == pair.envoys(target)


def test_runtime_is_equal(pair: Pair) -> None:
    ours, envoys = pair.ours("/runtime"), pair.envoys("/runtime")
    assert ours[:2] == envoys[:2]
    assert json.loads(ours[2]) == json.loads(envoys[2])  # Envoy writes the two keys in any order


@pytest.mark.parametrize(
    "target", ["/healthcheck/ok", "/reopen_logs", "/reset_counters", "/runtime_modify?a=b"]
)
def test_replies_to_commands_are_equal(pair: Pair, target: str) -> None:
    assert pair.ours(target, "POST") == pair.envoys(target, "POST")


@pytest.mark.parametrize(
    "query",
    [
        "resource=foo",
        "resource=bootstrap",
        "resource=dynamic_listeners",
        "resource=static_clusters",
        "resource=static_endpoint_configs",
        "resource=static_endpoint_configs&include_eds",
        "resource=static_clusters&mask=cluster.name",
        "resource=static_clusters&mask=cluster.load_assignment.endpoints",
        "resource=static_listeners&name_regex=mai",
        "resource=static_route_configs",
        "mask=static_listeners",
        "mask=foo",
        "mask=static_clusters.cluster",
        "name_regex=(",
    ],
)
def test_config_dumps_are_equal(pair: Pair, query: str) -> None:
    ours, envoys = pair.ours("/config_dump?" + query), pair.envoys("/config_dump?" + query)
    assert ours[0] == envoys[0]
    if envoys[1] != "application/json":
        assert ours[2] == envoys[2]
        return
    assert ours[1] == envoys[1]
    assert _without_times(ours[2]) == _without_times(envoys[2])


def _without_times(body: str) -> str:
    return re.sub(r'"last_updated": "[^"]*"', '"last_updated": ""', body)


def test_the_whole_dump_has_the_same_sections(pair: Pair) -> None:
    for query in ("", "?include_eds"):
        ours = json.loads(pair.ours("/config_dump" + query)[2])["configs"]
        envoys = json.loads(pair.envoys("/config_dump" + query)[2])["configs"]
        assert [list(section) for section in ours] == [list(section) for section in envoys]
        assert [section["@type"] for section in ours] == [section["@type"] for section in envoys]


def test_server_info_has_the_same_keys(pair: Pair) -> None:
    ours = json.loads(pair.ours("/server_info")[2])
    envoys = json.loads(pair.envoys("/server_info")[2])
    assert set(envoys) <= set(ours)
    for key in set(envoys) - FLAGS_THAT_VARY:
        assert ours[key] == envoys[key]


def _number_free(page: str) -> list[str]:
    return [re.sub(r" \S+$", "", line) for line in page.splitlines()]


def test_every_stat_of_envoy_gets_envoys_metric_name_and_labels(pair: Pair) -> None:
    """Envoy's own stats, read from /stats, written by our writer: the same page but for the numbers."""
    stats = json.loads(pair.envoys("/stats?format=json&type=Counters")[2])["stats"]
    gauges = json.loads(pair.envoys("/stats?format=json&type=Gauges")[2])["stats"]
    histograms = pair.envoys("/stats?type=Histograms")[2].splitlines()
    page = pair.envoys("/stats/prometheus")[2]
    store = Store()
    store.counters.clear()
    for stat in stats:
        store.counter(stat["name"])
    for stat in gauges:
        store.gauge(stat["name"])
    for line in histograms:
        store.histogram(line.partition(": ")[0])
    assert _number_free(PrometheusWriter(store).write()) == _number_free(page)


def test_percentiles_are_printed_as_envoy_prints_them(pair: Pair) -> None:
    """Whatever Envoy recorded (its start-up time, accepted connections), from its own bins."""
    target = "/stats?format=json&type=Histograms&usedonly&histogram_buckets=detailed"
    deadline = time.monotonic() + 10
    while not (stats := json.loads(pair.envoys(target)[2])["stats"]) and time.monotonic() < deadline:
        time.sleep(0.05)  # until Envoy's next flush
    details = stats[0]["histograms"]["details"]
    assert details
    for detail in details:
        histogram = Histogram()
        for bucket in detail["totals"]:
            for _ in range(bucket["count"]):
                histogram.record(bucket["lower_bound"])
        expected = [entry["cumulative"] for entry in detail["percentiles"]]
        printed = [float(pair_.rpartition(",")[2].rstrip(")")) for pair_ in summary_text(histogram).split()]
        assert printed == pytest.approx(expected, rel=1e-9)
