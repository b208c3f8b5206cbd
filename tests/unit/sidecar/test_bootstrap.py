"""The sidecar's bootstrap: what arrives where, and that it is all the API's own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.api.load import load_bootstrap
from proxy.server.options import Options
from proxy.server.validate import check
from proxy.sidecar.bootstrap import make_bootstrap
from proxy.sidecar.settings import Settings

VARIANTS = {
    "plain": Settings(),
    "zipkin": Settings(
        service="cart", version="v2", namespace="prod", pod="cart-7", zipkin="http://zipkin:9411", ipv6=True
    ),
    "otlp": Settings(
        otlp="http://192.0.2.7/custom", sampling=12.5, access_log=True, retries=0, detect_timeout_s=0
    ),
}


def listeners(settings: Settings) -> dict:
    return {each["name"]: each for each in make_bootstrap(settings)["static_resources"]["listeners"]}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_compiles(name: str):
    loaded = load_bootstrap(None, json.dumps(make_bootstrap(VARIANTS[name])))
    check(loaded, Options())
    assert [str(each) for each in loaded.errors.findings] == []


def test_connections_that_nobody_redirected_are_not_sent_round_and_round():
    for name, port in (("inbound", 15006), ("outbound", 15001)):
        first = listeners(Settings())[name]["filter_chains"][0]
        assert first["filter_chain_match"] == {"destination_port": port}
        assert first["filters"][0]["typed_config"]["cluster"] == "BlackHoleCluster"


def test_the_applications_side_is_known_to_the_capture_rules():
    from proxy.capture.rules import SOURCE4, SOURCE6

    clusters = {each["name"]: each for each in make_bootstrap(Settings())["static_resources"]["clusters"]}
    bind = clusters["InboundPassthroughCluster"]["upstream_bind_config"]
    assert f"{bind['source_address']['address']}/32" == SOURCE4
    assert f"{bind['extra_source_addresses'][0]['address']['address']}/128" == SOURCE6


def test_ports_are_those_of_the_capture_rules():
    from proxy.capture.options import CaptureOptions

    rules, settings = CaptureOptions(), Settings()
    assert (rules.inbound_port, rules.proxy_port) == (settings.inbound_port, settings.outbound_port)
    assert {str(settings.ready_port), str(settings.metrics_port)} < set(rules.inbound_exclude.split(","))


def test_tracing_only_where_there_is_a_collector():
    def manager(settings: Settings) -> dict:
        return listeners(settings)["inbound"]["filter_chains"][1]["filters"][0]["typed_config"]

    assert "tracing" not in manager(Settings())
    traced = manager(VARIANTS["zipkin"])["tracing"]
    assert {"tag": "service.version", "literal": {"value": "v2"}} in traced["custom_tags"]
    assert traced["provider"]["typed_config"]["collector_endpoint"] == "/api/v2/spans"
    otlp = manager(VARIANTS["otlp"])["tracing"]["provider"]["typed_config"]
    assert otlp["http_service"]["http_uri"]["uri"] == "http://192.0.2.7/custom"


def test_ports_that_are_not_looked_at():
    def disabled(settings: Settings, listener: str) -> list[object]:
        return [each.get("filter_disabled") for each in listeners(settings)[listener]["listener_filters"]]

    one = {"destination_port_range": {"start": 3306, "end": 3307}}
    assert disabled(Settings(tcp_ports="3306"), "inbound") == [None, one, one]
    assert disabled(Settings(), "inbound") == [None, None, None]
    two = {"or_match": {"rules": [one, {"destination_port_range": {"start": 25, "end": 26}}]}}
    secure = Settings(tcp_ports="3306,25", tls_cert="a", tls_key="b", tls_ca="c")
    assert disabled(secure, "inbound") == [None, None, two]
    assert disabled(secure, "outbound") == [None, two, two]


def test_every_setting_is_documented():
    from dataclasses import fields

    page = (Path(__file__).resolve().parents[3] / "docs" / "sidecar.md").read_text()
    for field in fields(Settings):
        assert f"`{field.name.replace('_', '-').removesuffix('-s')}`" in page
