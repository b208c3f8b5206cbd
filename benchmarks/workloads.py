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
    """bar: the CPU ratio to Envoy that must be reached; traced: spans, trace headers and log lines are checked."""

    name: str
    title: str
    bar: float
    traced: bool
    config: Callable[[Ports, Path], Config]


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


WORKLOADS = [
    Workload("w1", "plain keep-alive GET, small body", 0.70, False, plain),
    Workload("w2", "the same, 100 % traced to Zipkin, JSON access log", 0.40, True, mission),
]
#: resident memory after start, before load, as a ratio to Envoy's
RSS_BAR = 0.85
