"""The commands that look at running proxies, on the real Envoy and on outrider: they read both, and say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.explaining import outrider as command
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyProcess

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

VIEWS = ("bootstrap", "clusters", "endpoints", "listeners", "routes", "secrets")


def outrider(*arguments: object, code: int = 0) -> str:
    """What a command prints."""
    return command(*arguments, code=code).stdout


def configuration(admin_port: int, port: int) -> Config:
    some = {"default_value": {"numerator": 0}, "runtime_key": "routes.some"}
    api = virtual_host(
        [
            route_to("one", match={"path": "/exact"}),
            route_to("one", match={"safe_regex": {"regex": "/r/.*"}}),
            route_to("one", "/v1", prefix_rewrite="/v2", timeout="3s"),
            route_to("one", match={"prefix": "/some", "runtime_fraction": some}),
            route_to("two", match={"prefix": "/", "headers": [{"name": "x-two"}]}),
        ],
        ["a.com"],
        name="api",
    )
    endpoints = cluster("one", 1, 2)
    endpoints["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"
    listener = http_listener(port, [api])
    layers = [{"name": "base", "static_layer": {"x.y": 1}}, {"name": "admin", "admin_layer": {}}]
    return bootstrap(
        admin_port,
        [listener],
        [endpoints, cluster("two", 3), cluster("outbound|80|v1|svc.ns.svc.cluster.local", 4)],
        layered_runtime={"layers": layers},
    )


@dataclass
class Rig:
    """Both proxies on one configuration (their own ports), and its file for each."""

    proxy: ProxyProcess
    config: Config
    file: Path
    url: str


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Rig]]:
    made = {}
    config = configuration(free_port(), free_port())
    with Envoy(config) as envoy:
        file = tmp_path_factory.mktemp("envoy") / "bootstrap.json"
        file.write_text(json.dumps(config))
        made["envoy"] = Rig(envoy, config, file, f"http://127.0.0.1:{envoy.admin_port}")
        ours = configuration(free_port(), free_port())
        with Outrider(ours) as proxy:
            file = tmp_path_factory.mktemp("outrider") / "bootstrap.json"
            file.write_text(json.dumps(ours))
            made["outrider"] = Rig(proxy, ours, file, f"http://127.0.0.1:{proxy.admin_port}")
            yield made


def ports_hidden(text: str, rig: Rig) -> list[list[str]]:
    """Cells of a table, without the ports that differ."""
    listener = rig.config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    for port in (listener, rig.config["admin"]["address"]["socket_address"]["port_value"]):
        text = text.replace(str(port), "PORT")
    return [line.split() for line in text.splitlines() if not line.startswith("version")]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_the_same_on_both(rigs: dict[str, Rig], view: str) -> None:
    shown = [ports_hidden(outrider("proxy-config", view, rig.url), rig) for rig in rigs.values()]
    assert shown[0] == shown[1]
    assert len(shown[0]) > (0 if view == "secrets" else 1)


def test_the_columns_are_istioctls(rigs: dict[str, Rig]) -> None:
    for rig in rigs.values():
        columns, *clusters = outrider("proxy-config", "clusters", rig.url).splitlines()
        assert re.split("   +", columns) == [
            *("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
        ]
        assert ["svc.ns.svc.cluster.local", "80", "v1", "outbound", "STATIC"] in map(str.split, clusters)
        endpoints = outrider(
            "proxy-config", "endpoints", rig.url, "--cluster", "one", "--status", "UNHEALTHY"
        )
        assert [line.split() for line in endpoints.splitlines()[1:]] == [
            ["127.0.0.1:1", "UNHEALTHY", "OK", "one"]
        ]
        routes = outrider("proxy-config", "routes", rig.url)
        assert [line.split()[3:] for line in routes.splitlines()[1:]] == [
            ["/exact"],
            ["regex", "/r/.*"],
            ["/v1*"],
            ["/some*"],
            ["/*", "header", "x-two"],
        ]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_resources_whole(rigs: dict[str, Rig], form: str) -> None:
    import yaml

    for rig in rigs.values():
        text = outrider("proxy-config", "clusters", rig.url, "-o", form, "--name", "two")
        found: Any = json.loads(text) if form == "json" else yaml.safe_load(text)
        assert [one["name"] for one in found] == ["two"]
        dump = outrider("config-dump", rig.url, "-o", form)
        found = json.loads(dump) if form == "json" else yaml.safe_load(dump)
        assert len(found["configs"]) >= 5


def test_a_saved_dump_serves_as_well(rigs: dict[str, Rig], tmp_path: Path) -> None:
    for name, rig in rigs.items():
        saved = tmp_path / f"{name}.json"
        saved.write_text(outrider("config-dump", rig.url))
        for view in VIEWS:
            assert outrider("proxy-config", view, saved) == outrider("proxy-config", view, rig.url)
        assert outrider("diff", saved, rig.url) == ""
        written = tmp_path / f"{name}.yaml"
        written.write_text(outrider("config-dump", rig.url, "-o", "yaml"))
        for view in VIEWS:
            assert outrider("proxy-config", view, written) == outrider("proxy-config", view, rig.url)
        assert outrider("diff", saved, written) == ""
        assert "virtual host  api" in outrider("explain", "-c", written, "GET", "http://a.com/exact")


def test_an_admin_interface_is_named_as_people_name_it(rigs: dict[str, Rig]) -> None:
    for rig in rigs.values():
        shown = outrider("proxy-config", "clusters", rig.url)
        for name in (rig.url.removeprefix("http://"), f"{rig.url}/", f"{rig.url}/config_dump?include_eds"):
            assert outrider("proxy-config", "clusters", name) == shown


def test_a_file_without_a_node_and_what_runs_from_it_do_not_differ(tmp_path: Path) -> None:
    config = configuration(free_port(), free_port())
    del config["node"]
    file = tmp_path / "file.json"
    file.write_text(json.dumps(config))
    with Envoy(config) as envoy:
        assert outrider("diff", file, f"http://127.0.0.1:{envoy.admin_port}") == ""


def test_a_file_and_what_runs_from_it_do_not_differ(rigs: dict[str, Rig], tmp_path: Path) -> None:
    for rig in rigs.values():
        assert outrider("diff", rig.file, rig.url) == ""
        changed = json.loads(rig.file.read_text())
        changed["static_resources"]["clusters"][1]["connect_timeout"] = "7s"
        other = tmp_path / "other.json"
        other.write_text(json.dumps(changed))
        assert outrider("diff", rig.url, other, code=1).splitlines() == [
            "  cluster two",
            '    ~ connect_timeout: "1s" -> "7s"',
        ]


def test_a_request_is_explained_from_what_runs(rigs: dict[str, Rig]) -> None:
    shown = []
    for rig in rigs.values():
        found = json.loads(outrider("explain", "--admin", rig.url, "-o", "json", "GET", "http://a.com/v1/x"))
        assert found["route"]["index"] == 2
        assert found["upstream_request"]["path"] == "/v2/x"
        found["listener"].pop("address")
        assert [(one["address"], one["health"]) for one in found["cluster"]["hosts"]] == [
            ("127.0.0.1:1", "UNHEALTHY"),
            ("127.0.0.1:2", "HEALTHY"),
        ]
        found.pop("notes", None)
        shown.append(found)
    assert shown[0] == shown[1]


def test_explained_as_it_happens_on_the_real_envoy(rigs: dict[str, Rig]) -> None:
    """The host is unhealthy or not there: what matters is where Envoy sends it."""
    from tests.support.client import get

    rig = rigs["envoy"]
    port = rig.config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    assert get(port, "/none", host="a.com").status == 404
    found = json.loads(outrider("explain", "--admin", rig.url, "-o", "json", "GET", "http://a.com/none"))
    assert found["result"]["status"] == 404
    assert found["routes_passed_over"][4]["why"] == ["wants header x-two present, but x-two is absent"]


def test_runtime_values_are_those_that_hold_now(rigs: dict[str, Rig]) -> None:
    for rig in rigs.values():
        arguments = (
            "explain",
            "--admin",
            rig.url,
            "-o",
            "json",
            "--random",
            "0.3",
            "GET",
            "http://a.com/some",
        )
        before = json.loads(outrider(*arguments))
        assert before["routes_passed_over"][3]["why"] == ["wants a draw below 0%, but the draw is 30%"]
        assert rig.proxy.admin("/runtime_modify?routes.some=31", "POST")[0] == 200
        assert json.loads(outrider(*arguments))["route"]["index"] == 3
        assert rig.proxy.admin("/runtime_modify?routes.some=", "POST")[0] == 200
