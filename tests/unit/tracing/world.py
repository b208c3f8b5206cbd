"""A small world for tracing tests: a configuration compiled as the proxy would, requests, a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import json_format

from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader
from proxy.base.clock import Clock
from proxy.base.errors import ConfigError
from proxy.base.headers import Field, RequestHeaders
from proxy.base.ids import Ids
from proxy.base.registry import Registry
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.base.timers import TimerWheel
from proxy.extensions import EXTENSIONS
from proxy.http.context import FactoryContext, Node
from proxy.stats.store import Store
from proxy.tracing.compile import compile_tracing
from proxy.tracing.tracing import HttpTracing

TRACING = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing"
REQUEST_ID = b"b1b2b3b4-1234-4abc-8abc-123456789012"


class FakeTime:
    """Monotonic time is ``now``; the wall clock is 1,000,000 s ahead of it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1_000_000


class FakeClient:
    """Keeps what is sent; answers at once with ``status``, or never when that is None."""

    def __init__(self) -> None:
        self.status: int | None = 202
        self.sent: list[tuple[str, RequestHeaders, bytes, float]] = []
        self.waiting: list[Callable[[int, bytes], None]] = []
        self.grpc_status = 0
        self.called: list[tuple[Any, bytes, bytes]] = []

    def send(
        self,
        cluster: str,
        headers: RequestHeaders,
        body: bytes,
        timeout_s: float,
        on_done: Callable[[int, bytes], None],
    ) -> None:
        self.sent.append((cluster, headers, body, timeout_s))
        if self.status is None:
            self.waiting.append(on_done)
        else:
            on_done(self.status, b"")

    def grpc_stream(self, service: Any, method: bytes, receiver: Any, timeout_s: float = 0.0) -> Any:
        raise AssertionError("tracers make unary calls")

    def grpc_call(
        self, service: Any, method: bytes, message: bytes, on_reply: Callable[[int, bytes, str], None]
    ) -> None:
        self.called.append((service, method, message))
        on_reply(self.grpc_status, b"", "")

    def mirror(self, *request: Any) -> None:
        raise AssertionError("tracers mirror nothing")


class FakeClusters:
    """Knows the clusters it is told of."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def get(self, name: str) -> object | None:
        return name if name in self.names else None


class World:
    """One process: context, stats, collector's client, time."""

    def __init__(self, **context: Any) -> None:
        self.time = FakeTime()
        self.client = FakeClient()
        self.clusters = FakeClusters("zipkin")
        self.stats = Store()
        self.timers = TimerWheel()
        self.findings: list[ConfigError] = []
        options: dict[str, Any] = {
            "node": Node("node-1", "front-proxy"),
            "local_address": "192.0.2.7",
            **context,
        }
        self.context = FactoryContext(
            clock=Clock(self.time.monotonic, self.time.wall),
            timers=self.timers,
            ids=Ids(7),
            stats=self.stats,
            scope=self.stats.scope(""),
            clusters=self.clusters,  # type: ignore[arg-type]
            registry=Registry(EXTENSIONS),
            http_client=self.client,
            **options,
        )

    def reader(self, config: dict[str, Any], type_name: str = TRACING) -> Reader:
        message = new_message(type_name)
        json_format.ParseDict(config, message, descriptor_pool=pool())
        return Reader(message)

    def compile(self, config: dict[str, Any], direction: str = "INBOUND") -> HttpTracing:
        reader = self.reader(config)
        tracing = compile_tracing(reader, self.context, direction, self.stats.scope("http.in"))
        self.findings = list(reader.errors.findings)
        assert tracing is not None
        return tracing

    def pass_time(self, seconds: float) -> None:
        """Let time go by, in steps no longer than the wheel's."""
        end = self.time.now + seconds
        while self.time.now < end:
            self.time.now = min(end, self.time.now + 0.01)
            self.timers.turn(self.time.now)

    def counter(self, name: str) -> int:
        return self.stats.counters[name].value

    def stream(self, *fields: Field, request_id: bytes | None = REQUEST_ID, **pseudo: bytes) -> StreamInfo:
        """A request that has just come, with its x-request-id at the end."""
        info = ConnectionInfo(1, "127.0.0.1:4000", "127.0.0.1:80", self.time.now)
        stream = StreamInfo(info, self.time.wall(), self.time.now)
        all_fields = [*fields, (b"x-request-id", request_id)] if request_id is not None else list(fields)
        head = {"method": b"GET", "path": b"/hello", "authority": b"ex.com:80", **pseudo}
        stream.request_headers = RequestHeaders(**head, fields=all_fields)
        return stream

    def end(self, tracing: HttpTracing, stream: StreamInfo, status: int = 200) -> None:
        """The request is over after 5 ms."""
        self.time.now += 0.005
        stream.status = status
        stream.cluster_name = b"back"
        stream.ended_at = self.time.now
        tracing.finish(stream)


def zipkin(**more: Any) -> dict[str, Any]:
    """A provider."""
    return {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "zipkin",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            **more,
        },
    }


BOTH = "USE_B3_WITH_W3C_PROPAGATION"


def travel(tracing: HttpTracing, stream: StreamInfo) -> dict[bytes, bytes]:
    """Start and inject; the trace headers that go upstream. Fails when one goes twice."""
    from proxy.tracing.context import TRACE_NAMES

    tracing.start(stream)
    headers = stream.request_headers
    assert headers is not None
    tracing.inject(stream, headers)
    sent = [field for field in headers.fields if field[0] in TRACE_NAMES]
    assert len(dict(sent)) == len(sent), sent
    return dict(sent)


def request_id_of(stream: StreamInfo) -> bytes:
    assert stream.request_headers is not None
    return stream.request_headers.get(b"x-request-id") or b""


def names(fields: Sequence[Field]) -> list[bytes]:
    return [name for name, _ in fields]
