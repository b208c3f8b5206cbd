"""Clusters without a network: a clock, a connector and a resolver that do what the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format, message_factory

from proxy.api.errors import Errors
from proxy.api.pool import pool as descriptor_pool
from proxy.api.reader import Reader, unread
from proxy.base.clock import Clock
from proxy.base.errors import LOCAL_CONNECTION_FAILURE, REMOTE_CONNECTION_FAILURE, ResetReason
from proxy.base.ids import Ids
from proxy.base.registry import Registry
from proxy.base.timers import TimerWheel
from proxy.extensions import EXTENSIONS
from proxy.runtime.runtime import Runtime
from proxy.stats.store import Store
from proxy.upstream.cluster import Cluster, compile_cluster
from proxy.upstream.context import UpstreamContext
from proxy.upstream.dns import SYSTEM_RESOLVER, Answer, OnDone, ResolverOptions
from proxy.upstream.host import Host
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_connection import CONNECTING, PoolConnection

CLUSTER = "envoy.config.cluster.v3.Cluster"


class FakeConnection(PoolConnection):
    """A PoolConnection. ``lazy``: its close is reported by ``report_close`` only, not at once."""

    def __init__(self, pool: ConnectionPool, lazy: bool) -> None:
        self.pool = pool
        self.pool_state = -1
        self.requests_served = -1
        self.created_at = -1.0
        self.closing = False
        self.lazy = lazy

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.lazy:
                self.report_close()

    def report_close(self) -> None:
        if self.pool_state == CONNECTING:
            self.pool.on_connect_failure(self, LOCAL_CONNECTION_FAILURE, b"")
        else:
            self.pool.on_closed(self, remote=False)

    def connected(self) -> None:
        self.pool.on_connected(self)

    def fails(self, reason: ResetReason = REMOTE_CONNECTION_FAILURE, detail: bytes = b"") -> None:
        self.pool.on_connect_failure(self, reason, detail)

    def response(self) -> None:
        """The response is whole and the connection may be used again."""
        self.pool.on_idle(self)

    def remote_close(self) -> None:
        self.pool.on_closed(self, remote=True)


class FakeConnector:
    """Remembers every connection it was asked for."""

    def __init__(self) -> None:
        self.made: list[FakeConnection] = []
        self.lazy = False

    def connect(self, pool: ConnectionPool, host: Host) -> FakeConnection:
        connection = self.make(pool, host)
        self.made.append(connection)
        return connection

    def make(self, pool: ConnectionPool, host: Host) -> FakeConnection:
        return FakeConnection(pool, self.lazy)


class FakeRequest:
    """A PoolRequest that remembers its answers."""

    def __init__(self) -> None:
        self.protocol = b"HTTP/1.1"
        self.connections: list[PoolConnection] = []
        self.failures: list[tuple[ResetReason, bytes]] = []

    @property
    def client(self) -> None:
        """It is ours."""
        return None

    def server_name(self, header: bytes) -> bytes:
        return b"a.example"

    @property
    def answers(self) -> int:
        return len(self.connections) + len(self.failures)

    def on_pool_ready(self, connection: PoolConnection) -> None:
        self.connections.append(connection)

    def on_pool_failure(self, reason: ResetReason, detail: bytes) -> None:
        self.failures.append((reason, detail))


class FakeResolver:
    """Keeps questions until the test answers them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, OnDone]] = []
        self.options = SYSTEM_RESOLVER  # of the last question

    def resolve(self, name: str, family: str, on_done: OnDone, options: ResolverOptions) -> None:
        self.options = options
        self.asked.append((name, family, on_done))

    def answer(self, *answers: str | Answer) -> None:
        """Answer the oldest question; a plain ip has no TTL."""
        _, _, on_done = self.asked.pop(0)
        on_done([answer if isinstance(answer, tuple) else (answer, 0.0) for answer in answers], "")

    def fail(self) -> None:
        _, _, on_done = self.asked.pop(0)
        on_done(None, "no server answered")


@dataclass
class World:
    """Everything a cluster hangs on."""

    now: float = 100.0
    stats: Store = field(default_factory=Store)
    connector: FakeConnector = field(default_factory=FakeConnector)
    resolver: FakeResolver = field(default_factory=FakeResolver)
    timers: TimerWheel = field(default_factory=TimerWheel)
    errors: Errors = field(default_factory=Errors)
    seed: int = 1

    def __post_init__(self) -> None:
        clock = Clock(lambda: self.now, lambda: self.now)
        self.context = UpstreamContext(
            clock=clock,
            timers=self.timers,
            ids=Ids(self.seed),
            stats=self.stats,
            registry=Registry(EXTENSIONS),
            connector=self.connector,
            resolver=self.resolver,
            runtime=Runtime(),
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, ringing what is due on the way."""
        end = self.now + seconds
        while self.timers.next_due() <= end:
            self.now = self.timers.next_due()
            self.timers.turn(self.now)
        self.now = end

    def reader(self, type_name: str, **fields: Any) -> Reader:
        return read(type_name, fields, self.errors)

    def cluster(self, *addresses: str, **fields: Any) -> Cluster:
        """A started STATIC (unless ``type`` says otherwise) cluster; raises when the configuration has findings."""
        fields = {"name": "back", **({} if "cluster_type" in fields else {"type": "STATIC"}), **fields}
        if addresses:
            fields["load_assignment"] = assignment(*addresses)
        reader = self.reader(CLUSTER, **fields)
        cluster = compile_cluster(reader, self.context)
        findings = self.errors.findings + unread(reader)
        assert findings == []
        cluster.start()
        return cluster

    def value(self, name: str) -> int:
        """A counter or gauge below "cluster.back."."""
        full = "cluster.back." + name
        counter = self.stats.counters.get(full)
        return counter.value if counter is not None else self.stats.gauges[full].value

    def used(self) -> dict[str, int]:
        """What of "cluster.back." is not zero, membership aside."""
        prefix = "cluster.back."
        values = {name: counter.value for name, counter in self.stats.counters.items()}
        values |= {name: gauge.value for name, gauge in self.stats.gauges.items()}
        return {
            name.removeprefix(prefix): value
            for name, value in values.items()
            if name.startswith(prefix) and value and "membership" not in name and "match" not in name
        }


def read(type_name: str, fields: dict[str, Any], errors: Errors | None = None) -> Reader:
    """A Reader of a message given in its JSON form."""
    descriptor = descriptor_pool().FindMessageTypeByName(type_name)
    message = message_factory.GetMessageClass(descriptor)()
    json_format.ParseDict(fields, message, descriptor_pool=descriptor_pool())
    return Reader(message, "", errors if errors is not None else Errors())


def endpoint(address: str, **fields: Any) -> dict[str, Any]:
    """An LbEndpoint at "name:port"."""
    name, _, port = address.rpartition(":")
    place = {"socket_address": {"address": name.strip("[]"), "port_value": int(port)}}
    return {"endpoint": {"address": place}, **fields}


def assignment(*addresses: str) -> dict[str, Any]:
    """A ClusterLoadAssignment of one locality."""
    return {"endpoints": [{"lb_endpoints": [endpoint(address) for address in addresses]}]}
