"""Circuit breakers (envoy.config.cluster.v3.CircuitBreakers): how much of a cluster one routing priority may use.

Counts are plain ints compared with plain limits; the gauges say whether a limit is reached and, when asked for
(``track_remaining``), how much is left. Limits count per worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.api.reader import reads
from proxy.stats.named import StatNames

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.stats.store import Gauge, Scope

PRIORITIES: Final = ("DEFAULT", "HIGH")  # core.v3.RoutingPriority, by number

# Envoy counts pools in 64 bits and connections of a host in 32; neither has a limit by default.
_UNLIMITED_POOLS: Final = 2**64 - 1
_UNLIMITED_CONNECTIONS: Final = 2**32 - 1
_OPEN: Final = StatNames(("cx_open", "cx_pool_open", "rq_open", "rq_pending_open", "rq_retry_open"))


class RetryBudget(NamedTuple):
    """Retries under way at most: a share of the active and waiting requests, but no fewer than ``least``."""

    percent: float = 20.0
    least: int = 3


class Thresholds(NamedTuple):
    """The limits of one priority, with Envoy's defaults. ``track_remaining``: keep the remaining_* gauges. ``budget``
    takes the place of ``max_retries``; ``max_connections_per_host`` counts a host's connections of both priorities."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    track_remaining: bool = False
    max_pools: int = _UNLIMITED_POOLS
    max_connections_per_host: int = _UNLIMITED_CONNECTIONS
    budget: RetryBudget | None = None


_NO_THRESHOLDS: Final = Thresholds()


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
        "_budget",
        "_max_retries",
        "connections",
        "cx_open",
        "cx_pool_open",
        "max_connections",
        "max_connections_per_host",
        "max_pending_requests",
        "max_pools",
        "max_requests",
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
        gauges = scope.gauges(_OPEN)
        self.cx_open, self.cx_pool_open, self.rq_open, self.rq_pending_open, self.rq_retry_open = gauges
        self.remaining = Remaining(scope) if thresholds.track_remaining else None
        self.show_remaining()

    def _take_limits(self, thresholds: Thresholds) -> None:
        self.max_connections = thresholds.max_connections
        self.max_pending_requests = thresholds.max_pending_requests
        self.max_requests = thresholds.max_requests
        self.max_pools = thresholds.max_pools
        self.max_connections_per_host = thresholds.max_connections_per_host
        self._max_retries = thresholds.max_retries
        self._budget = thresholds.budget

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

    @property
    def max_retries(self) -> int:
        """How many retries may be under way now."""
        budget = self._budget
        if budget is None:
            return self._max_retries
        return max(int(budget.percent / 100.0 * (self.requests + self.pending)), budget.least)

    def can_connect(self) -> bool:
        """Whether one more connection is within the cluster's limit."""
        return self.connections < self.max_connections

    def add_connection(self) -> None:
        """A connection begins (the pool may exceed the limit by one connection per otherwise empty pool)."""
        self.connections += 1
        self._connections_changed()

    def remove_connection(self) -> None:
        """A connection is gone."""
        self.connections -= 1
        self._connections_changed()

    def can_add_pool(self) -> bool:
        """Whether one more host may have connections."""
        return self.pools < self.max_pools

    def add_pool(self) -> None:
        """A host gets its first connection."""
        self.pools += 1
        _show_open(self.cx_pool_open, self.pools, self.max_pools)
        self.rq_open.set(self.rq_open.value)  # in use from the first connection on, as Envoy's

    def remove_pool(self) -> None:
        """A host has no connection any more."""
        self.pools -= 1
        _show_open(self.cx_pool_open, self.pools, self.max_pools)
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
        remaining.cx_pools.set(self.max_pools - self.pools)
        remaining.pending.set(self.max_pending_requests - self.pending)
        if self._budget is None:  # else it changes with each request, and Envoy shows 0
            remaining.retries.set(self._max_retries - self.retries)
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


@reads("envoy.config.cluster.v3.CircuitBreakers")
def compile_circuit_breakers(reader: Reader | None) -> tuple[Thresholds, Thresholds]:
    """CircuitBreakers -> the limits of DEFAULT and HIGH. The first entry of a priority counts, as in Envoy."""
    if reader is None:
        return _NO_THRESHOLDS, _NO_THRESHOLDS
    found: dict[str, Thresholds] = {}
    per_host: dict[str, int] = {}
    for entry in reader.each("thresholds"):
        priority, thresholds = _compile_thresholds(entry)
        if priority in found:
            entry.warn("priority", f"a second entry for {priority} is not used")
        found.setdefault(priority, thresholds)
    for entry in reader.each("per_host_thresholds"):
        priority, limit = _compile_per_host(entry)
        if priority in per_host:
            entry.warn("priority", f"a second entry for {priority} is not used")
        per_host.setdefault(priority, limit)
    default, high = (
        found.get(priority, Thresholds())._replace(
            max_connections_per_host=per_host.get(priority, _UNLIMITED_CONNECTIONS)
        )
        for priority in PRIORITIES
    )
    return default, high


@reads("envoy.config.cluster.v3.CircuitBreakers.Thresholds")
def _compile_thresholds(entry: Reader) -> tuple[str, Thresholds]:
    budget = entry.sub("retry_budget")
    thresholds = Thresholds(
        max_connections=entry.wrapped("max_connections", 1024),
        max_pending_requests=entry.wrapped("max_pending_requests", 1024),
        max_requests=entry.wrapped("max_requests", 1024),
        max_retries=entry.wrapped("max_retries", 3),
        track_remaining=entry.flag("track_remaining"),
        max_pools=entry.wrapped("max_connection_pools", _UNLIMITED_POOLS),
        budget=_compile_budget(budget) if budget is not None else None,
    )
    return entry.enum("priority"), thresholds


@reads("envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget")
def _compile_budget(reader: Reader) -> RetryBudget:
    reader.unsupported("budget_interval", "is not supported: the budget is a share of the requests under way")
    return RetryBudget(reader.percent("budget_percent", 20.0), reader.wrapped("min_retry_concurrency", 3))


@reads("envoy.config.cluster.v3.CircuitBreakers.Thresholds")
def _compile_per_host(entry: Reader) -> tuple[str, int]:
    """Only max_connections can be limited by host; Envoy refuses the others too."""
    for field in (
        "max_pending_requests",
        "max_requests",
        "max_retries",
        "max_connection_pools",
        "retry_budget",
    ):
        if entry.has(field):
            entry.fail(field, "cannot be limited by host")
    entry.settle(
        "max_pending_requests", "max_requests", "max_retries", "max_connection_pools", "retry_budget"
    )
    entry.ignore("track_remaining", why="limits by host have no gauges")
    return entry.enum("priority"), entry.wrapped("max_connections", _UNLIMITED_CONNECTIONS)
