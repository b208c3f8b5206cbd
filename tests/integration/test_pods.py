"""End to end: three pods whose applications know no proxy; one request, one trace, numbers that agree."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.certs import Authority
from tests.support.collector import Collector
from tests.support.netns import why_not
from tests.support.pods import WORLD, Mesh, Pod

MISSING = why_not("iptables", "setpriv")
pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]
#: the same with the other IP version, per request
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class World:
    """Pods client, frontend and backend, and a Zipkin collector outside. secure: TLS between the sidecars, and the
    backend takes nothing else."""

    def __init__(self, mesh: Mesh, secure: bool) -> None:
        self.mesh = mesh
        self.secure = secure
        with mesh.world.inside():
            self.collector = mesh.stack.enter_context(Collector(host="0.0.0.0"))
        self.pods = [
            mesh.pod(name, number) for name, number in (("client", 10), ("frontend", 11), ("backend", 12))
        ]
        zipkin = f"http://{WORLD}:{self.collector.port}"
        authority = Authority()
        (mesh.folder / "ca.crt").write_text(authority.pem)
        for pod in self.pods:
            flags = ["--zipkin", zipkin]
            flags += (
                ["--detect-timeout", "30", "--tcp-ports", "7001"] if secure else ["--detect-timeout", "1"]
            )
            if secure:
                flags += self._tls(pod, authority)
            pod.start(*flags, rules=("--ipv6", "on"))
        for pod in self.pods:
            pod.wait()
        self.client, self.frontend, self.backend = self.pods

    def _tls(self, pod: Pod, authority: Authority) -> list[str]:
        certificate, key = authority.signs(pod.name).write(self.mesh.folder, pod.name)
        Path(key).chmod(0o644)
        flags = ["--tls-cert", certificate, "--tls-key", key, "--tls-ca", str(self.mesh.folder / "ca.crt")]
        flags += ["--tls-ranges", "10.9.0.0/24,fd00:9::/64"]
        return [*flags, "--tls-strict"] if pod.name == "backend" else flags


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "mtls"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Mesh() as mesh:
        yield World(mesh, request.param)


def moved(before: list[dict[str, int]], pods: list[Pod], *names: str) -> list[tuple[int, ...]]:
    """By how much counters have grown, pod by pod."""
    after = [pod.stats() for pod in pods]
    return [
        tuple(new.get(name, 0) - old.get(name, 0) for name in names)
        for old, new in zip(before, after, strict=True)
    ]


REQUESTS = ("http.inbound.downstream_rq_2xx", "http.outbound.downstream_rq_2xx")
BYTES = (
    "tcp.InboundPassthroughCluster.downstream_cx_total",
    "tcp.PassthroughCluster.downstream_cx_total",
)


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_one_request_is_one_trace_over_all_hops(world: World, family: str):
    client, frontend, backend = world.pods
    before = [pod.stats() for pod in world.pods]
    world.collector.reset()
    there, further = (getattr(pod, family) for pod in (frontend, backend))
    host = f"[{further}]" if ":" in further else further
    answer = client.ask(f"/call?url=http://{host}:8080/", there, "8080")
    source = "::6" if family == "ip6" else "127.0.0.6"
    assert answer[0].removeprefix("200 backend asked by ").removeprefix("::ffff:") == source

    spans = world.collector.wait_for_spans(4)
    assert len({span["traceId"] for span in spans}) == 1
    sides = {(span["localEndpoint"]["serviceName"], span["kind"]): span for span in spans}
    hops = [("client", "CLIENT"), ("frontend", "SERVER"), ("frontend", "CLIENT"), ("backend", "SERVER")]
    assert set(sides) == set(hops)
    assert "parentId" not in sides[hops[0]]
    for caller, callee in pairwise(hops):
        assert sides[callee]["parentId"] == sides[caller]["id"]
    assert moved(before, world.pods, *REQUESTS) == [(0, 1), (1, 1), (1, 0)]
    handshakes = moved(before, world.pods, "cluster.MeshCluster.ssl.handshake")
    assert (handshakes[0][0] == 1) is (handshakes[1][0] == 1) is world.secure


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_grpc_and_bytes_pass(world: World, family: str):
    before = [pod.stats() for pod in world.pods]
    outbound = "tcp.MeshBytesCluster.downstream_cx_total" if world.secure else BYTES[1]
    there = getattr(world.backend, family)
    answers = world.client.ask("grpc", there, "50051", "echo", there, "7000", "banner", there, "7001")
    assert answers == ["backend heard hello", "\x00\x01 not http", "220 ready"]
    assert moved(before, world.pods, *REQUESTS, BYTES[0], outbound) == [
        (0, 1, 0, 2),
        (0, 0, 0, 0),
        (1, 0, 2, 0),
    ]
    protocols = [pod.stats()["http.outbound.downstream_cx_http2_total"] for pod in world.pods]
    assert protocols[0] >= 1 and protocols[1:] == [0, 0]


def test_websockets_pass(world: World):
    before = [pod.stats() for pod in world.pods]
    assert world.client.ask("websocket", world.backend.ip, "8080") == ["101 b'\\x81\\x02hi'"]
    names = ("http.outbound.downstream_cx_upgrades_total", "http.inbound.downstream_cx_upgrades_total")
    assert moved(before, world.pods, *names) == [(1, 0), (0, 0), (0, 1)]


def test_nobody_gets_past_except_where_it_is_allowed(world: World):
    """From outside: the application's ports are the sidecar's; those of probes and metrics answer themselves."""
    before = world.frontend.stats()
    with world.mesh.world.inside():
        if world.secure:
            with closing(http.client.HTTPConnection(world.backend.ip, 8080, timeout=10)) as plain:
                with pytest.raises((OSError, http.client.HTTPException)):
                    plain.request("GET", "/")
                    plain.getresponse()
        for port, path, expected in (
            (8080, "/", "frontend asked by"),
            (15021, "/healthz/ready", "LIVE"),
            (15090, "/stats/prometheus", "envoy_http_downstream_rq"),
        ):
            whom = world.frontend if port == 8080 else world.backend
            connection = http.client.HTTPConnection(whom.ip, port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            assert expected in answer.read().decode()
            connection.close()
        closed = http.client.HTTPConnection(world.frontend.ip, 15000, timeout=10)  # admin is on loopback only
        closed.request("GET", "/stats")
        assert closed.getresponse().status == 503
        closed.close()
        other = http.client.HTTPConnection(world.backend.ip, 15090, timeout=10)
        other.request("GET", "/config_dump")
        assert other.getresponse().status == 404
        other.close()
    after = world.frontend.stats()
    assert after["http.inbound.downstream_rq_2xx"] - before["http.inbound.downstream_rq_2xx"] == 1


@pytest.mark.parametrize("port", ["15001", "15006"])
def test_a_loop_ends_at_once(world: World, port: str):
    """Who speaks to the capture ports themselves is sent to nobody."""
    before = world.frontend.stats()
    with world.mesh.world.inside():
        with closing(http.client.HTTPConnection(world.frontend.ip, int(port), timeout=10)) as connection:
            try:
                connection.request("GET", "/")
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException):
                status = 0  # the inbound port's chain closes; for the outbound port's the inbound one answers
    assert status == (503 if port == "15001" else 0)
    assert world.frontend.stats()["cluster.BlackHoleCluster.upstream_cx_none_healthy"] > before.get(
        "cluster.BlackHoleCluster.upstream_cx_none_healthy", 0
    )


def test_the_application_and_its_client_see_no_more_than_is_documented(world: World):
    """What a server of our own, in the pod, reads and is answered with: bytes, through the inbound sidecar."""
    if world.secure:
        pytest.skip("the client is no sidecar")
    pod, seen = world.frontend, []
    asked = "GET /a//b/../c%2f?x=1 HTTP/1.1\r\nhost: Web:8099\r\nuser-agent: me\r\nx-forwarded-for: 1.2.3.4\r\nx_odd: 1\r\n\r\n"
    with pod.namespace.inside():
        listener = socket.create_server((pod.ip, 8099))

    def serve() -> None:
        with listener.accept()[0] as sock:
            seen.append(sock.recv(65536).decode())
            sock.sendall(b"HTTP/1.1 200 OK\r\nserver: mine\r\ncontent-length: 2\r\n\r\nhi")

    with closing(listener):
        thread = threading.Thread(target=serve)
        thread.start()
        with world.mesh.world.inside():
            client = socket.create_connection((pod.ip, 8099), timeout=10)
        with client:
            client.sendall(asked.encode())
            answer = client.recv(65536).decode()
        thread.join(10)
    heads = [text.partition("\r\n\r\n")[0].split("\r\n") for text in (asked, seen[0], answer)]
    added = {line.partition(":")[0] for line in set(heads[1]) - set(heads[0])}
    assert set(heads[0]) <= set(heads[1])
    assert added == {
        "x-request-id",
        "x-forwarded-proto",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "traceparent",
    }
    assert {line.partition(":")[0] for line in heads[2][1:]} == {"server", "content-length", "date"}
    assert "server: mine" in heads[2]


def test_probes_reach_the_application_and_not_the_sidecar(world: World):
    """At the pod's own address, whatever TLS is demanded there; nothing of it is counted as traffic."""
    before = [world.backend.stats()]
    found = {}
    with world.mesh.world.inside():
        for which in ("livez", "readyz", "startupz"):
            with closing(http.client.HTTPConnection(world.backend.ip, 15020, timeout=10)) as kubelet:
                kubelet.request("GET", f"/app-health/app/{which}")
                found[which] = kubelet.getresponse().status
    assert found == {"livez": 200, "readyz": 200, "startupz": 503}
    assert moved(before, [world.backend], *REQUESTS, *BYTES) == [(0, 0, 0, 0)]


def test_a_pod_leaves(world: World):
    """Last: readiness says it, and the processes end with 0."""
    pod = world.backend
    assert pod.get(15000, "/healthcheck/fail", "POST")[0] == 200
    assert pod.get(15021, "/healthz/ready")[0] == 503
    assert pod.get(15021, "/healthz/live")[0] == 200
    assert pod.get(15000, "/healthcheck/ok", "POST")[0] == 200
    assert pod.get(15021, "/healthz/ready")[0] == pod.get(15021, "/healthz/startup")[0] == 200
    codes = pod.stop()
    assert codes[-1] == 0, pod.output()
