"""Subscriptions over a gRPC stream to a control plane: aggregated (ADS) or one stream each, state of the world or delta.

    GrpcSubscription  one resource by name, or all of a kind; what its owner holds
    Kind              what a stream says and hears of one type (``proxy.xds.sotw``, ``proxy.xds.delta``)
    Mux               the stream: subscriptions of any number of kinds; begins anew, by a back-off, when it is lost

What is in force stays while there is no stream. Requests are gathered until the end of the turn, so that a hundred
clusters that come together ask for their endpoints in one message.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from proxy.api.discovery import Receiver, Rejected, Resource
from proxy.base.timers import Alarm
from proxy.http.grpc_stream import GrpcReceiver
from proxy.xds.resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.http.grpc_service import GrpcService
    from proxy.http.grpc_stream import GrpcStream
    from proxy.stats.store import Scope
    from proxy.xds.stats import SubscriptionStats
    from proxy.xds.transport import Transport

log = logging.getLogger("config")

URL: Final = "type.googleapis.com/"
#: first what others name: clusters before their endpoints, listeners before their routes
ORDER: Final = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET)
INTERNAL: Final = 13
_FIRST_DELAY_S: Final = 0.5
_LAST_DELAY_S: Final = 30.0


class GrpcSubscription:
    """Implements ``api.discovery.Subscription``. name: of the resource wanted, "" for all; started: it is, and has not
    been stopped; timeout_s: how long the first update is waited for, 0.0: for ever
    find_kind: gives it its stream, when it starts; owns_mux: nobody else uses that stream"""

    __slots__ = (
        *("_alarm", "_transport", "find_kind", "kind", "name", "owns_mux", "receiver", "started"),
        *("stats", "timeout_s"),
    )

    def __init__(
        self, name: str, receiver: Receiver, stats: SubscriptionStats, timeout_s: float, transport: Transport
    ) -> None:
        self.kind: Kind
        self.find_kind: Callable[[], Kind]
        self.owns_mux = False
        self.name = name
        self.receiver = receiver
        self.stats = stats
        self.timeout_s = timeout_s
        self.started = False
        self._transport = transport
        self._alarm = Alarm(transport.dispatcher.timers, self._on_timeout)

    def start(self) -> None:
        """See Subscription."""
        self.started = True
        self.stats.update_attempt.value += 1
        if self.timeout_s:
            self._alarm.at(self._transport.dispatcher.clock.monotonic() + self.timeout_s)
        self.kind = self.find_kind()
        self.kind.add(self)

    def stop(self) -> None:
        """See Subscription."""
        if self.started:
            self.started = False
            self._alarm.stop()
            self.kind.remove(self)
            if self.owns_mux:
                self.kind.mux.close()

    def deliver(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """What came for it. Raises Rejected, counted."""
        self._alarm.stop()
        try:
            self.receiver.on_update(resources, removed, version)
        except Rejected:
            self.refused()
            raise
        self.stats.accepted(version)
        self.stats.update_attempt.value += 1

    def refused(self) -> None:
        """What came could not be used."""
        self._alarm.stop()
        self.stats.update_rejected.value += 1
        self.stats.update_attempt.value += 1
        self.receiver.on_unavailable()

    def lost(self) -> None:
        """The stream has ended."""
        self.stats.update_failure.value += 1
        self.stats.update_attempt.value += 1

    def _on_timeout(self) -> None:
        self.stats.init_fetch_timeout.value += 1
        self.stats.update_attempt.value += 1
        self.receiver.on_unavailable()


class Kind:
    """The subscriptions of one type on one stream. known: the last good resource by name, for those who subscribe to
    what others have already"""

    def __init__(self, mux: Mux, type_name: str) -> None:
        self.mux = mux
        self.type_name = type_name
        self.subscriptions: dict[GrpcSubscription, None] = {}  # in their order
        self._wanted: dict[str, int] = {}  # names, and by how many
        self.known: dict[str, Resource] = {}

    @property
    def names(self) -> list[str]:
        """The resources wanted by name, in order."""
        return sorted(name for name in self._wanted if name)

    def wants(self, name: str) -> bool:
        """Whether somebody subscribes to it, or to all."""
        return name in self._wanted or "" in self._wanted

    def add(self, subscription: GrpcSubscription) -> None:
        """One more; it is given at once what is known."""
        before = self._wanted.get(subscription.name, 0)
        again = before > 0
        self._wanted[subscription.name] = before + 1
        self.subscriptions[subscription] = None
        self.ask_for(subscription.name, again)
        known = self.known.get(subscription.name) if again else None
        self.mux.wake()
        if known is not None:
            try:
                subscription.deliver([known], None, known.version)
            except Rejected as error:
                log.warning("%s %s rejected: %s", self.type_name, known.name, error)

    def remove(self, subscription: GrpcSubscription) -> None:
        """One less."""
        del self.subscriptions[subscription]
        left = self._wanted.pop(subscription.name) - 1
        if left:
            self._wanted[subscription.name] = left
        else:
            self.known.pop(subscription.name, None)
            self.let_go(subscription.name)
            self.mux.wake()

    def give(self, resources: list[Resource], removed: list[str] | None, version: str) -> list[str]:
        """Give everybody what is theirs; why some of it could not be used."""
        refused: list[str] = []
        by_name = {resource.name: resource for resource in resources}
        for each in list(self.subscriptions):
            if not each.started:
                continue
            if not each.name:
                found, gone = resources, removed
            else:
                found = [by_name[each.name]] if each.name in by_name else []
                gone = [each.name] if removed is not None and each.name in removed else None
                if not found and gone is None:
                    continue
            try:
                each.deliver(found, gone, version)
            except Rejected as error:
                refused.append(str(error))
            else:
                if each.name and found:
                    self.known[each.name] = found[0]
        return refused

    def refuse(self) -> None:
        """What came could not even be read."""
        for each in list(self.subscriptions):
            each.refused()

    # -- what the variants of the protocol do ------------------------------------------------------------------------

    def ask_for(self, name: str, again: bool) -> None:
        """A name is wanted, or (again) is wanted by one more."""
        raise NotImplementedError

    def let_go(self, name: str) -> None:
        """Nobody wants the name any more."""
        raise NotImplementedError

    def on_connected(self) -> None:
        """A new stream: nothing has been said on it."""
        raise NotImplementedError

    def request(self) -> Any:
        """What is to be said now; None for nothing."""
        raise NotImplementedError

    def on_response(self, response: Any) -> None:
        """What was said to us."""
        raise NotImplementedError


class Mux(GrpcReceiver):
    """One stream. method: b"/package.Service/Method"; response: an empty message of what comes; one_node: only the first
    message of a stream says who we are"""

    def __init__(
        self,
        transport: Transport,
        service: GrpcService,
        method: bytes,
        response: type[Any],
        one_node: bool,
        scope: Scope,
    ) -> None:
        self.kinds: dict[str, Kind] = {}
        self.transport = transport
        self._service = service
        self._method = method
        self._response = response
        self._one_node = one_node
        self._stream: GrpcStream | None = None
        self._said_node = False
        self._failures = 0
        self._is_waking = False
        self._closed = False
        self._alarm = Alarm(transport.dispatcher.timers, self._connect)
        control_plane = scope.scope("control_plane")
        self._connected = control_plane.gauge("connected_state")
        self._connected.set(0)
        self._identifier = control_plane.text("identifier")
        control_plane.gauge("pending_requests").set(0)
        control_plane.counter("rate_limit_enforced")

    def add(self, kind: Kind) -> Kind:
        """One more type."""
        self.kinds[kind.type_name] = kind
        return kind

    def close(self) -> None:
        """No more."""
        self._closed = True
        self._alarm.stop()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()

    # -- out ---------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Somebody wants to say something: at the end of this turn."""
        if not self._is_waking and not self._closed:
            self._is_waking = True
            self.transport.dispatcher.loop.call_soon(self._on_wake)

    def _on_wake(self) -> None:
        self._is_waking = False
        if self._closed:
            return
        if self._stream is not None:
            self.flush()
        elif self._alarm.when == inf:  # else it waits for its next try
            self._connect()
        self.transport.dispatcher.flush()

    def _connect(self) -> None:
        if (
            self._stream is not None
            or self._closed
            or not any(each.subscriptions for each in self.kinds.values())
        ):
            return
        stream = self.transport.client.grpc_stream(self._service, self._method, self)
        self._stream = stream
        self._said_node = False
        for kind in self.kinds.values():
            kind.on_connected()
        stream.start()
        if self._stream is stream:  # it may have failed at once
            self._connected.set(1)
            self.flush()

    def flush(self) -> None:
        """Say all that is to be said."""
        for kind in sorted(self.kinds.values(), key=lambda each: ORDER.index(each.type_name)):
            self.send(kind.request())

    def send(self, message: Any) -> None:
        """One message; None is none."""
        if message is None or self._stream is None:
            return
        if not (self._said_node and self._one_node):
            self._said_node = True
            message.node.CopyFrom(self.transport.node)
        self._stream.send(message.SerializeToString())

    # -- in ----------------------------------------------------------------------------------------------------------

    def on_grpc_message(self, message: bytes) -> None:
        """See GrpcReceiver."""
        response = self._response()
        try:
            response.ParseFromString(message)
        except DecodeError:
            self._break(f"what came is no {response.DESCRIPTOR.name}")
            return
        self._failures = 0
        if response.control_plane.identifier:
            self._identifier.value = response.control_plane.identifier
        kind = self.kinds.get(response.type_url.rpartition("/")[2])
        if kind is None:
            log.warning("%s: nobody asked for %s", self._service.cluster, response.type_url)
            return
        kind.on_response(response)

    def _break(self, why: str) -> None:
        """The other end does not speak the protocol: as if it had ended the stream."""
        if self._stream is not None:
            self._stream.cancel()
            self.on_grpc_status(INTERNAL, why)

    def on_grpc_status(self, status: int, text: str) -> None:
        """See GrpcReceiver: the stream is lost. Again later: at once, all would come at once."""
        self._stream = None
        self._connected.set(0)
        if self._closed:
            return
        self._failures = min(self._failures + 1, 16)
        log.warning(
            "stream %s to %s closed: %d, %s", self._method.decode(), self._service.cluster, status, text
        )
        for kind in self.kinds.values():
            for each in list(kind.subscriptions):
                each.lost()
        longest = min(_FIRST_DELAY_S * 2 ** (self._failures - 1), _LAST_DELAY_S)
        clock = self.transport.dispatcher.clock
        self._alarm.at(clock.monotonic() + self.transport.ids.random() * longest)
