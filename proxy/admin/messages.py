"""The requests and replies of one admin connection (connection.py), by h11: head at most 16 KiB, body as the server bounds it."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from proxy.admin.access_log import log_request
from proxy.admin.state import Params, Reply, Request, reply_headers

if TYPE_CHECKING:
    from proxy.admin.connection import AdminConnection

HEAD_LIMIT = 16 * 1024

log = logging.getLogger("admin")


class Messages:
    """Reads requests with h11 and writes the server's replies."""

    def __init__(self, connection: AdminConnection) -> None:
        self.connection = connection
        self.server = connection.server
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self.request: h11.Request | None = None
        self.body = b""
        self.began_at = 0.0

    def receive(self, data: bytes) -> None:
        """Bytes of requests; b"": there will be no more."""
        self.http.receive_data(data)
        self.serve()

    def lose(self) -> None:
        """The connection is gone: so is what was asked on it."""
        if self.request is not None:
            self.server.stats.rq_active.value -= 1
            self.request = None

    def serve(self) -> None:
        """Answer every complete request that has arrived."""
        while self.connection.answers:
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
                self.connection.close()
                return

    def _begin(self, request: h11.Request) -> None:
        self.request = request
        self.body = b""
        self.began_at = self.server.clock.monotonic()
        self.server.stats.rq_total.value += 1
        self.server.stats.rq_active.value += 1
        transport = self.connection.transport
        if self.http.they_are_waiting_for_100_continue and transport is not None:
            answer = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            transport.write(self.http.send(answer) or b"")

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
            self.connection.close()
        elif self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            self.connection.await_next()

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
        self.connection.close()

    def _write(self, reply: Reply, close: bool = False) -> None:
        headers = reply_headers(reply, self.server.clock.wall())
        if close:
            headers.append(("connection", "close"))
        send = self.http.send
        phrase = HTTPStatus(reply.status).phrase
        head = send(h11.Response(status_code=reply.status, headers=headers, reason=phrase)) or b""
        wants_body = reply.body and (self.request is None or self.request.method != b"HEAD")
        body = send(h11.Data(data=reply.body.encode())) or b"" if wants_body else b""
        output = head + body + (send(h11.EndOfMessage()) or b"")
        if self.request is not None:
            if self.server.access_logs:
                size = len(reply.body.encode()) if wants_body else 0
                log_request(self, self.request, reply.status, headers, size)
            self.request = None
            self.server.stats.rq_active.value -= 1
        self.connection.write(output, reply.status)
