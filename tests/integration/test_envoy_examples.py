"""Bootstraps that other people wrote (Envoy's own examples): some run for real, the others are refused by name.

The files are other projects' and are read in place. Those that run are changed in nothing but addresses and ports; the
same expectations are held against the real Envoy where it is installed.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.main import main
from tests.support.client import get
from tests.support.collector import Collector
from tests.support.envoy import ENVOY_MISSING, envoy_binary
from tests.support.messages import Headers
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.upstream import Upstream, reply

ROOT = Path(__file__).resolve().parents[2]
TRACE, PARENT = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"


@pytest.fixture(scope="module")
def examples(shared: Path) -> Path:
    return shared / "fixtures" / "envoy-examples"


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


def over_tls(port: int, path: str) -> tuple[int, bytes]:
    """GET it; the certificates of the examples are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


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
            assert over_tls(secure, "/service/2") == (200, b"two")
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
            assert over_tls(first, "/service/1") == (200, b"behind")
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


# --- those that are refused -----------------------------------------------------------------------------------------

RUN = {
    "double-proxy/envoy.yaml",
    "front-proxy/envoy.yaml",
    "front-proxy/service-envoy.yaml",
    "jaeger-tracing/envoy.yaml",
    "jaeger-tracing/service2-envoy-jaeger.yaml",
    "tls-sni/envoy-client.yaml",
    "tls/envoy-https-https.yaml",
    "zipkin/envoy-2.yaml",
}

# In the table below "L1" stands for the only filter chain of the second listener, "HCM1" for the configuration of its
# only network filter, "C1" for the second cluster.
SHORT = (
    (re.compile(r"\bHCM(\d)\b"), r"L\1.filters[0].typed_config"),
    (re.compile(r"\bL(\d)\b"), r"static_resources.listeners[\1].filter_chains[0]"),
    (re.compile(r"\bC(\d)\b"), r"static_resources.clusters[\1]"),
)
OPTIONS = 'typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]'
UPGRADES = "protocol upgrades (WebSocket, CONNECT) are not supported yet"
XDS = "xDS is not supported yet: listeners and clusters must stand in static_resources"
NOT_SUPPORTED = "is not supported"
LOCALITY_WEIGHTS = "choosing hosts by weights of localities is not supported yet"
START_CHILD_SPAN = "is not supported; tracing.spawn_upstream_span of the connection manager is"


def http_filter(message: str) -> str:
    return f"HTTP filter envoy.extensions.filters.http.{message} is not supported; supported: "


def network_filter(message: str) -> str:
    return f"network filter envoy.extensions.filters.network.{message} is not supported; supported: "


def tracer(message: str) -> str:
    known = "envoy.tracers.opentelemetry, envoy.tracers.zipkin"
    return f"tracer envoy.config.trace.v3.{message} is not supported; supported: {known}"


def contrib(message: str) -> str:
    return (
        f'names a type that Envoy 1.40 without contrib extensions does not have: "envoy.extensions.{message}"'
    )


VHOST = "HCM0.route_config.virtual_hosts[0]"
PER_CORS = 'typed_per_filter_config["envoy.filters.http.cors"]'
PER_CSRF = 'typed_per_filter_config["envoy.filters.http.csrf"]'
COMPRESSOR = http_filter("compressor.v3.Compressor")
TCP_PROXY = network_filter("tcp_proxy.v3.TcpProxy")

CONTEXT = "L0.transport_socket.typed_config.common_tls_context"
CERTIFICATES = f"{CONTEXT}.tls_certificates"

