"""A stream test is a transcript: what the client says, what the upstream does, what the client saw.

    talk = Transcript(route(retry_on="reset", num_retries=1))
    talk.client(b"GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n")
    talk.upstream(0).resets()
    talk.waits(0.1)
    talk.upstream(1).replies(200, b"ok")
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.a.upstream_rq_retry_success"] == 1

A real bootstrap is compiled by the server's own function; connections, loop and clock are in memory. When a test ends
(``ends_clean``, an autouse fixture to import), every transcript is checked: connections go, gauges return to zero,
nothing is left on the timer wheel or for the cycle collector, and no bug of ours was caught on the way.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from proxy.api.load import BOOTSTRAP, load_text
from proxy.base.clock import Clock
from proxy.http.filter import Filter
from proxy.http.filter_config import put_first
from proxy.http.stream import ActiveStream
from proxy.network.dispatcher import Dispatcher
from proxy.server.bootstrap import compile_bootstrap
from proxy.server.options import Options
from proxy.stats.store import Store
from tests.support.client import Response, read_response
from tests.support.config import Config, bootstrap, cluster, http_listener, virtual_host
from tests.support.corridor import SilentResolver
from tests.support.memory_loop import MemoryLoop, Pipe
from tests.support.messages import Closed, Message, Wire
from tests.support.upstream import chunked, reply

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
REFUSED = ConnectionRefusedError(111, "Connection refused")
WALL = 1_700_000_000.0
OVERRIDES = {"name": "overrides", "admin_layer": {}}

_open: list[Transcript] = []


def route(**retry: Any) -> Config:
    """A route for everything to cluster "a"; the arguments are its retry policy's."""
    action: dict[str, Any] = {"retry_policy": retry} if retry else {}
    return to("a", **action)


def to(name: str, prefix: str = "/", **action: Any) -> Config:
    """A route by prefix; the arguments join its route action."""
    return {"match": {"prefix": prefix}, "route": {"cluster": name, **action}}


class MemoryWire(Wire):
    """Bytes that have all come."""

    def __init__(self, data: bytes, at_end: bool) -> None:
        self.buffer = data
        self.at_end = at_end

    def receive(self) -> bytes:
        raise Closed(self.buffer)

    def rest(self) -> bytes:
        if not self.at_end:
            raise Closed(self.buffer)
        taken, self.buffer = self.buffer, b""
        return taken


class Peer:
    """One end of a connection that is not the proxy's."""

    def __init__(self, talk: Transcript, pipe: Pipe) -> None:
        self.talk = talk
        self.pipe = pipe

    @property
    def got(self) -> bytes:
        """Every byte it has read."""
        return bytes(self.pipe.got)

    @property
    def is_closed(self) -> bool:
        """The proxy has ended the connection, in order or not."""
        return self.pipe.at_end or self.pipe.reset

    def sends(self, data: bytes, *, settle: bool = True) -> None:
        """Bytes for the proxy. Without ``settle`` the turn of the loop is not over yet."""
        self.pipe.arrive(data)
        if settle:
            self.talk.loop.run()

    def closes(self, *, settle: bool = True) -> None:
        """FIN."""
        self.pipe.arrive(None)
        if settle:
            self.talk.loop.run()

    def resets(self) -> None:
        """RST."""
        if not self.pipe.lost:
            self.pipe.break_off()
        self.talk.loop.run()

    def stalls(self) -> None:
        """Reads no more."""
        self.pipe.stalled = True

    def reads(self, count: int | None = None) -> None:
        """Reads so many bytes, or from now on everything."""
        self.pipe.read_on(count)
        self.talk.loop.run()


class Client(Peer):
    """A client. Calling it sends bytes."""

    def __init__(self, talk: Transcript, pipe: Pipe) -> None:
        super().__init__(talk, pipe)
        self.sent = b""

    def __call__(self, data: bytes) -> None:
        self.sent += data
        self.sends(data)

    def responses(self) -> list[Response]:
        """Everything it got, as messages, informational heads included. Raises Closed at a message that is cut."""
        wire = MemoryWire(self.got, self.is_closed)
        found = []
        while wire.buffer:
            found.append(read_response(wire, self.sent.startswith(b"HEAD ")))
        return found


