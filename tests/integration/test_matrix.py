"""Everything that one listener tells apart: {HTTP/1, HTTP/2, gRPC, WebSocket, TCP} x {plain, TLS, mutual TLS} from clients
x the same to hosts. Each cell holds for us and for Envoy, and says the same of itself.

A protocol is a Speaker: what the client does, and a host. Where bytes go that are no HTTP is told by the address they
come from, for they have no path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import socketserver
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Authority, Pair
from tests.support.client import Client, request
from tests.support.config import (
    TYPES,
    Config,
    address,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    route_to,
    virtual_host,
)
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.h2_client import H2Client
from tests.support.h2_upstream import H2Reply, H2Request, H2Upstream
from tests.support.outrider import NATIVE, ROOT, Outrider
from tests.support.ports import free_port
from tests.support.tls_relay import TlsRelay
from tests.support.upstream import Upstream, reply
from tests.support.wait import until

grpc = pytest.importorskip("grpc")
grpc_service = pytest.importorskip("tests.support.grpc_service")

Kind = type[Outrider] | type[Envoy]
Seen = dict[str, Any]
SECURITY = ("plain", "tls", "mtls")
CA = Authority()
TLS = f"{TYPES}.transport_sockets.tls.v3"
FRONT = CA.signs("front", dns=("tls.example", "mtls.example"))
HOST = CA.signs("host", dns=("host.example",))
CLIENT = CA.signs("client", uri=("spiffe://mesh/client",))
PROXY = CA.signs("proxy", uri=("spiffe://mesh/proxy",))
LOG = (
    "%REQ(:PATH)%|%PROTOCOL%|%DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_PEER_SUBJECT%|%FILTER_CHAIN_NAME%"
    "|%REQUESTED_SERVER_NAME%|%UPSTREAM_PROTOCOL%|%UPSTREAM_TLS_VERSION%|%UPSTREAM_PEER_SUBJECT%"
    "|%RESPONSE_CODE%|%RESPONSE_FLAGS%|%GRPC_STATUS%\n"
)
SHOWN = ("x-forwarded-proto", "x-forwarded-client-cert", "content-type", "te")


@dataclass(frozen=True, slots=True)
class Speaker:
    """One protocol. host: makes what answers (a context manager with ``port``); talk(port, path): what a client is told;
    heard(host): what the last request to it was, of ours or the proxy's saying; alpn: what it offers over TLS, "" for
    nothing; is_http: else bytes"""

    host: Callable[[], Any]
    talk: Callable[[int, str], Seen]
    heard: Callable[[Any], Seen]
    alpn: str
    cluster: Config
    is_http: bool = True


class Echo(socketserver.ThreadingTCPServer):
    """Answers each segment with itself, "re:" before it. switches: after an HTTP/1 upgrade to WebSocket.

    heard: what came, the head apart"""

    allow_reuse_address = daemon_threads = True

    def __init__(self, switches: bool) -> None:
        self.switches = switches
        self.head: list[tuple[str, str]] = []
        self.heard = b""
        super().__init__(("127.0.0.1", 0), None)  # type: ignore[arg-type]  # finish_request is ours
        self.port: int = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Echo:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.thread.join(5)
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(10)
        self.heard, data = b"", b""
        if self.switches:
            while b"\r\n\r\n" not in data:
                data += request.recv(65536)
            head, _, data = data.partition(b"\r\n\r\n")
            lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
            self.head = [(name.lower(), value) for name, _, value in lines]
            request.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
            )
        while data or (data := request.recv(65536)):
            self.heard += data
            request.sendall(b"re:" + data)
            data = b""


def talk_tcp(port: int, path: str) -> Seen:
    """Two segments, each answered before the next."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        said = b""
        for sent in (b"\x00\x01raw", b"abc"):
            sock.sendall(sent)
            want = len(said) + 3 + len(sent)
            while len(said) < want:
                part = sock.recv(65536)
                assert part, said
                said += part
    return {"body": said}


