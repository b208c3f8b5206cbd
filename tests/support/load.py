"""A load of requests from threads that never sends one again that may have been served: what fails is lost.

Clients behave as a service's clients do: they keep connections, leave those that the proxy says it closes (``connection:
close``, GOAWAY), and go to another address when they are told to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from tests.support.client import Client, request
from tests.support.h2_client import H2Client
from tests.support.messages import Closed

_STREAMS: Final = 10


def _last(client: H2Client) -> int:
    """The last stream that the proxy serves on the connection."""
    return min((last for _, last in client.goaways), default=2**31 - 1)


class Load:
    """``total`` requests, by ``threads`` clients at once, to the port that ``target`` has at the moment.

    done: answered with 200; lost: what happened instead, one line each; by_port: answers of each port
    """

    def __init__(self, total: int, target: int, *, http2: bool = False, threads: int = 8) -> None:
        self.target = target
        self.done = 0
        self.lost: list[str] = []
        self.by_port: dict[int, int] = {}
        self._left = total
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        work: Callable[[], None] = self._http2 if http2 else self._http1
        self._threads = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, done: int, timeout_s: float = 40.0) -> None:
        """Until so many have been answered, or all are."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.done >= done or (not self._left and bool(self.lost)), timeout_s
            )

    def join(self, timeout_s: float = 40.0) -> None:
        """Until all are answered or lost."""
        for thread in self._threads:
            thread.join(timeout_s)
            assert not thread.is_alive(), "a client hangs"

    def _take(self, most: int) -> int:
        with self._lock:
            taken = min(most, self._left)
            self._left -= taken
            return taken

    def _answered(self, port: int, count: int) -> None:
        with self._changed:
            self.done += count
            self.by_port[port] = self.by_port.get(port, 0) + count
            self._changed.notify_all()

    def _lose(self, what: str, count: int = 1) -> None:
        with self._changed:
            self.lost += [what] * count
            self._changed.notify_all()

    def _http1(self) -> None:
        client, port = None, 0
        while self._take(1):
            if client is not None and port != self.target:
                client.sock.close()
                client = None
            try:
                if client is None:
                    port = self.target
                    client = Client(port)
                answer = client.send(request("GET", "/")).read()
            except (OSError, Closed) as error:
                self._lose(f"{port}: {type(error).__name__} {error}")
                client = None
                continue
            if answer.status == 200:
                self._answered(port, 1)
            else:
                self._lose(f"{port}: {answer.status} {answer.body!r}")
            if answer.one("connection") == "close":
                client.sock.close()
                client = None
        if client is not None:
            client.sock.close()

    def _http2(self) -> None:
        client: H2Client | None = None
        port = again = 0
        while count := again or self._take(_STREAMS):
            again = 0
            if client is not None and (port != self.target or client.goaways or client.closed):
                client.sock.close()
                client = None
            try:
                if client is None:
                    port = self.target
                    client = H2Client(port)
                again = self._batch(client, port, count)
            except OSError as error:
                self._lose(f"{port}: {type(error).__name__} {error}", count)
                client = None
        if client is not None:
            client.sock.close()

    def _batch(self, client: H2Client, port: int, count: int) -> int:
        """Streams at once; how many of them the proxy has refused unseen (past GOAWAY's last stream)."""
        streams = [client.start() for _ in range(count)]
        for stream in streams:
            client.wait_until(
                lambda stream=stream: (
                    client.streams[stream].ended
                    or client.streams[stream].reset >= 0
                    or stream > _last(client)
                )
            )
        last = _last(client)
        refused = [stream for stream in streams if stream > last and not client.streams[stream].ended]
        served = [stream for stream in streams if client.streams[stream].status == 200]
        self._answered(port, len(served))
        for stream in streams:
            if stream not in served and stream not in refused:
                self._lose(f"{port}: stream {client.streams[stream]} goaways {client.goaways}")
        return len(refused)
