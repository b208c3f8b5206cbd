"""Bootstrap.dynamic_resources: where clusters and listeners come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.reader import Reader, reads
from proxy.xds.resources import CLUSTER, LISTENER

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext
    from proxy.listener.manager import ListenerManager
    from proxy.upstream.manager import ClusterManager
    from proxy.xds.cds import ClusterDiscovery
    from proxy.xds.lds import ListenerDiscovery
    from proxy.xds.sources import ConfigSources


class Dynamic:
    """None: not asked for."""

    __slots__ = ("cds", "lds")

    def __init__(self) -> None:
        self.cds: ClusterDiscovery | None = None
        self.lds: ListenerDiscovery | None = None

    def close(self) -> None:
        """No more updates."""
        for each in (self.cds, self.lds):
            if each is not None and each.subscription is not None:
                each.subscription.stop()


@reads("envoy.config.bootstrap.v3.Bootstrap.DynamicResources")
def compile_dynamic(
    reader: Reader | None,
    sources: ConfigSources,
    clusters: ClusterManager,
    listeners: ListenerManager,
    context: FactoryContext,
) -> Dynamic:
    """Subscriptions that are not yet started. Listeners are waited for by ``context.init``."""
    found = Dynamic()
    if reader is None:
        return found
    ads = reader.sub("ads_config")
    if ads is not None:
        sources.set_ads(ads)
    cds, lds = reader.sub("cds_config"), reader.sub("lds_config")
    if cds is not None:
        from proxy.xds.cds import ClusterDiscovery

        scope = context.stats.scope("cluster_manager.cds")
        made = ClusterDiscovery(clusters, scope, context.clock)
        made.subscription = sources.subscribe(cds, CLUSTER, "", made, scope)
        found.cds = made
    if lds is not None:
        from proxy.xds.lds import ListenerDiscovery

        scope = context.stats.scope("listener_manager.lds")
        found.lds = ListenerDiscovery(listeners, context)
        found.lds.subscription = sources.subscribe(lds, LISTENER, "", found.lds, scope)
        context.init.add(found.lds.target)
    return found
