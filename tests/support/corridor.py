"""The whole corridor in process: a real bootstrap compiled by the server's own function, sockets that are lists.

Bytes go into ``DownstreamConnection.data_received`` and come out of a transport that only remembers; the upstream's
end is the same the other way round. No loop runs, nothing waits, so calls can be counted and cycles found.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

from proxy.api.load import load_bootstrap
from proxy.base.clock import Clock
from proxy.http.chain import FilterChain
from proxy.http.filter import Filter
from proxy.network.dispatcher import Dispatcher
from proxy.server.bootstrap import compile_bootstrap
from proxy.server.options import Options
from proxy.stats.store import Store
from tests.support.config import Config

REQUEST = (
    b"GET /hello?a=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nX-Mixed: 1\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 45\r\nX-Up: 1\r\n\r\n"
    b'{"message": "hello from the upstream server"}'
)
#: time that stands still: nothing is done because a second began
STILL = Clock(lambda: 1000.0, lambda: 1_790_000_000.0)
#: time as it is
RUNNING = Clock()


class MemoryTransport:
    """A transport that remembers what was written."""

    def __init__(self, peer: tuple[str, int], own: tuple[str, int]) -> None:
        self.names = {"peername": peer, "sockname": own}
        self.written: list[bytes] = []
        self.closed = False
        self.write = self.written.append

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.names.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """The test decides when bytes come."""

    def resume_reading(self) -> None:
        """As pause_reading."""

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self.written)
        self.written.clear()
        return data


class Work:
    """A task that is run when the test says so."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.work = work

    def run(self) -> None:
        try:
            self.work.send(None)
        except StopIteration:
            return
        raise RuntimeError("work that waits has no place in the corridor")

    def cancel(self) -> None:
        self.work.close()


class StillLoop:
    """The few verbs of an event loop that the corridor uses; nothing happens later by itself."""

    def __init__(self) -> None:
        self.upstreams: list[tuple[Any, MemoryTransport]] = []
        self.waiting: list[Work] = []

    def call_later(
        self, delay: float, callback: Callable[..., object], *values: object
    ) -> asyncio.TimerHandle:
        return asyncio.TimerHandle(0.0, callback, values, cast(asyncio.AbstractEventLoop, self))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled handle tells its loop."""

    def get_debug(self) -> bool:
        return False

    def create_task(self, work: Coroutine[Any, Any, None]) -> Work:
        self.waiting.append(Work(work))
        return self.waiting[-1]

    def run(self) -> None:
        """Do what waits, to its end: connecting in memory needs only one turn."""
        while self.waiting:
            self.waiting.pop(0).run()

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> None:
        protocol = factory()
        transport = MemoryTransport((host, port), ("127.0.0.1", 50000 + len(self.upstreams)))
        self.upstreams.append((protocol, transport))
        protocol.connection_made(transport)


class SilentResolver:
    """No name is asked for."""

    def resolve(self, name: str, family: str, on_done: Callable[..., None], options: object) -> None:
        raise RuntimeError(f"the corridor resolves no names: {name}")

    async def close(self) -> None:
        """Nothing is open."""


class Corridor:
    """One worker's corridor for a bootstrap's first listener, with one client connected.

    filters: put before the configured ones
    """

    def __init__(
        self, config: Config, folder: Path, filters: Sequence[Filter] = (), clock: Clock = RUNNING
    ) -> None:
        file = folder / "bootstrap.json"
        file.write_text(json.dumps(config))
        self.loop = StillLoop()
        self.store = Store()
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.dispatcher = Dispatcher(loop, clock, self.store.counter("server.envoy_bug_failures"))
        loaded = load_bootstrap(str(file), None)
        self.parts = compile_bootstrap(loaded, Options(), self.dispatcher, self.store, {}, SilentResolver())
        loaded.errors.raise_if_any()
        self.parts.clusters.start()
        self.listener = self.parts.listeners.listeners[0]
        self.hcm = cast(Any, self.listener.filter).hcm
        if filters:
            self.hcm.chain = FilterChain([*filters, *self.hcm.chain.filters])
        self.client, self.transport = self.connect()

    def connect(self) -> tuple[Any, MemoryTransport]:
        """One more client connection."""
        connection = self.listener.filter.new_connection(self.listener, self.dispatcher)
        transport = MemoryTransport(("127.0.0.1", 40000), ("127.0.0.1", 10000))
        connection.connection_made(cast(asyncio.BaseTransport, transport))
        return connection, transport

    def request(self, data: bytes = REQUEST) -> None:
        """The client's bytes go in."""
        self.client.data_received(data)
        if self.loop.waiting:
            self.loop.run()

    def response(self, data: bytes = RESPONSE) -> None:
        """The upstream's bytes go in, on the connection that was opened first."""
        self.loop.upstreams[0][0].data_received(data)

    def exchange(self) -> tuple[bytes, bytes]:
        """One request and its response: what the upstream got, what the client got."""
        self.request()
        sent = self.loop.upstreams[0][1].take()
        self.response()
        return sent, self.transport.take()

    def turn(self) -> None:
        """What the loop would do now: timers that are due, connections that were asked for."""
        self.dispatcher.timers.turn(self.dispatcher.clock.monotonic())
        self.dispatcher.flush()
        self.loop.run()

    def counter(self, name: str) -> int:
        """A counter's value."""
        return self.store.counters[name].value if name in self.store.counters else 0

    def check(self) -> None:
        """Every request was answered by the upstream and no mistake of ours was caught on the way."""
        bugs = self.counter("server.envoy_bug_failures")
        asked, answered = (self.counter(f"cluster.up.upstream_rq_{name}") for name in ("total", "200"))
        if bugs or asked != answered:
            raise AssertionError(f"{asked} requests, {answered} answered, {bugs} bugs")
