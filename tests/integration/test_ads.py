"""Everything from a control plane (ADS, state of the world and delta; SDS on streams of its own): for us and for Envoy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_sds import FIRST, SECOND, a_listener, downstream, file_source, name_at, swap
from tests.integration.test_tls import upstream_tls
from tests.support import client
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.control_plane import ADS, ControlPlane, api_source
from tests.support.discovery import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    eds_cluster,
    endpoints,
    rds_listener,
)
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply
from tests.support.wait import until

SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"
Proxy = Outrider | Envoy


@pytest.fixture(params=[False, True], ids=["sotw", "delta"])
def is_delta(request: pytest.FixtureRequest) -> bool:
    """The variant of the protocol."""
    return bool(request.param)


class World:
    """A control plane and two upstreams."""

    def __init__(self, plane: ControlPlane, one: int, two: int, is_delta: bool) -> None:
        self.plane = plane
        self.one, self.two = one, two
        self.port = free_port()
        self.is_delta = is_delta

    def begin(self) -> Config:
        """All that a proxy needs to send everything to the first upstream."""
        plane = self.plane
        plane.set(CLUSTER, eds_cluster("back", ADS), version="c1")
        plane.set(ENDPOINTS, endpoints("back", self.one), version="e1")
        plane.set(LISTENER, rds_listener(self.port, "main", "routes", ADS), version="l1")
        plane.set(ROUTES, self.routes("back"), version="r1")
        return self.bootstrap()

    def bootstrap(self) -> Config:
        config = bootstrap(free_port(), [], [self.plane.cluster()])
        config["node"] = {
            "id": "sidecar~10.0.0.1~a.b~b.svc",
            "cluster": "tests",
            "metadata": {"LABELS": {"app": "x"}},
            "locality": {"region": "r", "zone": "z"},
        }
        config["dynamic_resources"] = {
            "ads_config": self.plane.config(self.is_delta),
            "lds_config": ADS,
            "cds_config": ADS,
        }
        return config

    def routes(self, to: str) -> Config:
        return {"name": "routes", "virtual_hosts": [virtual_host([route_to(to)])]}


@pytest.fixture
def world(is_delta: bool) -> Iterator[World]:
    with ExitStack() as stack:
        ports = [stack.enter_context(Upstream([reply(200, body)])).port for body in (b"one", b"two")]
        yield World(stack.enter_context(ControlPlane()), *ports, is_delta)


def body(port: int) -> bytes:
    return client.get(port).body


def test_a_proxy_that_knows_only_its_control_plane(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    plane = world.plane
    with kind(world.begin()) as proxy:
        assert body(world.port) == b"one"
        first = plane.streams[0].said[0]
        node = first["node"]
        assert (node["id"], node["cluster"]) == ("sidecar~10.0.0.1~a.b~b.svc", "tests")
        assert node["metadata"] == {"LABELS": {"app": "x"}}
        assert node["locality"] == {"region": "r", "zone": "z"}
        assert all("node" not in each for each in plane.streams[0].said[1:])
        field = "resource_names_subscribe" if world.is_delta else "resource_names"
        plane.wait_for(ENDPOINTS, **{field: ["back"]})
        plane.wait_for(ROUTES, **{field: ["routes"]})
        order = [each["type_url"].rpartition("/")[2] for each in plane.streams[0].said]
        assert order.index(CLUSTER) < order.index(ENDPOINTS) < order.index(LISTENER) < order.index(ROUTES)
        for each in (CLUSTER, ENDPOINTS, LISTENER, ROUTES):
            assert "error_detail" not in first_answer(plane, each)

        plane.set(ENDPOINTS, endpoints("back", world.two), version="e2")
        until(lambda: body(world.port) == b"two", "the new host")
        plane.set(CLUSTER, eds_cluster("back", ADS), cluster("other", world.one), version="c2")
        plane.set(ROUTES, world.routes("other"), version="r2")
        until(lambda: body(world.port) == b"one", "the new route")
        plane.set(CLUSTER, cluster("other", world.one), version="c3")
        proxy.wait_for_stat("cluster_manager.cluster_removed", 1)
        plane.set(LISTENER, version="l2")
        proxy.wait_for_stat("listener_manager.listener_removed", 1)
        stats = proxy.stats()
        counts = {
            "cluster_manager.cds.update_success": 3,
            "listener_manager.lds.update_success": 2,
            "cluster_manager.cds.update_rejected": 0,
            "control_plane.connected_state": 1,
        }
        assert {name: stats[name] for name in counts} == counts
        assert 'control_plane.identifier: "a plane of a test"' in proxy.admin("/stats")[1]
        page = json.loads(proxy.admin("/config_dump")[1])["configs"]
        (clusters,) = (each for each in page if each["@type"].endswith(".ClustersConfigDump"))
        assert clusters["version_info"] == "c3"


def first_answer(plane: ControlPlane, kind: str) -> Config:
    """What a proxy says to the first response of a kind, once it has."""

    def answers() -> list[Config]:
        return [each for each in plane.said(kind) if "response_nonce" in each]

    until(lambda: bool(answers()), f"the answer to the first response of {kind}")
    return answers()[0]


def test_what_is_refused_is_said_with_its_reason(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    plane = world.plane
    with kind(world.begin()) as proxy:
        bad = http_listener(free_port(), [virtual_host([route_to("nobody")])]) | {"name": "bad"}
        plane.set(LISTENER, rds_listener(world.port, "main", "routes", ADS), bad, version="l2")
        proxy.wait_for_stat("listener_manager.lds.update_rejected", 1)
        until(lambda: any("error_detail" in each for each in plane.said(LISTENER)), "a refusal")
        refusal = next(each for each in plane.said(LISTENER) if "error_detail" in each)
        assert refusal["error_detail"]["code"] == 13
        assert "bad" in refusal["error_detail"]["message"] and "nobody" in refusal["error_detail"]["message"]
        if not world.is_delta:
            assert refusal["version_info"] == "l1"
        assert body(world.port) == b"one"
        plane.set(LISTENER, rds_listener(world.port, "main", "routes", ADS), version="l3")
        proxy.wait_for_stat("listener_manager.lds.update_success", 2)


def test_a_lost_control_plane_changes_nothing_and_is_found_again(
    world: World, kind: type[Outrider] | type[Envoy]
) -> None:
    plane = world.plane
    with kind(world.begin()) as proxy:
        assert body(world.port) == b"one"
        plane.__exit__(None, None, None)
        proxy.wait_for_stat("cluster_manager.cds.update_failure", 1)
        assert body(world.port) == b"one"
        plane.set(ENDPOINTS, endpoints("back", world.two), version="e2", silently=True)
        with plane:
            until(lambda: body(world.port) == b"two", "what has changed meanwhile", 40.0)
            again = plane.said(CLUSTER)[0]
            assert again["node"]["cluster"] == "tests"
            if world.is_delta:
                assert again["initial_resource_versions"] == {"back": "c1"}
                assert plane.said(ENDPOINTS)[0]["resource_names_subscribe"] == ["back"]
            else:
                assert again["version_info"] == "c1" and "response_nonce" not in again
                assert plane.said(ENDPOINTS)[0]["resource_names"] == ["back"]
            assert proxy.stats()["listener_manager.listener_added"] == 1


@pytest.mark.parametrize("is_delta", [False], indirect=True)
def test_a_control_plane_that_is_silent_holds_nobody_up_for_ever(
    world: World, kind: type[Outrider] | type[Envoy]
) -> None:
    config = world.bootstrap()
    dynamic = config["dynamic_resources"]
    for name in ("lds_config", "cds_config"):
        dynamic[name] = {**ADS, "initial_fetch_timeout": "0.2s"}
    config["static_resources"]["clusters"].append(cluster("up", world.one))
    port = free_port()
    config["static_resources"]["listeners"] = [http_listener(port, [virtual_host([route_to("up")])])]
    with kind(config) as proxy:
        assert body(port) == b"one"
        stats = proxy.stats()
        assert stats["cluster_manager.cds.init_fetch_timeout"] == 1
        assert stats["listener_manager.lds.init_fetch_timeout"] == 1
        assert world.plane.said(CLUSTER)


@pytest.mark.parametrize("is_delta", [True], indirect=True)
def test_a_changed_cluster_gets_its_endpoints(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    """It warms anew, and asks for what the one before it has."""
    plane = world.plane
    with kind(world.begin()) as proxy:
        assert body(world.port) == b"one"
        plane.set(CLUSTER, eds_cluster("back", ADS, connect_timeout="3s"), version="c2")
        plane.set(ENDPOINTS, endpoints("back", world.two), version="e2")  # as Istio: a push that is forced
        until(lambda: body(world.port) == b"two", "the endpoints")
        until(lambda: proxy.stats()["cluster_manager.warming_clusters"] == 0, "the cluster")
        assert proxy.stats()["cluster_manager.cluster_modified"] == 1


def secret(pair: Any, version: str, plane: ControlPlane) -> None:
    plane.set(SECRET, {"name": "cert", "tls_certificate": pair.config()}, version=version)


@pytest.mark.parametrize("is_delta", [False], indirect=True)
def test_secrets_on_a_stream_of_their_own(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    """As Istio's agent gives them; the listener serves once it has its certificate."""
    source = {"api_config_source": api_source("plane"), "resource_api_version": "V3"}
    port = free_port()
    by_sds = downstream(tls_certificate_sds_secret_configs=[{"name": "cert", "sds_config": source}])
    config = bootstrap(
        free_port(), [a_listener(port, by_sds)], [world.plane.cluster(), cluster("up", world.one)]
    )
    secret(FIRST, "1", world.plane)
    with kind(config) as proxy:
        assert name_at(port) == "first"
        assert world.plane.said(SECRET)[0]["resource_names"] == ["cert"]
        secret(SECOND, "2", world.plane)
        until(lambda: name_at(port) == "second", "the renewed certificate")
        world.plane.set(
            SECRET,
            {"name": "cert", "tls_certificate": {**FIRST.config(), "private_key": {"inline_string": "x"}}},
            version="3",
        )
        proxy.wait_for_stat("sds.cert.update_rejected", 1)
        assert name_at(port) == "second"
        until(lambda: any("error_detail" in each for each in world.plane.said(SECRET)), "a refusal")


