"""All clusters of a worker, by name: those of the bootstrap, and those that come and go while it runs (CDS)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from proxy.api.discovery import Rejected, Resource, check
from proxy.api.reader import finish, reads
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
    """compile -> start -> ready -> drain. ``clusters`` holds what requests can use, in the order of the configuration.

    warming: clusters that came by ``update`` and do not know their hosts yet; when they do they take the place of the
    one of their name, whose streams finish. on_change: called when ``clusters`` has changed
    """

    __slots__ = (
        "_callbacks",
        "_context",
        "_started",
        "_waiting",
        "clusters",
        "on_change",
        "stats",
        "warming",
    )

    def __init__(self, context: UpstreamContext) -> None:
        self._context = context
        self.stats = ClusterManagerStats(context.stats.scope("cluster_manager"))
        self.clusters: dict[str, Cluster] = {}
        self._waiting = 0
        self._started = False
        self.warming: dict[str, Cluster] = {}
        self.on_change: Callable[[], None] | None = None
        self._callbacks: list[Callable[[], None]] = []

    @reads("envoy.config.cluster.v3.Cluster")
    def compile(self, readers: Iterable[Reader]) -> None:
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
        return self._started and self._waiting == 0

    def start(self) -> None:
        """Let every cluster find its hosts."""
        self._started = True
        self._waiting = len(self.clusters)
        self.stats.warming_clusters.set(0)  # clusters of the bootstrap do not count as warming
        for cluster in list(self.clusters.values()):
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

    # -- clusters that come and go -----------------------------------------------------------------------------------

    def update(self, resource: Resource) -> bool:
        """A cluster by CDS: a new one, or another one for its name. False when nothing is to be changed: it is what
        there is, or the bootstrap has one of that name. Raises Rejected, and nothing has changed."""
        name = resource.name
        active, warming = self.clusters.get(name), self.warming.get(name)
        last = warming or active
        if (active is not None and not active.added_via_api) or (
            last is not None and last.config.message == resource.message
        ):
            return False
        cluster = self._compile(resource)
        if warming is not None:
            warming.on_ready = None
            warming.stop()
        if last is None:
            self.stats.cluster_added.value += 1
        else:
            self.stats.cluster_modified.value += 1
        self.warming[name] = cluster
        self.stats.warming_clusters.set(len(self.warming))
        cluster.on_ready = self._on_warm
        cluster.on_updated = self._on_cluster_updated
        cluster.start()
        return True

    def _compile(self, resource: Resource) -> Cluster:
        reader = resource.reader()
        cluster = compile_cluster(reader, self._context)
        try:
            check(finish(reader))
        except Rejected:
            cluster.stop()
            raise
        cluster.added_via_api = True
        cluster.version = resource.version
        return cluster

    def remove(self, name: str) -> bool:
        """A cluster that came by ``update`` is gone: streams under way finish. False when there is none."""
        active, warming = self.clusters.get(name), self.warming.pop(name, None)
        if warming is not None:
            warming.on_ready = None
            warming.stop()
        if active is not None and active.added_via_api:
            del self.clusters[name]
            active.stop()
        elif warming is None:
            return False
        self.stats.cluster_removed.value += 1
        self._count()
        return True

    def added_names(self) -> set[str]:
        """Those that came by ``update``."""
        return {name for name, each in self.clusters.items() if each.added_via_api} | set(self.warming)

    def when_warm(self, callback: Callable[[], None]) -> None:
        """Call back once no cluster is warming; now when none is."""
        if self.warming:
            self._callbacks.append(callback)
        else:
            callback()

    def _on_warm(self, cluster: Cluster) -> None:
        if self.warming.get(cluster.name) is not cluster:
            return
        del self.warming[cluster.name]
        before = self.clusters.get(cluster.name)
        self.clusters[cluster.name] = cluster
        if before is not None:
            before.stop()
        self._count()
        self._settle()

    def _count(self) -> None:
        self.stats.active_clusters.set(len(self.clusters))
        self.stats.warming_clusters.set(len(self.warming))
        if self.on_change is not None:
            self.on_change()

    def drain(self) -> None:
        """The program ends: no more discovery, idle connections close now, busy ones with their stream."""
        for cluster in [*self.clusters.values(), *self.warming.values()]:
            cluster.stop()

    def close(self) -> None:
        """Close every upstream connection now."""
        for cluster in self.clusters.values():
            for host in cluster.hosts:
                for pool in host.pools:
                    pool.close()

    def _on_cluster_ready(self, cluster: Cluster) -> None:
        self._waiting -= 1
        self._settle()

    def _on_cluster_updated(self, cluster: Cluster) -> None:
        self.stats.cluster_updated.value += 1

    def _settle(self) -> None:
        if self._waiting == 0 and not self.warming and self._callbacks:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()
