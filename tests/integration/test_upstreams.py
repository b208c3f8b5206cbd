"""Hosts of all kinds, with real sockets: unix sockets, source addresses, several addresses, dead connections."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, Response, request
from tests.support.config import (
    Config,
    address,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    route_to,
    virtual_host,
)
from tests.support.dns_server import DnsServer
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Close, Request, Reset, Steps, Upstream, Wait, reply

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CARES = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_LOCAL_ADDRESS%\n"


class Front:
    """outrider before one cluster "c"."""

    def __init__(self, folder: Path, hosted: Config, **route: Any) -> None:
        self.folder = folder
        self.port = free_port()
        hcm = {"access_log": [file_log(str(folder / "log"), LOG)]}
        listener = http_listener(self.port, [virtual_host([route_to("c", **route)])], hcm=hcm)
        self.proxy = Outrider(bootstrap(free_port(), [listener], [hosted]), folder=folder)

    def ask(self, *paths: str, method: str = "GET") -> list[Response]:
        """The replies, all on one connection."""
        with Client(self.port) as client:
            return [client.send(request(method, path)).read(method == "HEAD") for path in paths]

    def stat(self, name: str) -> int:
        return self.proxy.stats().get(f"cluster.c.{name}", 0)

    def lines(self, count: int) -> list[str]:
        """The access log, once it has so many lines."""
        deadline = time.monotonic() + 5
        while True:
            log = self.folder / "log"
            lines = log.read_text().splitlines() if log.exists() else []
            if len(lines) >= count:
                return lines
            assert time.monotonic() < deadline, lines
            time.sleep(0.02)


@pytest.mark.parametrize("end", [Close(), Reset()])
def test_a_request_on_a_dead_connection_is_sent_again(tmp_path: Path, end: Close | Reset) -> None:
    """The host reads every second request of a connection and closes instead of an answer."""
    seen: dict[int, int] = {}

    def script(got: Request) -> Steps:
        seen[got.connection] = seen.get(got.connection, 0) + 1
        return [end] if seen[got.connection] > 1 else [reply(200, got.path.encode())]

    with Upstream(script) as host:
        front = Front(tmp_path, cluster("c", host.port))
        with front.proxy:
            replies = front.ask("/1", "/2", "/3")
            assert [(each.status, each.body) for each in replies] == [
                (200, b"/1"),
                (200, b"/2"),
                (200, b"/3"),
            ]
            assert [each.status for each in front.ask("/4", method="POST")] == [503]
            assert front.stat("upstream_rq_retry_stale") == 2
            assert [line.split()[:3] for line in front.lines(4)] == [
                ["200", "-", "1"],
                ["200", "-", "2"],
                ["200", "-", "2"],
                ["503", "UC", "1"],
            ]


@pytest.mark.parametrize("abstract", [False, True])
def test_a_unix_socket_is_a_host(tmp_path: Path, abstract: bool) -> None:
    path = f"@outrider-test-{free_port()}" if abstract else str(tmp_path / "host.sock")
    place = {"endpoint": {"address": {"pipe": {"path": path}}}}
    hosted = cluster("c")
    hosted["load_assignment"]["endpoints"][0]["lb_endpoints"] = [place]
    with Upstream([reply(200, b"unix")], path=path.replace("@", "\0", 1)):
        front = Front(tmp_path, hosted)
        with front.proxy:
            assert [each.body for each in front.ask("/1", "/2")] == [b"unix", b"unix"]
            assert front.stat("upstream_cx_total") == 1
            clusters = json.loads(front.proxy.admin("/clusters?format=json")[1])
            (host,) = clusters["cluster_statuses"][0]["host_statuses"]
            assert host["address"] == {"pipe": {"path": path}}
    missing = tmp_path / "missing"
    missing.mkdir()
    front = Front(missing, hosted)
    with front.proxy:
        assert [each.status for each in front.ask("/1")] == [503]
        assert front.stat("upstream_cx_connect_fail") == 1


def test_connections_come_from_the_source_address(tmp_path: Path) -> None:
    with Upstream([reply()]) as host:
        bind = {
            "source_address": {"address": "127.0.0.7", "port_value": 0},
            "socket_options": [
                {"level": socket.SOL_SOCKET, "name": socket.SO_KEEPALIVE, "int_value": 1},
                {
                    "level": socket.IPPROTO_TCP,
                    "name": socket.TCP_NODELAY,
                    "int_value": 1,
                    "state": "STATE_BOUND",
                },
            ],
        }
        front = Front(tmp_path, cluster("c", host.port, upstream_bind_config=bind))
        with front.proxy:
            assert [each.status for each in front.ask("/1")] == [200]
            assert front.lines(1)[0].split()[3].startswith("127.0.0.7:")


def named(port: int, server: DnsServer, kind: str, **more: Any) -> Config:
    """A cluster of back.example, asked of the server."""
    resolver = {"@type": f"type.googleapis.com/{CARES}", "resolvers": [address(server.port)]}
    return {
        "name": "c",
        "type": kind,
        "connect_timeout": "1s",
        "dns_lookup_family": "V4_ONLY",
        "typed_dns_resolver_config": {"name": "cares", "typed_config": resolver},
        "load_assignment": {
            "cluster_name": "c",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port, "back.example")}}]}],
        },
        **more,
    }


def test_a_logical_host_is_reached_at_its_second_address(tmp_path: Path) -> None:
    with DnsServer() as server, Upstream([reply(200, b"second")]) as host:
        server.answers["back.example"] = [("127.0.0.9", 60), ("127.0.0.1", 60)]
        front = Front(tmp_path, named(host.port, server, "LOGICAL_DNS"))
        with front.proxy:
            assert [each.body for each in front.ask("/1")] == [b"second"]
            assert front.stat("upstream_cx_connect_fail") == 0


def test_hosts_follow_the_name_server(tmp_path: Path) -> None:
    """A long TTL does not keep an answer; a failure and a silence keep the hosts."""
    with DnsServer() as server, Upstream([reply(200, b"here")]) as host:
        server.answers["back.example"] = [("127.0.0.9", 3600)]
        front = Front(tmp_path, named(host.port, server, "STRICT_DNS", dns_refresh_rate="0.2s"))
        with front.proxy:
            assert [each.status for each in front.ask("/1")] == [503]
            server.answers["back.example"] = [("127.0.0.1", 3600)]
            front.proxy.wait_for_stat("cluster.c.membership_change", 2)
            assert [each.body for each in front.ask("/2")] == [b"here"]
            server.failing.add("back.example")
            front.proxy.wait_for_stat("cluster.c.update_failure", 2)
            assert [each.body for each in front.ask("/3")] == [b"here"]
            server.failing.clear()
            del server.answers["back.example"]
            front.proxy.wait_for_stat("cluster.c.membership_change", 3)
            assert [each.status for each in front.ask("/4")] == [503]


def test_a_connection_lives_no_longer_than_it_may(tmp_path: Path) -> None:
    common = {"max_connection_duration": "0.3s"}
    options = {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": common,
    }

    def script(got: Request) -> Steps:
        return [Wait(0.5), reply()] if got.path == "/slow" else [reply()]

    with Upstream(script) as host:
        hosted = cluster("c", host.port, typed_extension_protocol_options={HTTP_OPTIONS: options})
        front = Front(tmp_path, hosted)
        with front.proxy:
            assert [each.status for each in front.ask("/slow", "/1")] == [200, 200]
            front.proxy.wait_for_stat("cluster.c.upstream_cx_max_duration_reached", 2)
            assert front.stat("upstream_cx_total") == 2
            front.proxy.wait_for_stat("cluster.c.upstream_cx_destroy_local", 2)


def test_timeout_budgets(tmp_path: Path) -> None:
    with Upstream([Wait(2.0), reply()]) as host:  # long, so that what a busy machine adds is little of it
        hosted = cluster("c", host.port, track_cluster_stats={"timeout_budgets": True})
        front = Front(tmp_path, hosted, timeout="4s", retry_policy={"per_try_timeout": "3.2s"})
        with front.proxy:
            front.ask("/slow")
            text = front.proxy.admin("/stats?filter=timeout_budget")[1]
    whole, per_try = sorted(text.splitlines(), key=lambda line: "per_try" in line)
    assert 49 <= median(whole) <= 62, whole
    assert 61 <= median(per_try) <= 78, per_try


def median(line: str) -> float:
    """P50 over all time of a histogram's line in /stats."""
    return float(line.partition("P50(")[2].partition(")")[0].split(",")[1])
