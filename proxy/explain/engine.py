"""The rehearsal: a bootstrap compiled by the server's own function, a client and hosts that are bytes in memory.

Whatever the corridor does to a request (forwarding headers, route, filters, rewrites, retries' first try), the same code
does here; so an answer cannot disagree with traffic. Hosts answer with the response they are given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, cast

from proxy.api.load import Loaded
from proxy.base.clock import Clock
from proxy.base.errors import ConfigRefused
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.explain.entrance import Client, Entrance, enter
from proxy.explain.memory import MemoryLoop, MemoryResolver, MemoryTime, MemoryTransport
from proxy.explain.prepare import prepare
from proxy.explain.wire import Head, read_head, response_bytes
from proxy.http.filter import Filter, FilterStatus
from proxy.http.filter_config import put_first
from proxy.http.stream import ActiveStream
from proxy.network.dispatcher import Dispatcher
from proxy.server.bootstrap import compile_bootstrap
from proxy.server.options import Options
from proxy.stats.store import Store

Pairs = list[tuple[str, str]]
#: a rehearsal waits at most so long, in its own time (delays that filters inject, retries)
PATIENCE_S = 600.0
_TURNS = 50
_CLIENT = Client()


@dataclass(slots=True)
class Ask:
    """One request. headers: in order, names in any case; random: in [0, 1), what fractions and weights draw.

    status, response_headers: what hosts answer
    """

    path: str = "/"
    authority: str = "example.com"
    method: str = "GET"
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    random: float = 0.0
    status: int = 200
    response_headers: Pairs = field(default_factory=list)

    def data(self) -> bytes:
        """The request as a client writes it."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"host: {self.authority}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + self.body


@dataclass(slots=True)
class Outcome:
    """What became of a request.

    entrance: how its connection came in; seen: the head that routes were matched against; stream: the finished stream's facts; upstream: the head that a
    host got, None when none did; response: what the client got, None when it got nothing (``held`` says why)
    """

    ask: Ask
    entrance: Entrance
    stream: ActiveStream | None = None
    seen: RequestHeaders | None = None
    forwarded: RequestHeaders | None = None
    action_timeouts: tuple[float, float, float] = (0.0, 0.0, 0.0)
    upstream: Head | None = None
    response: Head | None = None
    held: str = ""


class _Observer(Filter):
    """Before all other filters: keeps the stream, and the head as it was when its route was chosen."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: Outcome | None = None

    def decode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        """The head after forwarding headers, before any filter."""
        if self.outcome is not None and stream.request_headers is not None:
            self.outcome.stream = stream
            self.outcome.seen = stream.request_headers.copy()
        return None

    def on_complete(self, stream: ActiveStream) -> None:
        """The end."""
        if self.outcome is None:
            return
        self.outcome.stream = stream
        self.outcome.forwarded = stream.request_headers
        self.outcome.action_timeouts = (stream.timeout_s, stream.per_try_timeout_s, stream.idle_timeout_s)


class Engine:
    """One bootstrap, compiled. ``notes``: what of it a rehearsal leaves out. Raises ConfigRefused."""

    def __init__(
        self,
        loaded: Loaded,
        environ: Mapping[str, str],
        *,
        internal: bool = False,
        runtime: str | None = None,
    ) -> None:
        """internal, runtime: see ``prepare``."""
        if loaded.errors:
            raise ConfigRefused(loaded.errors.findings)
        self.message, self.notes = prepare(loaded.message, internal=internal, runtime=runtime)
        self._random = 0.0
        self._time = MemoryTime()
        self._loop = MemoryLoop()
        store = Store()
        clock = Clock(self._time.monotonic, self._time.wall)
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        self._dispatcher = Dispatcher(loop, clock, store.counter("server.envoy_bug_failures"))
        self._bugs = store.counter("server.envoy_bug_failures")
        resolver = MemoryResolver()
        ids = Ids(1)
        ids.random = self._draw
        copy = Loaded(self.message, loaded.errors, loaded.locator)
        self.parts = compile_bootstrap(copy, Options(), self._dispatcher, store, environ, resolver, ids)
        if loaded.errors:
            raise ConfigRefused(loaded.errors.findings)
        for cluster in self.parts.clusters.clusters.values():
            cluster.bind_config = None  # no socket is opened, so none has an address
        self.parts.clusters.start()
        resolver.answer()
        self._observers: dict[int, _Observer] = {}

    def _draw(self) -> float:
        return self._random

    @property
    def listeners(self) -> Sequence[Any]:
        """The compiled listeners, in the order of the configuration."""
        return self.parts.listeners.listeners

    def ask(self, listener: Any, ask: Ask, client: Client = _CLIENT) -> Outcome:
        """Send one request to a listener and play its hosts."""
        data = ask.data()
        outcome = Outcome(ask, enter(listener, client, data))
        chain = outcome.entrance.chain
        if chain is None:
            outcome.held = "no filter chain takes the connection: it is closed"
        elif outcome.entrance.hcm is None:
            outcome.held = "the filter chain has no HTTP connection manager: the request is bytes to it"
        else:
            self._send(outcome, data)
        return outcome

    def _send(self, outcome: Outcome, data: bytes) -> None:
        """The request goes through its chain."""
        ask, entrance = outcome.ask, outcome.entrance
        listener, chain = entrance.listener, entrance.chain
        assert chain is not None
        self._random = ask.random
        observer = self._observer(entrance.hcm)
        observer.outcome = outcome
        listener.filter_chain_name = chain.name
        connection: Any = chain.filter.new_connection(listener, self._dispatcher)
        transport = MemoryTransport(entrance.source, entrance.destination)
        connection.connection_made(cast(asyncio.BaseTransport, transport))
        connection.info.requested_server_name = entrance.facts.server_name
        bugs = self._bugs.value
        try:
            connection.data_received(data)
            self._play(outcome, ask)
        finally:
            observer.outcome = None
        outcome.response = read_head(transport.take(), final=True)
        if outcome.response is None:
            outcome.held = "the proxy failed: see its log" if self._bugs.value > bugs else "no response came"
        connection.connection_lost(None)
        self._dispatcher.flush()

    def _observer(self, hcm: Any) -> _Observer:
        observer = self._observers.get(id(hcm))
        if observer is None:
            observer = self._observers[id(hcm)] = _Observer()
            put_first(hcm, [observer])
        return observer

    def _play(self, outcome: Outcome, ask: Ask) -> None:
        """Hosts answer what reaches them; time passes while nothing moves and the stream waits."""
        until = self._time.now + PATIENCE_S
        for _ in range(_TURNS):
            self._loop.run()
            if self._answer_hosts(outcome, ask):
                continue
            stream = outcome.stream
            if stream is None or stream.done:
                return
            due = self._dispatcher.timers.next_due()
            if due == inf or due > until:
                return
            self._time.now = max(due, self._time.now)
            self._dispatcher.timers.turn(self._time.now)
            self._dispatcher.flush()

    def _answer_hosts(self, outcome: Outcome, ask: Ask) -> bool:
        """Whether any host got a request."""
        moved = False
        for protocol, transport in self._loop.opened:
            head = read_head(transport.take())
            if head is None:
                continue
            moved = True
            stream = outcome.stream
            wanted = stream.upstream_connection_id if stream is not None else 0
            if wanted == protocol.connection_id:
                outcome.upstream = head
            protocol.data_received(response_bytes(ask.status, ask.response_headers, head.first))
        self._loop.opened = [pair for pair in self._loop.opened if not pair[1].closed]
        return moved