#: file → everything that is unsupported in it: (path, line, how the message begins)
REFUSED: dict[str, list[tuple[str, int, str]]] = {
    "brotli/envoy.yaml": [
        ("HCM0.http_filters[0]", 25, COMPRESSOR),
        ("HCM1.http_filters[0]", 127, COMPRESSOR),
    ],
    "cors/backend/envoy.yaml": [
        (f"{VHOST}.{PER_CORS}", 25, http_filter("cors.v3.CorsPolicy")),
        (f"{VHOST}.routes[1].{PER_CORS}", 51, http_filter("cors.v3.CorsPolicy")),
        (f"{VHOST}.routes[2].{PER_CORS}", 62, http_filter("cors.v3.CorsPolicy")),
        ("HCM0.http_filters[0]", 73, http_filter("cors.v3.Cors")),
    ],
    "csrf/samesite/envoy.yaml": [
        (f"{VHOST}.{PER_CORS}", 25, http_filter("cors.v3.CorsPolicy")),
        (f"{VHOST}.{PER_CSRF}", 34, http_filter("csrf.v3.CsrfPolicy")),
        (f"{VHOST}.routes[0].{PER_CSRF}", 52, http_filter("csrf.v3.CsrfPolicy")),
        (f"{VHOST}.routes[1].{PER_CSRF}", 63, http_filter("csrf.v3.CsrfPolicy")),
        (f"{VHOST}.routes[2].{PER_CSRF}", 78, http_filter("csrf.v3.CsrfPolicy")),
        ("HCM0.http_filters[0]", 92, http_filter("cors.v3.Cors")),
        ("HCM0.http_filters[1]", 95, http_filter("csrf.v3.CsrfPolicy")),
    ],
    "double-proxy/envoy-backend.yaml": [
        ("L0.filters[0]", 14, TCP_PROXY),
        (
            f"{CERTIFICATES}[0].certificate_chain.filename",
            27,
            "cannot read certs/servercert.pem: No such file",
        ),
        (f"{CERTIFICATES}[0].private_key.filename", 29, "cannot read certs/serverkey.pem: No such file"),
        (
            f"{CONTEXT}.validation_context.trusted_ca.filename",
            36,
            "cannot read certs/cacert.pem: No such file",
        ),
    ],
    "dynamic-config-cp/envoy.yaml": [
        ("dynamic_resources", 5, XDS),
    ],
    "ext_authz/config/http-service.yaml": [
        ("HCM0.http_filters[0]", 26, http_filter("ext_authz.v3.ExtAuthz")),
    ],
    "ext_authz/config/opa-service/v3.yaml": [
        ("HCM0.http_filters[0]", 26, http_filter("ext_authz.v3.ExtAuthz")),
    ],
    "golang-http/envoy.yaml": [
        ('HCM0.http_filters[0].typed_config["@type"]', 18, contrib("filters.http.golang.v3alpha.Config")),
    ],
    "grpc-bridge/client/envoy-proxy.yaml": [
        ("HCM0.http_filters[0]", 34, http_filter("grpc_http1_bridge.v3.Config")),
    ],
    "kafka/envoy.yaml": [
        ('HCM0["@type"]', 11, contrib("filters.network.kafka_broker.v3.KafkaBroker")),
        ("L0.filters[1]", 13, TCP_PROXY),
    ],
    "locality-load-balancing/envoy.yaml": [
        ("C0.common_lb_config.locality_weighted_lb_config", 40, LOCALITY_WEIGHTS),
        ("C0.health_checks", 41, "active health checks are not supported yet"),
    ],
    "lua-cluster-specifier/envoy.yaml": [
        (
            "HCM0.route_config.virtual_hosts[0].routes[0].route.inline_cluster_specifier_plugin",
            24,
            NOT_SUPPORTED,
        ),
    ],
    "opentelemetry/envoy-2.yaml": [
        (
            "HCM0.tracing.provider.typed_config.grpc_service",
            20,
            "there is no gRPC client here yet; http_service is supported",
        ),
    ],
    "postgres/envoy.yaml": [
        ('HCM0["@type"]', 12, contrib("filters.network.postgres_proxy.v3alpha.PostgresProxy")),
        ("L0.filters[1]", 14, TCP_PROXY),
    ],
    "rbac/envoy.yaml": [
        ("HCM0.http_filters[0]", 25, http_filter("rbac.v3.RBAC")),
    ],
    "redis/envoy.yaml": [
        ("L0.filters[0]", 10, network_filter("redis_proxy.v3.RedisProxy")),
        ("C0.lb_policy", 22, "MAGLEV is not supported yet; ROUND_ROBIN, LEAST_REQUEST and RANDOM are"),
    ],
    "single-page-app/envoy.yml": [
        ("dynamic_resources", 5, XDS),
        ("HCM0.upgrade_configs", 23, UPGRADES),
        ("HCM0.http_filters[0]", 26, http_filter("oauth2.v3.OAuth2")),
        ("static_resources.listeners[1].access_log", 95, "is not supported yet in listeners"),
        ("HCM1.http_filters[0]", 105, http_filter("oauth2.v3.OAuth2")),
        ("HCM1.http_filters[1]", 144, COMPRESSOR),
    ],
    "skywalking/envoy-1.yaml": [
        ("HCM0.tracing.provider", 21, tracer("SkyWalkingConfig")),
        ("HCM0.http_filters[0].typed_config.start_child_span", 38, START_CHILD_SPAN),
        ("HCM1.tracing.provider", 63, tracer("SkyWalkingConfig")),
        ("HCM1.http_filters[0].typed_config.start_child_span", 80, START_CHILD_SPAN),
    ],
    "skywalking/envoy-front-proxy.yaml": [
        ("HCM0.tracing.provider", 22, tracer("SkyWalkingConfig")),
        ("HCM0.http_filters[0].typed_config.start_child_span", 39, START_CHILD_SPAN),
    ],
    "tls-inspector/envoy.yaml": [
        ("L0.filters[0]", 21, TCP_PROXY),
        ("static_resources.listeners[0].filter_chains[1].filters[0]", 30, TCP_PROXY),
        ("static_resources.listeners[0].filter_chains[2].filters[0]", 37, TCP_PROXY),
    ],
    "tls/envoy-https-passthrough.yaml": [
        ("L0.filters[0]", 9, TCP_PROXY),
    ],
    "wasm-cc/envoy.yaml": [
        ("HCM0.http_filters[0]", 28, http_filter("wasm.v3.Wasm")),
        (f"C1.{OPTIONS}.upstream_http_protocol_options", 103, NOT_SUPPORTED),
        (f"C1.{OPTIONS}.http_filters", 108, NOT_SUPPORTED),
    ],
    "websocket/envoy-ws-route.yaml": [
        ("HCM0.route_config.virtual_hosts[0].routes[0].route.upgrade_configs", 24, UPGRADES),
    ],
    "websocket/envoy-ws.yaml": [
        ("HCM0.upgrade_configs", 13, UPGRADES),
    ],
    "zstd/envoy.yaml": [
        ("HCM0.http_filters[0]", 25, COMPRESSOR),
        ("HCM1.http_filters[0]", 127, COMPRESSOR),
    ],
}

