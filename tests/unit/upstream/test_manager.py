"""ClusterManager: all clusters, ready when all of them know their hosts."""

from __future__ import annotations

from typing import Any

from proxy.upstream.manager import ClusterManager
from tests.support.fake_upstream import CLUSTER, FakeRequest, World, assignment


def manager_of(world: World, *clusters: dict[str, Any]) -> ClusterManager:
    manager = ClusterManager(world.context)
    manager.compile([world.reader(CLUSTER, **fields) for fields in clusters])
    return manager


def static(name: str) -> dict[str, Any]:
    return {"name": name, "load_assignment": assignment("127.0.0.1:80")}


def dns(name: str) -> dict[str, Any]:
    return {"name": name, "type": "STRICT_DNS", "load_assignment": assignment(f"{name}.example:80")}


def stat(world: World, name: str) -> int:
    full = "cluster_manager." + name
    return (
        world.stats.counters[full].value if full in world.stats.counters else world.stats.gauges[full].value
    )


def test_clusters_by_name_in_their_order() -> None:
    world = World()
    manager = manager_of(world, static("b"), static("a"))
    assert list(manager.clusters) == ["b", "a"]
    assert manager.get("a") is manager.clusters["a"]
    assert manager.get("c") is None
    assert (
        stat(world, "active_clusters"),
        stat(world, "cluster_added"),
        stat(world, "warming_clusters"),
    ) == (2, 2, 0)


def test_a_second_cluster_of_a_name_is_an_error() -> None:
    world = World()
    manager_of(world, static("a"), static("a"))
    assert [(finding.path, finding.kind) for finding in world.errors.findings] == [("name", "invalid")]


def test_nothing_happens_before_start() -> None:
    world = World()
    manager = manager_of(world, dns("a"), static("b"))
    assert world.resolver.asked == []
    assert manager.clusters["b"].hosts == []
    assert not manager.is_ready


def test_ready_once_every_cluster_knows_its_hosts() -> None:
    world = World()
    manager = manager_of(world, dns("a"), static("b"), dns("c"))
    called: list[str] = []
    manager.on_ready(lambda: called.append("early"))
    manager.start()
    world.resolver.answer("10.0.0.1")
    assert (manager.is_ready, called) == (False, [])
    world.resolver.fail()
    assert (manager.is_ready, called) == (True, ["early"])
    manager.on_ready(lambda: called.append("late"))
    assert called == ["early", "late"]


def test_static_clusters_are_ready_at_once_and_none_is_too() -> None:
    for clusters in ([static("a")], []):
        world = World()
        manager = manager_of(world, *clusters)
        called: list[int] = []
        manager.on_ready(lambda called=called: called.append(1))  # type: ignore[misc]
        manager.start()
        assert called == [1]


def test_updates_after_the_start_are_counted() -> None:
    world = World()
    manager = manager_of(world, dns("a"))
    manager.start()
    world.resolver.answer("10.0.0.1")
    assert stat(world, "cluster_updated") == 0
    world.wait(5.1)
    world.resolver.answer("10.0.0.2")
    assert stat(world, "cluster_updated") == 1


def test_drain_and_close() -> None:
    world = World()
    manager = manager_of(world, static("a"), dns("b"))
    manager.start()
    world.resolver.answer("10.0.0.1")
    host = manager.clusters["a"].hosts[0]
    host.pool.new_stream(FakeRequest())
    host.pool.new_stream(FakeRequest())
    busy, idle = world.connector.made
    busy.connected()
    idle.connected()
    idle.response()
    manager.drain()
    assert (idle.closing, busy.closing) == (True, False)
    world.wait(60)
    assert world.resolver.asked == []
    manager.close()
    assert busy.closing
