"""What the admin page may know of the process and ask of it, and the shapes of its requests and replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from proxy.base.http_date import http_date

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from proxy.base.clock import Clock
    from proxy.base.x509 import Certificate
    from proxy.http.context import Node
    from proxy.runtime.runtime import Runtime
    from proxy.stats.store import Store

TEXT = "text/plain; charset=UTF-8"
JSON = "application/json"
HTML = "text/html; charset=UTF-8"


class ListenerStatus(NamedTuple):
    """A listener that accepts: its name and the address it is bound to (a port that was 0 is the real one).

    ip: address text, or the path of a unix socket (port None).
    """

    name: str
    ip: str
    port: int | None
    more: tuple[tuple[str, int | None], ...] = ()  # additional_addresses


class Discovered(NamedTuple):
    """A resource that came while we run.

    kind: "Clusters", "Listeners", "Routes" or "Secrets", as the sections of /config_dump
    state: "active", "warming" or "draining"; message: as it came; None: nothing usable has come
    updated_at: wall-clock seconds; error: (why the last update was refused, when, its message), None when it was not
    """

    kind: str
    name: str
    state: str
    version: str
    updated_at: float
    message: Any
    error: tuple[str, float, Any] | None = None


class Locality(Protocol):
    """core.v3.Locality of a host; texts, "" when unset."""

    @property
    def region(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def sub_zone(self) -> str: ...


class Host(Protocol):
    """What /clusters prints of a host."""

    ip: str
    port: int
    path: str
    address: str
    hostname: str
    weight: int
    cx_active: int
    cx_connect_fail: int
    cx_total: int
    rq_active: int
    rq_error: int
    rq_success: int
    rq_timeout: int
    rq_total: int

    @property
    def rq_pending_active(self) -> int: ...
    @property
    def health_flags(self) -> str: ...
    @property
    def eds_health_status(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def canary(self) -> bool: ...
    @property
    def locality(self) -> Locality: ...


class Limits(Protocol):
    """Circuit-breaker limits of one priority."""

    max_connections: int
    max_pending_requests: int
    max_requests: int
    max_retries: int


class Cluster(Protocol):
    """What /clusters prints of a cluster. resources: DEFAULT and HIGH priority."""

    name: str

    @property
    def hosts(self) -> Sequence[Any]: ...
    @property
    def resources(self) -> Sequence[Any]: ...


class TlsContext(Protocol):
    """What /certs prints of a TLS context: (file or "<inline>", certificate) of its own ones and of what it trusts."""

    chains: list[tuple[str, Certificate]]
    roots: list[tuple[str, Certificate]]


class AdminState(Protocol):
    """The process as the admin page sees it. Everything is read when a request asks, on the event loop's thread.

    clusters: by name, in the order in which they were added; bootstrap: the envoy.config.bootstrap.v3.Bootstrap in force
    discovered: what came while we run; discovered_versions: of the last update, by section of /config_dump
    options: the command line, in the keys of /server_info's command_line_options (JSON values)
    version: "<sha>/<version>/<Clean|Modified>/<RELEASE|...>/<TLS library>"; started_at: clock.wall() of the start
    state: "LIVE", "DRAINING", "PRE_INITIALIZING" or "INITIALIZING"
    """

    @property
    def store(self) -> Store: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def runtime(self) -> Runtime: ...
    @property
    def clusters(self) -> Mapping[str, Cluster]: ...
    @property
    def listeners(self) -> Sequence[ListenerStatus]: ...
    @property
    def tls_contexts(self) -> Sequence[TlsContext]: ...
    @property
    def discovered(self) -> Sequence[Discovered]: ...
    @property
    def discovered_versions(self) -> Mapping[str, str]: ...
    @property
    def bootstrap(self) -> Message: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def node(self) -> Node: ...
    @property
    def version(self) -> str: ...
    @property
    def started_at(self) -> float: ...
    @property
    def state(self) -> str: ...

    def quit(self) -> None:
        """POST /quitquitquit: begin to shut down; returns at once."""

    def set_health(self, healthy: bool) -> None:
        """POST /healthcheck/{ok,fail}: whether ``state`` and health-check filters report us as healthy."""

    def drain(self, inbound_only: bool, graceful: bool, skip_exit: bool) -> None:
        """POST /drain_listeners; returns at once."""

    def reopen_logs(self) -> None:
        """POST /reopen_logs: log files were moved away, open them anew."""

    def reset_counters(self) -> None:
        """POST /reset_counters: every counter of every worker to zero."""

    def log_levels(self) -> Mapping[str, str]:
        """Loggers and their levels (trace, debug, info, warning, error, critical, off), in print order."""

    def set_log_level(self, logger: str | None, level: str) -> None:
        """Set one logger's level, or all when None. Only called with names and levels that ``log_levels`` knows."""


class Params(dict[str, str]):
    """Query parameters, decoded; of repeated ones the first."""

    @classmethod
    def parse(cls, text: str) -> Params:
        """From "a=b&c": names without a value are "". A plus sign stays one, as in Envoy."""
        params = cls()
        if not text:
            return params
        from urllib.parse import unquote  # see server.later

        for part in text.split("&"):
            name, _, value = part.partition("=")
            if name:
                params.setdefault(unquote(name), unquote(value))
        return params


class Request(NamedTuple):
    """One admin request. path: without the query; body: form text of a POST, as content_type says."""

    method: str
    path: str
    params: Params
    body: bytes = b""
    content_type: str = ""


class Reply(NamedTuple):
    """What an endpoint answers."""

    body: str
    status: int = 200
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


OK = Reply("OK\n")


def json_reply(value: Any, status: int = 200) -> Reply:
    """JSON laid out as Envoy does: one blank per level, a line feed at the end."""
    return Reply(json.dumps(value, indent=1, ensure_ascii=False) + "\n", status, JSON)


def reply_headers(reply: Reply, wall_s: float) -> list[tuple[str, str]]:
    """The headers of a reply, but for what says where it ends. wall_s: now"""
    return [
        ("content-type", reply.content_type),
        ("cache-control", "no-cache, max-age=0"),
        ("x-content-type-options", "nosniff"),
        *reply.headers,
        ("date", http_date(wall_s)),
        ("server", "envoy"),
    ]


class Endpoint(NamedTuple):
    """One admin path. summary and params are what /help prints; post_only: it changes something."""

    path: str
    summary: str
    answer: Callable[[AdminState, Request], Reply]
    post_only: bool = False
    params: tuple[tuple[str, str], ...] = ()
