"""An event loop and sockets in memory: nothing happens but what the test lets happen, and time is a number.

Pipes behave as uvloop's transports do where it matters: a write past the high-water mark pauses the protocol in that
very call, a closing transport writes out what it holds, ``connection_lost`` always comes in a later turn, and a
protocol that has paused reading hears nothing, not even of the peer's end.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from types import MappingProxyType
from typing import Any, cast

Address = tuple[str, int]
MAX_TURNS = 10_000


class Pipe:
    """The proxy's end of one connection, and what the other end has seen.

    got: what the peer has read; at_end: the peer has seen our end (FIN); reset: it has seen a RST
    stalled: the peer does not read; held: what it has not read yet. ``reading``: the protocol wants bytes.
    """

    def __init__(self, loop: MemoryLoop, protocol: Any, peer: Address, own: Address) -> None:
        self.loop = loop
        self.protocol = protocol
        self.names = MappingProxyType({"peername": peer, "sockname": own})
        self.got = bytearray()
        self.held = bytearray()
        self.inbox: deque[bytes | None] = deque()  # None: the peer's FIN
        self.high = 64 * 1024
        self.stalled = self.paused = self.at_end = self.reset = self.lost = False
        self.reading = True
        self._closing = self._eof = False

    # -- asyncio.Transport, as far as the proxy uses it ----------------------------------------------------------

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.names.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = 64 * 1024 if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def pause_reading(self) -> None:
        assert not self._closing, "pause_reading() on a transport that closes"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self._closing, "resume_reading() on a transport that closes"
        self.reading = True
        self.loop.call_soon(self._deliver)

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        self._drained()

    def write(self, data: bytes) -> None:
        assert not self._eof, "a write after write_eof()"
        if self._closing:
            return
        if not self.stalled:
            self.got += data
            return
        self.held += data
        if not self.paused and len(self.held) > self.high:
            self.paused = True
            self.protocol.pause_writing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._drained()

    def abort(self) -> None:
        self._closing = True
        self.held.clear()
        self._lose(None)
        self.reset = True

    # -- the peer ------------------------------------------------------------------------------------------------

    def arrive(self, data: bytes | None) -> None:
        """Bytes of the peer, or its FIN (None)."""
        self.inbox.append(data)
        self._deliver()

    def break_off(self) -> None:
        """The peer's RST."""
        self._closing = True
        self.held.clear()
        self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def read_on(self, count: int | None = None) -> None:
        """The peer reads ``count`` bytes, or from now on everything."""
        self.stalled = count is not None
        count = len(self.held) if count is None else count
        self.got += self.held[:count]
        del self.held[:count]
        if self.paused and len(self.held) <= self.high // 4 and not self.lost:
            self.paused = False
            self.protocol.resume_writing()
        self._drained()

    # -- inside --------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        while self.inbox and self.reading and not self._closing:
            data = self.inbox.popleft()
            if data is not None:
                self.protocol.data_received(data)
            elif not self.protocol.eof_received():
                self.close()

    def _drained(self) -> None:
        if not self.held and self._eof:
            self.at_end = True
        if not self.held and self._closing:
            self.at_end = True
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.loop.call_soon(self.protocol.connection_lost, error)


class Never:
    """Awaited by what does not happen before it is cancelled."""

    def __await__(self) -> Generator[None, None, None]:
        while True:
            yield


class Work:
    """A task: runs one step a turn."""

    def __init__(self, loop: MemoryLoop, work: Coroutine[Any, Any, None]) -> None:
        self.loop = loop
        self.work = work
        self.context = copy_context()
        self.over = False

    def step(self) -> None:
        if self.over:
            return
        try:
            awaited = self.context.run(self.work.send, None)
        except StopIteration:
            self.over = True
            return
        if isinstance(awaited, asyncio.Future):
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(lambda _: self.step())

    def cancel(self) -> None:
        self.loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        if not self.over:
            self.over = True
            try:
                self.work.throw(asyncio.CancelledError())
            except (StopIteration, asyncio.CancelledError):
                pass
            self.work.close()


class Handle:
    """A timer of the loop."""

    def __init__(self, when: float, callback: Callable[..., object]) -> None:
        self.when = when
        self.callback: Callable[..., object] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Handle) -> bool:
        return self.when < other.when


class MemoryLoop:
    """The verbs of an event loop that the proxy uses.

    now: the monotonic clock; outcome: what connecting leads to, for all ("open", "hang" or an OSError) or by a
    function of the port; opened: every upstream pipe, in the order in which they were opened
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.opened: list[Pipe] = []
        self.outcome: str | OSError | Callable[[int], str | OSError] = "open"
        self.stall_new = False
        self._soon: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._later: list[Handle] = []

    def call_soon(self, callback: Callable[..., object], *values: object, context: object = None) -> None:
        self._soon.append((callback, values))

    def call_later(self, delay: float, callback: Callable[..., object], *values: object) -> Handle:
        handle = Handle(self.now + delay, lambda: callback(*values))
        heapq.heappush(self._later, handle)
        return handle

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast(asyncio.AbstractEventLoop, self))

    def create_task(self, work: Coroutine[Any, Any, None]) -> Work:
        task = Work(self, work)
        self.call_soon(task.step)
        return task

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> None:
        outcome = self.outcome(port) if callable(self.outcome) else self.outcome
        if isinstance(outcome, OSError):
            raise outcome
        if outcome == "hang":
            await Never()
        protocol = factory()
        pipe = Pipe(self, protocol, (host, port), ("127.0.0.1", 50000 + len(self.opened)))
        pipe.stalled = self.stall_new
        self.opened.append(pipe)
        protocol.connection_made(pipe)

    def run(self) -> None:
        """Everything that can happen without time passing."""
        for _ in range(MAX_TURNS):
            if not self._soon:
                return
            callback, values = self._soon.popleft()
            callback(*values)
        raise AssertionError("the loop does not come to rest")

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        for _ in range(MAX_TURNS):
            self.run()
            while self._later and self._later[0].callback is None:
                heapq.heappop(self._later)
            if not self._later or self._later[0].when > end:
                self.now = end
                return
            handle = heapq.heappop(self._later)
            self.now = max(self.now, handle.when)
            assert handle.callback is not None
            handle.callback()
        raise AssertionError("timers ring without end")

    @property
    def armed(self) -> float | None:
        """When the next timer rings; None when there is none."""
        return min((handle.when for handle in self._later if handle.callback is not None), default=None)
