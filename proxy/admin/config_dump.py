"""/config_dump: the configuration in force as Envoy's typed dumps (envoy.admin.v3.*ConfigDump).

Proto JSON with snake_case names, ``@type`` first. Secrets are redacted (``api.redact``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from proxy.admin.clusters import added_via_api, host_address
from proxy.admin.config_mask import BadMask, apply_mask
from proxy.admin.patterns import BadPattern, compile_filter
from proxy.admin.state import AdminState, Cluster, Discovered, Endpoint, Host, Reply, Request, json_reply
from proxy.api.pool import UnknownType, pool, unpack
from proxy.api.redact import redact

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PREFIX = "type.googleapis.com/"
_ADMIN = _PREFIX + "envoy.admin.v3."
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

Dump = dict[str, Any]
Accepts = Callable[[str], bool]

# The resource lists of each dump that outrider can have now, and all that Envoy could have: the element's type name.
_ELEMENTS = {
    "static_clusters": "ClustersConfigDump.StaticCluster",
    "dynamic_active_clusters": "ClustersConfigDump.DynamicCluster",
    "dynamic_warming_clusters": "ClustersConfigDump.DynamicCluster",
    "static_endpoint_configs": "EndpointsConfigDump.StaticEndpointConfig",
    "dynamic_endpoint_configs": "EndpointsConfigDump.DynamicEndpointConfig",
    "static_listeners": "ListenersConfigDump.StaticListener",
    "dynamic_listeners": "ListenersConfigDump.DynamicListener",
    "inline_scoped_route_configs": "ScopedRoutesConfigDump.InlineScopedRouteConfigs",
    "dynamic_scoped_route_configs": "ScopedRoutesConfigDump.DynamicScopedRouteConfigs",
    "static_route_configs": "RoutesConfigDump.StaticRouteConfig",
    "dynamic_route_configs": "RoutesConfigDump.DynamicRouteConfig",
    "static_secrets": "SecretsConfigDump.StaticSecret",
    "dynamic_active_secrets": "SecretsConfigDump.DynamicSecret",
    "dynamic_warming_secrets": "SecretsConfigDump.DynamicSecret",
}


def answer(state: AdminState, request: Request) -> Reply:
    """Options: resource, mask, name_regex, include_eds."""
    params = request.params
    accepts: Accepts | None = None
    pattern = params.get("name_regex", "")
    try:
        if pattern:
            accepts = compile_filter(pattern, whole=True)
        dumps = _dumps(state, accepts, "include_eds" in params)
        if params.get("resource"):
            return _one_resource(dumps, params["resource"], params.get("mask", ""))
        if params.get("mask"):
            dumps = _masked(dumps, params["mask"])
    except BadPattern as error:
        return Reply(f"INVALID_ARGUMENT: Error while parsing name_regex from {pattern}: {error}", 400)
    except BadMask as error:
        return Reply(str(error), 400)
    return json_reply({"configs": dumps})


def _one_resource(dumps: list[Dump], resource: str, mask: str) -> Reply:
    if resource == "bootstrap":
        return Reply("bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field", 400)
    element = _ELEMENTS.get(resource)
    found = [entry for dump in dumps for entry in dump.get(resource, ())]
    with_endpoints = any(dump["@type"] == _ADMIN + "EndpointsConfigDump" for dump in dumps)
    if element is None or (element.startswith("Endpoints") and not with_endpoints):
        return Reply(f"{resource} not found in config dump", 404)
    configs = [{"@type": _ADMIN + element, **entry} for entry in found]
    if mask:
        configs = [apply_mask(config, mask) for config in configs]
    return json_reply({"configs": configs} if configs else {})


def _masked(dumps: list[Dump], mask: str) -> list[Dump]:
    kept = []
    for dump in dumps:
        try:
            masked = apply_mask(dump, mask)
        except BadMask:
            continue
        kept.append(masked)
    if not kept:
        raise BadMask(f"FieldMask {mask} could not be successfully applied to any configs.")
    return kept


def _dumps(state: AdminState, accepts: Accepts | None, include_eds: bool) -> list[Dump]:
    """In Envoy's order. Empty lists are left out, as proto JSON does."""
    updated = _timestamp(state.started_at)
    bootstrap: Any = state.bootstrap
    found = [each for each in state.discovered if accepts is None or accepts(each.name)]
    resources = bootstrap.static_resources
    routes = [config for listener in resources.listeners for config in _route_configs(listener)]

    def static(dump: str, field: str, key: str, entries: Iterable[Any]) -> Dump:
        kept = [entry for entry in entries if accepts is None or accepts(entry.name)]
        named = dump == "Secrets"
        said = [
            {
                **({"name": entry.name} if named else {}),
                key: _typed(entry),
                "last_updated": updated,
            }
            for entry in kept
        ]
        version = state.discovered_versions.get(dump)
        head = {"version_info": version} if version else {}
        return {**_dump(dump), **head, **({field: said} if said else {}), **discovered_parts(found, dump)}

    clusters = [cluster for cluster in state.clusters.values() if accepts is None or accepts(cluster.name)]
    endpoints: Dump = {}
    for cluster in clusters if include_eds else ():
        where = "dynamic" if added_via_api(cluster) else "static"
        config = {"endpoint_config": _endpoint_config(cluster)}
        endpoints.setdefault(f"{where}_endpoint_configs", []).append(config)
    return [
        {**_dump("Bootstrap"), "bootstrap": to_json(state.bootstrap), "last_updated": updated},
        static("Clusters", "static_clusters", "cluster", resources.clusters),
        *([{**_dump("Endpoints"), **endpoints}] if include_eds else ()),
        static("Listeners", "static_listeners", "listener", resources.listeners),
        _dump("ScopedRoutes"),
        static("Routes", "static_route_configs", "route_config", routes),
        static("Secrets", "static_secrets", "secret", resources.secrets),
    ]


