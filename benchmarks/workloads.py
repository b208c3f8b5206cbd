"""What is asked of both proxies, with one bootstrap for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.config import (
    Config,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    route_to,
    virtual_host,
    zipkin,
)

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
    front: int
    admin: int
    upstream: int
    collector: int


@dataclass(slots=True, frozen=True)
class Workload:
    """bar: the CPU ratio to Envoy that must be reached; traced: spans, trace headers and log lines are checked;
    headers: sent beside Host, User-Agent and Accept."""

    name: str
    title: str
    bar: float
    traced: bool
    config: Callable[[Ports, Path], Config]
    headers: tuple[str, ...] = ()


def plain(ports: Ports, folder: Path) -> Config:
    listener = http_listener(ports.front, [virtual_host([route_to("up")])])
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


def routes(count: int) -> Callable[[Ports, Path], Config]:
    """``count`` prefix routes in one virtual host; the last one is hit."""

    def config(ports: Ports, folder: Path) -> Config:
        others = [route_to("up", prefix=f"/service-{number}/") for number in range(count - 1)]
        listener = http_listener(ports.front, [virtual_host([*others, route_to("up", prefix="/hello")])])
        return bootstrap(ports.admin, [listener], [cluster("up", ports.upstream, **WIDE_OPEN)])

    return config


#: with Host, User-Agent and Accept, 30 fields of 2 KB together
THIRTY = tuple(f"X-Bench-{number:02}: {'v' * 60}" for number in range(27))

WORKLOADS = [
    Workload("w1", "plain keep-alive GET, small body", 0.70, False, plain),
    Workload("w2", "the same, 100 % traced to Zipkin, JSON access log", 0.40, True, mission),
    Workload("w10", "plain, 30 request headers, 2 KB", 0.70, False, plain, THIRTY),
    Workload("w11-10", "10 routes, the last one hit", 0.70, False, routes(10)),
    Workload("w11-1000", "1,000 routes, the last one hit", 0.50, False, routes(1000)),
    Workload("w11-10000", "10,000 routes, the last one hit", 0.12, False, routes(10_000)),
]
#: resident memory after start, before load, as a ratio to Envoy's
RSS_BAR = 0.85
