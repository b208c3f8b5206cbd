"""One connection to the admin server, or to another of its kind (serving.py): its life, and everything that bounds it.

Requests are read by messages.py, with h11. The first of them may be a plain GET of /ready, which is what is asked while
a process starts: that one is answered without h11, whose import takes as long as a twentieth of the start.

Bounds: one timer for everything (the next request must begin within the server's idle_s, and be complete within its
request_s), replies wait while the client does not read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from proxy.admin.state import reply_headers

if TYPE_CHECKING:
    from proxy.admin.messages import Messages
    from proxy.admin.serving import HttpServer

#: as probes and scripts ask
_READY: Final = b"GET /ready HTTP/1.1\r\n"
#: what bears on how a message is read, or on how the connection goes on
_STEERING: Final = frozenset(
    (b"connection", b"content-length", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)


def plain_ready(data: bytes) -> tuple[list[tuple[bytes, bytes]], bool] | None:
    """The (lower-case) headers of these bytes, and whether the connection is to be closed, when they are one plain GET of
    /ready and no more: each header a name of letters, a space, and words of ASCII with one space between them; none that
    steers but, as the last one, ``connection: close``."""
    if not (data.startswith(_READY) and data.endswith(b"\r\n\r\n") and data.isascii()):
        return None
    lines = data[len(_READY) : -2].split(b"\r\n")[:-1]
    closes = bool(lines) and lines[-1].lower() == b"connection: close"
    headers = []
    for line in lines[:-1] if closes else lines:
        name, _, value = line.partition(b": ")
        if not (
            name.replace(b"-", b"a").isalpha() and all(value.split(b" ")) and value.decode().isprintable()
        ):
            return None
        if name.lower() in _STEERING:
            return None
        headers.append((name.lower(), value))
    return headers, closes


class AdminConnection(asyncio.Protocol):
    """messages: None until there is something to read that is no plain GET of /ready"""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.messages: Messages | None = None
        self.paused = False  # the client does not read: stop answering
        self.asking = True  # a request has begun, or the first one is waited for

    @property
    def answers(self) -> bool:
        """Whether another request would be answered now."""
        return self.transport is not None and not self.transport.is_closing() and not self.paused

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; one too many is closed at once."""
        self.transport = cast("asyncio.Transport", transport)
        server = self.server
        if server.stopped:
            self.transport.abort()
            return
        if len(server.connections) >= server.max_connections:
            server.stats.cx_overflow.value += 1
            self.transport.abort()
            return
        server.connections.add(self)
        server.stats.connected()
        self._rearm(server.request_s)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; several may come at once."""
        self.server.stats.rx_bytes.value += len(data)
        if self.transport is None or self.transport.is_closing():
            return
        if not self.asking:
            self.asking = True
            self._rearm(self.server.request_s)
        if self.messages is None and self._answer_ready(data):
            return
        self._read(data)

    def eof_received(self) -> bool:
        """The client will send no more: answer what is complete, then close."""
        if self.messages is not None and self.transport is not None and not self.transport.is_closing():
            self.messages.receive(b"")
        return False

    def pause_writing(self) -> None:
        """The client does not read: requests that follow have to wait, here and in its own kernel."""
        self.paused = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client has read: go on."""
        self.paused = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            if self.messages is not None:
                self.messages.serve()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self in self.server.connections:
            self.server.connections.discard(self)
            self.server.stats.disconnected()
        messages, self.messages = self.messages, None
        if messages is not None:
            messages.lose()
        self.transport = None

    # -- what the messages need

    def await_next(self) -> None:
        """A request has been answered: another may begin."""
        self.asking = False
        self._rearm(self.server.idle_s)

    def write(self, reply: bytes, status: int) -> None:
        """Write a reply, and count it."""
        self.server.stats.tx_bytes.value += len(reply)
        self.server.stats.replied(status)
        if self.transport is not None:
            self.transport.write(reply)

    def close(self) -> None:
        """Close once everything written is sent; the timer bounds that too."""
        if self.transport is not None:
            self.transport.close()

    def _rearm(self, limit_s: float) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(limit_s, self._expire)

    def _expire(self) -> None:
        self.server.stats.idle_timeout.value += 1
        if self.transport is not None:
            self.transport.abort()

    def _read(self, data: bytes) -> None:
        if self.messages is None:
            # h11 comes with it: not for being ready, see server.later.import_later
            from proxy.admin.messages import Messages

            self.messages = Messages(self)
        self.messages.receive(data)

    # -- GET /ready

    def _answer_ready(self, data: bytes) -> bool:
        """Answer these bytes if they are one plain GET of /ready and no more; whether they were. The answer is what
        messages.py would write."""
        server = self.server
        found = None if self.paused or server.access_logs else plain_ready(data)
        if found is None:
            return False
        headers, closes = found
        if [name for name, _ in headers].count(b"host") != 1 or server.refusal(b"GET", headers):
            return False
        reply = server.readiness()
        if reply is None:
            return False
        server.stats.rq_total.value += 1
        fields = [*reply_headers(reply, server.clock.wall()), ("Transfer-Encoding", "chunked")]
        if closes:
            fields.append(("Connection", "close"))
        phrase = "OK" if reply.status == 200 else "Service Unavailable"
        head = "".join([f"{name}: {value}\r\n" for name, value in fields])
        text = (
            f"HTTP/1.1 {reply.status} {phrase}\r\n{head}\r\n{len(reply.body):x}\r\n{reply.body}\r\n0\r\n\r\n"
        )
        self.write(text.encode(), reply.status)
        if closes:
            self.close()
        else:
            self.await_next()
        return True
