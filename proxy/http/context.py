"""What an extension may use while it is being built, and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from proxy.base.init import InitManager
from proxy.runtime.runtime import Runtime

if TYPE_CHECKING:
    from proxy.api.discovery import Secrets, Sources
    from proxy.api.reader import Reader
    from proxy.base.clock import Clock
    from proxy.base.headers import HeaderMap, RequestHeaders
    from proxy.base.ids import Ids
    from proxy.base.registry import Registry
    from proxy.base.timers import TimerWheel
    from proxy.http.grpc_service import GrpcService
    from proxy.http.grpc_stream import GrpcReceiver, GrpcStream
    from proxy.stats.store import Counter, Scope, Store
    from proxy.tracing.mirror_span import MirrorSpan
    from proxy.upstream.manager import ClusterManager


class HttpClient(Protocol):
    """Requests that the proxy itself sends through a configured cluster (collectors, later ext_authz, JWKS ...)."""

    def send(
        self,
        cluster: str,
        headers: RequestHeaders,
        body: bytes,
        timeout_s: float,
        on_done: Callable[[int, bytes], None],
    ) -> None:
        """Send; ``on_done(status, body)`` is called exactly once, with status 0 when there was no response.

        The body of the answer is cut at 64 KiB, and a host that sends more is not read on. Never raises for a network or
        cluster failure.
        """

    def mirror(
        self,
        cluster: str,
        headers: RequestHeaders,
        body: bytes,
        trailers: HeaderMap | None,
        timeout_s: float,
        span: MirrorSpan | None,
    ) -> None:
        """Send a copy of a client's request and forget it. Takes ``headers`` over. Never raises. span: told of its end,
        unless there is no such cluster"""

    def grpc_stream(
        self, service: GrpcService, method: bytes, receiver: GrpcReceiver, timeout_s: float = 0.0
    ) -> GrpcStream:
        """A gRPC call of any kind, not started yet (``GrpcStream.start``). timeout_s: 0.0 for none"""

    def grpc_call(
        self,
        service: GrpcService,
        method: bytes,
        message: bytes,
        on_reply: Callable[[int, bytes, str], None],
    ) -> None:
        """A unary gRPC call. ``on_reply(status, message, text)`` is called exactly once, be it before this returns."""


class Task(Protocol):
    """A coroutine under way."""

    def cancel(self) -> object:
        """Stop it at its next await; ``on_done`` is still called."""


class Tasks(Protocol):
    """Runs coroutines beside the corridor: only who awaits pays for a task."""

    def start(
        self,
        work: Coroutine[Any, Any, Any],
        on_done: Callable[[Any, BaseException | None], None],
    ) -> Task:
        """Run it from the loop's next turn on; ``on_done(result, error)`` is called once, and what it leads to is
        written at the end of that turn."""

    def future(self) -> Any:
        """An asyncio.Future of this loop, for callbacks that a coroutine awaits."""

    def flush(self) -> None:
        """Write what was given to connections outside a turn of the corridor."""


class Sender(Protocol):
    """Takes bytes of ours that nobody answers, and sends them some time. What waits is bounded."""

    def send(self, parts: Sequence[bytes]) -> None:
        """Never blocks, never raises; what cannot be sent is counted and gone."""

    def close(self) -> None:
        """Send what can be sent at once, and give up the rest."""


class Senders(Protocol):
    """Sockets of ours that only send. dropped: counts what is lost."""

    def datagrams(self, ip: str, port: int, dropped: Counter) -> Sender:
        """Over UDP, each part a datagram."""

    def stream(self, cluster: str, dropped: Counter) -> Sender:
        """Over one connection to a host of a configured cluster, with its pools, breakers and TLS."""


class Node:
    """bootstrap.node with the command line's overrides."""

    __slots__ = ("cluster", "id", "metadata", "region", "sub_zone", "zone")

    def __init__(self, id: str = "", cluster: str = "", zone: str = "") -> None:
        self.id = id
        self.cluster = cluster
        self.region = ""
        self.zone = zone
        self.sub_zone = ""
        self.metadata: dict[str, Any] = {}


class FactoryContext:
    """Handed to every extension's constructor: ``Class(config: Reader, context: FactoryContext)``.

    local_address: this host's own address, for spans and forwarding headers (ip text)
    flush_interval_s, flush_min_bytes: access-log files (--file-flush-interval-msec, --file-flush-min-size-kb)
    runtime: values that change while we run; ask it for slots, once, and read those
    shared: per-process singletons of extensions (open log files by path, say), keyed by the extension
    direction: the listener's that is being built (traffic_direction)
    resource_attributes: OTEL_RESOURCE_ATTRIBUTES and what goes with them, merged
    tracing_provider: bootstrap.tracing.http, for connection managers that name none
    environ: environment variables; None: nobody gave them
    filter_name: of the HTTP filter being built, as http_filters names it
    http_scope: http.<stat_prefix>. of the connection manager being built
    folder: of the bootstrap file, to which file names of our own messages are relative; "": where we are
    tasks: runs coroutines of filters; None: nobody does; senders: for sinks; None: there are none
    sources: makes subscriptions of what comes while we run; None: nobody does
    secrets: certificates and the like by name; None: there are none
    init: waits for what is being built
    """

    __slots__ = (
        "clock",
        "clusters",
        "direction",
        "environ",
        "filter_name",
        "flush_interval_s",
        "flush_min_bytes",
        "folder",
        "http_client",
        "http_scope",
        "ids",
        "init",
        "local_address",
        "node",
        "registry",
        "resource_attributes",
        "runtime",
        "scope",
        "secrets",
        "senders",
        "shared",
        "sources",
        "stats",
        "tasks",
        "timers",
        "tracing_provider",
    )

    def __init__(
        self,
        clock: Clock,
        timers: TimerWheel,
        ids: Ids,
        stats: Store,
        scope: Scope,
        clusters: ClusterManager,
        registry: Registry,
        http_client: HttpClient,
        node: Node,
        *,
        local_address: str = "127.0.0.1",
        flush_interval_s: float = 10.0,
        flush_min_bytes: int = 64 * 1024,
        direction: str = "UNSPECIFIED",
        resource_attributes: dict[str, str] | None = None,
        environ: dict[str, str] | None = None,
        runtime: Runtime | None = None,
        folder: str = "",
        tasks: Tasks | None = None,
        senders: Senders | None = None,
        sources: Sources | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        self.clock = clock
        self.timers = timers
        self.ids = ids
        self.stats = stats
        self.scope = scope
        self.clusters = clusters
        self.registry = registry
        self.http_client = http_client
        self.node = node
        self.local_address = local_address
        self.flush_interval_s = flush_interval_s
        self.flush_min_bytes = flush_min_bytes
        self.direction = direction
        self.resource_attributes = resource_attributes if resource_attributes is not None else {}
        self.tracing_provider: Reader | None = None
        self.environ = environ
        self.runtime = runtime if runtime is not None else Runtime()
        self.folder = folder
        self.tasks = tasks
        self.senders = senders
        self.sources = sources
        self.secrets = secrets
        self.shared: dict[Any, Any] = {}
        self.filter_name = ""
        self.http_scope: Scope | None = None
        self.init = InitManager("Server")

    def copy(self) -> FactoryContext:
        """The same again, for what is built in another place; ``shared`` stays shared."""
        made = FactoryContext.__new__(FactoryContext)
        for name in FactoryContext.__slots__:
            setattr(made, name, getattr(self, name))
        return made
