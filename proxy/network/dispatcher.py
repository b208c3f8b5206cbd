"""One worker's turn of the loop: who has bytes to write, and when somebody's time has come.

A connection that has output says so once (``touch``); every entry point (bytes read, a timer, a DNS answer) ends with
``flush()``, so that a response head and its body leave in one write.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING

from mypy_extensions import trait

from proxy.base.timers import Timed, TimerWheel

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.stats.store import Counter

log = logging.getLogger("main")


@trait
class Flushable:
    """A connection with output."""

    __slots__ = ()

    def flush(self) -> None:
        """Write what the codec has."""

    def fence(self, error: Exception) -> None:
        """Our own mistake: close this connection, no other suffers."""


class Dispatcher:
    """The loop, the timer wheel and the list of connections to flush, shared by one worker's connections.

    bugs: server.envoy_bug_failures, counted when our own code raised; the connection concerned is closed.
    """

    __slots__ = ("_handle", "_next_id", "_wake_at", "bugs", "clock", "dirty", "loop", "timers")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, bugs: Counter) -> None:
        self.loop = loop
        self.clock = clock
        self.bugs = bugs
        self.dirty: list[Flushable] = []
        self.timers = TimerWheel(on_earlier=self._arm, on_error=self._on_timer_error)
        self._handle: asyncio.TimerHandle | None = None
        self._wake_at = inf
        self._next_id = 0

    def next_connection_id(self) -> int:
        """Ids of connections, unique in this process, from 1."""
        self._next_id += 1
        return self._next_id

    def flush(self) -> None:
        """Write everything that this turn has produced. Flushing may touch further connections."""
        dirty = self.dirty
        while dirty:
            batch = dirty[:]
            dirty.clear()
            for connection in batch:
                try:
                    connection.flush()
                except Exception as error:
                    connection.fence(error)

    def bug(self, where: str, error: BaseException) -> None:
        """Our own mistake: say so with its traceback, count it; the caller closes the connection."""
        self.bugs.value += 1
        log.error("envoy bug failure in %s", where, exc_info=error)

    def _on_timer_error(self, item: Timed, error: Exception) -> None:
        fence = getattr(item, "fence", None)
        if fence is not None:
            fence(error)
        else:
            self.bug("a timer", error)

    def _arm(self, when: float) -> None:
        if when >= self._wake_at:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._wake_at = when
        delay = max(0.0, when - self.clock.monotonic())
        self._handle = self.loop.call_later(delay, self._turn)

    def _turn(self) -> None:
        self._handle = None
        self._wake_at = inf
        try:
            self.timers.turn(self.clock.monotonic())
            self.flush()
        except Exception as error:
            self.bug("a timer", error)
        finally:
            due = self.timers.next_due()
            if due != inf:
                self._arm(due)

    def close(self) -> None:
        """No more wake-ups."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._wake_at = inf
