"""ORIGINAL_DST: which address a request goes to, and how long a host nobody uses stays."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace

import pytest

from proxy.upstream.original_dst import OriginalDst, OriginalDstSettings, _parse
from tests.support.fake_upstream import FakeRequest, World
from tests.unit.upstream.test_host import CLUSTERS


class Cluster:
    """As much of a cluster as it needs."""

    name = "od"

    def __init__(self) -> None:
        self.now = 100.0
        self.clock = SimpleNamespace(monotonic=lambda: self.now)
        counter = lambda: SimpleNamespace(value=0)  # noqa: E731
        self.stats = SimpleNamespace(upstream_cx_none_healthy=counter(), original_dst_host_invalid=counter())
        self.hosts: list[object] = []

    def make_host(self, ip, endpoint):
        return SimpleNamespace(ip=ip, port=endpoint.port, hostname=endpoint.host.hostname)

    def add_host(self, host) -> None:
        self.hosts.append(host)


class Timers:
    """Keeps the alarm."""

    def watch(self, alarm, when: float) -> None:
        self.alarm, self.when = alarm, when

    def forget(self, alarm) -> None:
        self.alarm = None


def stream(local: str = "192.0.2.1:80", restored: bool = True, header: bytes | None = None):
    info = SimpleNamespace(local_address=local, local_address_restored=restored)
    headers = {b"x-envoy-original-dst-host": header} if header is not None else {}
    return SimpleNamespace(info=info, request_headers=headers)


def made(**settings) -> tuple[OriginalDst, Cluster]:
    cluster = Cluster()
    made = OriginalDst(cluster, OriginalDstSettings(**settings), Timers())
    made.start()
    return made, cluster


def test_one_host_for_one_destination():
    balancer, cluster = made()
    first = balancer.choose_host(stream())
    assert (first.ip, first.port, first.hostname) == ("192.0.2.1", 80, "od192.0.2.1:80")
    assert balancer.choose_host(stream()) is first
    assert balancer.choose_host(stream("192.0.2.1:81")) is not first
    assert balancer.choose_host(stream("[2001:db8::1]:80")).ip == "2001:db8::1"
    assert len(cluster.hosts) == 3


@pytest.mark.parametrize("nobody", [None, stream(restored=False), stream("/run/socket")])
def test_without_a_destination_there_is_no_host(nobody):
    balancer, cluster = made()
    assert balancer.choose_host(nobody) is None
    assert cluster.stats.upstream_cx_none_healthy.value == 1 and not cluster.hosts


def test_a_header_comes_first_where_it_is_allowed():
    balancer, cluster = made(header=b"x-envoy-original-dst-host")
    assert balancer.choose_host(stream(header=b"198.51.100.7:9")).ip == "198.51.100.7"
    assert balancer.choose_host(stream(header=b"[2001:DB8:0:0::7]:9")).hostname == "od[2001:db8::7]:9"
    assert balancer.choose_host(stream(header=b"[2001:db8::7]:9")).ip == "2001:db8::7"
    assert len(cluster.hosts) == 2
    assert balancer.choose_host(stream(header=b"nonsense")).ip == "192.0.2.1"
    assert cluster.stats.original_dst_host_invalid.value == 1
    assert balancer.choose_host(stream(restored=False, header=b"nonsense")) is None
    plain, _ = made()
    assert plain.choose_host(stream(header=b"198.51.100.7:9")).ip == "192.0.2.1"


def test_a_port_in_place_of_any_other():
    balancer, _ = made(port=15008)
    host = balancer.choose_host(stream())
    assert (host.port, host.hostname) == (15008, "od192.0.2.1:15008")
    assert balancer.choose_host(stream("192.0.2.1:9")) is host
    assert balancer.choose_host(stream("192.0.2.1:15008")) is host


@pytest.mark.parametrize("kind", sorted(CLUSTERS.keys() - {"http2"}))  # the connections here are no HTTP/2
def test_hosts_leave_when_nobody_has_used_them_for_a_whole_interval(kind):
    """Whichever pools they have: some are of several."""
    world = World()
    more = {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "cleanup_interval": "2s"}
    cluster = world.cluster(**more, **CLUSTERS[kind])
    used, idle, waiting = (cluster.choose_host(stream(f"192.0.2.{n}:80")) for n in (1, 2, 3))
    served, waits = FakeRequest(), FakeRequest()
    used.pools[0].new_stream(served)
    (connection,) = world.connector.made
    connection.connected()
    connection.response()  # it is kept
    waiting.pools[1].new_stream(waits)
    world.wait(2.0)
    assert cluster.hosts == [used, idle, waiting]  # they are new
    idle.rq_total += 1
    world.wait(2.0)
    assert cluster.hosts == [used, idle, waiting]  # it has been used in between
    world.wait(2.0)
    assert cluster.hosts == [used, waiting] and not connection.closing
    connection.remote_close()
    world.wait(4.0)
    assert cluster.hosts == [waiting]
    assert cluster.choose_host(stream("192.0.2.1:80")) is not used
    cluster.stop()
    assert world.timers.next_due() == inf


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3.4", "1.2.3.4:", ":80", "a:80", "1.2.3.4:99999", "::1:80", "[1.2.3.4]:80", "1.2.3.4:8\u0661"],
)
def test_what_is_no_address(text):
    assert _parse(text) is None
