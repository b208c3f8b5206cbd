"""What is said and heard of one type on a stream, in both variants of the protocol, without a stream."""

from __future__ import annotations

from typing import Any, cast

import pytest
from google.protobuf import json_format

from proxy.api.discovery import Rejected, Resource
from proxy.api.pool import message_class, pool
from proxy.base.clock import Clock
from proxy.base.timers import TimerWheel
from proxy.stats.store import Store
from proxy.xds.delta import DeltaKind
from proxy.xds.grpc import GrpcSubscription, Kind, Mux
from proxy.xds.resources import CLUSTER, ENDPOINTS
from proxy.xds.sotw import SotwKind
from proxy.xds.stats import SubscriptionStats
from proxy.xds.transport import Transport
from tests.support.config import Config

URL = "type.googleapis.com/"


class FakeMux:
    """Keeps what is sent at once; a test asks a kind itself for what it would say at the end of the turn."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.is_awake = False

    def wake(self) -> None:
        self.is_awake = True

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def last(self) -> Config:
        return json(self.sent[-1])


class World:
    """now: the clock; a receiver's updates in ``told``, and why it refuses the next one in ``reason``."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = TimerWheel()
        self.store = Store()
        self.mux = FakeMux()
        self.reason = ""
        self.told: list[tuple[str, list[str], list[str] | None]] = []
        self.transport = cast(Transport, self)
        self.dispatcher = self
        self.clock = Clock(lambda: self.now, lambda: self.now)

    def subscription(self, kind: Kind, name: str = "", timeout_s: float = 0.0) -> GrpcSubscription:
        world = self

        class Receiver:
            def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
                if world.reason:
                    raise Rejected(world.reason)
                world.told.append((version, [each.name for each in resources], removed))

            def on_unavailable(self) -> None:
                world.told.append(("unavailable", [], None))

        stats = SubscriptionStats(self.store.scope("x"), self.clock)
        made = GrpcSubscription(name, Receiver(), stats, timeout_s, self.transport)
        made.find_kind = lambda: kind
        made.start()
        return made

    def value(self, name: str) -> int:
        return self.store.counter(f"x.{name}").value


def json(message: Any) -> Config:
    found: Config = json_format.MessageToDict(
        message, preserving_proto_field_name=True, descriptor_pool=pool()
    )
    return found


def response(kind: Kind, *resources: Config, version: str, nonce: str, **more: Any) -> Any:
    packed = [{"@type": URL + kind.type_name, **each} for each in resources]
    if isinstance(kind, DeltaKind):
        name = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
        wrapped = [
            {"name": each.get("name") or each.get("cluster_name"), "version": version, "resource": one}
            for each, one in zip(resources, packed, strict=True)
        ]
        fields: Config = {"system_version_info": version, "resources": wrapped}
    else:
        name = "envoy.service.discovery.v3.DiscoveryResponse"
        fields = {"version_info": version, "resources": packed}
    fields |= {"nonce": nonce, "type_url": URL + kind.type_name, **more}
    return json_format.ParseDict(fields, message_class(name)(), descriptor_pool=pool())


@pytest.fixture
def world() -> World:
    return World()


def sotw(world: World, type_name: str) -> SotwKind:
    return SotwKind(cast(Mux, world.mux), type_name)


def delta(world: World, type_name: str) -> DeltaKind:
    return DeltaKind(cast(Mux, world.mux), type_name)


def test_the_state_of_the_world_is_asked_for_used_and_refused(world: World) -> None:
    kind = sotw(world, CLUSTER)
    world.subscription(kind)
    assert world.mux.is_awake
    assert json(kind.request()) == {"type_url": URL + CLUSTER}
    assert kind.request() is None
    kind.on_response(response(kind, {"name": "a"}, version="1", nonce="n1"))
    assert world.told == [("1", ["a"], None)]
    assert world.mux.last() == {"type_url": URL + CLUSTER, "version_info": "1", "response_nonce": "n1"}
    world.reason = "no good"
    kind.on_response(response(kind, {"name": "b"}, version="2", nonce="n2"))
    assert world.mux.last() == {
        "type_url": URL + CLUSTER,
        "version_info": "1",
        "response_nonce": "n2",
        "error_detail": {"code": 13, "message": "no good"},
    }
    counts = [world.value(f"update_{name}") for name in ("attempt", "success", "rejected", "failure")]
    assert counts == [3, 1, 1, 0]
    kind.on_connected()
    assert json(kind.request()) == {"type_url": URL + CLUSTER, "version_info": "1"}


