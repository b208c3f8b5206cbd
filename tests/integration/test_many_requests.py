"""A hundred thousand requests and none lost: h2load over HTTP/2, in plain text and over TLS, and grpcio's own client."""

from __future__ import annotations

import shutil
import subprocess
import threading
from typing import Any

import pytest

from tests.support.certs import Authority
from tests.support.config import TYPES, Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
COUNT = 100_000
OK = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "fine"}}}


def secured(listener: Config) -> Config:
    pair = Authority().signs("front", dns=("front.example",))
    common = {"tls_certificates": [pair.config()], "alpn_protocols": ["h2"]}
    typed = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": common,
    }
    listener["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed,
    }
    return listener


@pytest.mark.system
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_h2load(scheme: str) -> None:
    """Half of them each way; the far half of the proxy is a proxy too."""
    h2load = shutil.which("h2load")
    if h2load is None:
        pytest.skip("needs h2load (Debian: nghttp2-client)")
    grpc_service = pytest.importorskip("tests.support.grpc_service")
    front, back = free_port(), free_port()
    near = http_listener(front, [virtual_host([route_to("back")])], stat_prefix="near")
    far = http_listener(back, [virtual_host([OK])], stat_prefix="far")
    if scheme == "https":
        near = secured(near)
    config = bootstrap(free_port(), [near, far], [cluster("back", back, **grpc_service.http2_options())])
    with Outrider(config) as proxy:
        half = COUNT // 2
        command = [h2load, "-n", str(half), "-c", "8", "-m", "20", f"{scheme}://127.0.0.1:{front}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        assert f"{half} succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
        assert f"status codes: {half} 2xx" in done.stdout
        stats = proxy.stats()
        assert stats["cluster.back.upstream_rq_200"] == half
        assert stats["cluster.back.upstream_rq_active"] == stats["server.envoy_bug_failures"] == 0


def test_grpcio() -> None:
    """Unary calls, two hundred under way at a time."""
    grpc: Any = pytest.importorskip("grpc")
    grpc_service = pytest.importorskip("tests.support.grpc_service")
    front = free_port()
    with grpc_service.GrpcHost(lambda call: grpc_service.Answer(call.message)) as host:
        host.calls = Forgotten()
        listener = http_listener(front, [virtual_host([route_to("svc", timeout="0s")])])
        clusters = [cluster("svc", host.port, **grpc_service.http2_options())]
        with Outrider(bootstrap(free_port(), [listener], clusters)) as proxy:
            with grpc.insecure_channel(f"127.0.0.1:{front}") as channel:
                assert called(channel.unary_unary("/a.B/C"), COUNT, 200) == COUNT
            assert proxy.stats()["cluster.svc.upstream_rq_200"] == COUNT
            assert_quiet(proxy)


class Forgotten(list[Any]):
    """Keeps nothing."""

    def append(self, item: Any) -> None:
        """Forget it."""


def called(call: Any, count: int, at_a_time: int) -> int:
    """How many of the calls came back as they went."""
    room = threading.Semaphore(at_a_time)
    good = [0]
    lock = threading.Lock()

    def done(future: Any, sent: bytes) -> None:
        with lock:
            good[0] += future.exception() is None and future.result() == sent
        room.release()

    for number in range(count):
        room.acquire()
        sent = b"%d" % number
        future = call.future(sent, timeout=60)
        future.add_done_callback(lambda ended, sent=sent: done(ended, sent))
    for _ in range(at_a_time):
        room.acquire()
    return good[0]
