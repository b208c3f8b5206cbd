"""EDS: the hosts of a cluster as a source sends them (envoy.config.endpoint.v3.ClusterLoadAssignment).

Hosts are kept by their address: an update that changes a weight or a health status leaves connections alone. What is
refused changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.discovery import Rejected, Resource, check
from proxy.api.reader import finish, reads
from proxy.upstream.dns import Discovery, EndpointConfig
from proxy.upstream.endpoints import compile_endpoints, compile_overprovisioning
from proxy.upstream.host import Host

if TYPE_CHECKING:
    from proxy.api.discovery import Subscription
    from proxy.api.reader import Reader
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.context import UpstreamContext

ASSIGNMENT: Final = "envoy.config.endpoint.v3.ClusterLoadAssignment"


class EdsDiscovery(Discovery):
    """One cluster's subscription. Implements ``api.discovery.Receiver``. service: as the source calls the cluster.

    message, version: of the last assignment, for /config_dump; None: none has come
    """

    __slots__ = ("message", "service", "subscription", "version")

    def __init__(self, cluster: Cluster, service: str) -> None:
        Discovery.__init__(self, cluster)
        self.service = service
        self.subscription: Subscription | None = None
        self.message: Any = None
        self.version = ""

    def start(self) -> None:
        """Subscribe."""
        if self.subscription is not None:
            self.subscription.start()

    def stop(self) -> None:
        """Subscribe no longer."""
        self.stopped = True
        if self.subscription is not None:
            self.subscription.stop()

    def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """See Receiver."""
        if not resources:  # Envoy, too, keeps its hosts
            self.cluster.stats.update_empty.value += 1
            self.cluster.on_initialized()
            return
        if len(resources) != 1:
            raise Rejected(f"Unexpected EDS resource length: {len(resources)}")
        (resource,) = resources
        if resource.name != self.service:
            raise Rejected(f"Unexpected EDS cluster (expecting {self.service}): {resource.name}")
        reader = resource.reader()
        endpoints = compile_endpoints(reader, resolves_names=False)
        overprovisioning = compile_overprovisioning(reader)
        check(finish(reader))
        self.message, self.version = resource.message, resource.version
        self._take(endpoints, overprovisioning)
        self.cluster.on_initialized()

    def on_unavailable(self) -> None:
        """See Receiver."""
        self.cluster.on_initialized()

    def _take(self, endpoints: list[EndpointConfig], overprovisioning: int) -> None:
        cluster = self.cluster
        policy = cluster.config.policy._replace(overprovisioning_percent=overprovisioning)
        changed = policy != cluster.config.policy
        if changed:
            cluster.config = cluster.config._replace(policy=policy)
            cluster.set_policy(policy)
        old = {host.address: host for host in cluster.hosts}
        hosts: dict[str, Host] = {}
        touched: set[int] = set()
        for endpoint in endpoints:
            made = Host(cluster, endpoint.address, endpoint.port, endpoint.host, endpoint.path)
            kept = old.get(made.address)
            if made.address in hosts:
                continue
            if kept is None or kept.config.metadata != endpoint.host.metadata:
                kept = cluster.make_host(endpoint.address, endpoint)
                touched.add(kept.priority)
            elif kept.config != endpoint.host:
                touched |= {kept.priority, endpoint.host.priority}
                kept.configure(endpoint.host)
            hosts[kept.address] = kept
        touched |= {host.priority for address, host in old.items() if hosts.get(address) is not host}
        if not touched and not changed:
            cluster.stats.update_no_rebuild.value += 1
            return
        cluster.update_hosts(list(hosts.values()), max(len(touched), 1))


@reads("envoy.config.cluster.v3.Cluster")
def compile_eds(reader: Reader, cluster: Cluster, context: UpstreamContext) -> EdsDiscovery:
    """eds_cluster_config of a cluster of type EDS; findings go to the reader."""
    config = reader.sub("eds_cluster_config")
    made = EdsDiscovery(cluster, reader.text("name"))
    if reader.has("load_assignment"):
        reader.unsupported(
            "load_assignment", "is not for EDS clusters: their endpoints come by eds_cluster_config"
        )
    if config is None:
        reader.fail("eds_cluster_config", "cannot create an EDS cluster without an EDS config")
        return made
    _compile_source(config, made, context)
    return made


@reads("envoy.config.cluster.v3.Cluster.EdsClusterConfig")
def _compile_source(reader: Reader, made: EdsDiscovery, context: UpstreamContext) -> None:
    made.service = reader.text("service_name") or made.service
    source = reader.sub("eds_config")
    if source is None or context.sources is None:
        reader.fail("eds_config", "cannot create an EDS cluster without an EDS config")
        return
    scope = made.cluster.scope
    made.subscription = context.sources.subscribe(source, ASSIGNMENT, made.service, made, scope)