def talk_websocket(port: int, path: str) -> Seen:
    """An upgrade, then bytes each way."""
    asks = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    with Client(port) as client:
        switched = client.send(request("GET", path, asks)).read(True)
        client.send(b"abc")
        said = client.wire.exactly(6)
    return {"status": switched.status, "upgrade": switched.one("upgrade"), "body": said}


def shown(headers: list[tuple[str, str]]) -> Seen:
    return {name: value for name, value in headers if name in SHOWN}


def talk_http1(port: int, path: str) -> Seen:
    with Client(port) as client:
        said = client.send(request("POST", path, body=b"abc")).read()
    return {"status": said.status, "body": said.body}


def talk_http2(port: int, path: str) -> Seen:
    with H2Client(port) as client:
        stream = client.start(path, "POST", end=False)
        client.data(stream, b"abc", end=True)
        said = client.wait(stream)
    return {"status": said.status, "body": said.body, "trailers": said.trailers}


def talk_grpc(port: int, path: str) -> Seen:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        said, call = channel.unary_unary(path).with_call(b"abc", timeout=10)
        return {"body": said, "code": call.code().name}


def answer_http2(asked: H2Request, said: H2Reply) -> None:
    said.headers(200)
    said.data(b"two:" + asked.body)
    said.trailers([("x-tail", "ends")])


HTTP2 = grpc_service.http2_options()
SPEAKERS = {
    "http1": Speaker(
        lambda: Upstream([reply(200, b"one")]),
        talk_http1,
        lambda host: {**shown(host.requests[-1].headers), "body": host.requests[-1].body},
        "http/1.1",
        {},
    ),
    "http2": Speaker(
        lambda: H2Upstream(answer_http2),
        talk_http2,
        lambda host: {**shown(host.requests[-1].headers), "body": host.requests[-1].body},
        "h2",
        HTTP2,
    ),
    "grpc": Speaker(
        lambda: grpc_service.GrpcHost(lambda call: grpc_service.Answer(b"re:" + call.message)),
        talk_grpc,
        lambda host: {**shown(list(host.calls[-1].metadata.items())), "body": host.calls[-1].message},
        "h2",
        HTTP2,
    ),
    "websocket": Speaker(
        lambda: Echo(True),
        talk_websocket,
        lambda host: {**shown(host.head), "body": host.heard},
        "http/1.1",
        {},
    ),
    "tcp": Speaker(lambda: Echo(False), talk_tcp, lambda host: {"body": host.heard}, "", {}, is_http=False),
}
#: where clients come from whose bytes are to go to a host in this way
SOURCES = {"plain": "127.0.0.2", "tls": "127.0.0.3", "mtls": "127.0.0.4"}


CELLS = [(protocol, near, far) for protocol in SPEAKERS for near in SECURITY for far in SECURITY]


def server_context(folder: Path, pair: Pair, asks: bool, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(folder, "host"))
    context.set_alpn_protocols([protocol for protocol in protocols if protocol])
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=CA.pem)
    return context


def client_context(folder: Path, shows: bool, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.pem)
    if protocol:
        context.set_alpn_protocols([protocol])
    if shows:
        context.load_cert_chain(*CLIENT.write(folder, "client"))
    return context


def upstream_socket(security: str) -> Config:
    """How a cluster speaks."""
    if security == "plain":
        return {}
    common: Config = {"validation_context": {"trusted_ca": {"inline_string": CA.pem}}}
    if security == "mtls":
        common["tls_certificates"] = [PROXY.config()]
    typed = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": common, "sni": "host.example"}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed}}


