"""Bootstraps that other people wrote (Envoy's own examples), run for real.

The files are other projects' and are read in place, changed in nothing but addresses and ports; the same expectations
are held against the real Envoy where it is installed.
"""

from __future__ import annotations

import re
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd

from tests.support.certs import Authority, Pair
from tests.support.client import get
from tests.support.collector import Collector, otlp_spans
from tests.support.config import cluster, route_to, virtual_host
from tests.support.control_plane import ADS, ControlPlane
from tests.support.discovery import CLUSTER, LISTENER, ROUTES, rds_listener
from tests.support.envoy import ENVOY_MISSING, envoy_binary
from tests.support.grpc_service import GrpcHost
from tests.support.messages import Headers
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.tcp_peer import TcpPeer, TcpScript, TcpUpstream
from tests.support.upstream import Upstream, reply
from tests.support.wait import until
from tests.support.websocket import EchoServer, websocket

ROOT = Path(__file__).resolve().parents[2]
TRACE, PARENT = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"


@pytest.fixture(scope="module")
def examples(shared: Path) -> Path:
    return shared / "fixtures" / "envoy-examples"


CA = Authority()
HOST = CA.signs("host", dns=("front.example",))


def server_context(pair: Pair, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*pair.write(Path(folder), "host"))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def trusting(*alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.pem)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def answering(body: bytes) -> TcpScript:
    """A host that waits for a word, and says its own."""

    def play(peer: TcpPeer) -> None:
        if peer.hears():
            peer.send(body).end().listen()

    return play


# --- those that run -------------------------------------------------------------------------------------------------


class Example(ProxyProcess):
    """A proxy on a file as it is, but for its addresses; the admin interface is added when the file has none."""

    def __init__(self, argv: list[str], text: str, folder: Path, name: str) -> None:
        self.name = name
        self._admin_port = free_port()
        super().__init__(argv, {}, folder=folder, environment={"PYTHONPATH": str(ROOT)}, suffix=".yaml")
        if "\nadmin:" in text:
            head, admin = text.split("\nadmin:")
            admin = re.sub(
                "0.0.0.0\n( +)port_value: [0-9]+", rf"127.0.0.1\n\1port_value: {self._admin_port}", admin
            )
            text = f"{head}\nadmin:{admin}"
        else:
            address = f"{{address: 127.0.0.1, port_value: {self._admin_port}}}"
            self.argv += ["--config-yaml", f"admin: {{address: {{socket_address: {address}}}}}"]
        (folder / f"{name}.yaml").write_text(text)

    @property
    def admin_port(self) -> int:
        return self._admin_port


def outrider(text: str, folder: Path) -> Example:
    return Example([sys.executable, "-m", "proxy"], text, folder, "outrider")


