"""CDS: clusters that come and go (envoy.config.cluster.v3.Cluster)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.api.discovery import Rejected, Resource, Subscription
from proxy.base.init import InitTarget

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.stats.store import Scope
    from proxy.upstream.manager import ClusterManager

log = logging.getLogger("upstream")


class ClusterDiscovery:
    """Implements ``api.discovery.Receiver``. version: of the last update; target: ready with the first one.

    A cluster that is refused does not hold up the others, as in Envoy; the update counts as rejected all the same.
    """

    def __init__(self, clusters: ClusterManager, scope: Scope, clock: Clock) -> None:
        self._wall = clock.wall
        self.clusters = clusters
        self.version = ""
        self.subscription: Subscription | None = None
        self.target = InitTarget("CDS", self._begin)
        self._reloads = scope.counter("config_reload")
        self._reloaded_at = scope.gauge("config_reload_time_ms")

    def _begin(self) -> None:
        if self.subscription is not None:
            self.subscription.start()

    def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """See Receiver."""
        clusters = self.clusters
        refused: list[str] = []
        changed = 0
        for resource in resources:
            try:
                changed += clusters.update(resource)
            except Rejected as error:
                log.warning("cds: cluster '%s' config rejected: %s", resource.name, error)
                refused.append(f"{resource.name}: {error}")
        if removed is None:
            removed = sorted(clusters.added_names() - {resource.name for resource in resources})
        for name in removed:
            clusters.remove(name)
        self.version = version
        self.target.ready()
        if refused:
            raise Rejected(f"Error adding/updating cluster(s) {', '.join(refused)}")
        if changed:
            self._reloads.value += 1
            self._reloaded_at.set(int(self._wall() * 1000))

    def on_unavailable(self) -> None:
        """See Receiver."""
        self.target.ready()
