"""ClusterLoadAssignment: the endpoints as the operator wrote them (envoy.config.endpoint.v3)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from proxy.api.pool import struct_to_dict
from proxy.api.reader import reads
from proxy.upstream.dns import EndpointConfig
from proxy.upstream.host import HostConfig, Locality

if TYPE_CHECKING:
    from proxy.api.reader import Reader

#: of whatever has none; never added to
NO_METADATA: Final[dict[str, Any]] = {}

_OCTETS: Final = frozenset(map(str, range(256)))


@reads("envoy.config.endpoint.v3.ClusterLoadAssignment")
def compile_endpoints(reader: Reader | None, resolves_names: bool) -> list[EndpointConfig]:
    """Endpoints in their order. resolves_names: an address may be a name (STRICT_DNS), otherwise it must be an ip.

    Not supported and therefore refused: named endpoints, additional addresses, health check settings, drop_overloads.
    """
    if reader is None:
        return []
    reader.text("cluster_name")  # the service name of EDS; without EDS Envoy does not use it either
    endpoints: list[EndpointConfig] = []
    for group in reader.each("endpoints"):
        endpoints += _compile_locality(group, resolves_names)
    return endpoints


@reads("envoy.config.endpoint.v3.ClusterLoadAssignment")
def compile_overprovisioning(reader: Reader | None) -> int:
    """policy.overprovisioning_factor in percent, 140 by default."""
    policy = reader.sub("policy") if reader is not None else None
    return policy.wrapped("overprovisioning_factor", 140) if policy is not None else 140


@reads("envoy.config.endpoint.v3.LocalityLbEndpoints")
def _compile_locality(reader: Reader, resolves_names: bool) -> list[EndpointConfig]:
    reader.ignore("load_balancing_weight", why="hosts are not weighed by locality")
    where = reader.sub("locality")
    locality = Locality()
    if where is not None:
        locality = Locality(where.text("region"), where.text("zone"), where.text("sub_zone"))
    priority = reader.number("priority")
    compiled = (
        _compile_endpoint(entry, locality, priority, resolves_names) for entry in reader.each("lb_endpoints")
    )
    return [endpoint for endpoint in compiled if endpoint is not None]


@reads("envoy.config.endpoint.v3.LbEndpoint")
def _compile_endpoint(
    reader: Reader, locality: Locality, priority: int, resolves_names: bool
) -> EndpointConfig | None:
    health_status = reader.enum("health_status")
    weight = reader.wrapped("load_balancing_weight", 1)
    metadata = compile_metadata(reader.sub("metadata"))
    endpoint = reader.sub("endpoint")
    address = endpoint.sub("address") if endpoint is not None else None
    if endpoint is None or address is None:
        _missing_address(reader, resolves_names)
        return None
    endpoint.ignore("health_check_config", why="there are no active health checks")
    address.unsupported("envoy_internal_address", "internal listeners are not supported; socket_address is")
    path = _compile_pipe(address.sub("pipe"), resolves_names)
    socket_address = address.sub("socket_address")
    if socket_address is None and not path:
        if address.which("address") is None:
            address.fail("", "an address is needed")
        return None
    name, port = "", 0
    if socket_address is not None:
        name, port = _compile_address(socket_address, resolves_names)
    hostname = endpoint.text("hostname") or (name if resolves_names else "")
    host = HostConfig(hostname, max(1, weight), priority, health_status, locality, metadata)
    return EndpointConfig(name, port, host, path)


@reads("envoy.config.core.v3.Pipe")
def _compile_pipe(reader: Reader | None, resolves_names: bool) -> str:
    """The path of a unix socket, "" when there is none."""
    if reader is None:
        return ""
    if resolves_names:
        reader.unsupported(
            "", "unix sockets are not supported among names to resolve; write a STATIC cluster"
        )
    reader.ignore("mode", why="it is for the one who makes the socket")
    return reader.text("path")


@reads("envoy.config.endpoint.v3.LbEndpoint")
def _missing_address(reader: Reader, resolves_names: bool) -> None:
    """Envoy takes such an entry where names are resolved, and finds no host for it."""
    if resolves_names:
        reader.unsupported("", "an endpoint without an address is not supported", whole=False)
    else:
        reader.fail("endpoint", "an address is needed")


@reads("envoy.config.core.v3.SocketAddress")
def _compile_address(reader: Reader, resolves_names: bool) -> tuple[str, int]:
    if reader.enum("protocol") != "TCP":
        reader.unsupported("protocol", "UDP upstreams are not supported")
    reader.ignore("ipv4_compat", why="it is for listening on [::]; the address is connected to as it stands")
    name, port = reader.text("address"), reader.number("port_value")
    if resolves_names:
        return name, port
    if name.count(".") == 3 and _OCTETS.issuperset(name.split(".")):  # the parser is slow, and these are many
        return name, port
    try:
        return str(ip_address(name)), port
    except ValueError:
        reader.fail(
            "address",
            f'"{name}" is not an IP address; only STRICT_DNS and LOGICAL_DNS clusters resolve names',
        )
        return name, port


@reads("envoy.config.core.v3.Metadata")
def compile_metadata(reader: Reader | None) -> dict[str, Any]:
    """filter_metadata by its keys, as plain values."""
    if reader is None:
        return NO_METADATA
    reader.ignore("typed_filter_metadata", why="nothing reads typed metadata")
    keys = reader.values("filter_metadata")  # marks the map; its values are free-form
    return {key: struct_to_dict(reader.message.filter_metadata[key]) for key in keys}  # type: ignore[attr-defined]
