"""The bootstraps of the demo's sidecars: Envoy's own v3 API, so the written files run in Envoy unchanged."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]
TYPES = "type.googleapis.com/envoy"
LOG_FORMAT = (
    "[%START_TIME%] %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% flags=%RESPONSE_FLAGS% rx=%BYTES_RECEIVED% "
    "tx=%BYTES_SENT% ms=%DURATION% tries=%UPSTREAM_REQUEST_ATTEMPT_COUNT% upstream=%UPSTREAM_CLUSTER% "
    "trace=%TRACE_ID%\n"
)


def _address(port: int) -> Config:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> Config:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _tracing() -> Config:
    """Every request, B3 and W3C headers, a span of its own for each side, named by method and path."""
    return {
        "operation": "%REQ(:METHOD)% %REQ(:PATH)%",
        "provider": {
            "name": "envoy.tracers.zipkin",
            "typed_config": {
                "@type": f"{TYPES}.config.trace.v3.ZipkinConfig",
                "collector_cluster": "zipkin",
                "collector_endpoint": "/api/v2/spans",
                "collector_endpoint_version": "HTTP_JSON",
                "trace_id_128bit": True,
                "shared_span_context": False,
                "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION",
            },
        },
    }


def _listener(name: str, direction: str, cluster: str, log_path: str, route: Config, host: Config) -> Config:
    """All requests of one direction to one cluster, traced and logged; ``route`` and ``host`` add to theirs."""
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": cluster, **route}}]
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "tracing": _tracing(),
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": log_path,
                    "log_format": {"text_format_source": {"inline_string": LOG_FORMAT}},
                },
            }
        ],
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": cluster, "domains": ["*"], "routes": routes, **host}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": name,
        "address": _address(0),
        "traffic_direction": direction,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _bootstrap(service: str, listeners: list[Config], clusters: list[Config]) -> Config:
    return {
        "node": {"id": f"{service}-1", "cluster": service},
        "admin": {"address": _address(0)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def frontend_bootstrap(app_port: int, backend_port: int, collector_port: int, log_path: str) -> Config:
    """The frontend's sidecar: what comes in goes to the app, what the app sends goes to the backend's sidecar.

    Tries again on 502, 503 and 504, and says which try it is. Port 0 everywhere: the system chooses.
    """
    retry = {"retry_policy": {"retry_on": "gateway-error,connect-failure,reset", "num_retries": 2}}
    return _bootstrap(
        "frontend",
        [
            _listener("inbound", "INBOUND", "frontend_app", log_path, {}, {}),
            _listener(
                *("outbound", "OUTBOUND", "backend", log_path, retry),
                {"include_request_attempt_count": True},
            ),
        ],
        [
            _cluster("frontend_app", app_port),
            _cluster("backend", backend_port),
            _cluster("zipkin", collector_port),
        ],
    )


def backend_bootstrap(app_port: int, collector_port: int, log_path: str) -> Config:
    """The backend's sidecar: what comes in goes to the app."""
    return _bootstrap(
        "backend",
        [_listener("inbound", "INBOUND", "backend_app", log_path, {}, {})],
        [_cluster("backend_app", app_port), _cluster("zipkin", collector_port)],
    )
