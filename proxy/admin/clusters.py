"""/clusters: clusters, their limits and their hosts (envoy.admin.v3.Clusters)."""

from __future__ import annotations

from typing import Any

from proxy.admin.listeners import address_json
from proxy.admin.patterns import BadPattern, compile_filter
from proxy.admin.state import AdminState, Cluster, Endpoint, Host, Limits, Reply, Request, json_reply

_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_COUNTERS = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
_GAUGES = ("cx_active", "rq_active", "rq_pending_active")


def answer(state: AdminState, request: Request) -> Reply:
    """Text lines, or JSON with ?format=json; ?filter= keeps names that match."""
    clusters = list(state.clusters.values())
    pattern = request.params.get("filter", "")
    if pattern:
        try:
            accepts = compile_filter(pattern)
        except BadPattern:
            return Reply("Invalid re2 regex", 400)
        clusters = [cluster for cluster in clusters if accepts(cluster.name)]
    if request.params.get("format") == "json":
        statuses = [_cluster_json(cluster) for cluster in clusters]
        return json_reply({"cluster_statuses": statuses} if statuses else {})
    return Reply("".join(line + "\n" for cluster in clusters for line in _cluster_lines(cluster)))


def _shown_name(cluster: Cluster) -> str:
    """alt_stat_name when it has one."""
    name: str = getattr(cluster, "observability_name", "") or cluster.name
    return name


def added_via_api(cluster: Cluster) -> bool:
    """Whether it came while we run."""
    return bool(getattr(cluster, "added_via_api", False))


def _cluster_lines(cluster: Cluster) -> list[str]:
    name = cluster.name
    lines = [f"{name}::observability_name::{_shown_name(cluster)}"]
    for label, limits in zip(("default", "high"), cluster.resources, strict=False):
        lines += [f"{name}::{label}_priority::{limit}::{getattr(limits, limit)}" for limit in _LIMITS]
    lines.append(f"{name}::added_via_api::{str(added_via_api(cluster)).lower()}")
    for host in cluster.hosts:
        lines += [f"{name}::{host.address}::{key}::{value}" for key, value in _host_facts(host)]
    return lines


def _host_facts(host: Host) -> list[tuple[str, object]]:
    numbers = sorted(_COUNTERS + _GAUGES)
    return [
        *((name, getattr(host, name)) for name in numbers),
        ("hostname", host.hostname),
        ("health_flags", host.health_flags),
        ("weight", host.weight),
        ("region", host.locality.region),
        ("zone", host.locality.zone),
        ("sub_zone", host.locality.sub_zone),
        ("canary", str(host.canary).lower()),
        ("priority", host.priority),
        ("success_rate", "-1"),
        ("local_origin_success_rate", "-1"),
    ]


def _cluster_json(cluster: Cluster) -> dict[str, Any]:
    """Proto JSON rules: defaults left out, 64-bit numbers as texts, fields in the order of their numbers."""
    status: dict[str, Any] = {"name": cluster.name}
    if added_via_api(cluster):
        status["added_via_api"] = True
    hosts = [_host_json(host) for host in cluster.hosts]
    if hosts:
        status["host_statuses"] = hosts
    thresholds = [_limits_json(limits) for limits in cluster.resources]
    if len(thresholds) > 1:
        thresholds[1] = {"priority": "HIGH", **thresholds[1]}
    status["circuit_breakers"] = {"thresholds": thresholds}
    status["observability_name"] = _shown_name(cluster)
    return status


def _limits_json(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in _LIMITS}


def host_address(host: Host) -> dict[str, Any]:
    """core.v3.Address of a host."""
    return {"pipe": {"path": host.path}} if host.path else address_json(host.ip, host.port)


def _host_json(host: Host) -> dict[str, Any]:
    locality = host.locality
    facts = {"region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone}
    result: dict[str, Any] = {
        "address": host_address(host),
        "stats": [_metric(host, name) for name in _COUNTERS]
        + [_metric(host, name, "GAUGE") for name in _GAUGES],
        "health_status": {"eds_health_status": host.eds_health_status},
        "weight": host.weight,
    }
    if host.hostname:
        result["hostname"] = host.hostname
    if host.priority:
        result["priority"] = host.priority
    result["locality"] = {name: value for name, value in facts.items() if value}
    return result


def _metric(host: Host, name: str, kind: str = "") -> dict[str, str]:
    value = getattr(host, name)
    return {**({"type": kind} if kind else {}), **({"value": str(value)} if value else {}), "name": name}


ENDPOINT = Endpoint(
    "/clusters",
    "upstream cluster status",
    answer,
    params=(("filter", "Regular expression (Google re2) for filtering clusters by name"),),
)