class Upstream(Peer):
    """One upstream connection, from the host's side."""

    @property
    def requests(self) -> list[Message]:
        """The whole requests that came."""
        wire = MemoryWire(self.got, False)
        found = []
        try:
            while wire.buffer:
                message = wire.head()
                if (message.one("transfer-encoding") or "").lower() == "chunked":
                    wire.chunked(message)
                else:
                    message.body = wire.exactly(int(message.one("content-length") or 0))
                found.append(message)
        except Closed:
            pass
        return found

    @property
    def request(self) -> Message:
        """The last whole request."""
        return self.requests[-1]

    @property
    def head(self) -> Message:
        """The first request's head, whether or not its body has come."""
        return MemoryWire(self.got, False).head()

    def replies(
        self, status: int = 200, body: bytes = b"ok", headers: list[tuple[str, str]] | None = None
    ) -> None:
        """A whole response with a content-length."""
        self.sends(reply(status, body, headers).data)

    def replies_chunked(self, *parts: bytes, trailers: list[tuple[str, str]] | None = None) -> None:
        """A whole chunked response."""
        self.sends(chunked(parts, trailers=trailers).data)


class Stats:
    """Counters and gauges by Envoy's names; those that were never made are 0."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getitem__(self, name: str) -> int:
        counter = self.store.counters.get(name)
        if counter is not None:
            return counter.value
        gauge = self.store.gauges.get(name)
        return gauge.value if gauge is not None else 0


class Finished(Filter):
    """Keeps what is left of every stream when it is over."""

    def __init__(self) -> None:
        self.streams: list[dict[str, Any]] = []

    def on_complete(self, stream: ActiveStream) -> None:
        self.streams.append(
            {
                "status": stream.status,
                "details": stream.details,
                "flags": stream.flags,
                "received": stream.bytes_received,
                "sent": stream.bytes_sent,
                "attempts": stream.attempt_count,
            }
        )


class Transcript:
    """One worker, one listener, one client connected (more by ``connects``).

    routes: of the only virtual host ("*"); hosts: of cluster "a"; filters: before the router; hcm, vhost, a: join
    those messages; clusters: beside "a"; layers: of the runtime, below the one for ``overrides``; file: where the
    bootstrap is said to stand
    """

    def __init__(
        self,
        *routes: Config,
        hosts: int = 1,
        filters: Sequence[Filter] = (),
        hcm: Config | None = None,
        vhost: Config | None = None,
        a: Config | None = None,
        clusters: Sequence[Config] = (),
        listener: Config | None = None,
        peer: tuple[str, int] = ("203.0.113.9", 40000),
        layers: Sequence[Config] = (),
        file: str = "transcript",
    ) -> None:
        hosted = cluster("a", *range(9001, 9001 + hosts), **(a or {}))
        listening = http_listener(
            10000, [virtual_host(list(routes) or [route()], **(vhost or {}))], hcm=hcm, **(listener or {})
        )
        self.file = file
        self.loop = MemoryLoop()
        self.peer = peer
        self.store = Store()
        self.stats = Stats(self.store)
        self.clock = Clock(lambda: self.loop.now, lambda: WALL + self.loop.now)
        loop = cast(Any, self.loop)
        self.dispatcher = Dispatcher(loop, self.clock, self.store.counter("server.envoy_bug_failures"))
        self._compile(
            bootstrap(
                9901, [listening], [hosted, *clusters], layered_runtime={"layers": [*layers, OVERRIDES]}
            )
        )
        self.finished = Finished()
        self._observe(filters)
        self.clients: list[Client] = []
        self.bugs = 0  # bugs of ours that the test provokes
        gc.disable()
        gc.collect(0)
        gc.freeze()
        _open.append(self)
        self.client = self.connects()

    def _compile(self, config: Config) -> None:
        loaded = load_text(BOOTSTRAP, json.dumps(config), self.file, is_json=True)
        self.parts = compile_bootstrap(loaded, Options(), self.dispatcher, self.store, {}, SilentResolver())
        loaded.errors.raise_if_any()
        self.parts.clusters.start()
        self.listener = self.parts.listeners.listeners[0]

    def _observe(self, filters: Sequence[Filter]) -> None:
        self.hcm = cast(Any, self.listener.filter).hcm
        put_first(self.hcm, [*filters, self.finished])

    # -- the parties ---------------------------------------------------------------------------------------------

    def connects(self) -> Client:
        """One more client."""
        connection = cast(Any, self.listener.filter.new_connection(self.listener, self.dispatcher))
        pipe = Pipe(self.loop, connection, self.peer, ("127.0.0.1", 10000))
        connection.connection_made(pipe)
        self.clients.append(Client(self, pipe))
        return self.clients[-1]

    def upstream(self, number: int = 0) -> Upstream:
        """The upstream connection that was opened as the ``number``-th."""
        assert number < len(self.loop.opened), (
            f"only {len(self.loop.opened)} upstream connections were opened"
        )
        return Upstream(self, self.loop.opened[number])

    @property
    def upstreams(self) -> int:
        """How many upstream connections were opened."""
        return len(self.loop.opened)

    @property
    def client_saw(self) -> Response:
        """The first client's last whole response."""
        return self.client.responses()[-1]

    @property
    def last(self) -> dict[str, Any]:
        """What the last stream that is over was: status, details, flags, received, sent, attempts."""
        return self.finished.streams[-1]

    def overrides(self, **values: str) -> None:
        """Change the runtime; two underscores stand for a dot."""
        self.parts.runtime.merge_overrides({name.replace("__", "."): text for name, text in values.items()})

    def waits(self, seconds: float) -> None:
        """Time passes."""
        self.loop.wait(seconds)

    def drains(self) -> None:
        """What SIGTERM does to the listener."""
        self.listener.drain()
        self.loop.run()

    # -- the end -------------------------------------------------------------------------------------------------

    def ends(self) -> None:
        """Everybody leaves; then nothing may be left. Raises AssertionError."""
        self.loop.run()
        for client in self.clients:
            client.resets()
        assert self._busy() == {}, "after the clients have left"
        self.parts.clusters.drain()
        self.parts.clusters.close()
        self.loop.run()
        left = {name: gauge.value for name, gauge in self.store.gauges.items() if self._must_be_zero(name)}
        assert {name: value for name, value in left.items() if value} == {}, "gauges at the end"
        assert not self.listener.connections
        assert self.dispatcher.dirty == []
        total = self.stats["http.front.downstream_rq_total"]
        assert len(self.finished.streams) == total, "finish() did not run exactly once per request"
        self._check_resources()
        assert self.stats["server.envoy_bug_failures"] == self.bugs

    def _busy(self) -> dict[str, int]:
        names = [f"http.front.downstream_{kind}_active" for kind in ("rq", "cx")]
        names += [f"cluster.a.upstream_rq_{kind}" for kind in ("active", "pending_active")]
        return {name: self.stats[name] for name in names if self.stats[name]}

    @staticmethod
    def _must_be_zero(name: str) -> bool:
        ends = ("_active", "_open", "_buffered")
        return name.endswith(ends) and name.startswith(("http.", "cluster.", "listener."))

    def _check_resources(self) -> None:
        for each in self.parts.clusters.clusters.values():
            for resources in each.resources:
                used = (resources.requests, resources.pending, resources.retries, resources.connections)
                assert used == (0, 0, 0, 0), f"{each.name}: requests, pending, retries, connections {used}"
            for host in each.hosts:
                assert (host.rq_active, host.cx_active) == (0, 0), host.address
        slots = self.dispatcher.timers._slots.values()
        watched = [item for held in slots for item in (held if isinstance(held, set) else (held,))]
        assert [type(item).__name__ for item in watched if type(item).__name__.endswith("Connection")] == []


