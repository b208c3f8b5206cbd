"""The bootstraps that Istio's agent writes: accepted, all of them, and one of them, and ours, run with a control plane."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from proxy.server.options import Options
from proxy.server.validate import validate
from tests.integration.conftest import StartOutrider
from tests.support.client import get
from tests.support.config import route_to, virtual_host
from tests.support.control_plane import ADS, ControlPlane
from tests.support.discovery import CLUSTER, ENDPOINTS, LISTENER, ROUTES, eds_cluster, endpoints, rds_listener
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "istio" / "bootstrap"
FILES = sorted(FOLDER.glob("*_golden.json"))

ISTIOS = pytest.mark.skipif(not FILES, reason="needs ../shared/fixtures/istio (other projects' files)")
OURS = Path(__file__).resolve().parents[2] / "config" / "istio.yaml"


@ISTIOS
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix("_golden.json"))
def test_every_one_is_accepted(path: Path) -> None:
    assert validate(Options(config_path=str(path))).errors.findings == []


@ISTIOS
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix("_golden.json"))
def test_warnings_name_their_line_as_well(path: Path) -> None:
    warnings = validate(Options(config_path=str(path))).errors.warnings
    assert warnings
    assert all(one.kind == "warning" and one.line is not None for one in warnings)


@pytest.mark.parametrize(
    ("path", "node_id"),
    [
        pytest.param(FOLDER / "default_golden.json", "sidecar~1.2.3.4~foo~bar", marks=ISTIOS, id="istio's"),
        pytest.param(OURS, "sidecar~10.0.0.1~orders-1.shop~shop.svc.cluster.local", id="ours"),
    ],
)
def test_one_runs_with_what_a_control_plane_says(
    path: Path, node_id: str, tmp_path: Path, start_outrider: StartOutrider
) -> None:
    """As pilot-agent starts a proxy, but for places: its socket for xDS, ports. Its readiness asks for these stats."""
    config = yaml.safe_load(path.read_text())
    listeners = config["static_resources"]["listeners"]
    for address in (config["admin"]["address"], *(each["address"] for each in listeners)):
        address["socket_address"] |= {"address": "127.0.0.1", "port_value": free_port()}
    socket = tmp_path / "XDS"
    (xds,) = (each for each in config["static_resources"]["clusters"] if each["name"] == "xds-grpc")
    (place,) = xds["load_assignment"]["endpoints"][0]["lb_endpoints"]
    place["endpoint"]["address"]["pipe"]["path"] = str(socket)
    port = free_port()
    with Upstream([reply(200, b"from the mesh")]) as upstream, ControlPlane(socket=socket) as plane:
        name = "outbound|80||svc.ns.svc.cluster.local"
        plane.set(CLUSTER, eds_cluster(name, ADS), version="c1")
        plane.set(ENDPOINTS, endpoints(name, upstream.port), version="e1")
        plane.set(LISTENER, rds_listener(port, "0.0.0.0_80", "80", ADS), version="l1")
        plane.set(ROUTES, {"name": "80", "virtual_hosts": [virtual_host([route_to(name)])]}, version="r1")
        proxy = start_outrider(config)
        assert get(port).body == b"from the mesh"
        assert plane.streams[0].is_delta
        node = plane.said(CLUSTER)[0]["node"]
        assert (node["id"], node["cluster"]) == (node_id, config["node"]["cluster"])
        assert node["metadata"] == config["node"]["metadata"]
        wanted = "^(cluster_manager\\.cds|listener_manager\\.lds)\\.(update_success|update_rejected)$"
        said = proxy.admin(f"/stats?usedonly&filter={quote(wanted)}")[1]
        assert sorted(said.split("\n")) == [
            "",
            "cluster_manager.cds.update_success: 1",
            "listener_manager.lds.update_success: 1",
        ]
