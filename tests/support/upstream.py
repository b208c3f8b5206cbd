"""An upstream that records what it is sent, byte for byte, and plays scripted answers.

A script decides per request what to do: a list of steps (the same for every request), a list of such lists (one per
request, the last one repeated), or a function from the request to its steps. Each connection has its own thread;
every wait is bounded; ``close()`` ends them all.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.closing import Closing
from tests.support.messages import Closed, Headers, Message, Wire

IDLE_S = 30.0


class Step:
    """One thing an upstream does on its connection."""

    __slots__ = ()


@dataclass(slots=True, frozen=True)
class Send(Step):
    """Write these bytes as they are (a whole reply, a part of one, garbage)."""

    data: bytes


@dataclass(slots=True, frozen=True)
class Wait(Step):
    """Say nothing for so many seconds."""

    seconds: float


@dataclass(slots=True, frozen=True)
class Hold(Step):
    """Say nothing until ``Upstream.let_go()``: each call ends one of these."""


@dataclass(slots=True, frozen=True)
class Close(Step):
    """End the connection with FIN."""


@dataclass(slots=True, frozen=True)
class Reset(Step):
    """End the connection with RST."""


@dataclass(slots=True, frozen=True)
class Tunnel(Step):
    """Send back whatever comes, as it comes, until the peer leaves; it joins the request's body."""


@dataclass(slots=True, frozen=True)
class Stall(Step):
    """Say nothing until the peer leaves or the upstream is closed."""


Steps = Sequence[Step]


@dataclass(slots=True)
class Request(Message):
    """connection: which accepted connection it came on, counted from 0; method and path from the request line."""

    connection: int = 0
    method: str = ""
    path: str = ""


Script = Callable[[Request], Steps] | Sequence[Step] | Sequence[Steps]


def reply(status: int = 200, body: bytes = b"ok", headers: Headers | None = None, reason: str = "OK") -> Send:
    """A reply with a content-length, headers first in the order given."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers or [])]
    if status >= 200 and status not in (204, 304):
        lines.append(f"content-length: {len(body)}")
    return Send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def chunked(parts: Sequence[bytes], headers: Headers | None = None, trailers: Headers | None = None) -> Send:
    """A chunked 200 reply."""
    lines = [
        "HTTP/1.1 200 OK",
        *(f"{n}: {v}" for n, v in headers or []),
        "transfer-encoding: chunked",
        "",
        "",
    ]
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    end = "".join(f"{n}: {v}\r\n" for n, v in trailers or [])
    return Send("\r\n".join(lines).encode("latin-1") + body + b"0\r\n" + end.encode("latin-1") + b"\r\n")


OK = reply()


class Upstream(Closing):
    """Listens on 127.0.0.1:port (any free one when 0), or on the unix socket ``path``, until closed."""

    def __init__(
        self, script: Script = (OK,), port: int = 0, path: str = "", host: str = "127.0.0.1"
    ) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.peers: set[str] = set()  # addresses that have connected
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._closing = False
        self._let_go = 0
        if path:
            self.listener = socket.create_server(path, family=socket.AF_UNIX, backlog=512)
        else:
            self.listener = socket.create_server((host, port), backlog=512)
        self.port: int = 0 if path else self.listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def reset(self, script: Script | None = None) -> None:
        """Forget what was recorded and end every connection; optionally play another script from now on."""
        with self._changed:
            self.requests, self.connections, self._let_go = [], 0, 0
            if script is not None:
                self.script = script
            for sock in self._open:
                _shut(sock)

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[Request]:
        """Wait until so many requests have come. Raises AssertionError when they do not."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise AssertionError(f"{len(self.requests)} requests came, not {count}")
            return list(self.requests)

    def let_go(self, count: int = 1) -> None:
        """End so many ``Hold``s, those of requests which have come or the next ones."""
        with self._changed:
            self._let_go += count
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening, end every connection and thread."""
        self._closing = True
        with self._changed:
            for sock in self._open:
                _shut(sock)
            self._changed.notify_all()
        _shut(self.listener)
        self.listener.close()
        for thread in self._threads:
            thread.join(5)

    def on_request(self, request: Request) -> None:
        """A whole request has come (called by its connection's thread, before the reply)."""

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            with self._changed:
                number, self.connections = self.connections, self.connections + 1
                self._open.add(sock)
                self.peers.add(peer[0] if peer else "")
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        wire = Wire(sock, IDLE_S)
        try:
            while not self._closing:
                request = self._read(wire, number)
                self.on_request(request)
                for step in self._record(request):
                    if not self._play(step, wire, request):
                        return
        except (Closed, OSError, ValueError):
            return
        finally:
            with self._changed:
                self._open.discard(sock)
            sock.close()

    def _read(self, wire: Wire, number: int) -> Request:
        head = wire.head()
        method, _, rest = head.start_line.partition(" ")
        request = Request(
            head.raw_head,
            head.start_line,
            head.headers,
            connection=number,
            method=method,
            path=rest.rpartition(" ")[0],
        )
        if (request.one("expect") or "").lower() == "100-continue":
            wire.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (request.one("transfer-encoding") or "").lower() == "chunked":
            wire.chunked(request)
        elif (length := request.one("content-length")) is not None:
            request.body = wire.exactly(int(length))
        return request

    def _record(self, request: Request) -> Steps:
        with self._changed:
            at = len(self.requests)
            self.requests.append(request)
            self._changed.notify_all()
        if callable(self.script):
            return self.script(request)
        choices = [item for item in self.script if not isinstance(item, Step)]
        if not choices:
            return [item for item in self.script if isinstance(item, Step)]
        return choices[min(at, len(choices) - 1)]

    def _play(self, step: Step, wire: Wire, request: Request) -> bool:
        """Do one step; whether the connection goes on."""
        match step:
            case Send(data):
                wire.sock.settimeout(IDLE_S)
                wire.sock.sendall(data)
            case Wait(seconds):
                self._wait(seconds)
            case Hold():
                return self._hold()
            case Close():
                return False
            case Reset():
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case Tunnel():
                self._echo(wire, request)
                return False
            case Stall():
                wire.rest()
                return False
        return True

    def _echo(self, wire: Wire, request: Request) -> None:
        while True:
            data, wire.buffer = wire.buffer, b""
            request.body += data
            wire.sock.sendall(data)
            wire.more()

    def _hold(self) -> bool:
        """Whether it was let go, not closed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closing or self._let_go, IDLE_S) or self._closing:
                return False
            self._let_go -= 1
            return True

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: self._closing or time.monotonic() >= deadline, seconds)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
