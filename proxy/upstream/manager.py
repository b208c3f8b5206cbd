"""All clusters of a worker, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.api.reader import reads
from proxy.upstream.cluster import Cluster, compile_cluster

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.stats.store import Scope
    from proxy.upstream.context import UpstreamContext


class ClusterManagerStats:
    """Everything under "cluster_manager."."""

    __slots__ = (
        "active_clusters",
        "cluster_added",
        "cluster_modified",
        "cluster_removed",
        "cluster_updated",
        "cluster_updated_via_merge",
        "update_merge_cancelled",
        "update_out_of_merge_window",
        "warming_clusters",
    )

    def __init__(self, scope: Scope) -> None:
        self.active_clusters = scope.gauge("active_clusters")
        self.cluster_added = scope.counter("cluster_added")
        self.cluster_modified = scope.counter("cluster_modified")
        self.cluster_removed = scope.counter("cluster_removed")
        self.cluster_updated = scope.counter("cluster_updated")
        self.cluster_updated_via_merge = scope.counter("cluster_updated_via_merge")
        self.update_merge_cancelled = scope.counter("update_merge_cancelled")
        self.update_out_of_merge_window = scope.counter("update_out_of_merge_window")
        self.warming_clusters = scope.gauge("warming_clusters")


class ClusterManager:
    """compile -> start -> ready -> drain. ``clusters`` holds what compile has made, in the order of the configuration."""

    __slots__ = ("_callbacks", "_context", "_started", "_warming", "clusters", "stats")

    def __init__(self, context: UpstreamContext) -> None:
        self._context = context
        self.stats = ClusterManagerStats(context.stats.scope("cluster_manager"))
        self.clusters: dict[str, Cluster] = {}
        self._warming = 0
        self._started = False
        self._callbacks: list[Callable[[], None]] = []

    @reads("envoy.config.cluster.v3.Cluster")
    def compile(self, readers: list[Reader]) -> None:
        """static_resources.clusters; findings go to the readers. A second cluster of a name is an error."""
        for reader in readers:
            cluster = compile_cluster(reader, self._context)
            if cluster.name in self.clusters:
                reader.fail("name", f'there is a cluster "{cluster.name}" already')
                continue
            self.clusters[cluster.name] = cluster
            self.stats.cluster_added.value += 1
        self.stats.active_clusters.set(len(self.clusters))

    def get(self, name: str) -> Cluster | None:
        """The cluster of that name."""
        return self.clusters.get(name)

    @property
    def is_ready(self) -> bool:
        """Whether every cluster knows its hosts."""
        return self._started and self._warming == 0

    def start(self) -> None:
        """Let every cluster find its hosts."""
        self._started = True
        self._warming = len(self.clusters)
        self.stats.warming_clusters.set(0)  # clusters of the bootstrap do not count as warming
        for cluster in self.clusters.values():
            cluster.on_ready = self._on_cluster_ready
            cluster.on_updated = self._on_cluster_updated
            cluster.start()
        self._settle()

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call back once every cluster knows its hosts; at once when they do already."""
        if self.is_ready:
            callback()
        else:
            self._callbacks.append(callback)

    def drain(self) -> None:
        """The program ends: no more discovery, idle connections close now, busy ones with their stream."""
        for cluster in self.clusters.values():
            cluster.stop()

    def close(self) -> None:
        """Close every upstream connection now."""
        for cluster in self.clusters.values():
            for host in cluster.hosts:
                for pool in host.pools:
                    pool.close()

    def _on_cluster_ready(self, cluster: Cluster) -> None:
        self._warming -= 1
        self._settle()

    def _on_cluster_updated(self, cluster: Cluster) -> None:
        self.stats.cluster_updated.value += 1

    def _settle(self) -> None:
        if self._warming == 0 and self._callbacks:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()
