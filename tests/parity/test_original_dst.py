"""Redirected connections, beside the real Envoy: both stand in the same pod in turn, behind the same kernel's rules."""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.netns import Namespace, as_user, why_not
from tests.support.outrider import Outrider

MISSING = ENVOY_MISSING or why_not("iptables", "setpriv")
pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

ROOT = Path(__file__).resolve().parents[2]
POD, WORLD, POD6, WORLD6 = "10.9.0.2", "10.9.0.1", "fd00:9::2", "fd00:9::1"
SHOWN = (
    "cluster.pass.upstream_cx_total",
    "cluster.pass.upstream_cx_none_healthy",
    "cluster.app.membership_total",
    "cluster.app.upstream_cx_total",
    "cluster.headers.original_dst_host_invalid",
    "cluster.headers.membership_total",
    "cluster.headers.upstream_cx_none_healthy",
    "cluster.black.upstream_cx_none_healthy",
    "listener.0.0.0.0_15001.downstream_cx_total",
    "listener.0.0.0.0_15006.downstream_cx_total",
    "listener.0.0.0.0_8080.downstream_cx_total",
    "listener.10.9.0.1_81.downstream_cx_total",
    "listener.0.0.0.0_15001.no_filter_chain_match",
)
#: connections that keep hosts from being cleaned up do not last
IDLE = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": "0.3s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }
}


class Who(http.server.BaseHTTPRequestHandler):
    """Says who was asked, and by whom."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host, port = self.connection.getsockname()[:2]
        body = f"{host} {port} for {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing is logged."""


@contextmanager
def serving(where: Namespace, port: int, host: str = "0.0.0.0") -> Iterator[None]:
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with where.inside():
        server = Server((host, port), Who)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def forward(name: str, port: int, to: str, host: str = "0.0.0.0", **fields) -> dict:
    listener = http_listener(port, [virtual_host([route_to(to)])], **fields)
    listener["name"] = name
    listener["address"]["socket_address"]["address"] = host
    return listener


def answering(name: str, port: int, host: str = "0.0.0.0") -> dict:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}
    listener = http_listener(port, [virtual_host([route])])
    listener["name"] = name
    listener["address"]["socket_address"]["address"] = host
    return {**listener, "bind_to_port": False}


def original_dst(name: str, **fields) -> dict:
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "1s",
        **fields,
    }


def config() -> dict:
    outbound = forward("out", 15001, "pass", use_original_dst=True)
    loop = forward("x", 1, "black")["filter_chains"][0]
    outbound["filter_chains"].insert(
        0, {**loop, "filter_chain_match": {"destination_port": 15001}, "name": "loop"}
    )
    outbound6 = forward("out6", 15001, "pass", host="::", use_original_dst=True)
    typed = {"@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}
    inbound = forward("in", 15006, "app")
    inbound["listener_filters"] = [{"name": "envoy.filters.listener.original_dst", "typed_config": typed}]
    inbound["filter_chains"].insert(
        0, {**loop, "filter_chain_match": {"destination_port": 15006}, "name": "loop"}
    )
    source = {"source_address": {"address": "127.0.0.6", "port_value": 0}}
    made = bootstrap(
        15000,
        [
            outbound,
            outbound6,
            inbound,
            answering("wild", 8080),
            answering("exact", 81, WORLD),
            forward("headers", 15002, "headers"),
            forward("override", 15003, "override", use_original_dst=True),
        ],
        [
            original_dst("pass", cleanup_interval="0.5s", typed_extension_protocol_options=IDLE),
            original_dst("app", upstream_bind_config=source),
            original_dst(
                "headers", original_dst_lb_config={"use_http_header": True, "http_header_name": "x-To"}
            ),
            original_dst("override", original_dst_lb_config={"upstream_port_override": 80}),
            {**cluster("black", 1), "load_assignment": {"cluster_name": "black"}},
        ],
    )
    return made


class Pod:
    """The proxy's namespace and the world's, with servers in both."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.pod, self.world = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        self.pod.connect(self.world, "eth0", f"{POD}/24", f"{POD6}/64")
        self.world.run("ip", "addr", "add", f"{WORLD}/24", "dev", "eth0")
        self.world.run("ip", "addr", "add", f"{WORLD6}/64", "dev", "eth0", "nodad")
        self.pod.run("ip", "route", "add", "default", "via", WORLD)
        command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-P", "-m", "proxy", "iptables", "apply"]
        self.pod.run(*command, "-d", "15000,15002,15003", "--ipv6", "on")
        for port in (80, 81, 8080):
            stack.enter_context(serving(self.world, port))
        stack.enter_context(serving(self.world, 80, WORLD6))
        stack.enter_context(serving(self.pod, 9000))
        self.folder = folder

    def run(self, kind: type) -> list[str]:
        folder = self.folder / kind.__name__
        folder.mkdir()
        proxy = kind(config(), folder=folder)
        for each in (*folder.parents, folder):
            if each.stat().st_uid == os.getuid() and each.is_relative_to("/tmp/pytest-of-root"):
                each.chmod(0o755)
        proxy.argv = as_user(proxy.argv)
        with self.pod.inside(), proxy.start():
            answers = list(self._ask())
            answers += [f"{name} {proxy.stats().get(name)}" for name in SHOWN]
            deadline = time.monotonic() + 10
            while proxy.stats()["cluster.pass.membership_total"] and time.monotonic() < deadline:
                time.sleep(0.05)
            answers.append(f"left {proxy.stats()['cluster.pass.membership_total']}")
            return answers

    def _ask(self) -> Iterator[str]:
        """As the application, and as somebody from outside."""
        yield ask(WORLD, 80)
        yield ask(WORLD, 81)
        yield ask(WORLD, 8080)
        yield ask("192.0.2.9", 8080)
        yield ask("192.0.2.9", 81)
        yield ask(WORLD6, 80)
        yield ask(POD, 15001)  # a loop, were it not for its chain
        with self.world.inside():
            yield ask(POD, 9000)
            yield ask(POD, 15006)
            for value in (f"{POD}:9000", "nonsense", "[::1]:1", "", f"{POD}:99999", None):
                yield ask(POD, 15002, {"x-to": value} if value is not None else {})
            yield ask(POD, 15003)


def ask(host: str, port: int, headers: dict | None = None) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/", headers=headers or {})
        answer = connection.getresponse()
        return f"{host} {port} {headers or ''}: {answer.status} {answer.read().decode()}"
    except OSError as error:
        return f"{host} {port}: {type(error).__name__}"
    finally:
        connection.close()


def test_redirected_connections_go_where_envoys_go(tmp_path: Path):
    with ExitStack() as stack:
        pod = Pod(stack, tmp_path)
        envoys = pod.run(Envoy)
        ours = pod.run(Outrider)
    assert ours == envoys
    assert f"{WORLD} 80 : 200 {WORLD} 80 for {POD}" in ours
    assert f"{WORLD} 81 : 200 exact" in ours and f"{WORLD} 8080 : 200 wild" in ours
    assert (
        f"{POD} 9000 : 200 {POD} 9000 for 127.0.0.6" in ours
    )  # the application sees the inbound side's address
    assert (
        f"{POD} 15001 : 503 no healthy upstream" in ours and f"{POD} 15006 : 503 no healthy upstream" in ours
    )
    assert f"{WORLD6} 80 : 200 {WORLD6} 80 for {POD6}" in ours
    assert "left 0" in ours
