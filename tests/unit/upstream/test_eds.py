"""EDS: hosts that stay keep their connections; what cannot be used changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.discovery import Receiver, Rejected, Resource
from proxy.api.reader import Reader
from proxy.stats.store import Scope
from proxy.upstream.cluster import Cluster
from proxy.upstream.eds import ASSIGNMENT
from tests.support.fake_upstream import World, assignment, read


class Source:
    """Sources that give out one subscription, which is this."""

    def __init__(self) -> None:
        self.receiver: Receiver
        self.name = ""
        self.is_started = False

    def subscribe(
        self, source: Reader, type_name: str, name: str, receiver: Receiver, scope: Scope
    ) -> Source:
        source.sub("path_config_source")
        source.settle("path_config_source")
        self.receiver, self.name = receiver, name
        return self

    def start(self) -> None:
        self.is_started = True

    def stop(self) -> None:
        self.is_started = False


def made(world: World, **more: Any) -> tuple[Cluster, Source]:
    source = Source()
    world.context = world.context._replace(sources=source)
    config = {"eds_config": {"path_config_source": {"path": "/x"}}, **more}
    return world.cluster(type="EDS", eds_cluster_config=config), source


def send(source: Source, *endpoints: str | dict[str, Any], version: str = "1", **more: Any) -> None:
    fields = {"cluster_name": source.name, **assignment(*endpoints), **more}
    message = read(ASSIGNMENT, fields).message
    source.receiver.on_update([Resource(source.name, message, version)], None, version)


def test_ready_with_the_first_assignment_and_hosts_stay_by_address() -> None:
    world = World()
    cluster, source = made(world)
    assert source.is_started and not cluster.initialized
    send(source, "127.0.0.1:80", "127.0.0.2:80")
    assert cluster.initialized
    first, second = cluster.hosts
    send(source, "127.0.0.2:80", "127.0.0.3:80")
    assert cluster.hosts[0] is second
    assert first not in cluster.hosts
    assert world.value("membership_change") == 2
    send(source, "127.0.0.2:80", "127.0.0.3:80")
    assert world.value("update_no_rebuild") == 1
    cluster.stop()
    assert not source.is_started


def test_a_health_status_changes_in_place() -> None:
    world = World()
    cluster, source = made(world)
    send(source, "127.0.0.1:80")
    (host,) = cluster.hosts
    sick = assignment("127.0.0.1:80")
    sick["endpoints"][0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"
    message = read(ASSIGNMENT, {"cluster_name": "back", **sick}).message
    source.receiver.on_update([Resource("back", message)], None, "2")
    assert cluster.hosts == [host] and not host.healthy
    assert world.value("membership_healthy") == 0


def test_the_service_has_a_name_of_its_own() -> None:
    world = World()
    _, source = made(world, service_name="service")
    assert source.name == "service"
    with pytest.raises(Rejected, match="expecting service"):
        source.receiver.on_update(
            [Resource("back", read(ASSIGNMENT, {"cluster_name": "back"}).message)], None, ""
        )


def test_what_cannot_be_used_changes_nothing() -> None:
    world = World()
    cluster, source = made(world)
    send(source, "127.0.0.1:80")
    hosts = list(cluster.hosts)
    with pytest.raises(Rejected, match="is not an IP address"):
        send(source, "somewhere.example:80")
    with pytest.raises(Rejected, match="drop_overloads"):
        send(source, "127.0.0.1:80", policy={"drop_overloads": [{"category": "x", "drop_percentage": {}}]})
    source.receiver.on_update([], None, "3")
    assert cluster.hosts == hosts
    assert world.value("update_empty") == 1


def test_without_an_assignment_it_is_ready_and_empty() -> None:
    world = World()
    cluster, source = made(world)
    source.receiver.on_unavailable()
    assert cluster.initialized and cluster.hosts == []
