"""HTTP/1.1 for the demo's services and its client, by h11: small, correct, and no part of the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11

Headers = list[tuple[str, str]]
READ_BYTES = 64 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 10.0


class NoAnswer(Exception):
    """The peer closed, stalled or spoke something that is not HTTP."""


@dataclass(slots=True)
class Request:
    """method and path as received; header names in lower case."""

    method: str
    path: str
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def one(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class Response:
    """A whole response; content-length is added when it is written."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """An HTTP/1.1 server on a free loopback port; the handler answers whole requests."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        tasks = [task for task in self._open if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._open[task] = writer
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (h11.RemoteProtocolError, OSError):
            pass  # the peer has left, or speaks something else: nothing to tell it
        finally:
            del self._open[task]
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its response; whether the connection goes on."""
        head, body = await _read_message(connection, reader)
        if not isinstance(head, h11.Request):
            return False
        target = head.target.decode("latin-1")
        answer = await self.handler(Request(head.method.decode(), target, _text(head.headers), body))
        fields = [*answer.headers, ("content-length", str(len(answer.body)))]
        events: list[h11.Event] = [h11.Response(status_code=answer.status, headers=fields)]
        if head.method != b"HEAD":
            events.append(h11.Data(data=answer.body))
        events.append(h11.EndOfMessage())
        # One write: whoever tries a 503 again, as Envoy does, leaves at its head. Were the body still to come, the
        # next sidecar would rightly log that its client left (DC), now and then.
        writer.write(b"".join(_bytes(connection, event) for event in events))
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def fetch(
    port: int,
    method: str,
    path: str,
    headers: Headers | None = None,
    body: bytes = b"",
    timeout_s: float = TIMEOUT_S,
) -> Response:
    """One request to 127.0.0.1:port on a connection of its own. Raises NoAnswer."""
    try:
        return await asyncio.wait_for(_fetch(port, method, path, headers or [], body), timeout_s)
    except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
        raise NoAnswer(f"{method} {path} on port {port}: {error!r}") from None


async def _fetch(port: int, method: str, path: str, headers: Headers, body: bytes) -> Response:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        connection = h11.Connection(h11.CLIENT)
        fields = list(headers)
        if not any(name == "host" for name, _ in headers):
            fields.insert(0, ("host", f"127.0.0.1:{port}"))
        if body:
            fields.append(("content-length", str(len(body))))
        fields.append(("connection", "close"))
        writer.write(_bytes(connection, h11.Request(method=method, target=path, headers=fields)))
        if body:
            writer.write(_bytes(connection, h11.Data(data=body)))
        writer.write(_bytes(connection, h11.EndOfMessage()))
        head, answer = await _read_message(connection, reader)
        if not isinstance(head, h11.Response):
            raise NoAnswer(f"{method} {path} on port {port}: closed without an answer")
        return Response(head.status_code, answer, _text(head.headers))
    finally:
        writer.close()


async def _read_message(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Request | h11.Response | None, bytes]:
    """The peer's next message; (None, b"") when it has closed instead."""
    head: h11.Request | h11.Response | None = None
    parts: list[bytes] = []
    size = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Request | h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > MAX_BODY_BYTES:
                raise OSError("the body is too large for a demo")
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return head, b"".join(parts)
        elif isinstance(event, h11.ConnectionClosed):
            return None, b""


def _bytes(connection: h11.Connection, event: h11.Event) -> bytes:
    return connection.send(event) or b""


def _text(fields: h11._headers.Headers) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
