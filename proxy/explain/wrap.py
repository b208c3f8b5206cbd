"""A RouteConfiguration alone, as router_check_tool takes it, made into a bootstrap around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from proxy.api.pool import new_message
from proxy.explain.prepare import BOOTSTRAP, HCM

ROUTER = "envoy.extensions.filters.http.router.v3.Router"
LISTENER = "routes"


def wrap_routes(table: Message, names: Iterable[str] = ()) -> Message:
    """A bootstrap with one listener for the table and a cluster for every name it uses.

    names: what a cluster_header may hold besides
    """
    bootstrap: Any = new_message(BOOTSTRAP)
    manager: Any = new_message(HCM)
    manager.stat_prefix = LISTENER
    manager.route_config.CopyFrom(table)
    manager.route_config.ClearField("validate_clusters")
    router = manager.http_filters.add(name="envoy.filters.http.router")
    router.typed_config.Pack(new_message(ROUTER))
    listener = bootstrap.static_resources.listeners.add(name=LISTENER)
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = 80
    chain = listener.filter_chains.add()
    chain.filters.add(name="envoy.filters.network.http_connection_manager").typed_config.Pack(manager)
    wanted = dict.fromkeys(cluster_names(table))
    if _names_by_header(table):
        wanted.update(dict.fromkeys(name for name in names if name))
    for name in wanted:
        _add_cluster(bootstrap, name)
    return bootstrap  # type: ignore[no-any-return]


def _actions(table: Any) -> Iterable[Any]:
    for host in table.virtual_hosts:
        for route in host.routes:
            if route.HasField("route"):
                yield route.route


def cluster_names(table: Any) -> Iterable[str]:
    """The clusters that a RouteConfiguration names, mirrors too."""
    for action in _actions(table):
        if action.cluster:
            yield action.cluster
        for one in action.weighted_clusters.clusters:
            if one.name:
                yield one.name
        for mirror in action.request_mirror_policies:
            if mirror.cluster:
                yield mirror.cluster


def _names_by_header(table: Any) -> bool:
    return any(
        action.cluster_header or any(one.cluster_header for one in action.weighted_clusters.clusters)
        for action in _actions(table)
    )


def _add_cluster(bootstrap: Any, name: str) -> None:
    cluster = bootstrap.static_resources.clusters.add(name=name)
    cluster.load_assignment.cluster_name = name
    host = cluster.load_assignment.endpoints.add().lb_endpoints.add()
    host.endpoint.address.socket_address.address = "127.0.0.1"
    host.endpoint.address.socket_address.port_value = 1
