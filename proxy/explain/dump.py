"""/config_dump of a running proxy, Envoy's or ours: its parts by kind, and the bootstrap that would run the same.

A dump is {"configs": [{"@type": ".../envoy.admin.v3.ClustersConfigDump", ...}, ...]} (proto JSON, snake_case).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


#: fields of a bootstrap, in both spellings, none of which a dump has
BOOTSTRAP_FIELDS = {
    *("static_resources", "staticResources", "dynamic_resources", "dynamicResources"),
    *("admin", "node", "layered_runtime", "layeredRuntime"),
}


class NoDump(Exception):
    """What was given is no /config_dump; the text says what is missing."""


class Dump:
    """The resources of one /config_dump, as plain values without "@type"."""

    def __init__(self, value: Any) -> None:
        """Raises NoDump."""
        if not isinstance(value, dict) or not isinstance(value.get("configs"), list):
            hint = ""
            if isinstance(value, dict) and BOOTSTRAP_FIELDS & value.keys():
                hint = " (it looks like a bootstrap: explain, diff and validate read those)"
            raise NoDump(f'is no /config_dump: it has no list "configs"{hint}')
        self._configs: dict[str, list[Json]] = {}
        for config in value["configs"]:
            if not isinstance(config, dict):
                raise NoDump('is no /config_dump: its "configs" are no objects')
            kind = str(config.get("@type", "")).rpartition(".")[2].removesuffix("ConfigDump")
            self._configs.setdefault(kind, []).append(config)

    @property
    def bootstrap(self) -> Json:
        """The bootstrap as it was given."""
        for config in self._configs.get("Bootstrap", ()):
            found: Json = config.get("bootstrap", {})
            return found
        return {}

    def clusters(self) -> list[Json]:
        """Static ones first."""
        return list(self._resources("Clusters", "cluster", "static_clusters", "dynamic_active_clusters"))

    def listeners(self) -> list[Json]:
        """Static ones first; of dynamic ones the active state, else the warming one."""
        found = list(self._resources("Listeners", "listener", "static_listeners"))
        for config in self._configs.get("Listeners", ()):
            for entry in config.get("dynamic_listeners", ()):
                state = entry.get("active_state") or entry.get("warming_state") or {}
                if "listener" in state:
                    found.append(_plain(state["listener"]))
        return found

    def routes(self) -> list[Json]:
        """Route configurations: those written in listeners first."""
        return list(
            self._resources("Routes", "route_config", "static_route_configs", "dynamic_route_configs")
        )

    def endpoints(self) -> list[Json]:
        """ClusterLoadAssignments (only with ?include_eds)."""
        return list(
            self._resources(
                "Endpoints", "endpoint_config", "static_endpoint_configs", "dynamic_endpoint_configs"
            )
        )

    def secrets(self) -> list[Json]:
        """{"name", "state", "secret", ...} of each secret."""
        found = []
        kinds = {
            "dynamic_warming_secrets": "WARMING",
            "dynamic_active_secrets": "ACTIVE",
            "static_secrets": "STATIC",
        }
        for config in self._configs.get("Secrets", ()):
            for field, state in kinds.items():
                for entry in config.get(field, ()):
                    secret = _plain(entry.get("secret", {}))
                    name = entry.get("name") or secret.get("name", "")
                    found.append({"name": name, "state": state, "secret": secret})
        return found

    def _resources(self, kind: str, key: str, *fields: str) -> Iterator[Json]:
        for field in fields:
            for config in self._configs.get(kind, ()):
                for entry in config.get(field, ()):
                    if key in entry:
                        yield _plain(entry[key])

    def effective_bootstrap(self) -> Json:
        """One static bootstrap with everything that the proxy has now: dynamic listeners, clusters and endpoints in
        static_resources, routes in their connection managers."""
        result = {key: value for key, value in self.bootstrap.items() if key != "dynamic_resources"}
        resources = dict(result.get("static_resources", {}))
        endpoints = {one.get("cluster_name", ""): one for one in self.endpoints()}
        clusters = [_with_endpoints(one, endpoints) for one in self.clusters()]
        routes = {one.get("name", ""): one for one in self.routes()}
        listeners = [_with_routes(one, routes) for one in self.listeners()]
        if clusters:
            resources["clusters"] = clusters
        if listeners:
            resources["listeners"] = listeners
        result["static_resources"] = resources
        return result


def _plain(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "@type"}


def _with_endpoints(cluster: Json, endpoints: dict[str, Json]) -> Json:
    """An EDS cluster becomes a static one with the hosts it has."""
    if cluster.get("type") != "EDS":
        return cluster
    name = cluster.get("eds_cluster_config", {}).get("service_name") or cluster.get("name", "")
    assignment = endpoints.get(name) or endpoints.get(cluster.get("name", ""))
    kept = {key: value for key, value in cluster.items() if key != "eds_cluster_config"}
    if assignment is None:
        return {**kept, "type": "STATIC"}
    return {**kept, "type": "STATIC", "load_assignment": _static_assignment(assignment)}


def _static_assignment(assignment: Json) -> Json:
    """As it may stand in a bootstrap: Envoy dumps a weight of 0 for localities, which its own rules forbid."""
    groups = []
    for group in assignment.get("endpoints", ()):
        kept = {key: value for key, value in group.items() if key != "load_balancing_weight" or value}
        groups.append(kept)
    return {**assignment, "endpoints": groups}


def _with_routes(value: Any, routes: dict[str, Json]) -> Any:
    """Wherever "rds" names a route configuration that the dump has, the configuration itself."""
    if isinstance(value, list):
        return [_with_routes(one, routes) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_routes(inner, routes) for key, inner in value.items()}
    rds = found.get("rds")
    name = rds.get("route_config_name") if isinstance(rds, dict) else None
    if name in routes:
        del found["rds"]
        found["route_config"] = routes[name]
    return found


def statuses_of(dump: Dump) -> list[Json]:
    """What can be told of endpoints without /clusters: a dump's own (?include_eds)."""
    return [
        {
            "name": one.get("cluster_name", ""),
            "host_statuses": [
                {
                    "address": host.get("endpoint", {}).get("address", {}),
                    "health_status": {"eds_health_status": host.get("health_status", "HEALTHY")},
                }
                for group in one.get("endpoints", ())
                for host in group.get("lb_endpoints", ())
            ],
        }
        for one in dump.endpoints()
    ]


def address_text(address: Json) -> str:
    """core.v3.Address as "ip:port", a path or an internal listener's name; "-" when it is none."""
    socket = address.get("socket_address")
    if socket is None:
        internal = address.get("envoy_internal_address", {}).get("server_listener_name", "")
        return str(address.get("pipe", {}).get("path", "") or internal or "-")
    ip, port = str(socket.get("address", "")), socket.get("port_value", 0)
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def health_text(health: Json) -> str:
    """admin.v3.HostHealthStatus in one word, as istioctl has it."""
    if health.get("failed_active_health_check") or health.get("failed_outlier_check"):
        return "UNHEALTHY"
    return str(health.get("eds_health_status", "HEALTHY"))
