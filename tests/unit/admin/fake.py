"""A process as the admin page sees it, made of plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from proxy.admin.pages import dispatch
from proxy.admin.state import Discovered, ListenerStatus, Params, Reply, Request
from proxy.api.pool import new_message, pool
from proxy.base.clock import Clock
from proxy.http.context import Node
from proxy.runtime.runtime import Runtime
from proxy.stats.store import Store

BOOTSTRAP: dict[str, Any] = {
    "node": {"id": "n1", "cluster": "c1"},
    "static_resources": {
        "listeners": [
            {
                "name": "main",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "envoy.filters.network.http_connection_manager",
                                "typed_config": {
                                    "@type": "type.googleapis.com/envoy.extensions.filters.network."
                                    "http_connection_manager.v3.HttpConnectionManager",
                                    "stat_prefix": "ingress",
                                    "route_config": {"name": "local"},
                                },
                            }
                        ]
                    }
                ],
            }
        ],
        "clusters": [
            {"name": "back", "type": "STATIC", "connect_timeout": "1s"},
            {"name": "other", "type": "STATIC"},
        ],
        "secrets": [
            {
                "name": "cert",
                "tls_certificate": {
                    "certificate_chain": {"filename": "/cert.pem"},
                    "private_key": {"inline_string": "TOP SECRET"},
                    "password": {"filename": "/password"},
                },
            }
        ],
    },
}


@dataclass
class Locality:
    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    def __hash__(self) -> int:
        return hash((self.region, self.zone, self.sub_zone))


@dataclass
class Host:
    ip: str = "127.0.0.1"
    path: str = ""
    port: int = 8080
    hostname: str = ""
    weight: int = 1
    cx_active: int = 1
    cx_connect_fail: int = 0
    cx_total: int = 1
    rq_active: int = 0
    rq_error: int = 0
    rq_success: int = 2
    rq_timeout: int = 0
    rq_total: int = 2
    rq_pending_active: int = 0
    health_flags: str = "healthy"
    eds_health_status: str = "HEALTHY"
    priority: int = 0
    canary: bool = False
    locality: Locality = field(default_factory=Locality)

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"


@dataclass
class Limits:
    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3


@dataclass
class Cluster:
    name: str
    hosts: list[Host] = field(default_factory=lambda: [Host()])
    resources: tuple[Limits, Limits] = (Limits(), Limits())


def bootstrap_message() -> Any:
    return json_format.ParseDict(
        BOOTSTRAP, new_message("envoy.config.bootstrap.v3.Bootstrap"), descriptor_pool=pool()
    )


class FakeState:
    """An AdminState that remembers what it was told to do in ``done``."""

    def __init__(self) -> None:
        self.store = Store()
        self.now = 1_000_000.5
        self.clock = Clock(monotonic=lambda: self.now, wall=lambda: self.now)
        self.clusters = {name: Cluster(name) for name in ("back", "other")}
        self.listeners = [ListenerStatus("main", "127.0.0.1", 10000), ListenerStatus("six", "::1", 10001)]
        self.bootstrap = bootstrap_message()
        self.tls_contexts: list[Any] = []
        self.discovered: list[Discovered] = []
        self.discovered_versions: dict[str, str] = {}
        self.options: dict[str, Any] = {"concurrency": 1, "drain_time": "600s"}
        self.node = Node(id="n1", cluster="c1", zone="z")
        self.runtime = Runtime()
        self.version = "abc/1.0/Clean/RELEASE/OpenSSL"
        self.started_at = 1_000_000.25
        self.state = "LIVE"
        self.levels = {"admin": "info", "http": "info"}
        self.done: list[Any] = []

    def quit(self) -> None:
        self.done.append("quit")

    def set_health(self, healthy: bool) -> None:
        self.state = "LIVE" if healthy else "DRAINING"

    def drain(self, inbound_only: bool, graceful: bool, skip_exit: bool) -> None:
        self.done.append(("drain", inbound_only, graceful, skip_exit))

    def reopen_logs(self) -> None:
        self.done.append("reopen")

    def reset_counters(self) -> None:
        self.store.reset_counters()

    def log_levels(self) -> dict[str, str]:
        return self.levels

    def set_log_level(self, logger: str | None, level: str) -> None:
        for name in self.levels if logger is None else [logger]:
            self.levels[name] = level


def ask(state: FakeState, target: str, method: str = "GET") -> Reply:
    """The reply to one request, without a connection."""
    path, _, query = target.partition("?")
    return dispatch(state, Request(method, path, Params.parse(query)))