@pytest.mark.parametrize("is_delta", [False], indirect=True)
def test_secrets_of_a_cluster_that_is_not_there_yet(
    world: World, kind: type[Outrider] | type[Envoy], tmp_path: Path
) -> None:
    """Nobody refuses it: what waits for the secret waits, and has it once a cluster of that name has come."""
    clusters, port = tmp_path / "clusters.json", free_port()
    swap(clusters, json.dumps({"resources": []}))
    source = {
        "api_config_source": api_source("plane"),
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0.2s",
    }
    by_sds = downstream(tls_certificate_sds_secret_configs=[{"name": "cert", "sds_config": source}])
    config = bootstrap(free_port(), [a_listener(port, by_sds)], [cluster("up", world.one)])
    config["dynamic_resources"] = {"cds_config": file_source(clusters)}
    secret(FIRST, "1", world.plane)
    with kind(config) as proxy:
        assert proxy.stats()["sds.cert.init_fetch_timeout"] == 1
        assert proxy.wait_for_stat("sds.cert.update_failure", 1)
        assert name_at(port) == ""
        arrived = {"@type": "type.googleapis.com/" + CLUSTER, **world.plane.cluster()}
        swap(clusters, json.dumps({"resources": [arrived]}))
        until(lambda: name_at(port) == "first", "the certificate")


