"""Bootstraps that other people wrote (Envoy's own examples): all are read, and what is not supported is named.

The files are other projects' and are read in place. test_envoy_examples_run.py runs those that are accepted.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
TRACE, PARENT = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"


@pytest.fixture(scope="module")
def examples(shared: Path) -> Path:
    return shared / "fixtures" / "envoy-examples"


# --- those that are refused -----------------------------------------------------------------------------------------

RUN = {
    "brotli/envoy.yaml",
    "double-proxy/envoy.yaml",
    "dynamic-config-cp/envoy.yaml",
    "front-proxy/envoy.yaml",
    "front-proxy/service-envoy.yaml",
    "grpc-bridge/client/envoy-proxy.yaml",
    "jaeger-tracing/envoy.yaml",
    "jaeger-tracing/service2-envoy-jaeger.yaml",
    "opentelemetry/envoy-2.yaml",
    "tls-inspector/envoy.yaml",
    "tls-sni/envoy-client.yaml",
    "tls/envoy-https-https.yaml",
    "websocket/envoy-ws-route.yaml",
    "websocket/envoy-ws.yaml",
    "tls/envoy-https-passthrough.yaml",
    "zipkin/envoy-2.yaml",
    "zstd/envoy.yaml",
}

# In the table below "L1" stands for the only filter chain of the second listener, "HCM1" for the configuration of its
# only network filter, "C1" for the second cluster.
SHORT = (
    (re.compile(r"\bHCM(\d)\b"), r"L\1.filters[0].typed_config"),
    (re.compile(r"\bL(\d)\b"), r"static_resources.listeners[\1].filter_chains[0]"),
    (re.compile(r"\bC(\d)\b"), r"static_resources.clusters[\1]"),
)
OPTIONS = 'typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]'
NOT_SUPPORTED = "is not supported"
LOCALITY_WEIGHTS = "choosing hosts by weights of localities is not supported yet"


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

CONTEXT = "L0.transport_socket.typed_config.common_tls_context"
CERTIFICATES = f"{CONTEXT}.tls_certificates"

#: file → everything that is unsupported in it: (path, line, how the message begins)
REFUSED: dict[str, list[tuple[str, int, str]]] = {
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
    "double-proxy/envoy-backend.yaml": [  # it runs where its certificates are
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
    "ext_authz/config/http-service.yaml": [
        ("HCM0.http_filters[0]", 26, http_filter("ext_authz.v3.ExtAuthz")),
    ],
    "ext_authz/config/opa-service/v3.yaml": [
        ("HCM0.http_filters[0]", 26, http_filter("ext_authz.v3.ExtAuthz")),
    ],
    "golang-http/envoy.yaml": [
        ('HCM0.http_filters[0].typed_config["@type"]', 18, contrib("filters.http.golang.v3alpha.Config")),
    ],
    "kafka/envoy.yaml": [
        ('HCM0["@type"]', 11, contrib("filters.network.kafka_broker.v3.KafkaBroker")),
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
    "postgres/envoy.yaml": [
        ('HCM0["@type"]', 12, contrib("filters.network.postgres_proxy.v3alpha.PostgresProxy")),
    ],
    "rbac/envoy.yaml": [
        ("HCM0.http_filters[0]", 25, http_filter("rbac.v3.RBAC")),
    ],
    "redis/envoy.yaml": [
        ("L0.filters[0]", 10, network_filter("redis_proxy.v3.RedisProxy")),
        ("C0.lb_policy", 22, "MAGLEV is not supported yet; ROUND_ROBIN, LEAST_REQUEST and RANDOM are"),
    ],
    "single-page-app/envoy.yml": [
        ("dynamic_resources.lds_config.path_config_source", 7, "paths must refer to an existing path"),
        ("HCM0.http_filters[0]", 26, http_filter("oauth2.v3.OAuth2")),
        ("HCM1.http_filters[0]", 105, http_filter("oauth2.v3.OAuth2")),
    ],
    "skywalking/envoy-1.yaml": [
        ("HCM0.tracing.provider", 21, tracer("SkyWalkingConfig")),
        ("HCM1.tracing.provider", 63, tracer("SkyWalkingConfig")),
    ],
    "skywalking/envoy-front-proxy.yaml": [
        ("HCM0.tracing.provider", 22, tracer("SkyWalkingConfig")),
    ],
    "wasm-cc/envoy.yaml": [
        ("HCM0.http_filters[0]", 28, http_filter("wasm.v3.Wasm")),
        (f"C1.{OPTIONS}.http_filters", 108, NOT_SUPPORTED),
    ],
}

LOCALITIES = "C0.load_assignment.endpoints"
CONTENT_TYPE = "typed_config.response_direction_config.common_config.content_type"
CHILD = "http_filters[0].typed_config.start_child_span"
DEPRECATED = [
    (f"HCM{listener}.http_filters[0].{CONTENT_TYPE}", line, "is deprecated")
    for listener, line in ((0, 31), (1, 133))
]
#: file → its warnings, where it has any: (path, line, how the message begins)
WARNED: dict[str, list[tuple[str, int, str]]] = {
    "brotli/envoy.yaml": DEPRECATED,
    "zstd/envoy.yaml": DEPRECATED,
    "skywalking/envoy-1.yaml": [
        (f"HCM{at}.{CHILD}", line, "is deprecated") for at, line in ((0, 38), (1, 80))
    ],
    "skywalking/envoy-front-proxy.yaml": [(f"HCM0.{CHILD}", 39, "is deprecated")],
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
    assert printed.out.endswith("OK\n")
    warnings = [FINDING.fullmatch(line) for line in printed.err.splitlines()]
    known = [one for one in warnings if one is not None and one["kind"] == "warning"]
    assert len(known) == len(warnings), printed.err
    agree(known, WARNED.get(file, []))


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
