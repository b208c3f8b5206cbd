"""ListenerManager: the listeners of the bootstrap, and those that come and go while it runs (LDS): compiled, warmed,
bound, served, drained; ``listener_manager.*`` stats."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from proxy.api.discovery import Rejected, Resource, check
from proxy.api.reader import Reader, finish, reads
from proxy.base.init import InitTarget
from proxy.base.timers import Alarm
from proxy.http.context import FactoryContext
from proxy.listener.compile_chains import is_refused_place
from proxy.listener.compile_listener import LISTENER, compile_listener
from proxy.listener.directory import ListenerDirectory
from proxy.listener.listener import Listener
from proxy.listener.overload import ConnectionLimit
from proxy.network.dispatcher import Dispatcher

log = logging.getLogger("config")

_DIRECTIONS = {"UNSPECIFIED", "INBOUND", "OUTBOUND"}
COUNTERS = (
    *("listener_added", "listener_create_failure", "listener_create_success", "listener_in_place_updated"),
    *("listener_modified", "listener_removed", "listener_stopped"),
)


class Failed(NamedTuple):
    """A listener that could not be added or changed: its message, why, and when (wall-clock seconds)."""

    message: Any
    details: str
    at: float


class ListenerManager:
    """The listeners of one process, in the order of the configuration.

    listeners: those that serve, or will when the process does; warming: those that wait for their routes and
    certificates while it does, to take the place of the one of their name; draining: those whose connections still
    finish, at most ``drain_time_s``; failed: by name, those of which the last update was refused; on_change: called when
    there may be other sockets that listen
    """

    __slots__ = (
        "_added",
        "_closed_to",
        "_created",
        "_directory",
        "_drained",
        "_draining",
        "_failures",
        "_healthy",
        "_inherit",
        "_modified",
        "_removed",
        "_serving",
        "_stopped",
        "_warming",
        "active",
        "dispatcher",
        "drain_time_s",
        "draining",
        "failed",
        "limit",
        "listeners",
        "on_change",
        "scope",
        "warming",
    )

    def __init__(self, dispatcher: Dispatcher, context: FactoryContext) -> None:
        self.dispatcher = dispatcher
        self.listeners: list[Listener] = []
        self._directory = ListenerDirectory()
        self.warming: dict[str, Listener] = {}
        self.draining: list[Listener] = []
        self.failed: dict[str, Failed] = {}
        self.drain_time_s = 600.0
        self._serving = False
        self._inherit: Callable[[str, str], socket.socket | None] | None = None
        self._healthy = True
        self._closed_to: set[str] = set()  # traffic_directions of which no more connections are taken
        self._drained: set[str] = set()  # ... of which every response closes its connection
        self.limit: ConnectionLimit | None = None  # over all of them
        self.on_change: Callable[[], None] | None = None
        scope = self.scope = context.stats.scope("listener_manager")
        for name in COUNTERS:
            scope.counter(name)
        self._added = scope.counter("listener_added")
        self._created = scope.counter("listener_create_success")
        self._failures = scope.counter("listener_create_failure")
        self._modified = scope.counter("listener_modified")
        self._removed = scope.counter("listener_removed")
        self._stopped = scope.counter("listener_stopped")
        self.active = scope.gauge("total_listeners_active")
        self._warming = scope.gauge("total_listeners_warming")
        self._warming.set(0)
        self._draining = scope.gauge("total_listeners_draining")
        scope.gauge("total_filter_chains_draining")

    @reads(LISTENER)
    def add(self, reader: Reader, context: FactoryContext) -> Listener | None:
        """Compile one listener; problems are collected in the reader."""
        listener = compile_listener(reader, context, self.dispatcher, self.limit)
        if listener is None:
            return None
        if self.named(listener.name) is not None:
            reader.unsupported(
                "name", f'there is a listener "{listener.name}" already; Envoy would pass over this one'
            )
        for place in listener.places if not is_refused_place(reader) else ():
            twin = self._directory.at(place)
            # Without a name of its own a listener is another one to Envoy each time, which is not passed over.
            if twin is not None and (twin.name != listener.name or not reader.has("name")):
                reader.fail("address", f'is the address of listener "{twin.name}" as well')
        self._await(listener, context)
        self._added.value += 1
        return listener

    def _await(self, listener: Listener, context: FactoryContext) -> None:
        """It serves when the process does, which waits for what it needs."""
        self._append(listener)
        listener.target = warming(listener)
        context.init.add(listener.target)

    def _append(self, listener: Listener) -> None:
        self.listeners.append(listener)
        self._directory.add(listener)
        listener.find_listener = self._directory.find

    def _replace(self, old: Listener, listener: Listener) -> None:
        self.listeners[self.listeners.index(old)] = listener
        self._directory.renew(self.listeners)
        listener.find_listener = self._directory.find

    def _drop(self, listener: Listener) -> None:
        self.listeners.remove(listener)
        self._directory.renew(self.listeners)

    def bind(
        self, context: FactoryContext, inherit: Callable[[str, str], socket.socket | None] | None = None
    ) -> None:
        """Bind all addresses; raises OSError with the address in its text. inherit: see ``Listener.bind``; listeners that
        come before the process serves are given their sockets as well."""
        self._inherit = inherit
        for listener in self.listeners:
            try:
                listener.bind(inherit)
            except OSError:
                self._failures.value += 1
                raise

    async def serve(self) -> None:
        """Accept on all of them."""
        self._serving = True
        for listener in list(self.listeners):
            await listener.serve()
            self._created.value += 1
        self._inherit = None
        self._count()

    # -- listeners that come and go ----------------------------------------------------------------------------------

    def update(self, resource: Resource, context: FactoryContext) -> bool:
        """A listener by LDS: a new one, or another one for its name. False when nothing is to be changed: it is what
        there is, or the bootstrap has one of that name. Raises Rejected, and nothing has changed."""
        try:
            return self._update(resource, context)
        except Rejected as error:
            wall = self.dispatcher.clock.wall()
            self.failed[resource.name] = Failed(resource.message, str(error), wall)
            raise

    def _update(self, resource: Resource, context: FactoryContext) -> bool:
        name = resource.name
        active, waits = self.named(name), self.warming.get(name)
        last = waits or active
        if (active is not None and not active.added_via_api) or (
            last is not None and last.message == resource.message
        ):
            return False
        listener = self._compile(resource, context)
        self.failed.pop(name, None)
        if listener.direction in self._closed_to:
            log.info("listener %s is left out: its direction takes no connections any more", name)
            listener.release()
            return False
        self._have_sockets(listener, waits, active)
        (self._added if last is None else self._modified).value += 1
        if waits is not None:
            self._forget(waits)
        if not self._serving:
            if active is not None:
                self._drop(active)
                self._forget(active)
            self._await(listener, context)
            return True
        self.warming[name] = listener
        self._count()
        listener.init.initialize(lambda: self._activate(listener, context))
        return True

    def _compile(self, resource: Resource, context: FactoryContext) -> Listener:
        reader = resource.reader()
        listener = compile_listener(reader, context, self.dispatcher, self.limit)
        if listener is None:
            check(finish(reader))
            raise Rejected(f"{resource.name}: is no listener")
        try:
            check(finish(reader))
            self._check_places(listener)
        except Rejected:
            listener.release()
            raise
        listener.added_via_api = True
        listener.version = resource.version
        listener.updated_at = self.dispatcher.clock.wall()
        return listener

    def _have_sockets(self, listener: Listener, waits: Listener | None, active: Listener | None) -> None:
        """Bind, so that whoever sends it learns at once what cannot be had. Raises Rejected. Not where it goes on with
        the sockets of the one that serves, which it gets when its turn comes."""
        if self._serving and active is not None and listener.can_adopt(active):
            return
        last = waits or (active if not self._serving else None)
        try:
            if last is not None and listener.can_adopt(last):
                listener.adopt(last)
            else:
                listener.bind(self._inherit)
        except OSError as error:
            self._failures.value += 1
            listener.release()
            listener.stop_accepting()
            raise Rejected(str(error.strerror)) from None

    def _check_places(self, listener: Listener) -> None:
        """Raises Rejected: an address is another listener's, or the one of its name has it on a socket that it can
        neither go on with nor share."""
        for old in (self.named(listener.name), self.warming.get(listener.name)):
            if old is None:
                continue
            if old.reuse_port != listener.reuse_port:
                raise Rejected(f"Listener {listener.name}: reuse port cannot be changed during an update")
            shared = [place for place in listener.places if place.port != 0 and old.listens_on(place)]
            if shared and not listener.reuse_port and not listener.can_adopt(old):
                raise Rejected(
                    f"error adding listener: '{listener.name}' has duplicate address '{shared[0].text}' as existing "
                    "listener, which has other socket options, and 'enable_reuse_port' is set to 'false'"
                )
        for place in listener.places:
            other = self._directory.at(place)
            if other is not None and other.name != listener.name:
                raise Rejected(
                    f"error adding listener: '{listener.name}' has duplicate address '{place.text}' as existing "
                    f"listener '{other.name}'"
                )

    def remove(self, name: str) -> bool:
        """A listener that came by ``update`` is gone: its connections finish. False when there is none."""
        self.failed.pop(name, None)
        waits, active = self.warming.pop(name, None), self.named(name)
        if waits is not None:
            self._forget(waits)
        if active is not None and active.added_via_api:
            self._drop(active)
            self._retire(active)
        elif waits is None:
            return False
        self._removed.value += 1
        self._count()
        return True

    def added_names(self) -> set[str]:
        """Those that came by ``update``."""
        return {each.name for each in self.listeners if each.added_via_api} | set(self.warming)

    def named(self, name: str) -> Listener | None:
        """The one that serves, or will, under that name."""
        return self._directory.named(name)

    def _activate(self, listener: Listener, context: FactoryContext) -> None:
        """It has all it needs: from now on it serves, in the place of the one of its name."""
        if self.warming.get(listener.name) is not listener:
            return
        del self.warming[listener.name]
        old = self.named(listener.name)
        if listener.direction in self._closed_to or not self._adopts(listener, old):
            self._forget(listener)
            self._count()
            return
        listener.draining = listener.direction in self._drained
        if listener.draining or (listener.drains_unhealthy and not self._healthy):
            listener.drain_filters()
        if old is None:
            self._append(listener)
        else:
            self._replace(old, listener)
        self._count()
        assert context.tasks is not None, "the process has them"
        context.tasks.start(listener.serve(), lambda result, error: self._serves(listener, old, error))

    def _adopts(self, listener: Listener, old: Listener | None) -> bool:
        """See _have_sockets."""
        if old is None or not listener.can_adopt(old):
            return True
        try:
            listener.adopt(old)
        except OSError as error:
            self._failures.value += 1
            log.warning("listener %s: %s", listener.name, error.strerror)
            wall = self.dispatcher.clock.wall()
            self.failed[listener.name] = Failed(listener.message, str(error.strerror), wall)
            return False
        return True

    def _serves(self, listener: Listener, old: Listener | None, error: BaseException | None) -> None:
        if error is not None:
            self._failures.value += 1
            log.warning("listener %s cannot serve: %s", listener.name, error)
        else:
            self._created.value += 1
        if old is not None:
            self._retire(old)
        self._count()

    def _forget(self, listener: Listener) -> None:
        """It has never served, and never will."""
        listener.init.cancel()
        if listener.target is not None:
            listener.target.ready()
        listener.release()
        listener.stop_accepting()

    def _retire(self, listener: Listener) -> None:
        """No new connections; those that are there end with their next response, or when the time is over."""
        listener.stop_accepting()
        listener.release()
        listener.drain_filters()
        listener.draining = True
        self.draining.append(listener)
        self.sweep()
        alarm = Alarm(self.dispatcher.timers, lambda: self._drain_over(listener, alarm))
        alarm.at(self.dispatcher.clock.monotonic() + self.drain_time_s)

    def _drain_over(self, listener: Listener, alarm: Alarm) -> None:
        listener.abort()
        self.sweep()

    def sweep(self) -> None:
        """Forget drained listeners without connections; to be called from time to time."""
        self.draining = [each for each in self.draining if each.connections or each.waiting]
        self._count()

    def _count(self) -> None:
        self.active.set(len(self.listeners))
        self._warming.set(len(self.warming))
        self._draining.set(len(self.draining))
        self._tell()

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def drain(self, directions: set[str] | None = None) -> None:
        """Take no new connections, let go of idle ones. directions: only listeners of these traffic_directions."""
        chosen = self._of(directions)
        self._closed_to |= directions or _DIRECTIONS
        for listener in [*chosen, *self.draining]:
            if not listener.stopped:
                self._stopped.value += 1
            listener.stop_accepting()
            listener.drain()
        self._draining.set(len(chosen) + len(self.draining))
        self.active.set(len(self.listeners) - len(chosen))
        self._tell()

    def stop_accepting(self) -> None:
        """Somebody else accepts from now on; connections stay."""
        self._closed_to |= _DIRECTIONS
        for listener in self.listeners:
            listener.stop_accepting()

    def start_draining(self, directions: set[str] | None = None) -> None:
        """Envoy's graceful drain: still accepting, but every response closes its connection. Idle connections stay: a
        request may be on its way on them."""
        self._drained |= directions or _DIRECTIONS
        for listener in self._of(directions):
            listener.draining = True
            listener.drain_filters()

    def set_health(self, healthy: bool) -> None:
        """A process that says it is unhealthy closes its connections with their next response (Envoy's drainClose)."""
        self._healthy = healthy
        for listener in self.listeners:
            if not listener.draining and listener.drains_unhealthy:
                listener.drain_filters(not healthy)

    def _of(self, directions: set[str] | None) -> list[Listener]:
        return [each for each in self.listeners if directions is None or each.direction in directions]

    @property
    def connections(self) -> int:
        """Open downstream connections."""
        return sum(len(listener.connections) for listener in [*self.listeners, *self.draining])

    @property
    def traffic(self) -> int:
        """The same, of listeners for traffic: those that say a direction, if any does (others answer probes)."""
        directed = [each for each in self.listeners if each.direction != "UNSPECIFIED"]
        return sum(len(listener.connections) for listener in directed or self.listeners)

    def close(self) -> None:
        """Close everything at once."""
        for waits in self.warming.values():
            self._forget(waits)
        for listener in [*self.listeners, *self.draining]:
            listener.release()
            listener.stop_accepting()
            listener.abort()


def warming(listener: Listener) -> InitTarget:
    """What waits for a listener until it has its routes and certificates."""
    target = InitTarget(
        f"Listener-init-target {listener.name}", lambda: listener.init.initialize(target.ready)
    )
    return target
