"""A loop, transports and a clock in memory: nothing opens, nothing waits, time moves only when it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, cast

from proxy.upstream.dns import OnDone, ResolverOptions

#: names that are not looked up stand for addresses of 198.18.0.0/15 (RFC 2544: never on the Internet)
NOWHERE = "198.18."
WALL = 1_700_000_000.0


class MemoryTransport:
    """A transport that remembers what was written. Duck-typed asyncio.Transport."""

    def __init__(self, peer: tuple[str, int], own: tuple[str, int]) -> None:
        self._names = {"peername": peer, "sockname": own}
        self._written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        """Remember."""
        self._written.append(bytes(data))

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Only addresses are known."""
        return self._names.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def get_write_buffer_size(self) -> int:
        """Everything has left."""
        return 0

    def pause_reading(self) -> None:
        """Bytes come when the engine says so."""

    def resume_reading(self) -> None:
        """As pause_reading."""

    def is_closing(self) -> bool:
        """Whether the proxy has closed it."""
        return self.closed

    def can_write_eof(self) -> bool:
        """Half-closing is known."""
        return True

    def write_eof(self) -> None:
        """Nothing follows."""

    def close(self) -> None:
        """The proxy is done with it."""
        self.closed = True

    def abort(self) -> None:
        """As close."""
        self.closed = True

    def take(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._written)
        self._written.clear()
        return data


class _Work:
    """A task that runs when the loop is told to."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.work = work

    def run(self) -> None:
        """One step; connecting in memory never waits."""
        try:
            self.work.send(None)
        except StopIteration:
            return
        try:
            self.work.throw(RuntimeError("what waits has no place in a rehearsal"))
        except StopIteration:
            return
        raise RuntimeError("what waits goes on waiting")

    def cancel(self) -> None:
        """It is not run any more."""
        self.work.close()


class MemoryLoop:
    """The few verbs of an event loop that a worker uses. ``opened``: (protocol, transport) of upstream connections."""

    def __init__(self) -> None:
        self.opened: list[tuple[Any, MemoryTransport]] = []
        self._waiting: list[_Work] = []

    def call_later(
        self, delay: float, callback: Callable[..., object], *values: object
    ) -> asyncio.TimerHandle:
        """Never by itself: the engine turns the timer wheel."""
        return asyncio.TimerHandle(0.0, callback, values, cast(asyncio.AbstractEventLoop, self))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled handle tells its loop."""

    def get_debug(self) -> bool:
        """No."""
        return False

    def create_task(self, work: Coroutine[Any, Any, None]) -> _Work:
        """Keep it until ``run``."""
        self._waiting.append(_Work(work))
        return self._waiting[-1]

    def create_future(self) -> asyncio.Future[Any]:
        """Something to wait for: in a rehearsal nothing is."""
        return asyncio.Future(loop=cast(asyncio.AbstractEventLoop, self))

    def run(self) -> None:
        """Do what waits."""
        while self._waiting:
            self._waiting.pop(0).run()

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int, **_: object
    ) -> tuple[Any, Any]:
        """Connected at once."""
        return self._connected(factory, (host, port))

    async def sock_connect(self, sock: socket.socket, address: str) -> None:
        """Nobody is there."""

    async def create_unix_connection(
        self, factory: Callable[[], Any], *, sock: socket.socket
    ) -> tuple[Any, Any]:
        """The same for a socket that is a file; nothing goes through it."""
        sock.close()
        return self._connected(factory, ("unix", 0))

    def _connected(self, factory: Callable[[], Any], place: tuple[str, int]) -> tuple[Any, Any]:
        protocol = factory()
        transport = MemoryTransport(place, ("127.0.0.1", 50000 + len(self.opened) % 10000))
        self.opened.append((protocol, transport))
        protocol.connection_made(transport)
        return transport, protocol


class MemoryResolver:
    """Names are not looked up: an address stands for itself, a name for an address that is nowhere.

    ``start`` first lets clusters ask, ``answer`` then answers all (never before ``resolve`` has returned).
    """

    def __init__(self) -> None:
        self._asked: list[tuple[str, OnDone]] = []
        self._names: dict[str, str] = {}

    def resolve(self, name: str, family: str, on_done: OnDone, options: ResolverOptions) -> None:
        """See ``upstream.dns.Resolver``."""
        self._asked.append((name, on_done))

    def answer(self) -> None:
        """One address per name."""
        while self._asked:
            name, on_done = self._asked.pop(0)
            on_done([(self._address(name), 3600.0)], "")

    def _address(self, name: str) -> str:
        try:
            return str(ip_address(name))
        except ValueError:
            number = len(self._names)
            return self._names.setdefault(name, f"{NOWHERE}{number // 250 % 250}.{number % 250 + 1}")

    async def close(self) -> None:
        """Nothing is open."""


class MemoryTime:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """For durations."""
        return self.now

    def wall(self) -> float:
        """For logs and dates."""
        return WALL + self.now - 1000.0
