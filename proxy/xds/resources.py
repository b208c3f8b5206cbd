"""A DiscoveryResponse → resources: unpacked, held against the API's rules, named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.discovery import Rejected, Resource, check
from proxy.api.errors import Errors
from proxy.api.pool import BadPayload, UnknownType, type_name_of, unpack
from proxy.api.validate import validate

if TYPE_CHECKING:
    from proxy.api.errors import Locator

RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"
WRAPPER: Final = "envoy.service.discovery.v3.Resource"
CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = "envoy.config.listener.v3.Listener"
ROUTES: Final = "envoy.config.route.v3.RouteConfiguration"
SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"


def read_resources(response: Any, type_name: str, locator: Locator | None = None) -> list[Resource]:
    """The resources of a response, each once. Raises Rejected: one that breaks a rule of the API refuses them all, as
    in Envoy."""
    found: dict[str, Resource] = {}
    for at, packed in enumerate(response.resources):
        resource = read_resource(packed, type_name, response.version_info, f"resources[{at}]", locator)
        if resource.name in found:
            raise Rejected(f"duplicate resource {resource.name} found")
        found[resource.name] = resource
    return list(found.values())


def read_resource(
    packed: Any, type_name: str, version: str, path: str = "", locator: Locator | None = None
) -> Resource:
    """One google.protobuf.Any, or the Resource that wraps one. Raises Rejected."""
    name = ""
    if type_name_of(packed.type_url) == WRAPPER:
        wrapper: Any = unpack(packed)
        name, version, packed = wrapper.name, wrapper.version or version, wrapper.resource
        path += ".resource"
    if type_name_of(packed.type_url) != type_name:
        raise Rejected(f"type URL {packed.type_url} does not match type.googleapis.com/{type_name}")
    try:
        message: Any = unpack(packed)
    except (UnknownType, BadPayload) as error:
        raise Rejected(f"{path}: {error}") from None
    errors = Errors()
    validate(message, lambda inner, words, kind: errors.at(locator, inner, words, kind), path)
    check(errors.findings)
    own = message.cluster_name if type_name == ENDPOINTS else message.name
    return Resource(name or own, message, version, path, locator)
