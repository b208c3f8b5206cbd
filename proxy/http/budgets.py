"""How much of their timeouts requests and tries have used, for clusters that want to know
(Cluster.track_cluster_stats.timeout_budgets)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream
    from proxy.upstream.stats import TimeoutBudgets


def count_request(stream: ActiveStream, budgets: TimeoutBudgets) -> None:
    """The request is over, and its last try with it. One that had no try, or never came whole, has used nothing."""
    if stream.attempt_count == 0 or stream.rx_end_at == 0.0:
        return
    budgets.record(stream.ended_at - stream.rx_end_at, stream.timeout_s)
    count_try(stream, budgets, stream.ended_at)


def count_try(stream: ActiveStream, budgets: TimeoutBudgets, now: float) -> None:
    """A try is over; it began with the wait for its connection."""
    began = stream.upstream_tx_start_at
    elapsed_s = now - began + max(0.0, stream.upstream_pool_wait_s) if began else 0.0
    budgets.record_try(elapsed_s, stream.per_try_timeout_s)