def listener(port: int, routes: list[Config], log: Path) -> Config:
    """Chains by transport protocol, server name, and whether it is HTTP; those of HTTP sniff its version."""
    hcm = {
        "codec_type": "AUTO",
        "access_log": [file_log(str(log), LOG)],
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    chains = []
    for security in SECURITY:
        made: Config = http_listener(1, [virtual_host(routes)], hcm=hcm)["filter_chains"][0]
        made["name"] = security
        sniffed = ["http/1.0", "http/1.1", "h2c"] if security == "plain" else ["http/1.1", "h2"]
        secure(made, security, application_protocols=sniffed)
        chains.append(made)
        for far in SECURITY:
            typed = {
                "@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "tcp",
                "cluster": f"tcp-{far}",
                "access_log": [file_log(str(log), LOG)],
            }
            bytes_of: Config = {
                "name": f"tcp-{security}-{far}",
                "filters": [{"name": "tcp", "typed_config": typed}],
            }
            source = {"address_prefix": SOURCES[far], "prefix_len": 32}
            secure(bytes_of, security, source_prefix_ranges=[source])
            chains.append(bytes_of)
    filters = [
        {
            "name": f"envoy.filters.listener.{name}",
            "typed_config": {"@type": f"{TYPES}.filters.listener.{name}.v3.{message}"},
        }
        for name, message in (("tls_inspector", "TlsInspector"), ("http_inspector", "HttpInspector"))
    ]
    return {
        "name": "matrix",
        "address": address(port),
        "listener_filters": filters,
        "filter_chains": chains,
    }


def secure(chain: Config, security: str, **match: Any) -> None:
    """Whom a chain is for, and how it speaks to them."""
    if security == "plain":
        chain["filter_chain_match"] = {"transport_protocol": "raw_buffer", **match}
        return
    common: Config = {"tls_certificates": [FRONT.config()], "alpn_protocols": ["h2", "http/1.1"]}
    if security == "mtls":
        common["validation_context"] = {"trusted_ca": {"inline_string": CA.pem}}
    typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common}
    typed["require_client_certificate"] = security == "mtls"
    chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": typed}
    names = [f"{security}.example"]
    chain["filter_chain_match"] = {"transport_protocol": "tls", "server_names": names, **match}


class Matrix:
    """One proxy before all hosts, and behind all clients."""

    def __init__(self, kind: Kind, folder: Path, stack: ExitStack) -> None:
        self.log = folder / "log"
        self.lines = 0
        self.hosts: dict[str, Any] = {}
        self.relays: dict[str, TlsRelay] = {}
        front = self.front = free_port()
        routes, clusters = [], []
        for protocol, speaker in SPEAKERS.items():
            host = self.hosts[protocol] = stack.enter_context(speaker.host())
            for security in SECURITY:
                port = host.port
                if security != "plain":
                    serves = server_context(folder, HOST, security == "mtls", speaker.alpn)
                    relay = stack.enter_context(TlsRelay(port, serves=serves))
                    self.relays[f"{protocol}-{security}"] = relay
                    port = relay.port
                name = f"{protocol}-{security}"
                clusters.append(cluster(name, port, **speaker.cluster, **upstream_socket(security)))
                if speaker.is_http:
                    routes.append(route_to(name, prefix=f"/{name}/"))
        self.proxy = stack.enter_context(
            kind(bootstrap(free_port(), [listener(front, routes, self.log)], clusters))
        )
        self.ports: dict[tuple[str, str, str], int] = {}
        for protocol, near, far in CELLS:
            speaker = SPEAKERS[protocol]
            dials = client_context(folder, near == "mtls", speaker.alpn) if near != "plain" else None
            source = "127.0.0.1" if speaker.is_http else SOURCES[far]
            relay = TlsRelay(front, dials=dials, name=f"{near}.example", source=source)
            self.ports[protocol, near, far] = stack.enter_context(relay).port

    def cell(self, protocol: str, near: str, far: str) -> Seen:
        """One exchange: what the client, the host, the relay before it and the log have seen."""
        speaker = SPEAKERS[protocol]
        name = f"{protocol}-{far}"
        said = speaker.talk(self.ports[protocol, near, far], f"/{name}/Call")
        relay = self.relays.get(name)
        self.lines += 1
        return {
            "client": said,
            "host": speaker.heard(self.hosts[protocol]),
            "tls to the host": relay.seen[-1] if relay is not None else None,
            "log": self.line(),
        }

    def line(self) -> str:
        deadline = time.monotonic() + 10
        while True:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            if len(lines) >= self.lines:
                return lines[-1]
            assert time.monotonic() < deadline, "no log line came"
            time.sleep(0.01)