LOCALITIES = "C0.load_assignment.endpoints"
#: file → its warnings, where it has any: (path, line, how the message begins)
WARNED: dict[str, list[tuple[str, int, str]]] = {
    "locality-load-balancing/envoy.yaml": [
        warning
        for at, line in enumerate((56, 70, 84, 98))
        for warning in (
            (f"{LOCALITIES}[{at}].load_balancing_weight", line, "has no effect here: hosts are not weighed"),
            (
                f"{LOCALITIES}[{at}].lb_endpoints[0].endpoint.health_check_config",
                line + 8,
                "has no effect here: there are no active health checks",
            ),
        )
    ],
}

FINDING = re.compile(
    r"(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<kind>\w+): (?P<path>\S+): (?P<message>.+)"
)


def whole(path: str) -> str:
    for pattern, text in SHORT:
        path = pattern.sub(text, path)
    return path


def agree(found: list[re.Match[str]], expected: list[tuple[str, int, str]]) -> None:
    assert [(one["path"], int(one["line"])) for one in found] == [
        (whole(path), line) for path, line, _ in expected
    ]
    for one, (_, _, text) in zip(found, expected, strict=True):
        assert one["message"].startswith(text)


def test_no_file_is_left_out(examples: Path) -> None:
    files = {str(path.relative_to(examples)) for path in examples.rglob("*.y*ml")}
    assert files == RUN | set(REFUSED)


@pytest.mark.parametrize("file", REFUSED)
def test_refused(file: str, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; one line for each unsupported thing, in the order of the file, and no other line."""
    path = examples / file
    assert main(["validate", "-c", str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    *lines, count = printed.err.splitlines()
    findings = [FINDING.fullmatch(line) for line in lines]
    known = [one for one in findings if one is not None]
    assert len(known) == len(lines), printed.err
    assert {one["file"] for one in known} == {str(path)}
    agree([one for one in known if one["kind"] != "warning"], REFUSED[file])
    agree([one for one in known if one["kind"] == "warning"], WARNED.get(file, []))
    many = len(REFUSED[file])
    assert count == f"configuration refused: {many} error{'s' if many > 1 else ''}"
    for one in known:
        assert_is_there(path, one)


def assert_is_there(path: Path, finding: re.Match[str]) -> None:
    """The line that is named holds the field that is named (or the list's item, which has no name)."""
    line = path.read_text().splitlines()[int(finding["line"]) - 1][int(finding["column"]) - 1 :]
    last = re.split(r"\.(?![^\[]*\])", finding["path"])[-1]
    if last.endswith('["@type"]'):
        assert line.startswith(('"@type":', "'@type':"))
    elif last.endswith('"]'):  # an entry of a map
        assert line.startswith(last.split('"')[1] + ":")
    elif last.endswith("]"):
        assert line.startswith(("name:", "- name:"))
    else:
        assert line.startswith(f"{last}:")


@pytest.mark.parametrize("file", sorted(RUN))
def test_accepted(file: str, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-c", str(examples / file)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.endswith("OK\n")


def test_run_refuses_as_validate_does(examples: Path) -> None:
    path = str(examples / "redis" / "envoy.yaml")
    done = [
        subprocess.run(
            [sys.executable, "-m", "proxy", verb, "-c", path],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
        )
        for verb in ("run", "validate")
    ]
    assert [one.returncode for one in done] == [1, 1]
    assert done[0].stderr == done[1].stderr
    assert "Traceback" not in done[0].stderr
