"""An upstream that speaks HTTP/2 by prior knowledge, through the ``h2`` library. Answers are scripted per request.

A script is a function ``(H2Request, H2Reply) -> None``, called on the connection's thread when the request is whole
(``early``: as soon as its head has come).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from h2 import events as ev
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from tests.support.closing import Closing
from tests.support.messages import Message

Fields = Sequence[tuple[str, str]]


@dataclass(slots=True)
class H2Request(Message):
    """A request as it came. pseudo: without their colons; connection: counted from 0; is_tunnel: see H2Upstream."""

    stream_id: int = 0
    connection: int = 0
    pseudo: dict[str, str] = field(default_factory=dict)
    reset: int = -1
    is_tunnel: bool = False

    @property
    def path(self) -> str:
        return self.pseudo.get("path", "")


class H2Reply:
    """What a script may do to its stream."""

    def __init__(self, serving: _Serving, request: H2Request) -> None:
        self.serving = serving
        self.h2 = serving.h2
        self.stream_id = request.stream_id

    def headers(self, status: int = 200, fields: Fields = (), *, end: bool = False) -> None:
        self.h2.send_headers(self.stream_id, [(":status", str(status)), *fields], end_stream=end)
        self.serving.flush()

    def data(self, data: bytes, *, end: bool = False) -> None:
        """Body bytes; what the window does not take goes when it opens."""
        self.serving.queue(self.stream_id, data, end, None)

    def trailers(self, fields: Fields) -> None:
        self.serving.queue(self.stream_id, b"", True, list(fields))

    def reset(self, code: int) -> None:
        self.h2.reset_stream(self.stream_id, code)
        self.serving.flush()

    def goaway(self, code: int = 0, last: int | None = None) -> None:
        self.h2.close_connection(code, last_stream_id=last)
        self.serving.flush()

    def raw(self, data: bytes) -> None:
        self.serving.flush()
        self.serving.sock.sendall(data)

    def close(self) -> None:
        """End the connection."""
        self.serving.sock.shutdown(socket.SHUT_RDWR)

    def answer(self, body: bytes = b"ok", status: int = 200, fields: Fields = ()) -> None:
        """A whole reply."""
        self.headers(status, [*fields, ("content-length", str(len(body)))], end=not body)
        if body:
            self.data(body, end=True)


Script = Callable[[H2Request, H2Reply], None]


def ok(request: H2Request, reply: H2Reply) -> None:
    """200, "ok"."""
    reply.answer()


class _Serving:
    """One accepted connection."""

    def __init__(self, upstream: H2Upstream, sock: socket.socket, number: int) -> None:
        self.upstream = upstream
        self.sock = sock
        self.number = number
        config = H2Configuration(
            client_side=False,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=not upstream.lenient,
        )
        self.h2 = H2Connection(config)
        self.requests: dict[int, H2Request] = {}
        self.ended: set[int] = set()  # streams of which we have said our last
        self.waiting: dict[int, list[tuple[memoryview, bool, list[tuple[str, str]] | None]]] = {}

    def run(self) -> None:
        if self.upstream.settings:
            self.h2.local_settings.update(self.upstream.settings)
        self.h2.initiate_connection()
        self.flush()
        while True:
            data = self.sock.recv(65536)
            if not data:
                return
            if self.upstream.stalled.is_set():
                continue
            for event in self.h2.receive_data(data):
                self._take(event)
            for stream_id in tuple(self.waiting):
                self._drain(stream_id)
            self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def queue(self, stream_id: int, data: bytes, end: bool, trailers: list[tuple[str, str]] | None) -> None:
        if end:
            self.ended.add(stream_id)
        self.waiting.setdefault(stream_id, []).append((memoryview(data), end, trailers))
        self._drain(stream_id)
        self.flush()

    def _drain(self, stream_id: int) -> None:
        parts = self.waiting.get(stream_id, [])
        while parts:
            data, end, trailers = parts[0]
            if trailers is not None:
                self.h2.send_headers(stream_id, trailers, end_stream=True)
            elif not data:
                self.h2.send_data(stream_id, b"", end_stream=end)
            else:
                room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
                if room <= 0:
                    return
                self.h2.send_data(stream_id, data[:room].tobytes(), end_stream=end and len(data) <= room)
                if len(data) > room:
                    parts[0] = (data[room:], end, None)
                    continue
            parts.pop(0)
        self.waiting.pop(stream_id, None)

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.RequestReceived():
                request = H2Request(stream_id=event.stream_id, connection=self.number)
                for name, value in event.headers:
                    if str(name).startswith(":"):
                        request.pseudo[str(name)[1:]] = str(value)
                    else:
                        request.headers.append((str(name), str(value)))
                request.start_line = " ".join(
                    f"{name}={text}" for name, text in sorted(request.pseudo.items())
                )
                self.requests[event.stream_id] = request
                if self.upstream.tunnel is not None and request.pseudo.get("method") == "CONNECT":
                    request.is_tunnel = True
                    self.upstream.record(request)
                    self.upstream.tunnel(request, H2Reply(self, request))
                elif self.upstream.early is not None:
                    self.upstream.early(request, H2Reply(self, request))
            case ev.DataReceived():
                request = self.requests[event.stream_id]
                request.body += event.data
                if request.is_tunnel and event.data and event.stream_id not in self.ended:
                    H2Reply(self, request).data(event.data)
                if event.flow_controlled_length and not self.upstream.holding.is_set():
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case ev.TrailersReceived():
                fields = [(str(n), str(v)) for n, v in event.headers]
                self.requests[event.stream_id].trailers = fields
            case ev.StreamEnded():
                request = self.requests[event.stream_id]
                if request.is_tunnel:
                    if event.stream_id not in self.ended:
                        H2Reply(self, request).data(b"", end=True)
                    return
                self.upstream.record(request)
                self.upstream.script(request, H2Reply(self, request))
            case ev.PingReceived():
                self.upstream.pings += 1
            case ev.StreamReset():
                self.waiting.pop(event.stream_id, None)
                if event.stream_id in self.requests:
                    self.upstream.record_reset(self.requests[event.stream_id], int(event.error_code))


class H2Upstream(Closing):
    """Listens on 127.0.0.1 until closed; every connection has a thread.

    tunnel: answers CONNECT (extended or not) at its head; what then comes is sent back, and its end ends the stream
    settings: its own SETTINGS; early: called at the head of a request, before the script
    pings: how many have come; holding: while set, no window is given back; stalled: while set, what comes is thrown away
    """

    def __init__(
        self,
        script: Script = ok,
        port: int = 0,
        *,
        settings: dict[int, int] | None = None,
        early: Script | None = None,
        tunnel: Script | None = None,
        lenient: bool = False,
    ) -> None:
        self.script = script
        self.lenient = lenient
        self.tunnel = tunnel
        self.early = early
        self.settings = settings or {}
        self.holding = threading.Event()
        self.stalled = threading.Event()
        self.requests: list[H2Request] = []
        self.resets: list[tuple[H2Request, int]] = []
        self.connections = self.pings = 0
        self.errors: list[str] = []
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._closing = False
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self.listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def record(self, request: H2Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def record_reset(self, request: H2Request, code: int) -> None:
        request.reset = code
        with self._changed:
            self.resets.append((request, code))
            self._changed.notify_all()

    def wait_for(self, true: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until something recorded makes it true. Raises AssertionError."""
        with self._changed:
            assert self._changed.wait_for(true, timeout_s), (self.requests, self.resets, self.errors)

    def reset(self, script: Script | None = None) -> None:
        """Forget what was recorded and end every connection."""
        with self._changed:
            self.requests, self.resets, self.errors, self.connections = [], [], [], 0
            self.pings = 0
            if script is not None:
                self.script = script
            for sock in self._open:
                _shut(sock)
        deadline = time.monotonic() + 5
        while self._open and time.monotonic() < deadline:
            time.sleep(0.005)

    def close(self) -> None:
        """Stop listening, end every connection and thread."""
        self._closing = True
        with self._changed:
            for sock in self._open:
                _shut(sock)
        _shut(self.listener)
        self.listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                number, self.connections = self.connections, self.connections + 1
                self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            _Serving(self, sock, number).run()
        except OSError:
            pass
        except ProtocolError as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._open.discard(sock)
            sock.close()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
