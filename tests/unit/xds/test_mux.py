"""The stream to a control plane, without a connection: what it does when it is lost, or the other end talks nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from proxy.api.pool import message_class, new_message
from proxy.base.clock import Clock
from proxy.base.timers import TimerWheel
from proxy.http.grpc_service import GrpcService
from proxy.stats.store import Store
from proxy.xds.grpc import GrpcSubscription, Mux
from proxy.xds.resources import ENDPOINTS
from proxy.xds.sotw import RESPONSE_TYPE, SotwKind
from proxy.xds.stats import SubscriptionStats
from proxy.xds.transport import Transport


class FakeStream:
    """What a call to the control plane would be: keeps what is sent."""

    def __init__(self, receiver: Any) -> None:
        self.receiver = receiver
        self.sent: list[bytes] = []
        self.is_cancelled = False

    def start(self) -> None:
        pass

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def cancel(self) -> None:
        self.is_cancelled = True


class World:
    """The client, the dispatcher and the loop of a mux. now: the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = TimerWheel()
        self.store = Store()
        self.clock = Clock(lambda: self.now, lambda: self.now)
        self.client = self.dispatcher = self.loop = self.ids = self
        self.node = new_message("envoy.config.core.v3.Node")
        self.soon: list[Callable[[], None]] = []
        self.streams: list[FakeStream] = []
        response = message_class(RESPONSE_TYPE)
        scope = self.store.scope("")
        self.mux = Mux(cast(Transport, self), GrpcService("plane"), b"/a/b", response, True, scope)
        self.kind = self.mux.add(SotwKind(self.mux, ENDPOINTS))

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def flush(self) -> None:
        pass

    def random(self) -> float:
        return 1.0

    def grpc_stream(self, service: GrpcService, method: bytes, receiver: Any) -> FakeStream:
        self.streams.append(FakeStream(receiver))
        return self.streams[-1]

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.timers.turn(self.now)
        while self.soon:
            self.soon.pop(0)()

    def subscription(self, name: str) -> GrpcSubscription:
        class Receiver:
            def on_update(self, *what: Any) -> None:
                pass

            def on_unavailable(self) -> None:
                pass

        stats = SubscriptionStats(self.store.scope("x"), self.clock)
        made = GrpcSubscription(name, Receiver(), stats, 0.0, cast(Transport, self))
        made.find_kind = lambda: self.kind
        made.start()
        self.turn()
        return made


@pytest.fixture
def world() -> World:
    return World()


def test_a_lost_stream_begins_anew_later_and_once(world: World) -> None:
    world.subscription("a")
    world.mux.on_grpc_status(14, "gone")
    world.subscription("b")
    assert len(world.streams) == 1, "it waits for its next try"
    world.turn(0.6)
    assert len(world.streams) == 2
    assert len(world.streams[1].sent) == 1


def test_who_subscribes_after_everybody_had_left_a_lost_stream_gets_one(world: World) -> None:
    first = world.subscription("a")
    world.mux.on_grpc_status(14, "gone")
    first.stop()
    world.turn(0.6)
    assert len(world.streams) == 1, "nobody wants anything"
    world.subscription("b")
    assert len(world.streams) == 2
    assert len(world.streams[1].sent) == 1


def test_what_is_no_response_ends_the_stream_as_in_envoy(world: World) -> None:
    """So that garbage comes no faster than streams begin."""
    world.subscription("a")
    world.mux.on_grpc_message(b"\xff\xff\xff")
    assert world.streams[0].is_cancelled
    assert world.store.counter("x.update_failure").value == 1
    assert world.store.gauge("control_plane.connected_state").value == 0
    world.turn(0.6)
    assert len(world.streams) == 2
