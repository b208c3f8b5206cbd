"""envoy.filters.network.connection_limit (envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit): so many
connections of a filter chain at a time; what is beyond that is closed, after a while where that is wished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader
from proxy.base.timers import Alarm
from proxy.http.context import FactoryContext
from proxy.http.filter import STOP, FilterStatus
from proxy.network.read_filter import ReadFilter, ReadFilterFactory
from proxy.runtime.config import compile_flag

if TYPE_CHECKING:
    from proxy.base.timers import TimerWheel

OVER: Final = b"over_connection_limit"


class ConnectionLimit(ReadFilterFactory):
    """The filter of one chain. delay_s: 0 closes at once; open: connections within the limit, and beyond it while they
    wait to be closed"""

    __slots__ = ("active", "delay_s", "enabled", "limited", "most", "open", "timers")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        scope = context.stats.scope("connection_limit").scope(config.text("stat_prefix"))
        self.limited = scope.counter("limited_connections")
        self.active = scope.gauge("active_connections")
        self.most: int = config.wrapped("max_connections", 0)
        self.delay_s = config.seconds("delay", 0.0) or 0.0
        self.enabled = compile_flag(config.sub("runtime_enabled"), context.runtime, True)
        self.timers: TimerWheel = context.timers
        self.open = 0

    def new_filter(self) -> ReadFilter:
        return _Limited(self)


class _Limited(ReadFilter):
    """rejected: it is beyond the limit; counted: in ``open`` and ``active``"""

    __slots__ = ("alarm", "counted", "limit", "rejected")

    def __init__(self, limit: ConnectionLimit) -> None:
        self.limit = limit
        self.counted = self.rejected = False
        self.alarm: Alarm | None = None

    def on_new_connection(self) -> FilterStatus | None:
        limit = self.limit
        if not limit.enabled.value:
            return None
        limit.active.value += 1
        limit.open += 1
        self.counted = True
        if limit.open <= limit.most:
            return None
        limit.limited.value += 1
        self.rejected = True
        if limit.delay_s:
            self.alarm = Alarm(limit.timers, self._close)
            self.alarm.at(self.gate.dispatcher.clock.monotonic() + limit.delay_s)
        else:
            self._close()
        return STOP

    def on_data(self, data: bytes, end: bool) -> FilterStatus | None:
        return STOP if self.rejected else None

    def _close(self) -> None:
        self.gate.close_for(OVER)

    def on_closed(self) -> None:
        if self.alarm is not None:
            self.alarm.stop()
            self.alarm = None
        if self.counted:
            self.counted = False
            self.limit.active.value -= 1
            self.limit.open -= 1
