"""Clusters that come and go while the program runs: warm first, then in the place of the one of their name."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.discovery import Rejected, Resource
from proxy.upstream.manager import ClusterManager
from tests.support.fake_upstream import CLUSTER, World, assignment, read


def resource(name: str, version: str = "1", **fields: Any) -> Resource:
    fields = {
        "name": name,
        **({} if "type" in fields else {"load_assignment": assignment("127.0.0.1:80")}),
        **fields,
    }
    return Resource(name, read(CLUSTER, fields).message, version)


def dns(name: str, **fields: Any) -> Resource:
    return resource(name, type="STRICT_DNS", load_assignment=assignment(f"{name}.example:80"), **fields)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> ClusterManager:
    """With one cluster of the bootstrap, "static", started."""
    made = ClusterManager(world.context)
    made.compile([world.reader(CLUSTER, name="static", load_assignment=assignment("127.0.0.1:1"))])
    made.start()
    return made


def stats(world: World) -> dict[str, int]:
    prefix = "cluster_manager."
    names = ("cluster_added", "cluster_modified", "cluster_removed")
    found = {name: world.stats.counters[prefix + name].value for name in names}
    return found | {
        name: world.stats.gauges[prefix + name].value for name in ("active_clusters", "warming_clusters")
    }


def test_it_warms_before_it_is_there(world: World, manager: ClusterManager) -> None:
    warm: list[str] = []
    assert manager.update(dns("a"))
    assert manager.get("a") is None and list(manager.warming) == ["a"]
    manager.when_warm(lambda: warm.append("warm"))
    assert stats(world)["warming_clusters"] == 1 and warm == []
    world.resolver.answer("10.0.0.1")
    cluster = manager.get("a")
    assert cluster is not None and cluster.added_via_api and cluster.version == "1"
    assert warm == ["warm"]
    assert stats(world) == {
        "cluster_added": 2,
        "cluster_modified": 0,
        "cluster_removed": 0,
        "active_clusters": 2,
        "warming_clusters": 0,
    }


def test_the_old_one_serves_until_the_new_one_is_warm(world: World, manager: ClusterManager) -> None:
    manager.update(resource("a"))
    old = manager.clusters["a"]
    assert manager.update(dns("a", connect_timeout="1s"))
    assert manager.clusters["a"] is old
    world.resolver.answer("10.0.0.1")
    assert manager.clusters["a"] is not old
    assert stats(world)["cluster_modified"] == 1


def test_a_second_change_while_the_first_one_warms(world: World, manager: ClusterManager) -> None:
    manager.update(dns("a"))
    manager.update(dns("a", connect_timeout="1s"))
    world.resolver.answer("10.0.0.1")  # to the first, which nobody wants any more
    assert manager.get("a") is None
    world.resolver.answer("10.0.0.2")
    assert [host.ip for host in manager.clusters["a"].hosts] == ["10.0.0.2"]


def test_what_is_there_already_is_left_alone(world: World, manager: ClusterManager) -> None:
    manager.update(resource("a"))
    before = manager.clusters["a"]
    assert not manager.update(resource("a", version="2"))
    assert not manager.update(resource("static", connect_timeout="9s"))
    assert manager.clusters["a"] is before
    assert not manager.clusters["static"].added_via_api


def test_removal(world: World, manager: ClusterManager) -> None:
    manager.update(resource("a"))
    manager.update(dns("b"))
    assert manager.added_names() == {"a", "b"}
    assert manager.remove("a") and manager.remove("b")
    assert not manager.remove("a") and not manager.remove("static")
    assert list(manager.clusters) == ["static"] and not manager.warming
    world.resolver.answer("10.0.0.1")  # to one that has gone
    assert list(manager.clusters) == ["static"]
    assert stats(world)["cluster_removed"] == 2


def test_what_cannot_be_used_changes_nothing(world: World, manager: ClusterManager) -> None:
    manager.update(resource("a"))
    before = manager.clusters["a"]
    with pytest.raises(Rejected, match="lrs_server"):
        manager.update(resource("a", lrs_server={"self": {}}))
    with pytest.raises(Rejected, match="is not an IP address"):
        manager.update(resource("b", load_assignment=assignment("name.example:80")))
    assert manager.clusters["a"] is before and manager.get("b") is None
    assert stats(world)["warming_clusters"] == 0