def envoy(text: str, folder: Path) -> Example:
    argv = [str(envoy_binary()), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return Example(argv, text, folder, "envoy")


def moved(text: str, places: dict[tuple[str, int], tuple[str, int]]) -> str:
    """The text with every (address, port) exchanged; each must be there."""
    for (address, port), (new_address, new_port) in places.items():
        text, count = re.subn(
            rf"(address: ){re.escape(address)}(\n +port_value: ){port}\b",
            rf"\g<1>{new_address}\g<2>{new_port}",
            text,
        )
        assert count == 1, (address, port, count)
    return text


class World:
    """One example with everything around it."""

    def __init__(self, proxy: Example, port: int, upstream: Upstream, collector: Collector) -> None:
        self.proxy, self.port, self.upstream, self.collector = proxy, port, upstream, collector

    def sends(self, path: str, headers: Headers | None = None, times: int = 5) -> list[dict[str, Any]]:
        """GET it; the spans that come of it. Five, because a fifth span sends the batch at once."""
        for _ in range(times):
            response = get(self.port, path, headers)
            assert (response.status, response.body) == (200, b"from the right one")
        assert [one.path for one in self.upstream.requests] == [path] * times
        return self.collector.wait_for_spans(times)


Start = Callable[..., World]


@pytest.fixture(
    params=[
        outrider,
        pytest.param(
            envoy, marks=[pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]
        ),
    ]
)
def start(request: pytest.FixtureRequest, examples: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts an example: its file, where it listens, where its upstream is, where its collector is (if any)."""

    @contextmanager
    def run(
        file: str, listens: int, upstream_at: tuple[str, int], collector_at: tuple[str, int] | None = None
    ) -> Iterator[World]:
        port = free_port()
        with Upstream([reply(200, b"from the right one")]) as upstream, Collector() as collector:
            places = {("0.0.0.0", listens): ("127.0.0.1", port), upstream_at: ("127.0.0.1", upstream.port)}
            if collector_at is not None:
                places[collector_at] = ("127.0.0.1", collector.port)
            with request.param(moved((examples / file).read_text(), places), tmp_path) as proxy:
                yield World(proxy, port, upstream, collector)

    return run


Run = Callable[[str], Any]


@pytest.fixture(
    params=[
        outrider,
        pytest.param(
            envoy, marks=[pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]
        ),
    ]
)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Starts a proxy on a text, in a folder of its own."""
    count = iter(range(10))

    def started(text: str) -> Example:
        folder = tmp_path / str(next(count))
        folder.mkdir()
        made: Example = request.param(text, folder)
        return made

    return started


def test_jaeger_tracing(start: Start) -> None:
    with start("jaeger-tracing/envoy.yaml", 10000, ("service1", 8000), ("jaeger", 9411)) as world:
        spans = world.sends("/trace/1?x=1")
        assert {span["name"] for span in spans} == {"checkAvailability"}
        assert {span["kind"] for span in spans} == {"CLIENT"}, "the listener is OUTBOUND"
        assert {span["localEndpoint"]["serviceName"] for span in spans} == {"front-proxy"}
        assert not any("shared" in span for span in spans)
        assert not any("parentId" in span for span in spans), "the proxy is where these traces begin"
        for request, span in zip(world.upstream.requests, spans, strict=True):
            assert request.one("x-b3-traceid") == span["traceId"]
            assert request.one("x-b3-spanid") == span["id"]
            assert request.one("x-b3-sampled") == "1"
            assert request.one("x-request-id") == span["tags"]["guid:x-request-id"]
            assert request.one("x-envoy-decorator-operation") == "checkAvailability"
            assert len(request.all("x-forwarded-for")) == 1, "use_remote_address"
        tags = spans[0]["tags"]
        assert tags["http.url"] == "http://example.com/trace/1?x=1"
        assert (tags["http.method"], tags["http.status_code"]) == ("GET", "200")
        assert (tags["upstream_cluster"], tags["response_flags"]) == ("service1", "-")
        admin_answers(world, "ingress_http", ("service1", "jaeger"))


def test_jaeger_tracing_the_second_service(start: Start) -> None:
    with start(
        "jaeger-tracing/service2-envoy-jaeger.yaml", 8000, ("127.0.0.1", 8080), ("jaeger", 9411)
    ) as world:
        came = [("x-b3-traceid", TRACE), ("x-b3-spanid", PARENT), ("x-b3-sampled", "1")]
        spans = world.sends("/", came)
        assert {span["name"] for span in spans} == {"checkStock"}
        assert {span["kind"] for span in spans} == {"SERVER"}, "the listener is INBOUND"
        assert {(span["traceId"], span["parentId"]) for span in spans} == {(TRACE, PARENT)}
        assert not any("shared" in span for span in spans), "shared_span_context is false"
        assert len({span["id"] for span in spans} | {PARENT}) == 6
        admin_answers(world, "ingress_http", ("local_service", "jaeger"))


def test_zipkin(start: Start) -> None:
    with start("zipkin/envoy-2.yaml", 10000, ("service-2", 8080), ("zipkin", 9411)) as world:
        came = [("x-b3-traceid", TRACE), ("x-b3-spanid", PARENT), ("x-b3-sampled", "1")]
        spans = world.sends("/trace/2", came)
        assert {span["name"] for span in spans} == {"routeToService2"}
        assert {span["kind"] for span in spans} == {"SERVER"}
        assert {span["localEndpoint"]["serviceName"] for span in spans} == {"envoy-proxy-2"}
        shares = {(span["traceId"], span["id"], span["shared"]) for span in spans}
        assert shares == {(TRACE, PARENT, True)}, "by default the server's span is the client's"
        admin_answers(world, "ingress_http", ("service_cluster2", "zipkin"))


def test_front_proxy_service(start: Start) -> None:
    with start("front-proxy/service-envoy.yaml", 8000, ("service1", 8080)) as world:
        assert get(world.port, "/service/1").body == b"from the right one"
        assert get(world.port, "/service/2").status == 404
        [request] = world.upstream.requests
        assert request.path == "/service/1"
        assert request.one("x-b3-traceid") is None, "the file configures no tracing"
        admin_answers(world, "service_envoy_1", ("service1",))


def test_double_proxy(start: Start) -> None:
    with start("double-proxy/envoy.yaml", 10000, ("app", 8080)) as world:
        assert get(world.port, "/anything").body == b"from the right one"
        assert world.upstream.requests[0].path == "/anything"
        admin_answers(world, "ingress_http", ("service1",))


def over_tls(port: int, path: str, headers: dict[str, str] | None = None) -> HTTPResponse:
    """GET it; the certificates of the examples are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    connection.request("GET", path, headers={"connection": "close", **(headers or {})})
    return connection.getresponse()


def test_websocket(run: Run, examples: Path) -> None:
    """websocket/envoy-ws-route.yaml → websocket/envoy-ws.yaml → an echo."""
    first, second = free_port(), free_port()
    with EchoServer() as echo:
        outer = {("0.0.0.0", 10000): ("127.0.0.1", first), ("service-ws", 80): ("127.0.0.1", second)}
        inner = {("0.0.0.0", 10000): ("127.0.0.1", second), ("service-ws", 80): ("127.0.0.1", echo.port)}
        texts = [(examples / f"websocket/{name}.yaml").read_text() for name in ("envoy-ws-route", "envoy-ws")]
        with run(moved(texts[0], outer)), run(moved(texts[1], inner)):
            with websocket(first, "/ws") as socket:
                socket.send("through both")
                assert socket.recv(timeout=5) == "through both"
            assert get(first, "/").body == b"NotWebSocket\n"


def test_front_proxy(run: Run, examples: Path) -> None:
    plain, secure = free_port(), free_port()
    with Upstream([reply(200, b"one")]) as one, Upstream([reply(200, b"two")]) as two:
        places = {
            ("0.0.0.0", 8080): ("127.0.0.1", plain),
            ("0.0.0.0", 8443): ("127.0.0.1", secure),
            ("service-envoy-1", 8000): ("127.0.0.1", one.port),
            ("service-envoy-2", 8000): ("127.0.0.1", two.port),
        }
        with run(moved((examples / "front-proxy/envoy.yaml").read_text(), places)):
            assert get(plain, "/service/1").body == b"one"
            assert over_tls(secure, "/service/2").read() == b"two"
            assert two.requests[0].one("x-forwarded-proto") == "https"


def test_tls_on_both_sides_and_names_of_the_servers(run: Run, examples: Path) -> None:
    """tls-sni/envoy-client.yaml → tls/envoy-https-https.yaml → itself: the first is led to the second three times."""
    text = (examples / "tls/envoy-https-https.yaml").read_text()
    first, second = free_port(), free_port()
    with Upstream([reply(200, b"behind")]) as upstream:
        inner = moved(
            (examples / "front-proxy/envoy.yaml").read_text(),
            {
                ("0.0.0.0", 8080): ("127.0.0.1", free_port()),
                ("0.0.0.0", 8443): ("127.0.0.1", second),
                ("service-envoy-1", 8000): ("127.0.0.1", upstream.port),
                ("service-envoy-2", 8000): ("127.0.0.1", upstream.port),
            },
        )
        outer = {("0.0.0.0", 10000): ("127.0.0.1", first), ("service-https", 443): ("127.0.0.1", second)}
        client = free_port()
        names = (examples / "tls-sni/envoy-client.yaml").read_text()
        names = names.replace("address: proxy", "address: 127.0.0.1").replace(
            "port_value: 10000", f"port_value: {first}"
        )
        names = names.replace(
            f"0.0.0.0\n        port_value: {first}", f"127.0.0.1\n        port_value: {client}"
        )
        with run(inner), run(moved(text, outer)) as middle, run(names) as sni:
            assert over_tls(first, "/service/1").read() == b"behind"
            for number in (1, 2, 3):
                assert get(client, f"/domain{number}").status == 404  # of the innermost: it has no such route
                assert sni.stats()[f"cluster.proxy-client-domain{number}.ssl.handshake"] == 1
            assert middle.stats()["cluster.service-https.ssl.handshake"] >= 1
            assert middle.stats()["cluster.service-https.ssl.versions.TLSv1.3"] >= 1


def admin_answers(world: World, stat_prefix: str, clusters: tuple[str, ...]) -> None:
    """The admin interface is there and knows what happened."""
    proxy = world.proxy
    assert proxy.admin("/ready") == (200, "LIVE\n")
    assert proxy.stats()[f"http.{stat_prefix}.downstream_rq_2xx"] == len(world.upstream.requests)
    assert f":{world.port}" in proxy.admin("/listeners")[1]
    known = {line.partition("::")[0] for line in proxy.admin("/clusters")[1].splitlines()}
    assert known == set(clusters)


@pytest.mark.parametrize(("example", "coding"), [("brotli", "br"), ("zstd", "zstd")])
def test_compressed_over_tls(run: Run, examples: Path, example: str, coding: str) -> None:
    """A response of its content type is compressed, another is not; the second listener serves the proxy's own page."""
    port, stats = free_port(), free_port()
    body = b'{"a": "' + 1000 * b"x" + b'"}'
    answers = [[reply(200, body, [("content-type", kind)])] for kind in ("application/json", "text/plain")]
    with Upstream(answers) as upstream:
        places = {
            ("0.0.0.0", 10000): ("127.0.0.1", port),
            ("0.0.0.0", 9902): ("127.0.0.1", stats),
            ("service", 8080): ("127.0.0.1", upstream.port),
        }
        text = moved((examples / f"{example}/envoy.yaml").read_text(), places)
        with run(text) as proxy:
            unpack = brotli.decompress if coding == "br" else zstd.decompress
            first = over_tls(port, "/file.json", {"accept-encoding": coding})
            assert (first.status, first.getheader("content-encoding")) == (200, coding)
            assert unpack(first.read()) == body
            second = over_tls(port, "/file.txt", {"accept-encoding": coding})
            assert (second.status, second.getheader("content-encoding"), second.read()) == (200, None, body)
            assert over_tls(stats, "/other", {"accept-encoding": coding}).status == 404
            counted = proxy.stats()
            assert sum(value for name, value in counted.items() if name.endswith(".response.compressed")) == 1


def test_opentelemetry(run: Run, examples: Path) -> None:
    """Spans over gRPC."""
    port = free_port()
    with Upstream([reply(200, b"from the right one")]) as upstream, GrpcHost() as collector:
        places = {
            ("0.0.0.0", 10000): ("127.0.0.1", port),
            ("service-2", 8080): ("127.0.0.1", upstream.port),
            ("opentelemetry", 4317): ("127.0.0.1", collector.port),
        }
        with run(moved((examples / "opentelemetry/envoy-2.yaml").read_text(), places)):
            came = [("traceparent", f"00-{TRACE}-{PARENT}-01")]
            for _ in range(5):
                assert get(port, "/trace/2", came).body == b"from the right one"

            def spans() -> list[dict[str, Any]]:
                return [span for call in collector.calls for span in otlp_spans(call.message)]

            until(lambda: len(spans()) == 5, "five spans at the collector")
        assert {span["name"] for span in spans()} == {"routeToService2"}
        assert {(span["traceId"], span["parentId"]) for span in spans()} == {(TRACE, PARENT)}
        assert {span["resource"]["service.name"] for span in spans()} == {"envoy-2"}
        assert {call.metadata["x-envoy-internal"] for call in collector.calls} == {"true"}


def test_grpc_bridge_the_client(run: Run, examples: Path) -> None:
    """The file's cluster is HTTP/1: what it answers has a status in its head already."""
    port = free_port()
    answer = reply(200, b"\0\0\0\0\0", [("content-type", "application/grpc"), ("grpc-status", "0")])
    with Upstream([answer]) as upstream:
        places = {
            ("0.0.0.0", 9911): ("127.0.0.1", port),
            ("grpc-server-proxy", 8811): ("127.0.0.1", upstream.port),
        }
        with run(moved((examples / "grpc-bridge/client/envoy-proxy.yaml").read_text(), places)):
            response = get(port, "/kv.KV/Get", [("content-type", "application/grpc")], host="grpc")
            assert (response.status, response.body) == (200, b"\0\0\0\0\0")
            assert response.one("grpc-status") == "0"
    assert [request.path for request in upstream.requests] == ["/kv.KV/Get"]


def test_tls_passed_through(run: Run, examples: Path) -> None:
    """The proxy has no certificate: the host's own reaches the client."""
    port = free_port()
    with TcpUpstream(answering(b"behind"), server_context(HOST)) as upstream:
        places = {
            ("0.0.0.0", 10000): ("127.0.0.1", port),
            ("service-https", 443): ("127.0.0.1", upstream.port),
        }
        with run(moved((examples / "tls/envoy-https-passthrough.yaml").read_text(), places)) as proxy:
            with TcpPeer.connect(port).secure(trusting()) as peer:
                assert peer.send(b"asking").read(6) == b"behind"
            assert proxy.stats()["tcp.https_passthrough.downstream_cx_total"] == 1


def test_told_apart_by_their_hello(run: Run, examples: Path) -> None:
    """tls-inspector: TLS for HTTP/2, TLS for HTTP/1.1 and plain text, each to a host of its own."""
    port = free_port()
    with (
        TcpUpstream(answering(b"HTTP/2"), server_context(HOST, "h2")) as second,
        TcpUpstream(answering(b"HTTP/1"), server_context(HOST, "http/1.1")) as first,
        TcpUpstream(answering(b"plain.")) as plain,
    ):
        places = {
            ("0.0.0.0", 10000): ("127.0.0.1", port),
            ("service-https1", 443): ("127.0.0.1", second.port),
            ("service-https0", 443): ("127.0.0.1", first.port),
            ("service-http", 80): ("127.0.0.1", plain.port),
        }
        with run(moved((examples / "tls-inspector/envoy.yaml").read_text(), places)) as proxy:
            for offer, said in (("h2", b"HTTP/2"), ("http/1.1", b"HTTP/1"), ("", b"plain.")):
                with TcpPeer.connect(port) as peer:
                    if offer:
                        peer.secure(trusting(offer))
                    assert peer.send(b"asking").read(6) == said
            assert proxy.stats()["tls_inspector.alpn_found"] == 2
            assert proxy.stats()["tls_inspector.tls_not_found"] == 1


def test_double_proxy_at_the_back(run: Run, examples: Path, tmp_path: Path) -> None:
    """Only a client with a certificate of the right name reaches what is behind; its certificates are made here."""
    port = free_port()
    frontend = CA.signs("frontend", dns=("proxy-postgres-frontend.example.com",))
    other = CA.signs("other", dns=("other.example.com",))
    text = (examples / "double-proxy/envoy-backend.yaml").read_text().replace("certs/", f"{tmp_path}/")
    (tmp_path / "cacert.pem").write_text(CA.pem)
    for made, name in zip(HOST.write(tmp_path, "server"), ("servercert.pem", "serverkey.pem"), strict=True):
        Path(made).rename(tmp_path / name)
    with TcpUpstream(answering(b"behind")) as upstream:
        places = {("0.0.0.0", 5432): ("127.0.0.1", port), ("postgres", 5432): ("127.0.0.1", upstream.port)}
        with run(moved(text, places)) as proxy:
            for pair, gets in ((frontend, b"behind"), (other, b"")):
                context = trusting()
                context.load_cert_chain(*pair.write(tmp_path, "client"))
                with TcpPeer.connect(port).secure(context) as peer:
                    with suppress(OSError):  # it may have been refused by now
                        peer.send(b"asking")
                        peer.listen()
                    assert b"".join(each for each in peer.heard if isinstance(each, bytes)) == gets
            until(lambda: proxy.stats()["tcp.postgres_tcp.downstream_cx_tx_bytes_total"] == 6, "its bytes")
            assert any(story.startswith("b'asking'") for story in upstream.stories())


def test_a_control_plane(run: Run, examples: Path) -> None:
    """Everything by ADS; the file knows only where its control plane is."""
    port = free_port()
    with Upstream([reply(200, b"from the right one")]) as upstream, ControlPlane() as plane:
        plane.set(CLUSTER, cluster("example_proxy_cluster", upstream.port), version="1")
        plane.set(LISTENER, rds_listener(port, "listener_0", "local_route", ADS), version="1")
        route = virtual_host([route_to("example_proxy_cluster")])
        plane.set(ROUTES, {"name": "local_route", "virtual_hosts": [route]}, version="1")
        places = {("go-control-plane", 18000): ("127.0.0.1", plane.port)}
        with run(moved((examples / "dynamic-config-cp/envoy.yaml").read_text(), places)):
            assert get(port, "/").body == b"from the right one"
            assert plane.said(CLUSTER)[0]["node"]["id"] == "test-id"
