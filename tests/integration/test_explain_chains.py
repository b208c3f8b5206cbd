"""Which filter chain takes a request: what ``outrider explain`` says, and what a running proxy does."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certs import Authority
from tests.support.config import TYPES, Config, bootstrap, http_listener, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.explaining import outrider
from tests.support.outrider import Outrider
from tests.support.ports import free_port

CA = Authority()
SERVER = CA.signs("server", dns=("a.example", "b.example"))
INSPECTORS = [
    {
        "name": f"envoy.filters.listener.{name}",
        "typed_config": {"@type": f"{TYPES}.filters.listener.{name}.v3.{kind}"},
    }
    for name, kind in (("tls_inspector", "TlsInspector"), ("http_inspector", "HttpInspector"))
]
TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [SERVER.config()]},
    },
}


def says(name: str) -> Config:
    """A chain's only route: its name."""
    answer = {"status": 200, "body": {"inline_string": name}}
    hosts = [virtual_host([{"match": {"prefix": "/"}, "direct_response": answer}])]
    chain: Config = http_listener(1, hosts, stat_prefix=name)["filter_chains"][0]
    return chain | {"name": name}


def listener(port: int) -> Config:
    near = [{"address_prefix": "127.0.0.2", "prefix_len": 32}]
    return http_listener(port, []) | {
        "listener_filters": INSPECTORS,
        "filter_chains": [
            says("by-name")
            | {"filter_chain_match": {"server_names": ["a.example"]}, "transport_socket": TLS},
            says("any-tls") | {"filter_chain_match": {"transport_protocol": "tls"}, "transport_socket": TLS},
            says("h1") | {"filter_chain_match": {"application_protocols": ["http/1.1"]}},
            says("near")
            | {"filter_chain_match": {"application_protocols": ["http/1.1"], "source_prefix_ranges": near}},
        ],
        "default_filter_chain": says("rest"),
    }


@pytest.fixture(
    scope="module",
    params=[
        Outrider,
        pytest.param(
            Envoy, marks=[pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]
        ),
    ],
)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    chosen = free_port()
    with request.param(bootstrap(free_port(), [listener(chosen)], [])):
        yield chosen


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chains") / "bootstrap.json"
    path.write_text(json.dumps(bootstrap(free_port(), [listener(18443)], [])))
    return path


#: (arguments of explain, server name of TLS or None, source address, the chain)
CASES = [
    (["GET", "https://a.example:18443/"], "a.example", "127.0.0.1", "by-name"),
    (["GET", "https://b.example:18443/"], "b.example", "127.0.0.1", "any-tls"),
    (["GET", "https://127.0.0.1:18443/"], "", "127.0.0.1", "any-tls"),
    (["GET", "http://a.example:18443/"], None, "127.0.0.1", "h1"),
    (["--source", "127.0.0.2", "GET", "http://a.example:18443/"], None, "127.0.0.2", "near"),
]


@pytest.mark.parametrize(("arguments", "name", "source", "chain"), CASES, ids=lambda value: str(value)[-40:])
def test_the_chain_that_explain_names_takes_the_request(
    port: int, file: Path, arguments: list[str], name: str | None, source: str, chain: str
) -> None:
    told = json.loads(outrider("explain", "-c", file, "-o", "json", *arguments).stdout)
    assert (told["filter_chain"], told["result"]["body"]) == (chain, chain)
    passed = {one["name"]: one["why"] for one in told["filter_chains_passed_over"]}
    assert set(passed) == {"by-name", "any-tls", "h1", "near", "rest"} - {chain}
    assert all(passed.values())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    connection.connect()
    if name is not None:
        context = ssl.create_default_context(cadata=CA.pem)
        context.check_hostname = False
        connection.sock = context.wrap_socket(connection.sock, server_hostname=name or None)
    connection.request("GET", "/")
    assert connection.getresponse().read().decode() == chain
    connection.close()


def test_the_reasons_are_the_first_criterion_that_does_not_fit(file: Path) -> None:
    shown = outrider("explain", "-c", file, "GET", "http://a.example:18443/").stdout
    assert "filter chain  h1\n" in shown
    assert "  not by-name: wants server_names a.example, but the connection has none\n" in shown
    assert "  not any-tls: wants transport_protocol tls, but the connection has raw_buffer\n" in shown
    assert "  not near: wants source_prefix_ranges 127.0.0.2/32, but the connection has 127.0.0.1\n" in shown
    assert "  not rest: it is for what no other chain takes\n" in shown
    other = outrider("explain", "-c", file, "GET", "https://a.example:18443/").stdout
    assert "  not any-tls: its match fits too, but a more specific one goes before it\n" in other


def test_no_chain_takes_it(tmp_path: Path) -> None:
    only = http_listener(18080, []) | {
        "filter_chains": [says("far") | {"filter_chain_match": {"source_ports": [1]}}]
    }
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(bootstrap(free_port(), [only], [])))
    shown = outrider("explain", "-c", path, "GET", "http://x:18080/").stdout
    assert "filter chain  none\n  not far: wants source_ports 1, but the connection has 40000\n" in shown
    assert "result        none: no filter chain takes the connection: it is closed\n" in shown


def test_cases_come_to_the_chain_of_their_kind(file: Path, tmp_path: Path) -> None:
    """``ssl`` in a case of ``outrider test`` chooses as an https URL does; coverage counts every chain's routes."""
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        """tests:
- test_name: by name
  input: {authority: a.example, path: /, method: GET, ssl: true}
  validate: {path_redirect: "https://a.example/"}
"""
    )
    ran = outrider("test", "-c", file, "--format", "json", cases)
    report = json.loads(ran.stdout)
    assert report["tests"][0]["route"].split(" > ")[1] == "by-name"
    assert report["routes"]["known"] == 5


@pytest.mark.parametrize("text", ["x", "127.0.0.1:x", "127.0.0.1:70000", "::1:80x"])
def test_an_address_that_is_none_is_named(file: Path, text: str) -> None:
    done = outrider("explain", "-c", file, "--source", text, "GET", "http://a/", code=2)
    assert "is not of the form IP" in done.stderr


def test_ipv6_is_written_both_ways(file: Path) -> None:
    for text in ("::1", "[::1]:7"):
        shown = outrider("explain", "-c", file, "--source", text, "GET", "http://a:18443/").stdout
        assert "filter chain  h1\n" in shown
