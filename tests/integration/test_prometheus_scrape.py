"""A real Prometheus scrapes the page, and its query API gives the values back."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.stats.store import CodeStats
from tests.integration.test_admin import serving
from tests.support.client import Client, get, request
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply
from tests.support.wait import until
from tests.unit.admin.fake import FakeState

WAIT_S = 40.0


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Any]:
    """Starts Prometheus on a scrape target; yields a function that queries it."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed (Debian package prometheus)")
    port = free_port()
    started: list[subprocess.Popen[bytes]] = []

    def start(target: str) -> Any:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {
                    "job_name": "outrider",
                    "metrics_path": "/stats/prometheus",
                    "static_configs": [{"targets": [target]}],
                }
            ],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        log = (tmp_path / "log").open("wb")
        started.append(
            subprocess.Popen(
                [
                    binary,
                    f"--config.file={tmp_path / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
                cwd=tmp_path,
            )
        )
        log.close()
        return Api(f"http://127.0.0.1:{port}/api/v1/", tmp_path / "log")

    try:
        yield start
    finally:
        for process in started:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=5)


class Api:
    """Prometheus' HTTP API."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=5) as response:
            return json.load(response)["data"]

    def target(self) -> tuple[str, str]:
        """Health and last error of what is scraped: on a busy machine one scrape may have taken longer than it may."""
        (target,) = self.get("targets")["activeTargets"]
        return target["health"], target["lastError"]

    def value(self, query: str) -> float:
        """The value of a query, waited for until a scrape has brought it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                result = self.get("query?query=" + urllib.parse.quote(query))["result"]
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                result = []
            if result:
                return float(result[0]["value"][1])
            time.sleep(0.3)
        raise AssertionError(f"no value for {query}; prometheus wrote:\n{self.log.read_text()[-3000:]}")


@pytest.mark.system
@pytest.mark.timeout(120)
def test_a_real_prometheus_reads_the_page(prometheus: Any) -> None:
    state = FakeState()
    back = state.store.scope("cluster").scope("back")
    codes = CodeStats(back, prefix="upstream_rq_")
    time_ms = back.histogram("upstream_rq_time")
    for status, elapsed in ((200, 3), (200, 7), (503, 400)):
        codes.record(status)
        time_ms.record(elapsed)
    with serving(state) as (host, port):
        api = prometheus(f"{host}:{port}")
        name = 'envoy_cluster_name="back"'
        assert api.value(f'envoy_cluster_upstream_rq{{{name},envoy_response_code="200"}}') == 2
        assert api.value(f'envoy_cluster_upstream_rq_xx{{{name},envoy_response_code_class="5"}}') == 1
        assert api.value(f'envoy_cluster_upstream_rq_time_bucket{{{name},le="5"}}') == 1
        assert api.value(f'envoy_cluster_upstream_rq_time_bucket{{{name},le="+Inf"}}') == 3
        assert api.value(f"envoy_cluster_upstream_rq_time_sum{{{name}}}") == 410
        assert api.value("process_resident_memory_bytes") > 1e6
        assert api.value("up == 1") == 1
        until(lambda: api.target() == ("up", ""), "a scrape without an error")
        types = api.get("metadata?metric=envoy_cluster_upstream_rq_time")
        assert types["envoy_cluster_upstream_rq_time"][0]["type"] == "histogram"


@pytest.mark.system
@pytest.mark.timeout(120)
def test_requests_of_a_running_proxy(
    prometheus: Any, start_outrider: Any, port: int, upstream: Upstream
) -> None:
    """Requests by code, durations and sizes, per listener, cluster and virtual host."""
    upstream.script = lambda each: (
        [reply(503, b"no")] if each.path == "/broken" else [reply(200, b"x" * 1000)]
    )
    shop = virtual_host([route_to("up")], name="shop")
    admin_port = free_port()
    proxy = start_outrider(
        bootstrap(admin_port, [http_listener(port, [shop])], [cluster("up", upstream.port)])
    )
    assert [get(port, path).status for path in ("/", "/", "/broken")] == [200, 200, 503]
    with Client(port) as client:
        assert client.send(request("POST", "/", [("Content-Length", "70")]) + b"y" * 70).read().status == 200
    proxy.wait_for_stat("http.front.downstream_rq_completed", 4)
    api = prometheus(f"127.0.0.1:{admin_port}")

    at = f'envoy_listener_address="127.0.0.1_{port}",envoy_http_conn_manager_prefix="front"'
    assert api.value(f'envoy_listener_http_downstream_rq_xx{{{at},envoy_response_code_class="2"}}') == 3
    assert api.value(f'envoy_listener_http_downstream_rq_xx{{{at},envoy_response_code_class="5"}}') == 1
    front = 'envoy_http_conn_manager_prefix="front"'
    assert api.value(f'envoy_http_downstream_rq_time_bucket{{{front},le="+Inf"}}') == 4
    assert api.value(f"envoy_http_downstream_rq_body_size_sum{{{front}}}") == 70
    assert api.value(f"envoy_http_downstream_rs_body_size_sum{{{front}}}") == 3002

    for metric, where in (
        ("envoy_cluster", 'envoy_cluster_name="up"'),
        ("envoy_vhost_vcluster", 'envoy_virtual_host="shop",envoy_virtual_cluster="other"'),
    ):
        assert api.value(f'{metric}_upstream_rq{{{where},envoy_response_code="200"}}') == 3
        assert api.value(f'{metric}_upstream_rq{{{where},envoy_response_code="503"}}') == 1
        assert api.value(f"{metric}_upstream_rq_time_count{{{where}}}") == 4
        assert api.value(f'{metric}_upstream_rq_time_bucket{{{where},le="10000"}}') == 4
        assert api.value(f"{metric}_upstream_rq_body_size_sum{{{where}}}") == 70
        assert api.value(f"{metric}_upstream_rs_body_size_sum{{{where}}}") == 3002

    get(port)
    proxy.wait_for_stat("http.front.downstream_rq_completed", 5)
    assert api.value('envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="front"} > 4') == 5
    until(lambda: api.target() == ("up", ""), "a scrape without an error")
