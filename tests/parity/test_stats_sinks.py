"""stats_sinks beside the real Envoy: the lines that a statsd daemon is sent for the same few requests."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import get
from tests.support.config import Config, address, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.upstream import Upstream

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

METRICS = "type.googleapis.com/envoy.config.metrics.v3"
REQUESTS = 3
LINE = re.compile(r"^([a-zA-Z0-9_.\[\]-]+):(\d+)\|(c|g|ms)(\|#[^|]+)?$")
#: what the requests did, to be found in both, with these sums (counters) or last values (gauges)
COUNTERS = {
    "cluster.up.upstream_rq_total": REQUESTS,
    "cluster.up.upstream_rq_200": REQUESTS,
    "http.front.downstream_rq_2xx": REQUESTS,
    "http.front.downstream_cx_total": REQUESTS,
}
GAUGES = {"cluster.up.membership_total": 1, "http.front.downstream_rq_active": 0, "server.live": 1}
TIMES = {"cluster.up.upstream_rq_time": REQUESTS, "http.front.downstream_rq_time": REQUESTS}
WRITTEN = "cluster.statsd.upstream_cx_tx_bytes_total"
TAGGED = {
    "cluster.up.upstream_rq_total": "cluster.upstream_rq_total|#envoy.cluster_name:up",
    "cluster.up.upstream_rq_200": "cluster.upstream_rq|#envoy.response_code:200,envoy.cluster_name:up",
    "http.front.downstream_rq_2xx": "http.downstream_rq_xx|#envoy.response_code_class:2,envoy.http_conn_manager_prefix:front",
    "http.front.downstream_cx_total": "http.downstream_cx_total|#envoy.http_conn_manager_prefix:front",
    "cluster.up.membership_total": "cluster.membership_total|#envoy.cluster_name:up",
    "http.front.downstream_rq_active": "http.downstream_rq_active|#envoy.http_conn_manager_prefix:front",
    "cluster.up.upstream_rq_time": "cluster.upstream_rq_time|#envoy.cluster_name:up",
    "http.front.downstream_rq_time": "http.downstream_rq_time|#envoy.http_conn_manager_prefix:front",
}


class Daemon:
    """A statsd of our own on UDP and TCP: keeps every datagram, and what connections brought."""

    def __init__(self) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.datagrams: list[bytes] = []
        self.streams: list[bytearray] = []  # one a connection: Envoy has one for each of its threads
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._hear, self._accept)]
        for thread in self.threads:
            thread.start()

    def _hear(self) -> None:
        while (data := self.udp.recv(65536)) != b"end":
            self.datagrams.append(data)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return  # closed
            self.streams.append(bytearray())
            threading.Thread(target=self._read, args=(connection, self.streams[-1]), daemon=True).start()

    @staticmethod
    def _read(connection: socket.socket, into: bytearray) -> None:
        with connection:
            while data := connection.recv(65536):
                into += data

    def lines(self) -> list[str]:
        """Those that have come whole."""
        whole = [bytes(stream).rpartition(b"\n")[0] for stream in self.streams]
        return b"\n".join([*self.datagrams, *whole]).decode().split("\n")

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", self.udp.getsockname())
        self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        for thread in self.threads:
            thread.join(5)
        self.udp.close()


class Heard:
    """Sums of counters, last values of gauges, counts of values, by "name|#tags" without the prefix."""

    def __init__(self, lines: list[str], prefix: str) -> None:
        self.sums: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.values: dict[str, int] = {}
        for line in filter(None, lines):
            found = LINE.match(line)
            assert found is not None and found[1].startswith(prefix), line
            name, value = found[1].removeprefix(prefix) + (found[4] or ""), int(found[2])
            if found[3] == "c":
                self.sums[name] = self.sums.get(name, 0) + value
            elif found[3] == "g":
                self.last[name] = value
            else:
                self.values[name] = self.values.get(name, 0) + 1


def hear(
    kind: type[ProxyProcess], sink: Callable[[Daemon], Config], prefix: str, named: dict[str, str]
) -> Heard:
    daemon, upstream, port = Daemon(), Upstream(), free_port()
    clusters = [cluster("up", upstream.port), cluster("statsd", daemon.tcp.getsockname()[1])]
    listener = http_listener(port, [virtual_host([route_to("up")])])
    config = bootstrap(
        free_port(), [listener], clusters, stats_sinks=[sink(daemon)], stats_flush_interval="0.1s"
    )
    try:
        with kind(config):
            for _ in range(REQUESTS):
                get(port)
            deadline = time.monotonic() + 10
            while True:
                heard = Heard(daemon.lines(), prefix)
                if is_all_there(heard, named, sink is tcp) or time.monotonic() > deadline:
                    return heard
                time.sleep(0.05)
    finally:
        upstream.close()
        daemon.close()


def is_all_there(heard: Heard, named: dict[str, str], written: bool) -> bool:
    """written: and what the sink itself has written to its cluster."""
    return (
        (not written or heard.sums.get(WRITTEN, 0) > 0)
        and all(heard.sums.get(named.get(name, name), 0) >= count for name, count in COUNTERS.items())
        and all(heard.last.get(named.get(name, name)) == value for name, value in GAUGES.items())
        and all(heard.values.get(named.get(name, name), 0) >= count for name, count in TIMES.items())
    )


def udp(kind: str, **more: Any) -> Callable[[Daemon], Config]:
    def made(daemon: Daemon) -> Config:
        place = address(daemon.udp.getsockname()[1])
        place["socket_address"]["protocol"] = "UDP"
        return {"name": "sink", "typed_config": {"@type": f"{METRICS}.{kind}", "address": place, **more}}

    return made


def tcp(daemon: Daemon) -> Config:
    typed = {"@type": f"{METRICS}.StatsdSink", "tcp_cluster_name": "statsd", "prefix": "mine"}
    return {"name": "sink", "typed_config": typed}


@pytest.mark.parametrize(
    ("sink", "prefix", "named"),
    [
        pytest.param(udp("StatsdSink"), "envoy.", {}, id="udp"),
        pytest.param(tcp, "mine.", {}, id="tcp"),
        pytest.param(udp("DogStatsdSink"), "envoy.", TAGGED, id="dog"),
        pytest.param(
            udp("DogStatsdSink", prefix="p", max_bytes_per_datagram=512), "p.", TAGGED, id="dog_packed"
        ),
    ],
)
def test_lines(sink: Callable[[Daemon], Config], prefix: str, named: dict[str, str]) -> None:
    envoy, ours = (hear(kind, sink, prefix, named) for kind in (Envoy, Outrider))
    for heard in (envoy, ours):
        assert {name: heard.sums.get(named.get(name, name)) for name in COUNTERS} == COUNTERS
        assert {name: heard.last.get(named.get(name, name)) for name in GAUGES} == GAUGES
        assert {name: heard.values.get(named.get(name, name)) for name in TIMES} == TIMES
        assert sink is not tcp or heard.sums.get(WRITTEN, 0) > 0
    about = re.compile(r"^(cluster\.up|http\.front)\.")
    assert not {name for name in envoy.sums if about.search(name)} - {*ours.sums}


def test_packed_datagrams_keep_their_limit() -> None:
    daemon, port = Daemon(), free_port()
    sink = udp("DogStatsdSink", max_bytes_per_datagram=300)(daemon)
    listener = http_listener(port, [virtual_host([route_to("up")])])
    config = bootstrap(
        free_port(), [listener], [cluster("up", 9)], stats_sinks=[sink], stats_flush_interval="0.1s"
    )
    try:
        with Outrider(config):
            deadline = time.monotonic() + 10
            while len(daemon.datagrams) < 20 and time.monotonic() < deadline:
                time.sleep(0.02)
        assert len(daemon.datagrams) >= 20
        assert max(map(len, daemon.datagrams)) <= 300
        assert max(data.count(b"\n") for data in daemon.datagrams) > 1
    finally:
        daemon.close()
