"""What the runtime may change of a cluster: its limits, its panic threshold, its maintenance mode.

circuit_breakers.<cluster>.<default|high>.<limit>    instead of the configured limit; a retry_budget takes the place of
                                                     max_retries, also one that only the runtime gives
upstream.healthy_panic_threshold                     instead of every cluster's own; counts from the next change of hosts
upstream.maintenance_mode.<cluster>                  percentage of requests that are answered with 503
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.upstream.circuit_breaker import RetryBudget

if TYPE_CHECKING:
    from proxy.runtime.runtime import Runtime
    from proxy.runtime.slots import Watch
    from proxy.runtime.snapshot import Snapshot
    from proxy.upstream.circuit_breaker import Thresholds
    from proxy.upstream.cluster import Cluster

_PRIORITIES = ("default", "high")


def follow_runtime(cluster: Cluster, runtime: Runtime) -> Watch:
    """Keep the cluster as the runtime says, for as long as somebody holds what is returned."""
    was_concerned = False

    def refresh(snapshot: Snapshot) -> None:
        nonlocal was_concerned
        concerned = bool(snapshot.entries) and _is_concerned(cluster.config.name, snapshot)
        if concerned or was_concerned:  # of thousands of clusters few are, and requests wait meanwhile
            was_concerned = concerned
            _apply(cluster, snapshot)

    return runtime.watch(refresh)


def _is_concerned(name: str, snapshot: Snapshot) -> bool:
    return (
        snapshot.has_below(f"circuit_breakers.{name}")
        or f"upstream.maintenance_mode.{name}" in snapshot.entries
        or "upstream.healthy_panic_threshold" in snapshot.entries
    )


def _apply(cluster: Cluster, snapshot: Snapshot) -> None:
    config = cluster.config
    for resources, thresholds, priority in zip(
        cluster.resources, config.thresholds, _PRIORITIES, strict=True
    ):
        prefix = f"circuit_breakers.{config.name}.{priority}."
        resources.set_limits(_limits(thresholds, prefix, snapshot))
    panic = min(100, snapshot.integer("upstream.healthy_panic_threshold", int(config.policy.panic_percent)))
    cluster.set_policy(config.policy._replace(panic_percent=float(panic)))
    percent = snapshot.integer(f"upstream.maintenance_mode.{config.name}", 0)
    cluster.maintenance = min(percent, 100) / 100.0


def _limits(configured: Thresholds, prefix: str, snapshot: Snapshot) -> Thresholds:
    return configured._replace(
        budget=_budget(configured.budget, f"{prefix}retry_budget.", snapshot),
        max_pools=snapshot.integer(f"{prefix}max_connection_pools", configured.max_pools),
        max_connections=snapshot.integer(f"{prefix}max_connections", configured.max_connections),
        max_pending_requests=snapshot.integer(
            f"{prefix}max_pending_requests", configured.max_pending_requests
        ),
        max_requests=snapshot.integer(f"{prefix}max_requests", configured.max_requests),
        max_retries=snapshot.integer(f"{prefix}max_retries", configured.max_retries),
    )


def _budget(configured: RetryBudget | None, prefix: str, snapshot: Snapshot) -> RetryBudget | None:
    """The configured budget with the runtime's values; None when neither says anything of one."""
    percent, least = f"{prefix}budget_percent", f"{prefix}min_retry_concurrency"
    if configured is None and not (percent in snapshot.entries or least in snapshot.entries):
        return None
    budget = configured or RetryBudget()
    return RetryBudget(snapshot.double(percent, budget.percent), snapshot.integer(least, budget.least))
