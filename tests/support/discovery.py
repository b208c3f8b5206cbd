"""What a control plane sends, as files that are swapped: for tests of configuration that comes while a proxy runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.config import Config, cluster, http_listener

CLUSTER = "envoy.config.cluster.v3.Cluster"
ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "envoy.config.listener.v3.Listener"
ROUTES = "envoy.config.route.v3.RouteConfiguration"


def swap(path: Path, content: Config | str) -> None:
    """As careful people do: written aside, then renamed."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(content if isinstance(content, str) else json.dumps(content))
    aside.rename(path)


def response(type_name: str, *resources: Config, version: str = "") -> Config:
    """A DiscoveryResponse."""
    packed = [{"@type": f"type.googleapis.com/{type_name}", **each} for each in resources]
    return {"version_info": version, "resources": packed}


def file_source(path: Path, **more: Any) -> Config:
    """A ConfigSource."""
    return {"path_config_source": {"path": str(path), **more}, "resource_api_version": "V3"}


def endpoints(name: str, *ports: int, **more: Any) -> Config:
    """A ClusterLoadAssignment of hosts on this machine."""
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}, **more}
        for port in ports
    ]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}


def eds_cluster(name: str, source: Config, **more: Any) -> Config:
    """A cluster of type EDS."""
    made = cluster(name, 0) | {"type": "EDS", "eds_cluster_config": {"eds_config": source}, **more}
    del made["load_assignment"]
    return made


def rds_listener(port: int, name: str, routes: str, source: Config, **more: Any) -> Config:
    """An HTTP listener whose routes come by RDS."""
    made = http_listener(port, []) | {"name": name}
    hcm = made["filter_chains"][0]["filters"][0]["typed_config"]
    del hcm["route_config"]
    hcm |= {"rds": {"route_config_name": routes, "config_source": source}, **more}
    return made