@pytest.mark.parametrize("is_delta", [False], indirect=True)
def test_secrets_of_the_cluster_that_waits_for_them(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    source = {
        "api_config_source": api_source("plane"),
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0.2s",
    }
    upwards: Config = {"validation_context_sds_secret_config": {"name": "roots", "sds_config": source}}
    secured = world.plane.cluster() | {"transport_socket": upstream_tls(common=upwards)}
    with kind(bootstrap(free_port(), [], [secured])) as proxy:
        stats = proxy.stats()
        assert stats["sds.roots.init_fetch_timeout"] == 1
        assert stats["sds.roots.update_success"] == 0
        proxy.wait_for_stat("sds.roots.update_failure", 2)


@pytest.mark.parametrize("is_delta", [True], indirect=True)
def test_a_listener_that_comes_waits_for_its_secret(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    """Listeners by ADS, their certificates by SDS: as in a mesh."""
    source = {"api_config_source": api_source("plane"), "resource_api_version": "V3"}
    port = free_port()
    by_sds = downstream(tls_certificate_sds_secret_configs=[{"name": "cert", "sds_config": source}])
    plane = world.plane
    with kind(world.begin()) as proxy:
        secured = a_listener(port, by_sds) | {"name": "secured"}
        secured["filter_chains"][0]["filters"][0]["typed_config"]["route_config"] = world.routes("back")
        plane.set(LISTENER, rds_listener(world.port, "main", "routes", ADS), secured, version="l2")
        proxy.wait_for_stat("listener_manager.total_listeners_warming", 1)
        assert name_at(port) == ""
        page = json.loads(proxy.admin("/config_dump")[1])["configs"]
        (secrets,) = (each for each in page if each["@type"].endswith(".SecretsConfigDump"))
        assert [each["name"] for each in secrets["dynamic_warming_secrets"]] == ["cert"]
        (listeners,) = (each for each in page if each["@type"].endswith(".ListenersConfigDump"))
        assert [each["name"] for each in listeners["dynamic_listeners"] if "warming_state" in each] == [
            "secured"
        ]
        until(lambda: len(plane.streams) == 2, "the stream of the secret")
        secret(FIRST, "1", plane)
        until(lambda: name_at(port) == "first", "the listener")
        assert proxy.stats()["listener_manager.total_listeners_warming"] == 0
        plane.set(LISTENER, rds_listener(world.port, "main", "routes", ADS), version="l3")
        until(lambda: name_at(port) == "", "the end of the listener")
        assert body(world.port) == b"one"


@pytest.mark.parametrize("is_delta", [False], indirect=True)
def test_ready_says_when_everything_is_there(world: World, tmp_path: Path) -> None:
    """Ours alone: what /ready and the listeners do while the control plane has only half of it."""
    config = world.begin()
    with world.plane.lock:
        routes = world.plane.resources.pop(ROUTES)
    proxy = Outrider(config, folder=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.support.process.ProxyProcess._is_ready",
            lambda self: self.output().count("admin address") > 0,
        )
        proxy.start()
    try:
        world.plane.wait_for(ROUTES)
        assert proxy.admin("/ready")[0] == 503
        assert proxy.stats()["listener_manager.total_listeners_active"] == 0
        with pytest.raises(OSError):
            client.get(world.port)
        world.plane.set(ROUTES, *routes[1].values(), version="r1")
        until(lambda: proxy.admin("/ready")[0] == 200, "readiness")
        assert body(world.port) == b"one"
    finally:
        proxy.stop()


@pytest.mark.parametrize("is_delta", [True], indirect=True)
def test_rubbish_from_a_control_plane_ends_nothing(world: World) -> None:
    """Ours alone: types nobody asked for, broken resources, names twice."""
    plane = world.plane
    with Outrider(world.begin()) as proxy:
        stream = plane.streams[0]
        with plane.lock:
            stream.outgoing.put({"type_url": "type.googleapis.com/google.protobuf.Empty", "nonce": "x"})
            stream.outgoing.put(
                {"type_url": f"type.googleapis.com/{CLUSTER}", "nonce": "y"} | twice(world.is_delta)
            )
        refusal = plane.wait_for(CLUSTER, response_nonce="y")
        assert "duplicate" in refusal["error_detail"]["message"]
        plane.set(ENDPOINTS, endpoints("back", world.two), version="e2")
        until(lambda: body(world.port) == b"two", "a good update")
        assert proxy.stats()["server.envoy_bug_failures"] == 0


def twice(is_delta: bool) -> Config:
    packed = {"@type": f"type.googleapis.com/{CLUSTER}", **cluster("x", 1)}
    return {"resources": [{"name": "x", "resource": packed}] * 2 if is_delta else [packed] * 2}
