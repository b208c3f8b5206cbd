"""Probers as JSON: what is refused, and what becomes of them."""

from __future__ import annotations

import json

import pytest

from proxy.probes.app import varint
from proxy.probes.config import (
    LOOPBACK,
    BadProbers,
    Target,
    add_probes,
    hold_readiness,
    read_probers,
    target_of,
)
from proxy.sidecar.bootstrap import READINESS, READY, make_bootstrap
from proxy.sidecar.settings import Settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is not an object"),
        ('{"/a": {}}', "has not one of"),
        ('{"/a": 1}', "has not one of"),
        ('{"/a": {"httpGet": {"port": 1}, "grpc": {"port": 1}}}', "has not one of"),
        ('{"a": {"httpGet": {"port": 1}}}', "has not one of"),
        ('{"/a": {"httpGet": {"port": "web"}}}', "is no port"),
        ('{"/a": {"httpGet": {"port": true}}}', "is no port"),
        ('{"/a": {"httpGet": {"port": 70000}}}', "is no port"),
        ('{"/a": {"httpGet": {"port": 1}, "timeoutSeconds": "x"}}', "is no number"),
        ('{"/a": {"httpGet": {"port": 1, "httpHeaders": ["x"]}}}', "httpHeaders is no list"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(BadProbers, match=said):
        read_probers(text)


def test_a_listener_and_a_cluster_for_each_way_of_asking() -> None:
    probers = {
        "/one": {"httpGet": {"port": 80}},
        "/two": {"httpGet": {"port": 80, "path": "/x"}, "timeoutSeconds": 9},
        "/three": {"httpGet": {"port": 443, "scheme": "HTTPS"}},
        "/four": {"grpc": {"port": 9000}},
        "/five": {"tcpSocket": {"port": 5432}},
    }
    bootstrap: dict[str, dict[str, list[dict[str, str]]]] = {}
    add_probes(bootstrap, read_probers(json.dumps(probers)))
    resources = bootstrap["static_resources"]
    assert [one["name"] for one in resources["listeners"]] == ["app_probes"]
    assert sorted(one["name"] for one in resources["clusters"]) == [
        "app_probe_grpc_9000",
        "app_probe_http_80",
        "app_probe_https_443",
    ]
    assert "10s" in json.dumps(resources["listeners"])


def test_no_probers_no_listener() -> None:
    bootstrap: dict[str, object] = {}
    add_probes(bootstrap, read_probers("{}"))
    assert bootstrap == {}


def test_only_readiness_probes_hold_readiness() -> None:
    bootstrap = make_bootstrap(Settings())
    before = json.dumps(bootstrap)
    alive = {
        "/app-health/web/livez": {"httpGet": {"port": 80}},
        "/app-lifecycle/web/prestopz": {"httpGet": {"port": 80}},
    }
    assert not hold_readiness(bootstrap, alive, READINESS, READY) and json.dumps(bootstrap) == before
    ready = {"/app-health/web/readyz": {"tcpSocket": {"port": 80}}}
    assert hold_readiness(bootstrap, {**alive, **ready}, READINESS, READY)
    (listener,) = (one for one in bootstrap["static_resources"]["listeners"] if one["name"] == READINESS)
    first, last = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    assert (
        first["typed_config"]["config"]
        == {"probers": ready, "path": READY, "host": "127.0.0.1", "source": ""}
        and "router" in last["name"]
    )


def test_varint() -> None:
    assert [varint(number) for number in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]


def test_where_the_application_is_asked() -> None:
    sources = ("127.0.0.6", "::6")
    assert target_of("", sources) == LOOPBACK == Target("127.0.0.1", "")
    assert target_of("10.1.2.3", sources) == Target("10.1.2.3", "127.0.0.6")
    assert target_of("fd00::7", sources) == Target("fd00::7", "::6")
    with pytest.raises(BadProbers, match="'pod' is no address"):
        target_of("pod", sources)


def test_clusters_are_shared_and_give_the_slowest_its_time() -> None:
    probers = {
        "/app-health/web/livez": {"httpGet": {"port": 80}},
        "/app-health/web/readyz": {"httpGet": {"port": 80}, "timeoutSeconds": 9},
    }
    bootstrap: dict[str, dict[str, list[dict[str, str]]]] = {}
    add_probes(bootstrap, read_probers(json.dumps(probers)))
    (cluster,) = bootstrap["static_resources"]["clusters"]
    assert cluster["connect_timeout"] == "9s"


def test_the_kubelet_waits_for_hooks() -> None:
    text = json.dumps(
        {
            "/app-lifecycle/web/prestopz": {"httpGet": {"port": 80}},
            "/app-health/web/livez": {"grpc": {"port": 80}},
        }
    )
    hook, probe = read_probers(text).values()
    assert hook["timeoutSeconds"] == 3600 and "timeoutSeconds" not in probe
