"""Settings → bootstrap, in Envoy's own v3 API: the same text runs in Envoy.

Connections arrive redirected (``proxy.capture``). Each is looked at: plain HTTP of any version goes through a connection
manager, which counts and traces it; everything else, TLS included, passes as bytes. Both go where they were going.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from proxy.sidecar.settings import Settings, items

Config = dict[str, Any]
TYPES: Final = "type.googleapis.com/envoy"
EXTENSIONS: Final = f"{TYPES}.extensions"
#: cluster names are Istio's, which dashboards know
PASSTHROUGH: Final = "PassthroughCluster"
INBOUND: Final = "InboundPassthroughCluster"
BLACK_HOLE: Final = "BlackHoleCluster"
#: to pods with a sidecar, by TLS: HTTP and everything else
MESH: Final = "MeshCluster"
MESH_BYTES: Final = "MeshBytesCluster"
#: what sidecars offer one another (ALPN): what is inside
MESH_HTTP: Final = "outrider-http"
MESH_TCP: Final = "outrider-tcp"
ADMIN: Final = "admin"
COLLECTOR: Final = "trace_collector"
#: where inbound connections to the application come from: the capture rules leave these alone (capture.rules)
SOURCES: Final = ("127.0.0.6", "::6")
METRICS: Final = "/stats/prometheus"
#: the listener for probes of Kubernetes, and what it answers there
READINESS: Final = "readiness"
READY: Final = "/healthz/ready"
HTTP: Final = ["http/1.0", "http/1.1", "h2c"]
_FOREVER: Final = "0s"


def make_bootstrap(settings: Settings) -> Config:
    """The whole bootstrap, as JSON would hold it."""
    return {
        "node": _node(settings),
        "admin": {"address": _address("127.0.0.1", settings.admin_port)},
        "static_resources": {
            "listeners": [
                _captured("inbound", "INBOUND", settings.inbound_port, INBOUND, settings),
                _captured("outbound", "OUTBOUND", settings.outbound_port, PASSTHROUGH, settings),
                _answers(READINESS, settings.ready_port, _probes(), settings),
                _answers("metrics", settings.metrics_port, [_asks_admin(METRICS, METRICS)], settings),
            ],
            "clusters": _clusters(settings),
        },
    }


def _node(settings: Settings) -> Config:
    place = f"{settings.pod or settings.service}.{settings.namespace or 'default'}"
    known = {
        "SERVICE": settings.service,
        "VERSION": settings.version,
        "NAMESPACE": settings.namespace,
        "POD": settings.pod,
    }
    return {
        "id": f"sidecar~{place}",
        "cluster": settings.service,
        "metadata": {name: value for name, value in known.items() if value},
    }


def _address(ip: str, port: int) -> Config:
    return {"socket_address": {"address": ip, "port_value": port}}


def _typed(name: str, message: str, **config: Any) -> Config:
    return {"name": name, "typed_config": {"@type": f"{EXTENSIONS}.{message}", **config}}


# -- listeners ---------------------------------------------------------------------------------------------------------


def _listen(name: str, port: int, settings: Settings) -> Config:
    listener: Config = {"name": name, "address": _address("0.0.0.0", port)}
    if settings.ipv6:
        listener["additional_addresses"] = [{"address": _address("::", port)}]
    return listener


def _captured(name: str, direction: str, port: int, cluster: str, settings: Settings) -> Config:
    """A listener that redirected connections come to. The first chain is for those that nobody has redirected: they
    would come to this port again for ever."""
    chains = [
        _chain(f"{name}-loop", {"destination_port": port}, _tcp_proxy(BLACK_HOLE)),
        *(_mesh_inbound(settings) if direction == "INBOUND" else _mesh_outbound(settings)),
    ]
    listener = {
        **_listen(name, port, settings),
        "traffic_direction": direction,
        "use_original_dst": direction == "OUTBOUND",
        "listener_filters": _inspectors(direction, settings),
        "listener_filters_timeout": f"{settings.detect_timeout_s:g}s",
        "continue_on_listener_filters_timeout": True,
        "filter_chains": chains,
    }
    if direction == "INBOUND" and settings.tls_strict:
        return listener
    chains.append(_chain(f"{name}-http", _PLAIN_HTTP, _manager(name, cluster, settings)))
    return {**listener, "default_filter_chain": _chain(f"{name}-tcp", {}, _tcp_proxy(cluster))}


def _inspectors(direction: str, settings: Settings) -> list[Config]:
    """Connections to ``tcp_ports`` are not looked at: whoever speaks first there may be the server. TLS of other
    sidecars is looked for everywhere: it speaks first itself."""
    tls = _typed("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector")
    http = _typed("envoy.filters.listener.http_inspector", "filters.listener.http_inspector.v3.HttpInspector")
    ports = [
        {"destination_port_range": {"start": int(each), "end": int(each) + 1}}
        for each in items(settings.tcp_ports)
    ]
    if ports:
        there = ports[0] if len(ports) == 1 else {"or_match": {"rules": ports}}
        http["filter_disabled"] = there
        if direction == "OUTBOUND" or not settings.tls_cert:
            tls["filter_disabled"] = there
    original = _typed("envoy.filters.listener.original_dst", "filters.listener.original_dst.v3.OriginalDst")
    return [original, tls, http]


def _chain(name: str, match: Config, terminal: Config, **more: Any) -> Config:
    chain = {"name": name, "filters": [terminal], **more}
    return {**chain, "filter_chain_match": match} if match else chain


_PLAIN_HTTP: Final = {"transport_protocol": "raw_buffer", "application_protocols": HTTP}


def _mesh_inbound(settings: Settings) -> list[Config]:
    """TLS from other sidecars ends here; what is in it is said by the protocols they offer."""
    if not settings.tls_cert:
        return []
    context = {"require_client_certificate": True, "common_tls_context": _certificates(settings)}
    socket = _typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", **context)
    return [
        _chain(
            f"inbound-mesh-{what}",
            {"transport_protocol": "tls", "application_protocols": [offered]},
            terminal,
            transport_socket=socket,
        )
        for what, offered, terminal in (
            ("http", MESH_HTTP, _manager("inbound", INBOUND, settings)),
            ("tcp", MESH_TCP, _tcp_proxy(INBOUND)),
        )
    ]


def _mesh_outbound(settings: Settings) -> list[Config]:
    """To pods that have a sidecar. An address that has matched does not fall back to other chains (nor in Envoy), so
    there is one for each kind of connection."""
    prefixes = [_prefix(each) for each in items(settings.tls_ranges)]
    if not prefixes:
        return []
    kinds = (
        ("http", _PLAIN_HTTP, _manager("outbound", MESH, settings)),
        ("tcp", {"transport_protocol": "raw_buffer"}, _tcp_proxy(MESH_BYTES)),
        ("tls", {"transport_protocol": "tls"}, _tcp_proxy(MESH_BYTES)),
    )
    return [
        _chain(f"outbound-mesh-{what}", {"prefix_ranges": prefixes, **match}, terminal)
        for what, match, terminal in kinds
    ]


def _prefix(text: str) -> Config:
    network = ip_network(text, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _certificates(settings: Settings) -> Config:
    return {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": settings.tls_cert},
                "private_key": {"filename": settings.tls_key},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": settings.tls_ca}},
    }


def _tcp_proxy(cluster: str) -> Config:
    return _typed(
        "envoy.filters.network.tcp_proxy",
        "filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=cluster,
        cluster=cluster,
    )


def _router(**config: Any) -> Config:
    return _typed("envoy.filters.http.router", "filters.http.router.v3.Router", **config)


def _manager(name: str, cluster: str, settings: Settings) -> Config:
    """The application must not notice: no time-outs of ours, no headers but those that traces need."""
    action: Config = {"cluster": cluster, "timeout": _FOREVER}
    if name == "outbound" and settings.retries:
        action["retry_policy"] = {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": settings.retries,
        }
    config: Config = {
        "stat_prefix": name,
        "stream_idle_timeout": _FOREVER,
        "server_header_transformation": "PASS_THROUGH",
        "preserve_external_request_id": True,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": settings.service},
        "route_config": {
            "name": name,
            "virtual_hosts": [
                {"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}
            ],
        },
        "http_filters": [_router(suppress_envoy_headers=True)],
    }
    if settings.zipkin or settings.otlp:
        config["tracing"] = _tracing(settings)
    if settings.access_log:
        config["access_log"] = [
            _typed("envoy.access_loggers.stdout", "access_loggers.stream.v3.StdoutAccessLog")
        ]
    return _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        **config,
    )


def _asks_admin(path: str, asked: str) -> Config:
    """One question of the admin interface, for everybody."""
    action = {"cluster": ADMIN, "prefix_rewrite": asked, "host_rewrite_literal": "127.0.0.1"}
    return {"match": {"path": path}, "route": action}


def _probes() -> list[Config]:
    """Of Kubernetes: started and ready are the same; alive is whoever answers."""
    alive = {"match": {"path": "/healthz/live"}, "direct_response": {"status": 200}}
    return [_asks_admin(READY, "/ready"), _asks_admin("/healthz/startup", "/ready"), alive]


def _answers(name: str, port: int, routes: list[Config], settings: Settings) -> Config:
    """A listener for probes or scrapes; nothing else of the admin interface gets out."""
    config = {
        "stat_prefix": name,
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        },
        "http_filters": [_router()],
    }
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        **config,
    )
    return {**_listen(name, port, settings), "filter_chains": [{"filters": [manager]}]}


# -- clusters ----------------------------------------------------------------------------------------------------------


def _clusters(settings: Settings) -> list[Config]:
    clusters = [
        _original_dst(PASSTHROUGH),
        {**_original_dst(INBOUND), "upstream_bind_config": _sources()},
        _static(BLACK_HOLE, []),
        _static(ADMIN, [("127.0.0.1", settings.admin_port)]),
    ]
    if settings.tls_ranges:
        clusters += [_mesh_cluster(MESH, MESH_HTTP, settings), _mesh_cluster(MESH_BYTES, MESH_TCP, settings)]
    if settings.zipkin or settings.otlp:
        clusters.append(_collector(settings.zipkin or settings.otlp, 9411 if settings.zipkin else 4318))
    return clusters


def _original_dst(name: str) -> Config:
    """HTTP goes on in the version it came in."""
    versions: Config = {"http_protocol_options": {}, "http2_protocol_options": {}}
    options = {
        "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "use_downstream_protocol_config": versions,
    }
    no_limit = 2**32 - 1
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "10s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": no_limit,
                    "max_pending_requests": no_limit,
                    "max_requests": no_limit,
                    "max_retries": no_limit,
                    "track_remaining": True,
                }
            ]
        },
    }


def _mesh_cluster(name: str, offered: str, settings: Settings) -> Config:
    context = {"common_tls_context": {**_certificates(settings), "alpn_protocols": [offered]}}
    socket = _typed("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", **context)
    return {**_original_dst(name), "transport_socket": socket}


def _sources() -> Config:
    four, six = ({"address": ip, "port_value": 0} for ip in SOURCES)
    return {"source_address": four, "extra_source_addresses": [{"address": six}]}


def _static(name: str, hosts: list[tuple[str, int]]) -> Config:
    endpoints = [{"endpoint": {"address": _address(*host)}} for host in hosts]
    groups = [{"lb_endpoints": endpoints}] if endpoints else []
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": groups},
    }


# -- tracing -----------------------------------------------------------------------------------------------------------


def _collector(url: str, default_port: int) -> Config:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or default_port
    try:
        ip_address(host)
    except ValueError:
        return {**_static(COLLECTOR, [(host, port)]), "type": "STRICT_DNS"}
    return _static(COLLECTOR, [(host, port)])


def _tracing(settings: Settings) -> Config:
    tags = {
        "service.version": settings.version,
        "k8s.namespace.name": settings.namespace,
        "k8s.pod.name": settings.pod,
    }
    return {
        "random_sampling": {"value": settings.sampling},
        "custom_tags": [{"tag": tag, "literal": {"value": value}} for tag, value in tags.items() if value],
        "provider": _zipkin(settings.zipkin) if settings.zipkin else _otlp(settings),
    }


def _zipkin(url: str) -> Config:
    parts = urlsplit(url)
    path = parts.path if parts.path not in ("", "/") else "/api/v2/spans"
    return {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": f"{TYPES}.config.trace.v3.ZipkinConfig",
            "collector_cluster": COLLECTOR,
            "collector_endpoint": path,
            "collector_endpoint_version": "HTTP_JSON",
            "collector_hostname": parts.netloc,
            "trace_id_128bit": True,
            "shared_span_context": False,
            "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION",
        },
    }


def _otlp(settings: Settings) -> Config:
    parts = urlsplit(settings.otlp)
    path = parts.path if parts.path not in ("", "/") else "/v1/traces"
    uri = {"uri": f"http://{parts.netloc}{path}", "cluster": COLLECTOR, "timeout": "5s"}
    return {
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": f"{TYPES}.config.trace.v3.OpenTelemetryConfig",
            "http_service": {"http_uri": uri},
            "service_name": settings.service,
        },
    }
