"""Route tables and streams for tests, from Envoy's JSON form."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader, unread
from proxy.base.errors import ConfigError
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.router.retry_policy import RetryPolicy, compile_retry_policy
from proxy.router.route_table import RouteTable, compile_route_table
from proxy.runtime.runtime import Runtime

Config = dict[str, Any]
ROUTES = "envoy.config.route.v3"


class Context:
    """What a route table needs of a FactoryContext."""

    def __init__(self, seed: int = 1, environ: dict[str, str] | None = None) -> None:
        self.ids = Ids(seed)
        self.environ = environ
        self.runtime = Runtime()


def reader_of(type_name: str, config: Config) -> Reader:
    """A Reader over a message given in JSON form."""
    message = new_message(type_name)
    json_format.ParseDict(config, message, descriptor_pool=pool())
    return Reader(message)


def table_of(
    config: Config, known: set[str] | None = None, seed: int = 1, environ: dict[str, str] | None = None
) -> RouteTable:
    """A table that compiles without a finding; every set field read."""
    reader = reader_of(f"{ROUTES}.RouteConfiguration", config)
    table = compile_route_table(reader, Context(seed, environ), known)
    findings = reader.errors.findings + unread(reader)
    assert not findings, "\n".join(map(str, findings))
    return table


def findings_of(config: Config, known: set[str] | None = None) -> list[ConfigError]:
    """What refuses a route configuration, unread fields included."""
    reader = reader_of(f"{ROUTES}.RouteConfiguration", config)
    compile_route_table(reader, Context(), known)
    return reader.errors.findings + unread(reader)


def hosts(*virtual_hosts: Config, **more: Any) -> Config:
    """A RouteConfiguration."""
    return {"name": "routes", "virtual_hosts": list(virtual_hosts), **more}


def routes(*entries: Config, **more: Any) -> Config:
    """A RouteConfiguration with one virtual host for every domain; ``more`` joins the virtual host."""
    return hosts({"name": "all", "domains": ["*"], "routes": list(entries), **more})


def request(
    path: str = "/",
    fields: list[tuple[str, str]] | None = None,
    host: str = "example.com",
    method: str = "GET",
    scheme: str = "http",
) -> RequestHeaders:
    """A request head with lower-case names."""
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields or []]
    return RequestHeaders(method.encode(), path.encode("latin-1"), host.encode(), scheme.encode(), pairs)


def stream_of(headers: RequestHeaders | None = None) -> StreamInfo:
    """A stream that has only its request head."""
    stream = StreamInfo(ConnectionInfo(1, "127.0.0.1:5000", "127.0.0.1:10000", 0.0), 0.0, 0.0)
    stream.request_headers = headers
    return stream


def policy_of(config: Config) -> RetryPolicy:
    """A retry policy, all of it taken."""
    reader = reader_of(f"{ROUTES}.RetryPolicy", config)
    policy = compile_retry_policy(reader)
    assert not reader.errors.findings and not unread(reader)
    return policy