def discovered_parts(found: Sequence[Discovered], kind: str) -> Dump:
    """dynamic_active_clusters and the like of one section."""
    parts: Dump = {}
    for each in found:
        if each.kind == kind:
            field = _FIELDS[kind].format(state=each.state)
            parts.setdefault(field, []).append(_PRINTERS[kind](each))
    return parts


def _state(each: Discovered, key: str) -> Dump:
    """version_info, the resource, last_updated: what all of them have."""
    said: Dump = {"version_info": each.version} if each.version else {}
    if each.message is not None:
        said[key] = _typed(each.message)
    return {**said, "last_updated": _timestamp(each.updated_at)}


def _error(each: Discovered) -> Dump:
    if each.error is None:
        return {}
    details, at, message = each.error
    return {
        "error_state": {
            "failed_configuration": _typed(message),
            "last_update_attempt": _timestamp(at),
            "details": details,
        }
    }


def _listener(each: Discovered) -> Dump:
    said: Dump = {"name": each.name}
    if each.message is not None:
        said[f"{each.state}_state"] = _state(each, "listener")
    return said | _error(each)


#: section → the list a resource stands in
_FIELDS = {
    "Clusters": "dynamic_{state}_clusters",
    "Listeners": "dynamic_listeners",
    "Routes": "dynamic_route_configs",
    "Secrets": "dynamic_{state}_secrets",
}
_PRINTERS: dict[str, Callable[[Discovered], Dump]] = {
    "Clusters": lambda each: _state(each, "cluster") | _error(each),
    "Listeners": _listener,
    "Routes": lambda each: _state(each, "route_config"),
    "Secrets": lambda each: {"name": each.name, **_state(each, "secret")},
}


def _dump(kind: str, field: str = "", entries: Sequence[Dump] = ()) -> Dump:
    return {"@type": f"{_ADMIN}{kind}ConfigDump", **({field: list(entries)} if entries else {})}


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _route_configs(listener: Any) -> Iterator[Message]:
    """The route tables written inside a listener's HTTP connection managers."""
    for chain in [*listener.filter_chains, listener.default_filter_chain]:
        for item in chain.filters:
            try:
                config: Any = unpack(item.typed_config) if item.HasField("typed_config") else None
            except UnknownType:
                continue
            is_hcm = config is not None and config.DESCRIPTOR.full_name == _HCM
            if is_hcm and config.HasField("route_config"):
                yield config.route_config


def to_json(message: Message) -> dict[str, Any]:
    """Proto JSON of a message, secrets redacted."""
    from google.protobuf import json_format

    found = json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())
    result: dict[str, Any] = redact(found, message.DESCRIPTOR.full_name)
    return result


def _typed(message: Message) -> dict[str, Any]:
    return {"@type": _PREFIX + message.DESCRIPTOR.full_name, **to_json(message)}


def _endpoint_config(cluster: Cluster) -> dict[str, Any]:
    """envoy.config.endpoint.v3.ClusterLoadAssignment of the hosts a cluster has now, by priority and locality."""
    groups: dict[tuple[int, Any], list[Host]] = {}
    for host in cluster.hosts:
        groups.setdefault((host.priority, host.locality), []).append(host)
    result: dict[str, Any] = {
        "@type": _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster.name,
    }
    if groups:
        result["endpoints"] = [_locality_endpoints(key, hosts) for key, hosts in groups.items()]
    result["policy"] = {"overprovisioning_factor": 140}
    return result


def _locality_endpoints(key: tuple[int, Any], hosts: list[Host]) -> dict[str, Any]:
    priority, locality = key
    facts = {"region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone}
    group: dict[str, Any] = {"locality": {name: value for name, value in facts.items() if value}}
    group["lb_endpoints"] = [
        {
            "endpoint": {
                "address": host_address(host),
                "health_check_config": {},
                **({"hostname": host.hostname} if host.hostname else {}),
            },
            "health_status": host.eds_health_status,
            "load_balancing_weight": host.weight,
        }
        for host in hosts
    ]
    group["load_balancing_weight"] = 0
    if priority:
        group["priority"] = priority
    return group


ENDPOINT = Endpoint(
    "/config_dump",
    "dump current Envoy configs",
    answer,
    params=(
        ("resource", "The resource to dump"),
        (
            "mask",
            "The fields to keep, as a FieldMask; with resource it is applied to every element of that list",
        ),
        ("name_regex", "Dump only the configurations whose names match the regex (all of the name)"),
        ("include_eds", "Also dump the endpoints of every cluster"),
    ),
)
