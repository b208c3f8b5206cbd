"""ApiConfigSource (envoy.config.core.v3) → the stream to a control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.api.pool import message_class
from proxy.api.reader import Reader, reads
from proxy.http.grpc_service import MESSAGE_LIMIT_BYTES, GrpcService, compile_grpc_service
from proxy.xds import delta, sotw
from proxy.xds.grpc import Kind, Mux
from proxy.xds.resources import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext
    from proxy.stats.store import Scope
    from proxy.xds.transport import Transport

_ADS: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
#: type → (service of its own, what its methods end in)
_SERVICES: Final = {
    CLUSTER: ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters"),
    ENDPOINTS: ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints"),
    LISTENER: ("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners"),
    ROUTES: ("envoy.service.route.v3.RouteDiscoveryService", "Routes"),
    SECRET: ("envoy.service.secret.v3.SecretDiscoveryService", "Secrets"),
}
#: a mesh's clusters in one message; what is larger ends the stream, which is counted and begun anew
_LIMIT_BYTES: Final = 256 * 1024 * 1024


class ApiSource(NamedTuple):
    """A stream as configured. one_node: only its first message says who we are"""

    service: GrpcService
    is_delta: bool
    one_node: bool

    def open(self, transport: Transport, type_name: str, scope: Scope) -> Mux:
        """The stream, not yet connected. type_name: "" for all of them (ADS); scope: of control_plane.*"""
        service, ending = _SERVICES.get(type_name, (_ADS, "AggregatedResources"))
        method = f"/{service}/{'Delta' if self.is_delta else 'Stream'}{ending}".encode()
        response = message_class(delta.RESPONSE_TYPE if self.is_delta else sotw.RESPONSE_TYPE)
        return Mux(transport, self.service, method, response, self.one_node, scope)

    def open_for(self, transport: Transport, type_name: str, scope: Scope) -> Kind:
        """A stream of its own for a type."""
        return self.kind(self.open(transport, type_name, scope), type_name)

    def kind(self, mux: Mux, type_name: str) -> Kind:
        """What the stream says of a type."""
        found = mux.kinds.get(type_name)
        if found is None:
            make = delta.DeltaKind if self.is_delta else sotw.SotwKind
            found = mux.add(make(mux, type_name))
        return found


@reads("envoy.config.core.v3.ApiConfigSource")
def compile_api_source(reader: Reader, context: FactoryContext, type_name: str = "") -> ApiSource | None:
    """None with a finding. type_name: of what is asked for, "" for all of them (ADS)

    Secrets may come from any cluster, one that is not there yet too, as in Envoy: who needs them waits as for a control
    plane that does not answer. All others come from one that the bootstrap brings with its hosts.
    """
    before = len(reader.errors.findings)
    kind = reader.enum("api_type")
    if kind not in ("GRPC", "DELTA_GRPC"):
        reader.unsupported("api_type", f"{kind} is not supported; GRPC and DELTA_GRPC are")
        if not reader.has("api_type"):
            reader.fail("api_type", "is missing: GRPC and DELTA_GRPC are supported")
        reader.settle("cluster_names", "refresh_delay", "request_timeout", "grpc_services")
        return None
    if reader.enum("transport_api_version") == "V2":
        reader.fail("transport_api_version", "V2 of xDS is no longer spoken; V3 is")
    reader.unsupported("cluster_names", "is for REST; grpc_services names whom to ask")
    reader.unsupported("rate_limit_settings", "requests to a control plane are not limited")
    reader.ignore("refresh_delay", "request_timeout", why="it is for REST")
    one_node = reader.flag("set_node_on_first_message_only")
    services = reader.each("grpc_services")
    if len(services) != 1:
        reader.fail("grpc_services", "there must be exactly one")
        return None
    waits = type_name == SECRET
    service = compile_grpc_service(services[0], context, waits=waits)
    cluster = context.clusters.get(service.cluster)
    if cluster is not None and not waits and (cluster.added_via_api or cluster.is_eds):
        services[0].fail(
            "envoy_grpc.cluster_name",
            f"must be a cluster of static_resources, and none of type EDS: {service.cluster}",
        )
    if service.limit_bytes == MESSAGE_LIMIT_BYTES:
        service.limit_bytes = _LIMIT_BYTES
    if len(reader.errors.findings) > before:
        return None
    return ApiSource(service, kind == "DELTA_GRPC", one_node)
