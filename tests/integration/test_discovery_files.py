"""Listeners, clusters, endpoints and routes from files that are swapped (LDS, CDS, EDS, RDS): for us and for Envoy."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import client
from tests.support.config import Config, address, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.discovery import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ROUTES,
    eds_cluster,
    endpoints,
    file_source,
    rds_listener,
    response,
    swap,
)
from tests.support.envoy import Envoy
from tests.support.messages import Closed
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply
from tests.support.wait import until

Proxy = Outrider | Envoy


class World:
    """Two upstreams, a file for each kind of resource, and a bootstrap that has nothing but where they are."""

    def __init__(self, folder: Path, one: int, two: int) -> None:
        self.folder = folder
        self.one, self.two = one, two
        self.port = free_port()

    def path(self, kind: str) -> Path:
        return self.folder / f"{kind}.json"

    def source(self, kind: str) -> Config:
        return file_source(self.path(kind))

    def lds(self, *listeners: Config, version: str) -> None:
        swap(self.path("lds"), response(LISTENER, *listeners, version=version))

    def cds(self, *clusters: Config, version: str) -> None:
        swap(self.path("cds"), response(CLUSTER, *clusters, version=version))

    def eds(self, *ports: int, version: str, **more: Any) -> None:
        swap(self.path("eds"), response(ENDPOINTS, endpoints("back", *ports, **more), version=version))

    def rds(self, *hosts: Config, version: str) -> None:
        table = {"name": "routes", "virtual_hosts": list(hosts)}
        swap(self.path("rds"), response(ROUTES, table, version=version))

    def listener(self, **more: Any) -> Config:
        return rds_listener(self.port, "main", "routes", self.source("rds"), **more)

    def begin(self) -> Config:
        """Everything goes to the first upstream."""
        self.eds(self.one, version="e1")
        self.cds(eds_cluster("back", self.source("eds")), version="c1")
        self.rds(virtual_host([route_to("back")]), version="r1")
        self.lds(self.listener(), version="l1")
        config = bootstrap(free_port(), [], [])
        config["node"] = {"id": "n", "cluster": "c"}
        config["dynamic_resources"] = {
            "lds_config": self.source("lds"),
            "cds_config": self.source("cds"),
        }
        return config


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        ports = [stack.enter_context(Upstream([reply(200, body)])).port for body in (b"one", b"two")]
        yield World(tmp_path, *ports)


def body(port: int) -> bytes:
    """What a client gets, b"" when nobody listens."""
    try:
        return client.get(port).body
    except (OSError, Closed):  # closed: it had come just before the listener went
        return b""


def section(proxy: Proxy, name: str) -> Config:
    page = json.loads(proxy.admin("/config_dump")[1])
    (found,) = (each for each in page["configs"] if each["@type"].endswith(f".{name}ConfigDump"))
    return dict(found)


def test_everything_comes_from_files_and_follows_them(
    world: World, kind: type[Outrider] | type[Envoy]
) -> None:
    with kind(world.begin()) as proxy:
        assert body(world.port) == b"one"
        assert section(proxy, "Clusters")["version_info"] == "c1"
        (shown,) = section(proxy, "Clusters")["dynamic_active_clusters"]
        assert (shown["version_info"], shown["cluster"]["name"]) == ("c1", "back")
        (shown,) = section(proxy, "Listeners")["dynamic_listeners"]
        assert (shown["name"], shown["active_state"]["version_info"]) == ("main", "l1")
        (shown,) = section(proxy, "Routes")["dynamic_route_configs"]
        assert (shown["version_info"], shown["route_config"]["name"]) == ("r1", "routes")
        assert "back::added_via_api::true" in proxy.admin("/clusters")[1]
        assert proxy.admin("/listeners")[1].strip() == f"main::127.0.0.1:{world.port}"

        world.eds(world.two, version="e2")
        proxy.wait_for_stat("cluster.back.update_success", 2)
        until(lambda: body(world.port) == b"two", "the new host")
        world.cds(eds_cluster("back", world.source("eds")), cluster("other", world.one), version="c2")
        proxy.wait_for_stat("cluster_manager.cds.update_success", 2)
        world.rds(virtual_host([route_to("other")]), version="r2")
        until(lambda: body(world.port) == b"one", "the new route")

        world.lds(
            world.listener(),
            rds_listener(
                second := free_port(), "second", "routes", world.source("rds"), stat_prefix="second"
            ),
            version="l2",
        )
        until(lambda: body(second) == b"one", "the second listener")
        world.lds(world.listener(), version="l3")
        until(lambda: body(second) == b"", "the end of the second listener")
        world.cds(cluster("other", world.two), version="c3")
        until(lambda: body(world.port) == b"two", "the changed cluster")
        stats = proxy.stats()
        counts = {
            "listener_manager.lds.update_success": 3,
            "listener_manager.listener_added": 2,
            "listener_manager.listener_removed": 1,
            "listener_manager.total_listeners_active": 1,
            "cluster_manager.cds.update_success": 3,
            "cluster_manager.cluster_added": 2,
            "cluster_manager.cluster_modified": 1,
            "cluster_manager.cluster_removed": 1,
            "cluster_manager.active_clusters": 1,
            "http.front.rds.routes.update_success": 2,
            "http.front.rds.routes.config_reload": 2,
        }
        assert {name: stats[name] for name in counts} == counts


def test_what_is_refused_changes_nothing_and_says_why(
    world: World, kind: type[Outrider] | type[Envoy]
) -> None:
    with kind(world.begin()) as proxy:
        twice = virtual_host([route_to("back")])
        world.rds(twice, twice, version="r2")
        proxy.wait_for_stat("http.front.rds.routes.update_rejected", 1)
        world.eds(world.two, version="e2", load_balancing_weight=0)  # the API's own rule
        proxy.wait_for_stat("cluster.back.update_rejected", 1)
        good, bad = cluster("good", world.two), cluster("bad", world.two, connect_timeout="-1s")
        world.cds(eds_cluster("back", world.source("eds")), good, bad, version="c2")
        proxy.wait_for_stat("cluster_manager.cds.update_rejected", 1)
        nobody = http_listener(free_port(), [virtual_host([route_to("nobody")])]) | {"name": "bad"}
        world.lds(world.listener(), nobody, version="l2")
        proxy.wait_for_stat("listener_manager.lds.update_rejected", 1)
        assert body(world.port) == b"one"
        listeners = section(proxy, "Listeners")["dynamic_listeners"]
        failed = next(each for each in listeners if each.get("name") == "bad")["error_state"]
        assert "nobody" in failed["details"]
        assert failed["failed_configuration"]["name"] == "bad"
        for name in ("lds", "cds", "eds", "rds"):
            swap(world.path(name), "{")
        for prefix in (
            "listener_manager.lds",
            "cluster_manager.cds",
            "cluster.back",
            "http.front.rds.routes",
        ):
            proxy.wait_for_stat(f"{prefix}.update_failure", 1)
        assert body(world.port) == b"one"


ALIVE = {"tcp_keepalive": {"keepalive_time": 555}}


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"enable_reuse_port": False}, {"enable_reuse_port": False, **ALIVE}, "has duplicate address"),
        ({"enable_reuse_port": False}, ALIVE, "reuse port cannot be changed during an update"),
        ({}, {"enable_reuse_port": False}, "reuse port cannot be changed during an update"),
    ],
)
def test_an_update_that_cannot_have_its_socket_is_refused(
    world: World, kind: type[Outrider] | type[Envoy], first: Config, then: Config, said: str
) -> None:
    config = world.begin()
    world.lds(world.listener() | first, version="l1")
    with kind(config) as proxy:
        assert body(world.port) == b"one"
        world.lds(world.listener() | then, version="l2")
        proxy.wait_for_stat("listener_manager.lds.update_rejected", 1)
        listeners = section(proxy, "Listeners")["dynamic_listeners"]
        shown = next(each for each in listeners if each.get("name") == "main")
        assert said in shown["error_state"]["details"]
        assert shown["active_state"]["version_info"] == "l1"
        other = free_port()
        moved = rds_listener(other, "main", "routes", world.source("rds")) | first | ALIVE
        world.lds(moved, version="l3")
        until(lambda: body(other) == b"one", "the listener at another address")
        stats = proxy.stats()
        counts = {
            "listener_manager.lds.update_success": 2,
            "listener_manager.listener_modified": 1,
            "listener_manager.listener_create_failure": 0,
        }
        assert {name: stats[name] for name in counts} == counts


def test_an_address_that_cannot_be_had_is_refused(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    """At the start, later, and for one that serves elsewhere; when it can be had, it is."""
    names = ("lds.update_rejected", "lds.update_success", "listener_create_failure", "listener_added")
    config = world.begin()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        at_it = {**world.listener(), "address": address(port)}
        other = {**at_it, "name": "other"}
        world.lds(world.listener(), other, version="l1")
        with kind(config) as proxy:
            assert body(world.port) == b"one"
            seen = []
            steps = [[world.listener()], [world.listener(), other], [at_it]]
            for number, listeners in enumerate(steps, 2):
                seen.append([proxy.stats()[f"listener_manager.{name}"] for name in names])
                world.lds(*listeners, version=f"l{number}")
                proxy.wait_for_stat("listener_manager.lds.update_attempt", number)
            seen.append([proxy.stats()[f"listener_manager.{name}"] for name in names])
            assert body(world.port) == b"one"
            taken.close()
            world.lds(at_it, version="l5")
            until(lambda: body(port) == b"one", "the listener at the other address")
    # rejected, taken, failed, added
    assert seen == [[1, 0, 1, 1], [1, 1, 1, 1], [2, 1, 2, 1], [3, 1, 3, 1]]


@pytest.mark.parametrize("options", [{"enable_reuse_port": False}, {}])
def test_an_update_goes_on_with_its_socket(
    world: World, kind: type[Outrider] | type[Envoy], options: Config
) -> None:
    config = world.begin()
    world.lds(world.listener() | options, version="l1")
    with kind(config) as proxy:
        assert body(world.port) == b"one"
        world.lds(world.listener(server_name="other") | options, version="l2")
        until(lambda: client.get(world.port).one("server") == "other", "the changed listener")
        assert proxy.stats()["listener_manager.lds.update_success"] == 2


def test_a_route_to_a_cluster_that_comes_later(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    config = world.begin()
    world.cds(version="c1")
    with kind(config) as proxy:
        assert client.get(world.port).status == 503
        world.cds(eds_cluster("back", world.source("eds")), version="c2")
        proxy.wait_for_stat("cluster_manager.cds.update_success", 2)
        until(lambda: body(world.port) == b"one", "the cluster")


def test_a_drained_proxy_takes_no_new_listener(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    with kind(world.begin()) as proxy:
        assert body(world.port) == b"one"
        assert proxy.admin("/drain_listeners", "POST")[0] == 200
        until(lambda: body(world.port) == b"", "the end of the listener")
        second = rds_listener(free_port(), "second", "routes", world.source("rds"))
        port = second["address"]["socket_address"]["port_value"]
        world.lds(world.listener(server_name="changed"), second, version="l2")
        proxy.wait_for_stat("listener_manager.lds.update_success", 2)
        assert body(world.port) == body(port) == b""
        stats = proxy.stats()
        assert (stats["listener_manager.listener_added"], stats["listener_manager.listener_modified"]) == (
            1,
            0,
        )


def test_resources_of_the_bootstrap_stay(world: World, kind: type[Outrider] | type[Envoy]) -> None:
    """A static cluster or listener is not replaced by one of its name."""
    config = world.begin()
    static_port = free_port()
    routes = [virtual_host([route_to("back")])]
    config["static_resources"]["listeners"] = [http_listener(static_port, routes) | {"name": "main"}]
    config["static_resources"]["clusters"] = [cluster("back", world.two)]
    with kind(config) as proxy:
        assert body(static_port) == b"two"
        assert body(world.port) == b""
        assert proxy.stats()["listener_manager.lds.update_success"] == 1


def test_no_request_fails_while_everything_is_swapped(world: World) -> None:
    """Ours alone: every request of a client that keeps its connection, or opens one, is answered with 200."""
    with Outrider(world.begin()) as proxy:
        seen: set[bytes] = set()
        for round_ in range(12):
            world.lds(world.listener(server_name=f"v{round_}"), version=f"l{round_}")
            world.cds(
                eds_cluster("back", world.source("eds"), connect_timeout=f"{round_ + 1}s"),
                version=f"c{round_}",
            )
            world.eds(world.one if round_ % 2 else world.two, version=f"e{round_}")
            for _ in range(10):
                got = client.get(world.port)
                assert got.status == 200
                seen.add(got.one("server").encode())
        proxy.wait_for_stat("listener_manager.listener_modified", 11)
        assert seen >= {b"v11"} or proxy.stats()["listener_manager.lds.update_success"] >= 12
        assert proxy.stats()["server.envoy_bug_failures"] == 0


def test_a_connection_of_a_changed_listener_finishes(world: World) -> None:
    """Ours alone (Envoy drains slowly, by chance): the response that is due comes, and says that it is the last one."""
    with Outrider(world.begin()) as proxy, client.Client(world.port) as lives_on:
        assert lives_on.send(client.request("GET", "/")).read().body == b"one"
        world.lds(world.listener(server_name="changed"), version="l2")
        proxy.wait_for_stat("listener_manager.listener_modified", 1)
        proxy.wait_for_stat("listener_manager.total_listeners_draining", 1)
        last = lives_on.send(client.request("GET", "/")).read()
        assert (last.body, last.one("connection"), last.one("server")) == (b"one", "close", "envoy")
        assert client.get(world.port).one("server") == "changed"


def test_validate_looks_for_the_files_and_reads_none(world: World, tmp_path: Path) -> None:
    from proxy.cli.main import main

    config = world.begin()
    world.path("lds").write_text("{")
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(config))
    assert main(["validate", "-c", str(file)]) == 0
    world.path("lds").unlink()
    assert main(["validate", "-c", str(file)]) == 1
