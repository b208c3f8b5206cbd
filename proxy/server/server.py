"""The running server: one loop, one worker; readiness, drain, the end. ``server.main`` is the process around it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import proxy
from proxy.access_log.log_file import close_all, reopen_all
from proxy.admin.state import Discovered, ListenerStatus
from proxy.api.load import Loaded
from proxy.base.clock import Clock
from proxy.base.init import InitManager
from proxy.base.timers import Alarm
from proxy.listener.place import Place
from proxy.network.dispatcher import Dispatcher
from proxy.network.dns import AiodnsResolver
from proxy.runtime.layers import DiskLayer
from proxy.runtime.runtime import Runtime
from proxy.server.bootstrap import Parts, compile_bootstrap
from proxy.server.discovered import discovered, discovered_versions
from proxy.server.drain import LAST_S, LOOK_S, Drain
from proxy.server.later import LATER_S, import_later
from proxy.server.log import log_levels, set_log_level
from proxy.server.memory import Spare, held_bytes
from proxy.stats.sink import SinkFeed
from proxy.stats.store import Store

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from proxy.admin.server import AdminServer
    from proxy.http.context import Node
    from proxy.network.tls import TlsSide
    from proxy.server.handover import Giver, Inherited, Sockets
    from proxy.server.options import Options
    from proxy.server.supervisor import Link

log = logging.getLogger("main")

#: server.state, as Envoy numbers it
LIVE, DRAINING, PRE_INITIALIZING, INITIALIZING = 0, 1, 2, 3
STATE_NAMES = ("LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING")
#: how long the last spans may take to reach their collector when the process ends, seconds
LAST_SPANS_S = 1.0
#: what the admin interface's listening socket is called when it is handed on: no listener or place is
ADMIN = "admin interface"


class Server:
    """One process. Implements ``proxy.admin.state.AdminState``.

    ``stopped`` is set when the process may end; ``ready`` when listeners serve and clusters know their hosts.
    """

    def __init__(self, options: Options, loaded: Loaded, loop: asyncio.AbstractEventLoop) -> None:
        self._options = options
        self.loop = loop
        self.clock = Clock()
        self.started_at = self.clock.wall()
        self.store = Store()
        self.dispatcher = Dispatcher(loop, self.clock, self.store.counter("server.envoy_bug_failures"))
        self._resolver = AiodnsResolver()
        self.parts: Parts = compile_bootstrap(
            loaded, options, self.dispatcher, self.store, os.environ, self._resolver
        )
        self.feed = SinkFeed(self.store, self.parts.sinks)
        self.admin: AdminServer | None = None
        self.admin_address: tuple[str, int] | None = None
        self.link = _link(options)
        self.inherited: Inherited | None = None
        self.giver: Giver | None = None
        self._admin_socket: socket.socket | None = None  # of who was here before
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()
        self._state = self.store.gauge("server.state")
        self._live = self.store.gauge("server.live")
        self._workers_started = self.store.gauge("listener_manager.workers_started")
        self._uptime = self.store.gauge("server.uptime")
        self._connections = self.store.gauge("server.total_connections")
        self.store.gauge("server.concurrency").set(1)
        self.store.gauge("server.hot_restart_epoch").set(options.restart_epoch)
        self._state.set(PRE_INITIALIZING)
        self._healthy = True
        self._draining = False
        self._signalled = False
        self._drain = Drain(
            self.parts.listeners, options, self.clock, self.dispatcher.timers, loop, self.stopped.set
        )
        self._spare = Spare(held_bytes)
        self._flush_alarm = Alarm(self.dispatcher.timers, self._flush_stats)
        self._fold_alarm = Alarm(self.dispatcher.timers, self._fold_stats)

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind, resolve, then serve. Raises OSError when an address cannot be had."""
        parts = self.parts
        self._start_runtime()
        inherited = self.inherited
        before = inherited or self.link
        parts.listeners.bind(parts.context, before.take if before is not None else None)
        if inherited is None:  # else who was here before answers until we serve
            if self.link is not None:
                self._admin_socket = self.link.take(ADMIN, ADMIN)
                self.link.restore(self.store)
            await self._start_admin()
        self._state.set(INITIALIZING)
        warm = asyncio.Event()
        parts.clusters.on_ready(warm.set)
        parts.clusters.start()
        self.dispatcher.flush()
        await warm.wait()
        await self._initialize()
        if self._draining:
            return  # told to stop before it began
        await parts.listeners.serve()
        if self._draining:
            return
        self._workers_started.set(1)
        self._state.set(LIVE)
        self._live.set(1)
        self._freeze()
        self._flush_stats()
        self._fold_stats()
        if inherited is not None:
            self._admin_socket = inherited.take(ADMIN, ADMIN)
            await self._start_admin()
        self._take_over()
        self.ready.set()
        self.loop.call_later(LATER_S, import_later, parts)
        for listener in parts.listeners.listeners:
            for host, port in listener.bound if listener.binds else ():
                log.info("listener %s serves on %s", listener.name, Place(host, port).text)
        log.info("all clusters initialized; serving")

    async def _initialize(self) -> None:
        """Clusters that come by CDS know their hosts, then listeners have what they need, as Envoy orders it."""
        parts = self.parts
        if parts.dynamic.cds is not None:
            clusters, warm = InitManager("CDS"), asyncio.Event()
            clusters.add(parts.dynamic.cds.target)
            clusters.initialize(lambda: parts.clusters.when_warm(warm.set))
            self.dispatcher.flush()
            await warm.wait()
        initialized = asyncio.Event()
        parts.context.init.initialize(initialized.set)
        self.dispatcher.flush()
        await initialized.wait()

    def _take_over(self) -> None:
        """From who was here before, and be there for who comes after."""
        if self.inherited is not None:
            self.inherited.serve(self.store, self.loop)
        if self.parts.watchdog is not None:
            self.parts.watchdog.start(self.loop, self.link.beat if self.link is not None else None)
        if self.link is not None:
            self.link.serve(self.listening_sockets(), self.loop, self.quit)
            self.parts.listeners.on_change = self._on_sockets_changed
        if self._options.handover_path:
            from proxy.server.handover import Giver

            self.giver = Giver(self._options.handover_path, self.loop, self)
            self.giver.start()

    def _on_sockets_changed(self) -> None:
        self.loop.call_soon(self._tell_supervisor)

    def _tell_supervisor(self) -> None:
        """Listeners may have come or gone: what it keeps for the worker after us must not be more than we listen on."""
        if self.link is not None:
            self.link.renew(self.listening_sockets())

    # -- handover.Gives ------------------------------------------------------------------------------------------

    def listening_sockets(self) -> Sockets:
        found = [
            (listener.name, place.text, bound)
            for listener in self.parts.listeners.listeners
            for place, bound in zip(listener.places, listener.sockets, strict=False)
        ]
        if self.admin is not None:
            found += [(ADMIN, ADMIN, each) for each in self.admin.sockets]
        return found

    def hand_over(self) -> None:
        if self.admin is not None:
            self.admin.stop()  # at once: an answer of ours would show more than the successor was told of
        if self.link is not None:
            self.link.handed_over()
        if self._draining:
            return
        self._draining = True
        self._state.set(DRAINING)
        self._live.set(0)
        self._drain.begin_handover()

    # -- life ----------------------------------------------------------------------------------------------------

    def _start_runtime(self) -> None:
        """Read the layers anew, as Envoy does when it starts, and again whenever a disk layer is swapped."""
        runtime = self.parts.runtime
        for layer in runtime.layers:
            if isinstance(layer, DiskLayer):
                self.parts.watcher.watch(layer.symlink_root, runtime.reload)
        runtime.reload()

    async def _start_admin(self) -> None:
        if self.parts.admin is None:
            return
        from proxy.admin.server import AdminServer

        link = self.link
        place = self.parts.admin
        self.admin = AdminServer(self, allow_path=place.allow_path)
        self.admin.access_logs = place.access_logs
        if link is not None:
            self.admin.before_stats = lambda: link.keep(self.store)
        given, self._admin_socket = self._admin_socket, None
        self.admin_address = await self.admin.start(place.ip, place.port, given=given)
        log.info("admin address: %s:%d", *self.admin_address)
        if self._options.admin_address_path:
            text = "{}:{}".format(*self.admin_address)
            with open(self._options.admin_address_path, "w", encoding="utf-8") as file:
                file.write(text)

    @staticmethod
    def _freeze() -> None:
        """Configuration objects live for ever: out of the collector's sight, and collect young garbage seldom.

        Looking for garbage before would take as long as a tenth of the start, and find what imports left behind: some
        2,000 objects, however large the configuration is.

        Requests, connections and hosts that leave are no garbage. What is replaced whole (clusters, listeners) is, and is met
        by a first collection while it lives, so the second generation is looked at often enough for what it holds then to
        stay below 200,000 objects, some 20 MB.
        """
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 4, 50)

    def _flush_stats(self) -> None:
        self._uptime.set(int(self.clock.wall() - self.started_at))
        self.parts.listeners.sweep()
        self._connections.set(self.parts.listeners.connections)
        self.feed.flush()
        self.store.flush()
        self._flush_alarm.at(self.clock.monotonic() + self.parts.flush_interval_s)

    def _fold_stats(self) -> None:
        self.store.fold()
        if self.link is not None:
            self.link.keep(self.store)
        self.feed.record()
        self._spare.look(self.clock.monotonic())
        self._fold_alarm.at(self.clock.monotonic() + 1.0)

    def on_signal(self) -> None:
        """SIGTERM, SIGINT: the first drains, the second ends at once. A drain that something else began (a handover,
        /quitquitquit of a preStop hook) goes on."""
        if self._signalled:
            log.warning("second signal: exiting at once")
            self.stopped.set()
            return
        self._signalled = True
        self.quit()

    def quit(self) -> None:
        """Finish what is in flight, then stop: see ``server.drain``."""
        if self._draining:
            return
        self._draining = True
        self._state.set(DRAINING)
        self._live.set(0)
        self._drain.begin_exit()

    async def stop(self) -> None:
        """The last things: spans and log lines out, everything closed."""
        parts = self.parts
        parts.sources.close()
        parts.listeners.close()
        await self._send_last_spans()
        if self.giver is not None:
            await self._hear_last_counts(self.giver)
            self.giver.close()
        if self.admin is not None:
            await self.admin.close()
        self.feed.close()
        await asyncio.sleep(0)  # its last lines are written before its connection is cut
        parts.dynamic.close()
        parts.secrets.close()
        parts.watcher.close()
        parts.clusters.drain()
        parts.clusters.close()
        await self._resolver.close()  # its threads call back into the loop, which ends soon
        close_all(parts.context)
        self.dispatcher.flush()
        await asyncio.sleep(0)
        if parts.watchdog is not None:
            parts.watchdog.stop()
        self.dispatcher.close()

    async def _hear_last_counts(self, giver: Giver) -> None:
        """The one before us may still be finishing, and what it counts would be lost with us. It ends when its drain time is
        over."""
        deadline = self.clock.monotonic() + self._options.drain_time_s + LAST_S
        while (
            giver.has_handed_over
            and self.inherited is not None
            and not self.inherited.is_over
            and not self._signalled
            and self.clock.monotonic() < deadline
        ):
            await asyncio.sleep(LOOK_S)

    async def _send_last_spans(self) -> None:
        for listener in self.parts.listeners.listeners:
            for chain in listener.filter_chains:
                hcm = getattr(chain.filter, "hcm", None)
                if hcm is not None and hcm.tracing is not None:
                    hcm.tracing.flush()
        self.dispatcher.flush()
        deadline = self.clock.monotonic() + LAST_SPANS_S
        while self.parts.client.calls and self.clock.monotonic() < deadline:
            await asyncio.sleep(0.01)

    # -- admin.state.AdminState ----------------------------------------------------------------------------------

    @property
    def clusters(self) -> Mapping[str, Any]:
        return self.parts.clusters.clusters

    @property
    def listeners(self) -> Sequence[ListenerStatus]:
        if not self.ready.is_set():
            return []
        return [
            ListenerStatus(each.name, *each.bound[0], tuple(each.bound[1:]))
            for each in self.parts.listeners.listeners
        ]

    @property
    def tls_contexts(self) -> Sequence[TlsSide]:
        chains = (chain for listener in self.parts.listeners.listeners for chain in listener.filter_chains)
        found = [chain.tls for chain in chains if chain.tls is not None]
        for cluster in self.parts.clusters.clusters.values():
            found += cluster.sockets.sides()
        return [side for side in found if side.is_ready]

    @property
    def discovered(self) -> Sequence[Discovered]:
        return discovered(self.parts)

    @property
    def discovered_versions(self) -> Mapping[str, str]:
        return discovered_versions(self.parts)

    @property
    def bootstrap(self) -> Message:
        return self.parts.message

    @property
    def options(self) -> Mapping[str, Any]:
        return self._options.command_line

    @property
    def runtime(self) -> Runtime:
        return self.parts.runtime

    @property
    def node(self) -> Node:
        return self.parts.node

    @property
    def version(self) -> str:
        return f"outrider/{proxy.__version__}/Clean/RELEASE/none"

    @property
    def state(self) -> str:
        if self._state.value == LIVE and not self._healthy:
            return "DRAINING"
        return STATE_NAMES[self._state.value]

    def set_health(self, healthy: bool) -> None:
        self._healthy = healthy
        self.parts.listeners.set_health(healthy)
        self._live.set(1 if healthy else 0)

    def drain(self, inbound_only: bool, graceful: bool, skip_exit: bool) -> None:
        inbound = {"INBOUND"} if inbound_only else None
        if graceful:
            self._drain.begin_graceful(inbound, stops=not skip_exit)
        elif not skip_exit:  # Envoy does nothing when told only what not to do
            self._drain.stop(inbound)

    def reopen_logs(self) -> None:
        reopen_all(self.parts.context)

    def reset_counters(self) -> None:
        self.store.reset_counters()

    def log_levels(self) -> Mapping[str, str]:
        return log_levels()

    def set_log_level(self, logger: str | None, level: str) -> None:
        set_log_level(logger, level)


def _link(options: Options) -> Link | None:
    """To the supervisor, if there is one."""
    if not options.supervised:
        return None
    from proxy.server.supervisor import Link

    return Link(options.supervised)
