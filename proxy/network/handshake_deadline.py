"""HandshakeDeadline: when a client's TLS handshake has to be over (FilterChain.transport_socket_connect_timeout)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from proxy.base.timers import Timed, TimerWheel
from proxy.stats.store import Counter

if TYPE_CHECKING:
    from proxy.network.tls_transport import TlsTransport


class HandshakeDeadline(Timed):
    """One connection's. It is let go of when the handshake is over, however that ends."""

    __slots__ = ("_layer", "_timeouts", "_timers")

    def __init__(self, layer: TlsTransport, timers: TimerWheel, when: float, timeouts: Counter) -> None:
        """when: of the monotonic clock, seconds; timeouts: counts those that came too late"""
        self.due = inf
        self._layer: TlsTransport | None = layer
        self._timers = timers
        self._timeouts = timeouts
        timers.watch(self, when)

    def end(self) -> None:
        """The handshake is over."""
        self._timers.forget(self)
        self._layer = None

    def on_due(self, now: float) -> float:
        layer = self._layer
        if layer is not None:
            self._timeouts.value += 1
            layer.expire()
        return inf