def test_names_are_gathered_and_let_go(world: World) -> None:
    kind = sotw(world, ENDPOINTS)
    first, second = world.subscription(kind, "b"), world.subscription(kind, "a")
    assert json(kind.request())["resource_names"] == ["a", "b"]
    kind.on_response(response(kind, {"cluster_name": "a"}, {"cluster_name": "c"}, version="1", nonce="n1"))
    assert world.told == [("1", ["a"], None)], "nobody asked for c, and nothing was said of b"
    third = world.subscription(kind, "a")
    assert world.told[1:] == [("1", ["a"], None)], "what is known is given at once"
    assert json(kind.request())["resource_names"] == ["a", "b"]
    second.stop()
    third.stop()
    assert json(kind.request())["resource_names"] == ["b"]
    first.stop()
    assert "resource_names" not in json(kind.request())


def test_a_resource_that_breaks_a_rule_refuses_all(world: World) -> None:
    kind = sotw(world, CLUSTER)
    world.subscription(kind)
    kind.on_response(response(kind, {"name": "a"}, {"name": ""}, version="1", nonce="n"))
    assert "must not be empty" in world.mux.last()["error_detail"]["message"]
    assert world.told == [("unavailable", [], None)]


def test_delta_says_what_is_new_and_what_has_gone(world: World) -> None:
    kind = delta(world, ENDPOINTS)
    first = world.subscription(kind, "a")
    kind.on_connected()
    assert json(kind.request()) == {"type_url": URL + ENDPOINTS, "resource_names_subscribe": ["a"]}
    assert kind.request() is None
    kind.on_response(response(kind, {"cluster_name": "a"}, version="1", nonce="n1"))
    assert world.mux.last() == {"type_url": URL + ENDPOINTS, "response_nonce": "n1"}
    world.subscription(kind, "b")
    assert json(kind.request())["resource_names_subscribe"] == ["b"]
    again = world.subscription(kind, "a")
    assert json(kind.request())["resource_names_subscribe"] == ["a"], (
        "asked again, as a cluster that warms anew"
    )
    again.stop()
    assert kind.request() is None
    kind.on_connected()
    assert json(kind.request()) == {
        "type_url": URL + ENDPOINTS,
        "resource_names_subscribe": ["a", "b"],
        "initial_resource_versions": {"a": "1"},
    }
    first.stop()
    assert json(kind.request())["resource_names_unsubscribe"] == ["a"]


def test_delta_removals_and_refusals(world: World) -> None:
    kind = delta(world, CLUSTER)
    world.subscription(kind)
    kind.on_connected()
    assert json(kind.request()) == {"type_url": URL + CLUSTER}
    kind.on_response(response(kind, {"name": "a"}, {"name": "b"}, version="1", nonce="n1"))
    kind.on_response(response(kind, version="2", nonce="n2", removed_resources=["a"]))
    assert world.told == [("1", ["a", "b"], []), ("2", [], ["a"])]
    assert kind.versions == {"b": "1"}
    world.reason = "no good"
    kind.on_response(response(kind, {"name": "c"}, version="3", nonce="n3"))
    assert world.mux.last()["error_detail"]["message"] == "no good"
    assert kind.versions == {"b": "1"}


def test_versions_of_what_nobody_wants_are_not_kept(world: World) -> None:
    kind = delta(world, ENDPOINTS)
    world.subscription(kind, "a")
    kind.on_response(response(kind, {"cluster_name": "a"}, {"cluster_name": "b"}, version="1", nonce="n"))
    assert kind.versions == {"a": "1"}


def test_the_first_answer_is_waited_for_as_long_as_was_said(world: World) -> None:
    kind = sotw(world, CLUSTER)
    world.subscription(kind, timeout_s=2.0)
    world.now = 3.0
    world.timers.turn(world.now)
    assert world.told == [("unavailable", [], None)]
    assert world.value("init_fetch_timeout") == 1


def test_no_timeout_after_an_answer(world: World) -> None:
    kind = sotw(world, CLUSTER)
    world.subscription(kind, timeout_s=2.0)
    kind.on_response(response(kind, version="1", nonce="n"))
    world.now = 3.0
    world.timers.turn(world.now)
    assert world.told == [("1", [], None)]
