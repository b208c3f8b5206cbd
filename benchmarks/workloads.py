"""What is asked of both proxies, with one bootstrap for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import CA, FILES, MESSAGE, Drive
from tests.support.config import (
    TYPES,
    Config,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    raw_listener,
    route_to,
    tcp_proxy,
    virtual_host,
    zipkin,
)
from tests.support.grpc_service import http2_options

#: request ids stay on (a sidecar needs them); the breakers must not decide the outcome
WIDE_OPEN = {
    "circuit_breakers": {
        "thresholds": [
            {
                "max_connections": 100_000,
                "max_pending_requests": 100_000,
                "max_requests": 100_000,
                "max_retries": 1000,
            }
        ]
    }
}

LOG = {
    "start_time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
}


@dataclass(slots=True, frozen=True)
class Ports:
    """http2, tls: of the upstream, by prior knowledge and with client certificates; 0 without nginx"""

    front: int
    admin: int
    upstream: int
    collector: int
    http2: int = 0
    tls: int = 0


KEEP_ALIVE = Drive()


@dataclass(slots=True, frozen=True)
class Workload:
    """bar: the CPU ratio to Envoy that must be reached; traced: spans, trace headers and log lines are checked;
    messages: WebSocket messages instead of requests."""

    name: str
    title: str
    bar: float
    traced: bool
    config: Callable[[Ports, Path], Config]
    drive: Drive = KEEP_ALIVE
    needs_nginx: bool = False
    messages: bool = False


def plain(ports: Ports, folder: Path) -> Config:
    listener = http_listener(ports.front, [virtual_host([route_to("up")])])
    return bootstrap(ports.admin, [listener], [cluster("up", ports.upstream, **WIDE_OPEN)])


def websocket(ports: Ports, folder: Path) -> Config:
    hcm = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
    listener = http_listener(ports.front, [virtual_host([route_to("up")])], hcm=hcm)
    return bootstrap(ports.admin, [listener], [cluster("up", ports.upstream, **WIDE_OPEN)])


def mission(ports: Ports, folder: Path) -> Config:
    hcm = {
        "tracing": zipkin("collector", trace_id_128bit=True),
        "access_log": [file_log(str(folder / "access.log"), json=LOG)],
    }
    listener = http_listener(
        ports.front, [virtual_host([route_to("up")])], hcm=hcm, traffic_direction="INBOUND"
    )
    clusters = [
        cluster("up", ports.upstream, **WIDE_OPEN),
        cluster("collector", ports.collector, **WIDE_OPEN),
    ]
    return bootstrap(ports.admin, [listener], clusters)


def _filter(name: str, message: str, **fields: object) -> Config:
    typed = {"@type": f"{TYPES}.filters.http.{name}.v3.{message}", **fields}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _compressor(kind: str) -> Config:
    message = f"{TYPES}.compression.{kind}.compressor.v3.{kind.capitalize()}"
    library = {"name": kind, "typed_config": {"@type": message}}
    return _filter("compressor", "Compressor", compressor_library=library)


def idle_filters(ports: Ports, folder: Path) -> Config:
    """Five filters before the router which look at each head and find nothing to do."""
    filters = [
        _compressor("gzip"),
        _compressor("brotli"),
        _filter("grpc_web", "GrpcWeb"),
        _filter("grpc_http1_bridge", "Config"),
        _filter("grpc_stats", "FilterConfig"),
        _filter("router", "Router"),
    ]
    listener = http_listener(ports.front, [virtual_host([route_to("up")])], hcm={"http_filters": filters})
    return bootstrap(ports.admin, [listener], [cluster("up", ports.upstream, **WIDE_OPEN)])


def routes(count: int) -> Callable[[Ports, Path], Config]:
    """``count`` prefix routes in one virtual host; the last one is hit."""

    def config(ports: Ports, folder: Path) -> Config:
        others = [route_to("up", prefix=f"/service-{number}/") for number in range(count - 1)]
        listener = http_listener(ports.front, [virtual_host([*others, route_to("up", prefix="/hello")])])
        return bootstrap(ports.admin, [listener], [cluster("up", ports.upstream, **WIDE_OPEN)])

    return config


def http2(ports: Ports, folder: Path) -> Config:
    """HTTP/2 on both sides."""
    listener = http_listener(ports.front, [virtual_host([route_to("up", timeout="0s")])])
    up = cluster("up", ports.http2, **WIDE_OPEN, **http2_options())
    return bootstrap(ports.admin, [listener], [up])


FRONT = CA.signs("front", dns=("front.bench",))
PROXY = CA.signs("proxy", dns=("proxy.bench",))


def transport_socket(side: str, **typed: object) -> Config:
    made = {"@type": f"{TYPES}.transport_sockets.tls.v3.{side}TlsContext", **typed}
    return {"name": "envoy.transport_sockets.tls", "typed_config": made}


def over_tls(ports: Ports, folder: Path) -> Config:
    """TLS from the client, plain text to the host."""
    config = plain(ports, folder)
    common = {"tls_certificates": [FRONT.config()]}
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    chain["transport_socket"] = transport_socket("Downstream", common_tls_context=common)
    return config


def mutual_tls(ports: Ports, folder: Path) -> Config:
    """Plain text from the client, mutual TLS to the host: half of a hop between two sidecars."""
    common = {
        "tls_certificates": [PROXY.config()],
        "validation_context": {"trusted_ca": {"inline_string": CA.pem}},
    }
    listener = http_listener(ports.front, [virtual_host([route_to("up")])])
    socket = transport_socket("Upstream", common_tls_context=common, sni="host.bench")
    return bootstrap(
        ports.admin, [listener], [cluster("up", ports.tls, transport_socket=socket, **WIDE_OPEN)]
    )


def raw(ports: Ports, folder: Path) -> Config:
    """The same requests as bytes: tcp_proxy."""
    listener = raw_listener(ports.front, tcp_proxy("up"))
    return bootstrap(ports.admin, [listener], [cluster("up", ports.upstream, **WIDE_OPEN)])


#: with Host, User-Agent and Accept, 30 fields of 2 KB together
THIRTY = tuple(f"X-Bench-{number:02}: {'v' * 60}" for number in range(27))

CALL = Drive(
    "h2load",
    path="/bench.Echo/Call",
    headers=("content-type: application/grpc", "te: trailers"),
    sends=MESSAGE,
)
HANDSHAKE = Drive(over_tls=True, headers=("Connection: close",))

WORKLOADS = [
    Workload("w1", "plain keep-alive GET, small body", 0.70, False, plain),
    Workload("w2", "the same, 100 % traced to Zipkin, JSON access log", 0.40, True, mission),
    Workload(
        "w1-new", "w1, each with a path and two fields of its own", 0.80, False, plain, Drive(anew=True)
    ),
    Workload(
        "w2-new", "w2, each with a path and two fields of its own", 0.45, True, mission, Drive(anew=True)
    ),
    Workload("w10", "plain, 30 request headers, 2 KB", 0.70, False, plain, Drive(headers=THIRTY)),
    Workload("w12", "plain, five filters that find nothing to do", 0.70, False, idle_filters),
    Workload("w11-10", "10 routes, the last one hit", 0.70, False, routes(10)),
    Workload("w11-1000", "1,000 routes, the last one hit", 0.50, False, routes(1000)),
    Workload("ws", "WebSocket messages of 100 bytes, there and back", 1.00, False, websocket, messages=True),
    Workload("w11-10000", "10,000 routes, the last one hit", 0.12, False, routes(10_000)),
    Workload("w3-h2", "HTTP/2 streams, 8 connections of 20", 1.00, False, http2, Drive("h2load"), True),
    Workload("w3-grpc", "unary gRPC calls, 8 connections of 20", 1.00, False, http2, CALL, True),
    Workload("w4-tls", "TLS keep-alive", 0.80, False, over_tls, Drive(over_tls=True)),
    Workload("w4-handshakes", "a TLS handshake a request", 1.60, False, over_tls, HANDSHAKE),
    Workload("w4-mtls", "mutual TLS to the host", 0.80, False, mutual_tls, needs_nginx=True),
    Workload(
        "w5-64k-down", "64 KiB bodies from the host", 0.80, False, plain, Drive(path="/files/64k"), True
    ),
    Workload("w5-64k-up", "64 KiB bodies to the host", 0.85, False, plain, Drive(sends=FILES["64k"]), True),
    Workload("w5-1m-down", "1 MiB bodies from the host", 1.05, False, plain, Drive(path="/files/1m"), True),
    Workload("w5-1m-up", "1 MiB bodies to the host", 1.05, False, plain, Drive(sends=FILES["1m"]), True),
    Workload("tcp", "raw TCP, the requests of w1 as bytes", 0.95, False, raw),
]
#: resident memory after start, before load, as a ratio to Envoy's
RSS_BAR = 0.85
