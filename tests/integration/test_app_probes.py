"""Probes of an application that go through the sidecar: HTTP, HTTPS, TCP and gRPC, each answered as the application would."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from proxy.inject.probes import rewrite
from proxy.probes.config import add_probes, hold_readiness, read_probers, target_of
from proxy.sidecar.bootstrap import READINESS, READY, SOURCES, make_bootstrap
from proxy.sidecar.settings import Settings
from tests.support.certs import Authority
from tests.support.client import Response, get
from tests.support.config import bootstrap
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Hold, Request, Steps, Upstream, reply


def application(got: Request) -> Steps:
    """/<status> answers so."""
    return [reply(int(got.path.strip("/").partition("?")[0] or 200), b"as told")]


def health(request: bytes, context: Any) -> bytes:
    """grpc.health.v1: "ill" does not serve, "gone" is not known."""
    service = request[2:].decode()
    if service == "gone":
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return b"\x08\x02" if service == "ill" else b"\x08\x01"


@pytest.fixture(scope="module")
def health_port() -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(health)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


@pytest.fixture(scope="module")
def https_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    certificate, key = Authority().signs("app").write(tmp_path_factory.mktemp("tls"), "app")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as tls:
                    tls.recv(65536)
                    tls.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture(scope="module")
def asked() -> Iterator[Upstream]:
    upstream = Upstream(application)
    yield upstream
    upstream.close()


def probes(ports: dict[str, int]) -> dict[str, Any]:
    """A container's probes by name, each as a container of its own."""
    nobody = free_port()
    return {
        "good": {"httpGet": {"path": "/200?x=1", "port": ports["http"]}},
        "moved": {"httpGet": {"path": "/302", "port": ports["http"]}},
        "bad": {"httpGet": {"path": "/500", "port": ports["http"]}},
        "headers": {
            "httpGet": {
                "path": "204",
                "port": ports["http"],
                "httpHeaders": [
                    {"name": "Host", "value": "shop.example.com"},
                    {"name": "X-Probe", "value": "yes"},
                ],
            }
        },
        "nobody": {"httpGet": {"path": "/", "port": nobody}},
        "https": {"httpGet": {"path": "/", "port": ports["https"], "scheme": "HTTPS"}},
        "tcp": {"tcpSocket": {"port": ports["http"]}},
        "no-tcp": {"tcpSocket": {"port": nobody}},
        "grpc": {"grpc": {"port": ports["grpc"]}},
        "ill": {"grpc": {"port": ports["grpc"], "service": "ill"}},
        "gone": {"grpc": {"port": ports["grpc"], "service": "gone"}},
        "no-grpc": {"grpc": {"port": nobody}},
    }


@pytest.fixture(scope="module")
def port(
    asked: Upstream, health_port: int, https_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    ports = {"http": asked.port, "https": https_port, "grpc": health_port}
    probers: dict[str, Any] = {}
    for name, probe in probes(ports).items():
        probers |= rewrite({"name": name, "livenessProbe": {**probe, "timeoutSeconds": 5}})[0]
    config = bootstrap(free_port(), [], [])
    listening = free_port()
    add_probes(config, probers, listening)
    folder: Path = tmp_path_factory.mktemp("sidecar")
    with Outrider(config, folder=folder):
        yield listening


def ask(port: int, name: str) -> Response:
    return get(port, f"/app-health/{name}/livez", [("user-agent", "kube-probe/1.33")])


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("good", 200, b"ok"),
        ("moved", 200, b"ok"),
        ("bad", 503, b"the application answered 500"),
        ("headers", 200, b"ok"),
        ("nobody", 503, b"the application did not answer"),
        ("https", 200, b"ok"),
        ("tcp", 200, b"ok"),
        ("no-tcp", 503, b"no connection to the application"),
        ("grpc", 200, b"ok"),
        ("ill", 503, b"the application does not say SERVING"),
        ("gone", 503, b"the application does not say SERVING"),
        ("no-grpc", 503, b"the application"),
        ("unknown", 404, b""),
    ],
)
def test_probes(port: int, name: str, status: int, said: bytes) -> None:
    answer = ask(port, name)
    assert (answer.status, answer.body[: len(said)]) == (status, said)


def test_the_application_sees_the_kubelets_request(port: int, asked: Upstream) -> None:
    asked.reset()
    ask(port, "headers")
    (request,) = asked.wait_for(1)
    assert request.path == "/204"
    assert request.one("host") == "shop.example.com" and request.one("x-probe") == "yes"
    assert request.one("user-agent") == "kube-probe/1.33"


def test_the_sidecar_is_ready_with_the_application(tmp_path: Path) -> None:
    """/healthz/ready says what the application's readiness probe says; /healthz/startup does not wait for it."""
    ports = ("inbound_port", "outbound_port", "ready_port", "metrics_port", "admin_port")
    settings = Settings(**{name: free_port() for name in ports})  # type: ignore[arg-type]
    status = [503]
    with Upstream(lambda got: [reply(status[0], b"")]) as upstream:
        probe = {"readinessProbe": {"httpGet": {"path": "/", "port": upstream.port}, "timeoutSeconds": 5}}
        probers, _ = rewrite({"name": "web", **probe})
        config = make_bootstrap(settings)
        add_probes(config, probers, free_port())
        assert hold_readiness(config, probers, READINESS, READY)
        with Outrider(config, folder=tmp_path) as proxy:
            seen = []
            for told in (503, 200, 500):
                status[0] = told
                answer = get(settings.ready_port, READY)
                seen.append((answer.status, answer.body))
                assert get(settings.ready_port, "/healthz/startup").status == 200
            assert [one for one, _ in seen] == [503, 200, 503]
            assert seen[0][1] == b"/app-health/web/readyz: the application answered 503\n"
            assert seen[1][1] == b"LIVE\n"
            assert get(settings.ready_port, f"{READY}?x=1").status == 503
            stats = proxy.admin("/stats?filter=readiness.python")[1]
            assert "app_probes.failed: 3\n" in stats and "app_probes.succeeded: 1\n" in stats


def test_an_application_that_listens_at_the_pods_address_alone(tmp_path: Path) -> None:
    """It is asked where the kubelet would ask, from the address that the capture rules leave alone. A hook may take its time."""
    pod, listening, nobody = "127.0.0.9", free_port(), free_port()

    def answers(got: Request) -> Steps:
        if got.path == "/bye":
            threading.Timer(1.5, upstream.let_go).start()  # longer than a probe may take by default
            return [Hold(), reply(200, b"")]
        return [reply(200, b"")]

    with Upstream(answers, host=pod) as upstream:
        container = {
            "name": "web",
            "livenessProbe": {"httpGet": {"path": "/", "port": upstream.port}, "timeoutSeconds": 5},
            "readinessProbe": {"tcpSocket": {"port": upstream.port}, "timeoutSeconds": 5},
            "startupProbe": {"tcpSocket": {"port": nobody}, "timeoutSeconds": 5},
            "lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": upstream.port}}},
        }
        probers = read_probers(json.dumps(rewrite(container)[0]))
        config = bootstrap(free_port(), [], [])
        add_probes(config, probers, listening, target=target_of(pod, SOURCES))
        with Outrider(config, folder=tmp_path):
            paths = [f"/app-health/web/{word}" for word in ("livez", "readyz", "startupz")]
            found = [get(listening, path) for path in (*paths, "/app-lifecycle/web/prestopz")]
        assert [one.status for one in found] == [200, 200, 503, 200], [one.body for one in found]
        assert [one.one("host") for one in upstream.requests] == [f"{pod}:{upstream.port}"] * 2
        assert upstream.peers == {SOURCES[0]}
