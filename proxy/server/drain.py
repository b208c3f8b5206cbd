"""Drain: how listeners, and then the process, come to their end without losing what is under way.

    SIGTERM -> ACCEPTING (--drain-listen-s: still accepting, every response closes its connection)
            -> FINISHING (listeners closed, idle connections closed, what runs goes on)
            -> over: nobody is left, or --drain-time-s since the signal

With --exit-on-zero-active-connections ACCEPTING lasts until nobody is connected. Draining by the admin interface
(``begin_graceful``, ``stop``) concerns listeners only; the process stays.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.base.timers import Alarm

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from proxy.base.clock import Clock
    from proxy.base.timers import TimerWheel
    from proxy.listener.manager import ListenerManager
    from proxy.server.options import Options

log = logging.getLogger("main")

#: how often it is looked whether somebody is left, seconds
LOOK_S = 0.02
#: after a handover: for connections that were idle to the end, seconds
LAST_S = 1.0


class Drain:
    """One for a process. on_over: called once, when the process may end."""

    def __init__(
        self,
        listeners: ListenerManager,
        options: Options,
        clock: Clock,
        timers: TimerWheel,
        loop: asyncio.AbstractEventLoop,
        on_over: Callable[[], None],
    ) -> None:
        self._listeners = listeners
        self._options = options
        self._clock = clock
        self._loop = loop
        self._on_over = on_over
        self._is_over = False
        self._graceful: tuple[set[str] | None, bool] | None = None
        self._deadline = Alarm(timers, self._time_is_over)
        self._listen = Alarm(timers, self._listened)
        self._stop = Alarm(timers, self._stop_listeners)

    # -- listeners, by the admin interface ------------------------------------------------------------------------

    def begin_graceful(self, directions: set[str] | None, stops: bool) -> None:
        """Go on accepting, and close connections with their responses; the listeners stop when the drain time is over,
        if ``stops``. A second call changes nothing, as in Envoy."""
        if self._graceful is not None:
            return
        self._graceful = (directions, stops)
        self._listeners.start_draining(directions)
        if stops:
            self._stop.at(self._clock.monotonic() + self._options.drain_time_s)

    def stop(self, directions: set[str] | None) -> None:
        """Accept no more."""
        self._listeners.drain(directions)

    def _stop_listeners(self) -> None:
        assert self._graceful is not None
        self._listeners.drain(self._graceful[0])

    # -- the process -----------------------------------------------------------------------------------------------

    def begin_exit(self) -> None:
        """The process is to end."""
        options, now = self._options, self._clock.monotonic()
        count = self._listeners.connections
        log.info("shutting down: %d connections, at most %g s", count, options.drain_time_s)
        self._deadline.at(now + max(options.drain_time_s, options.drain_listen_s))
        if options.drain_listen_s or options.exit_on_zero:
            self._listeners.start_draining(None)
            self._listen.at(now + options.drain_listen_s)
        else:
            self._finish()

    def begin_handover(self) -> None:
        """Somebody else accepts now: end when nobody is connected. Connections close with their responses; idle ones
        when the drain time is over, because requests may be on their way on them."""
        now = self._clock.monotonic()
        log.info(
            "handing over: %d connections, at most %g s",
            self._listeners.connections,
            self._options.drain_time_s,
        )
        self._listeners.stop_accepting()
        self._listeners.start_draining(None)
        self._listen.at(now + self._options.drain_time_s)
        self._deadline.at(now + self._options.drain_time_s + LAST_S)
        self._check()

    def _listened(self) -> None:
        if self._options.exit_on_zero and self._listeners.traffic and not self._is_over:
            self._loop.call_later(LOOK_S, self._listened)
        else:
            self._finish()

    def _finish(self) -> None:
        self._listeners.drain()
        self._loop.call_soon(self._check)

    def _check(self) -> None:
        if self._is_over:
            return
        if self._listeners.connections == 0:
            self._end()
        else:
            self._loop.call_later(LOOK_S, self._check)

    def _time_is_over(self) -> None:
        left = self._listeners.connections
        if left:
            log.warning("drain time is over with %d connections open", left)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._on_over()