def matrix(kind: Kind, folder: Path) -> Iterator[Matrix]:
    with ExitStack() as stack:
        yield Matrix(kind, folder, stack)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    yield from matrix(Outrider, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def envoys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    yield from matrix(Envoy, tmp_path_factory.mktemp("envoy"))


@pytest.mark.parametrize(("protocol", "near", "far"), CELLS)
def test_a_cell(ours: Matrix, protocol: str, near: str, far: str) -> None:
    seen = ours.cell(protocol, near, far)
    bodies = (b"one", b"two:abc", b"re:abc", b"re:\x00\x01rawre:abc")
    assert seen["client"]["body"] in bodies
    assert seen["host"]["body"] in (b"abc", b"\x00\x01rawabc")
    if SPEAKERS[protocol].is_http:
        assert seen["host"].get("x-forwarded-proto") == ("http" if near == "plain" else "https")
        client = "URI=spiffe://mesh/client" in seen["host"].get("x-forwarded-client-cert", "")
        assert client == (near == "mtls")
    alpn, peer = seen["tls to the host"] or ("", "")
    assert alpn == ("" if far == "plain" else SPEAKERS[protocol].alpn)
    assert peer == ("proxy" if far == "mtls" else "")
    chain = near if SPEAKERS[protocol].is_http else f"tcp-{near}-{far}"
    assert seen["log"].split("|")[4] == chain
    assert seen["log"].split("|")[3] == ("CN=client" if near == "mtls" else "-")


@pytest.mark.parity
@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
def test_every_cell_is_envoys(ours: Matrix, envoys: Matrix) -> None:
    for cell in CELLS:
        assert ours.cell(*cell) == envoys.cell(*cell), cell


class Uncollected(Outrider):
    """Ours, with nobody to clear reference cycles away."""

    def __init__(self, bootstrap: Config) -> None:
        folder = Path(tempfile.mkdtemp(prefix="outrider-garbage-"))
        self.report = folder / "garbage"
        roots = [str(NATIVE)] if os.environ.get("OUTRIDER_NATIVE") == "1" else []
        super().__init__(
            bootstrap,
            under=("tests.support.garbage", str(self.report)),
            environment={"PYTHONPATH": os.pathsep.join([*roots, str(ROOT)])},
            folder=folder,
        )

    def clients(self) -> int:
        values = self.stats("?filter=^listener\\..*downstream_cx_active$")
        return sum(value for name, value in values.items() if not name.startswith("listener.admin."))

    def garbage(self) -> Config:
        """What has become unreachable since the last time and is still there, when no client is."""
        until(lambda: self.clients() == 0, "all clients to be gone")
        self.report.unlink(missing_ok=True)
        self.signal(signal.SIGUSR2)
        until(self.report.exists, "the report")
        found: Config = json.loads(self.report.read_text())
        return found

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.folder)


def fail(port: int) -> None:
    """What is no TLS, no certificate where one is wanted, no end of a request."""
    for data in (b"\x16\x03\x01\x00\x05", b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n", b"\0" * 50):
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.sendall(data)
            with suppress(ConnectionError):
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1000)
    trusting = ssl._create_unverified_context()
    for context in (trusting, ssl.create_default_context()):
        with socket.create_connection(("127.0.0.1", port), 10) as sock, pytest.raises(OSError):
            context.wrap_socket(sock, server_hostname="mtls.example").recv(1000)


def test_no_connection_leaves_a_cycle(tmp_path: Path) -> None:
    """What only the collector can free stays for thousands of connections, 32 KB each over TLS."""
    with ExitStack() as stack:
        seen = Matrix(Uncollected, tmp_path, stack)
        assert isinstance(seen.proxy, Uncollected)
        for cell in CELLS:
            seen.cell(*cell)
        seen.proxy.garbage()
        fail(seen.front)
        for cell in CELLS:
            seen.cell(*cell)
        assert seen.proxy.garbage() == {}
