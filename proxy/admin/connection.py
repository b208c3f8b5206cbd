"""One connection to the admin server, or to another of its kind (serving.py).

Bounds: request head 16 KiB, body 64 KiB (the server's own limit), one timer for everything (a request must be complete, and a reply must have
been taken, within IDLE_S of the last one), replies wait while the client does not read.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import h11

from proxy.admin.access_log import log_request
from proxy.admin.state import Params, Reply, Request
from proxy.base.http_date import http_date

if TYPE_CHECKING:
    from proxy.admin.serving import HttpServer

HEAD_LIMIT = 16 * 1024
IDLE_S = 60.0

log = logging.getLogger("admin")


class AdminConnection(asyncio.Protocol):
    """Reads requests with h11 and writes the server's replies."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self.transport: asyncio.Transport | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.request: h11.Request | None = None
        self.body = b""
        self.began_at = 0.0
        self.paused = False  # the client does not read: stop answering

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
        self._rearm()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; several may come at once."""
        self.server.stats.rx_bytes.value += len(data)
        if self.transport is None or self.transport.is_closing():
            return
        self.http.receive_data(data)
        self._serve()

    def eof_received(self) -> bool:
        """The client will send no more: answer what is complete, then close."""
        if self.transport is not None and not self.transport.is_closing():
            self.http.receive_data(b"")
            self._serve()
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
            self._serve()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self in self.server.connections:
            self.server.connections.discard(self)
            self.server.stats.disconnected()
        if self.request is not None:
            self.server.stats.rq_active.value -= 1
            self.request = None
        self.transport = None

    def close(self) -> None:
        """Close once everything written is sent; IDLE_S bounds that too."""
        if self.transport is not None:
            self.transport.close()

    # -- requests

    def _rearm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(IDLE_S, self._expire)

    def _expire(self) -> None:
        self.server.stats.idle_timeout.value += 1
        if self.transport is not None:
            self.transport.abort()

    def _serve(self) -> None:
        """Answer every complete request that has arrived."""
        while self.transport is not None and not self.transport.is_closing() and not self.paused:
            try:
                event = self.http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self.body += event.data
                if len(self.body) > self.server.body_limit:
                    self._refuse(413, "Payload Too Large")
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            elif isinstance(event, h11.ConnectionClosed):
                self.close()
                return

    def _begin(self, request: h11.Request) -> None:
        self.request = request
        self.body = b""
        self.began_at = self.server.clock.monotonic()
        self.server.stats.rq_total.value += 1
        self.server.stats.rq_active.value += 1

    def _answer(self) -> None:
        assert self.request is not None, "h11 ends no message that it did not begin"
        head = self.request
        target = head.target.decode("latin-1")
        path, _, query = target.partition("?")
        kind = next((value for name, value in head.headers if name == b"content-type"), b"").decode("latin-1")
        request = Request(head.method.decode("latin-1"), path, Params.parse(query), self.body, kind)
        refusal = self.server.refusal(head.method, head.headers)
        if refusal:
            reply = Reply(refusal, 403)
        else:
            reply = self._ask(request)
        self._write(reply)
        if self.http.our_state is h11.MUST_CLOSE:
            self.close()
        elif self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            self._rearm()

    def _ask(self, request: Request) -> Reply:
        try:
            return self.server.answer(request)
        except Exception:  # the fence: a broken page must not end the process, and must not hide either
            log.exception("admin request %s %s failed", request.method, request.path)
            return Reply("internal error, see the log\n", 500)

    def _refuse(self, status: int, reason: str) -> None:
        """Answer what is no request of ours to serve, and close."""
        self.server.stats.protocol_error.value += 1
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(Reply(reason, status), close=True)
        self.close()

    def _write(self, reply: Reply, close: bool = False) -> None:
        headers = [
            ("content-type", reply.content_type),
            ("cache-control", "no-cache, max-age=0"),
            ("x-content-type-options", "nosniff"),
            *reply.headers,
            ("date", http_date(self.server.clock.wall())),
            ("server", "envoy"),
        ]
        if close:
            headers.append(("connection", "close"))
        send = self.http.send
        phrase = HTTPStatus(reply.status).phrase
        head = send(h11.Response(status_code=reply.status, headers=headers, reason=phrase)) or b""
        wants_body = reply.body and (self.request is None or self.request.method != b"HEAD")
        body = send(h11.Data(data=reply.body.encode())) or b"" if wants_body else b""
        output = head + body + (send(h11.EndOfMessage()) or b"")
        stats = self.server.stats
        stats.tx_bytes.value += len(output)
        stats.replied(reply.status)
        if self.request is not None:
            if self.server.access_logs:
                size = len(reply.body.encode()) if wants_body else 0
                log_request(self, self.request, reply.status, headers, size)
            self.request = None
            stats.rq_active.value -= 1
        if self.transport is not None:
            self.transport.write(output)
