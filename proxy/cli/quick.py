"""``outrider run --listen ... --upstream ...``: the bootstrap these flags stand for, what a person would write."""

from __future__ import annotations

from typing import Any

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_HCM = "envoy.filters.network.http_connection_manager"


def quick_bootstrap(listen: str, upstream: str, admin: str | None, zipkin: str | None) -> dict[str, Any]:
    """The bootstrap that --listen and --upstream stand for. Raises ValueError.

    listen, admin: "8080" or "127.0.0.1:8080"; upstream, zipkin: "http://host:port"
    """
    hcm = _connection_manager()
    clusters = [_cluster("upstream", upstream)]
    if zipkin is not None:
        clusters.append(_cluster("zipkin", zipkin))
        hcm["tracing"] = {"provider": _zipkin()}
    listener = {
        "name": "ingress",
        "address": _socket_address(*_place(listen, "0.0.0.0")),
        "filter_chains": [{"filters": [{"name": _HCM, "typed_config": hcm}]}],
    }
    bootstrap: dict[str, Any] = {"static_resources": {"listeners": [listener], "clusters": clusters}}
    if admin is not None:
        bootstrap["admin"] = {"address": _socket_address(*_place(admin, "127.0.0.1"))}
    return bootstrap


def _connection_manager() -> dict[str, Any]:
    """Everything to the cluster "upstream"; an access log on standard output."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}
    host = {"name": "upstream", "domains": ["*"], "routes": [route]}
    router = f"{_EXTENSIONS}.filters.http.router.v3.Router"
    log = f"{_EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog"
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress_http",
        "route_config": {"name": "local_route", "virtual_hosts": [host]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
        "access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": {"@type": log}}],
    }


def _zipkin() -> dict[str, Any]:
    return {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "zipkin",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            "trace_id_128bit": True,
            "shared_span_context": False,
            "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION",
        },
    }


def _place(text: str, default_ip: str) -> tuple[str, int]:
    """ "8080", "127.0.0.1:8080" or "[::1]:8080" as (ip, port). Raises ValueError."""
    ip, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise ValueError(f"{text!r} is not of the form [IP:]PORT")
    number = int(port)
    return (ip.strip("[]") or default_ip), number


def _socket_address(ip: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": ip, "port_value": port}}


def _cluster(name: str, url: str) -> dict[str, Any]:
    """A cluster for http://host:port. Raises ValueError."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not of the form http://host:port")
    if parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r}: a path cannot be given here; write a route with prefix_rewrite")
    endpoint = {"endpoint": {"address": _socket_address(parts.hostname, parts.port or 80)}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