class RawTranscript(Transcript):
    """As Transcript, for a listener of other network filters: ``filters``, each an envoy.config.listener.v3.Filter; hosts
    and ``a`` as there; outcome: of connecting (``MemoryLoop.outcome``)."""

    def __init__(
        self,
        *filters: Config,
        hosts: int = 1,
        a: Config | None = None,
        listener: Config | None = None,
        outcome: Any = "open",
    ) -> None:
        self._filters = filters
        self._outcome = outcome
        super().__init__(hosts=hosts, a=a, listener=listener)

    def _compile(self, config: Config) -> None:
        self.loop.outcome = self._outcome
        config["static_resources"]["listeners"][0]["filter_chains"] = [{"filters": list(self._filters)}]
        super()._compile(config)

    def _observe(self, filters: Sequence[Filter]) -> None:
        """There are no streams."""

    def connects(self, early: bytes = b"") -> Client:
        """early: what it says before the proxy has done anything for it"""
        chain = self.listener.filter_chains[0]
        protocol = chain.new_protocol(self.listener, self.dispatcher)
        pipe = Pipe(self.loop, protocol, self.peer, ("127.0.0.1", 10000))
        protocol.connection_made(pipe)
        if early:
            pipe.arrive(early)
        self.clients.append(Client(self, pipe))
        self.loop.run()
        return self.clients[-1]


def _cycles() -> Counter[str]:
    """The kinds of our objects that only the cycle collector would free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        mine = (each for each in gc.garbage if type(each).__module__.startswith("proxy."))
        return Counter(type(each).__qualname__ for each in mine)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()


@contextmanager
def clean() -> Iterator[None]:
    """Checks every transcript made inside, when all is over."""
    _open.clear()
    yield
    if not _open:
        return
    try:
        for talk in _open:
            talk.ends()
    finally:
        _open.clear()
        found = _cycles()
    assert not found, f"cycles: {found.most_common()}"


@pytest.fixture(autouse=True)
def ends_clean() -> Iterator[None]:
    """Checks every transcript of the test when it is over."""
    with clean():
        yield
