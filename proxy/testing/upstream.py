"""An HTTP/1.1 service for tests: records what it is asked, answers what it is told to. Each connection has its thread."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Self

#: a connection that says nothing for so long is closed
IDLE_S = 30.0


@dataclass(slots=True)
class Request:
    """What came. headers: names in any case; ``headers.get_all(name)`` for those that come several times."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(slots=True)
class Reply:
    """What is answered; content-length is added."""

    status: int = 200
    body: bytes | str = b"ok"
    headers: Mapping[str, str] = field(default_factory=dict)


class Upstream:
    """Listens on a free port of 127.0.0.1 until closed; a context manager. ``requests``: all that came, in order.

    ``reply`` is what is answered: a ``Reply``, or a function from the request to one.
    """

    def __init__(self, reply: Reply | Callable[[Request], Reply] | None = None) -> None:
        self.reply = reply or Reply()
        self.requests: list[Request] = []
        self._came = Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """ "127.0.0.1:port"."""
        return f"127.0.0.1:{self.port}"

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[Request]:
        """Wait until so many requests have come. Raises TimeoutError."""
        with self._came:
            if not self._came.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self.requests)} requests came in {timeout_s:g} s, not {count}")
            return list(self.requests)

    def answer(self, request: Request) -> Reply:
        """Record a request; what to answer."""
        with self._came:
            self.requests.append(request)
            self._came.notify_all()
        return self.reply if isinstance(self.reply, Reply) else self.reply(request)

    def close(self) -> None:
        """Stop listening and answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    upstream: Upstream

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def server_bind(self) -> None:
        """Not as an HTTPServer, which asks for its own name: that may take seconds."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, remembered as long as it is open."""
        sock, peer = super().get_request()
        self._open.add(sock)
        return sock, peer

    def shutdown_request(self, request: Any) -> None:
        """It is over."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Connections are ended with the server: who is gone does not answer."""
        super().server_close()
        for sock in tuple(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of what a reply function raises, not of a proxy that leaves."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = -1  # head and body in one write
    server: _Server

    def __getattr__(self, name: str) -> Any:
        """Every method is served: the base class looks for do_GET, do_POST ..."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        request = Request(self.command, self.path, self.headers, self._body())
        reply = self.server.upstream.answer(request)
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        bare = reply.status < 200 or reply.status in (204, 304)
        if not bare:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if not bare and self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what came is recorded."""
