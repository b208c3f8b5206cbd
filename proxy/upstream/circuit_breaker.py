"""Circuit breakers (envoy.config.cluster.v3.CircuitBreakers): how much of a cluster one routing priority may use.

Counts are plain ints compared with plain limits; the gauges say whether a limit is reached and, when asked for
(``track_remaining``), how much is left. Limits count per worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.stats.store import Gauge, Scope

PRIORITIES: Final = ("DEFAULT", "HIGH")  # core.v3.RoutingPriority, by number

# Envoy counts pools in 64 bits and has no limit by default.
_UNLIMITED_POOLS: Final = 2**64 - 1


@dataclass(slots=True, frozen=True)
class Thresholds:
    """The limits of one priority, with Envoy's defaults. ``track_remaining``: keep the remaining_* gauges."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    track_remaining: bool = False


class Remaining:
    """The remaining_* gauges of one priority."""

    __slots__ = ("cx", "cx_pools", "pending", "retries", "rq")

    def __init__(self, scope: Scope) -> None:
        self.cx = scope.gauge("remaining_cx")
        self.cx_pools = scope.gauge("remaining_cx_pools")
        self.pending = scope.gauge("remaining_pending")
        self.retries = scope.gauge("remaining_retries")
        self.rq = scope.gauge("remaining_rq")


class ResourceManager:
    """What one priority of a cluster uses now, and may use at most.

    The pool compares ``requests`` with ``max_requests`` itself and keeps it by ``rq_open`` (its hot path); everything
    else goes through the methods below, so that gauges and counts never part.
    """

    __slots__ = (
        "connections",
        "cx_open",
        "cx_pool_open",
        "max_connections",
        "max_pending_requests",
        "max_requests",
        "max_retries",
        "pending",
        "pools",
        "remaining",
        "requests",
        "retries",
        "rq_open",
        "rq_pending_open",
        "rq_retry_open",
    )

    def __init__(self, thresholds: Thresholds, scope: Scope) -> None:
        """scope: "cluster.<name>.circuit_breakers.<default|high>."."""
        self._take_limits(thresholds)
        self.connections = self.pending = self.pools = self.requests = self.retries = 0
        self.cx_open = scope.gauge("cx_open")
        self.cx_pool_open = scope.gauge("cx_pool_open")
        self.rq_open = scope.gauge("rq_open")
        self.rq_pending_open = scope.gauge("rq_pending_open")
        self.rq_retry_open = scope.gauge("rq_retry_open")
        self.remaining = Remaining(scope) if thresholds.track_remaining else None
        self.show_remaining()

    def _take_limits(self, thresholds: Thresholds) -> None:
        self.max_connections = thresholds.max_connections
        self.max_pending_requests = thresholds.max_pending_requests
        self.max_requests = thresholds.max_requests
        self.max_retries = thresholds.max_retries

    def set_limits(self, thresholds: Thresholds) -> None:
        """Other limits from now on; what is in use stays in use."""
        self._take_limits(thresholds)
        for gauge, count, limit in (
            (self.cx_open, self.connections, self.max_connections),
            (self.rq_open, self.requests, self.max_requests),
            (self.rq_pending_open, self.pending, self.max_pending_requests),
            (self.rq_retry_open, self.retries, self.max_retries),
        ):
            is_open = 1 if count >= limit else 0
            if gauge.value != is_open:
                gauge.set(is_open)
        self.show_remaining()

    def can_connect(self) -> bool:
        """Whether one more connection is within the limit."""
        return self.connections < self.max_connections

    def add_connection(self) -> None:
        """A connection begins (the pool may exceed the limit by one connection per otherwise empty pool)."""
        self.connections += 1
        self._connections_changed()

    def remove_connection(self) -> None:
        """A connection is gone."""
        self.connections -= 1
        self._connections_changed()

    def add_pool(self) -> None:
        """A host's pool is used for the first time (there is no limit)."""
        self.pools += 1
        self.cx_pool_open.set(0)
        self.rq_open.set(self.rq_open.value)  # in use from the first connection on, as Envoy's

    def remove_pool(self) -> None:
        """A pool is empty and its host gone."""
        self.pools -= 1
        self.show_remaining()

    def can_wait(self) -> bool:
        """Whether one more request may wait for a connection."""
        return self.pending < self.max_pending_requests

    def add_pending(self) -> None:
        """A request begins to wait."""
        self.pending += 1
        self._pending_changed()

    def remove_pending(self) -> None:
        """A request no longer waits."""
        self.pending -= 1
        self._pending_changed()

    def can_retry(self) -> bool:
        """Whether one more retry may be under way at the same time."""
        return self.retries < self.max_retries

    def add_retry(self) -> None:
        """A retry begins (counted from the decision to the end of the request)."""
        self.retries += 1
        self._retries_changed()

    def remove_retry(self) -> None:
        """A retry is over."""
        self.retries -= 1
        self._retries_changed()

    def show_remaining(self) -> None:
        """Bring the remaining_* gauges up to date; nothing without ``track_remaining``."""
        remaining = self.remaining
        if remaining is None:
            return
        remaining.cx.set(max(0, self.max_connections - self.connections))
        remaining.cx_pools.set(_UNLIMITED_POOLS - self.pools)
        remaining.pending.set(self.max_pending_requests - self.pending)
        remaining.retries.set(self.max_retries - self.retries)
        remaining.rq.set(self.max_requests - self.requests)

    def _connections_changed(self) -> None:
        _show_open(self.cx_open, self.connections, self.max_connections)
        self.show_remaining()

    def _pending_changed(self) -> None:
        _show_open(self.rq_pending_open, self.pending, self.max_pending_requests)
        self.show_remaining()

    def _retries_changed(self) -> None:
        _show_open(self.rq_retry_open, self.retries, self.max_retries)
        self.show_remaining()


def _show_open(gauge: Gauge, count: int, limit: int) -> None:
    gauge.set(1 if count >= limit else 0)


def compile_circuit_breakers(reader: Reader | None) -> tuple[Thresholds, Thresholds]:
    """CircuitBreakers -> the limits of DEFAULT and HIGH. The first entry of a priority counts, as in Envoy.

    Not supported and therefore refused: retry_budget, max_connection_pools, per_host_thresholds.
    """
    found: dict[str, Thresholds] = {}
    for entry in reader.each("thresholds") if reader is not None else []:
        priority = entry.enum("priority")
        thresholds = Thresholds(
            max_connections=entry.wrapped("max_connections", 1024),
            max_pending_requests=entry.wrapped("max_pending_requests", 1024),
            max_requests=entry.wrapped("max_requests", 1024),
            max_retries=entry.wrapped("max_retries", 3),
            track_remaining=entry.flag("track_remaining"),
        )
        if priority in found:
            entry.warn("priority", f"a second entry for {priority} is not used")
        found.setdefault(priority, thresholds)
    default, high = (found.get(priority, Thresholds()) for priority in PRIORITIES)
    return default, high
