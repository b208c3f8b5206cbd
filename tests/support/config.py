"""Bootstraps for tests, as plain dicts of Envoy's v3 API in its JSON form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Config = dict[str, Any]
TYPES = "type.googleapis.com/envoy.extensions"


def address(port: int, ip: str = "127.0.0.1") -> Config:
    return {"socket_address": {"address": ip, "port_value": port}}


def bootstrap(admin_port: int, listeners: list[Config], clusters: list[Config], **more: Any) -> Config:
    """A whole bootstrap; ``more`` joins it at the top (``node=...``)."""
    return {
        "node": {"id": "node-1", "cluster": "front-proxy"},
        "admin": {"address": address(admin_port)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        **more,
    }


def http_listener(
    port: int,
    virtual_hosts: list[Config],
    *,
    hcm: Config | None = None,
    stat_prefix: str = "front",
    **more: Any,
) -> Config:
    """A listener with one HTTP connection manager; ``hcm`` joins its config, ``more`` the listener."""
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": stat_prefix,
        "route_config": {"name": "routes", "virtual_hosts": virtual_hosts},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            }
        ],
        **(hcm or {}),
    }
    return {
        "name": stat_prefix,
        "address": address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
        **more,
    }


def network_filter(name: str, message: str, **fields: Any) -> Config:
    """A network filter by the end of its name and of its message ("echo", "echo.v3.Echo")."""
    typed = {"@type": f"{TYPES}.filters.network.{message}", **fields}
    return {"name": f"envoy.filters.network.{name}", "typed_config": typed}


def tcp_proxy(cluster: str = "", stat_prefix: str = "raw", **fields: Any) -> Config:
    """The terminal filter that forwards bytes."""
    named = {"cluster": cluster} if cluster else {}
    return network_filter("tcp_proxy", "tcp_proxy.v3.TcpProxy", stat_prefix=stat_prefix, **named, **fields)


def raw_listener(port: int, *filters: Config, name: str = "front", **more: Any) -> Config:
    """A listener with one chain of these network filters; ``more`` joins the listener."""
    return {"name": name, "address": address(port), "filter_chains": [{"filters": list(filters)}], **more}


def virtual_host(routes: list[Config], domains: list[str] | None = None, **more: Any) -> Config:
    return {"name": more.pop("name", "all"), "domains": domains or ["*"], "routes": routes, **more}


def route_to(cluster: str, prefix: str = "/", match: Config | None = None, **action: Any) -> Config:
    """A route by prefix (or by ``match``) to a cluster; ``action`` joins the route action."""
    return {"match": match or {"prefix": prefix}, "route": {"cluster": cluster, **action}}


def cluster(name: str, *ports: int, **more: Any) -> Config:
    """A STATIC cluster of loopback hosts."""
    hosts = [{"endpoint": {"address": address(port)}} for port in ports]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        **more,
    }


def file_log(path: str, text: str | None = None, json: Config | None = None) -> Config:
    """A file access log with a text or a JSON format."""
    log_format: Config = {"json_format": json} if json else {"text_format_source": {"inline_string": text}}
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": log_format,
        },
    }


def zipkin(cluster_name: str, tracing: Config | None = None, **more: Any) -> Config:
    """HCM tracing with the Zipkin tracer; ``tracing`` joins the tracing message, ``more`` the tracer's."""
    return {
        "provider": {
            "name": "envoy.tracers.zipkin",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
                "collector_cluster": cluster_name,
                "collector_endpoint": "/api/v2/spans",
                "collector_endpoint_version": "HTTP_JSON",
                **more,
            },
        },
        **(tracing or {}),
    }


def opentelemetry(cluster_name: str, tracing: Config | None = None, **more: Any) -> Config:
    """HCM tracing with the OpenTelemetry tracer over HTTP; ``tracing`` and ``more`` as for ``zipkin``."""
    uri = {"uri": "http://otlp.example.com/v1/traces", "cluster": cluster_name, "timeout": "5s"}
    return {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "http_service": {"http_uri": uri},
                "service_name": "front",
                **more,
            },
        },
        **(tracing or {}),
    }


def names_ours(file: Path) -> bool:
    """Whether a bootstrap has a filter of outrider's own, which Envoy cannot know."""
    return "type.googleapis.com/outrider." in file.read_text()
