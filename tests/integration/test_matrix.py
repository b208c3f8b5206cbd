"""Everything that one listener tells apart: {HTTP/1, HTTP/2, gRPC} x {plain, TLS, mutual TLS} from clients x the same to
hosts. Each cell holds for us and for Envoy, and says the same of itself.

A protocol is a Speaker: what the client does, and a host. Those that come later (WebSocket, TCP) join SPEAKERS.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.tls_relay import TlsRelay
from tests.support.upstream import Upstream, reply

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
    heard(host): what the last request to it was, of ours or the proxy's saying; alpn: what it offers over TLS"""

    host: Callable[[], Any]
    talk: Callable[[int, str], Seen]
    heard: Callable[[Any], Seen]
    alpn: str
    cluster: Config


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
}


def server_context(folder: Path, pair: Pair, asks: bool, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(folder, "host"))
    context.set_alpn_protocols(list(protocols))
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=CA.pem)
    return context


def client_context(folder: Path, shows: bool, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.pem)
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
    """One chain by transport protocol, two by server name; each sniffs HTTP's version."""
    hcm = {
        "codec_type": "AUTO",
        "access_log": [file_log(str(log), LOG)],
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
    }
    chains = []
    for security in SECURITY:
        made: Config = http_listener(1, [virtual_host(routes)], hcm=hcm)["filter_chains"][0]
        made["name"] = security
        if security == "plain":
            made["filter_chain_match"] = {"transport_protocol": "raw_buffer"}
        else:
            common: Config = {"tls_certificates": [FRONT.config()], "alpn_protocols": ["h2", "http/1.1"]}
            if security == "mtls":
                common["validation_context"] = {"trusted_ca": {"inline_string": CA.pem}}
            typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common}
            typed["require_client_certificate"] = security == "mtls"
            made["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": typed}
            made["filter_chain_match"] = {
                "transport_protocol": "tls",
                "server_names": [f"{security}.example"],
            }
        chains.append(made)
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


class Matrix:
    """One proxy before all hosts, and behind all clients."""

    def __init__(self, kind: Kind, folder: Path, stack: ExitStack) -> None:
        self.log = folder / "log"
        self.lines = 0
        self.hosts: dict[str, Any] = {}
        self.relays: dict[str, TlsRelay] = {}
        front = free_port()
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
                routes.append(route_to(name, prefix=f"/{name}/"))
        self.proxy = stack.enter_context(
            kind(bootstrap(free_port(), [listener(front, routes, self.log)], clusters))
        )
        self.ports: dict[tuple[str, str], int] = {}
        for protocol, speaker in SPEAKERS.items():
            self.ports[protocol, "plain"] = front
            for security in SECURITY[1:]:
                dials = client_context(folder, security == "mtls", speaker.alpn)
                relay = TlsRelay(front, dials=dials, name=f"{security}.example")
                self.ports[protocol, security] = stack.enter_context(relay).port

    def cell(self, protocol: str, near: str, far: str) -> Seen:
        """One exchange: what the client, the host, the relay before it and the log have seen."""
        speaker = SPEAKERS[protocol]
        name = f"{protocol}-{far}"
        said = speaker.talk(self.ports[protocol, near], f"/{name}/Call")
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


CELLS = [(protocol, near, far) for protocol in SPEAKERS for near in SECURITY for far in SECURITY]


@pytest.mark.parametrize(("protocol", "near", "far"), CELLS)
def test_a_cell(ours: Matrix, protocol: str, near: str, far: str) -> None:
    seen = ours.cell(protocol, near, far)
    assert seen["client"]["body"] in (b"one", b"two:abc", b"re:abc")
    assert seen["host"]["body"] == b"abc"
    assert seen["host"].get("x-forwarded-proto") == ("http" if near == "plain" else "https")
    client = "URI=spiffe://mesh/client" in seen["host"].get("x-forwarded-client-cert", "")
    assert client == (near == "mtls")
    alpn, peer = seen["tls to the host"] or ("", "")
    assert alpn == ("" if far == "plain" else SPEAKERS[protocol].alpn)
    assert peer == ("proxy" if far == "mtls" else "")
    assert seen["log"].split("|")[4] == near


@pytest.mark.parity
@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
def test_every_cell_is_envoys(ours: Matrix, envoys: Matrix) -> None:
    for cell in CELLS:
        assert ours.cell(*cell) == envoys.cell(*cell), cell
