"""Fakes for codec tests: a sink and streams that write down what the codec calls."""

from __future__ import annotations

import re
from typing import Any

from proxy.base.errors import CodecError, ResetReason
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.codec.http1 import Http1ClientCodec, Http1ServerCodec, Http1Settings

OK = ResponseHeaders(200, [(b"content-length", b"2")])


class Recorder:
    """A StreamDecoder that records; ``body`` joins what came, ``ended`` says that the message is whole."""

    def __init__(self) -> None:
        self.heads: list[HeaderMap] = []
        self.informational: list[HeaderMap] = []
        self.pieces: list[bytes] = []
        self.trailers: HeaderMap | None = None
        self.ends = 0
        self.resets: list[tuple[ResetReason, bytes]] = []
        self.on_end: Any = None

    @property
    def request(self) -> RequestHeaders:
        (head,) = self.heads
        assert isinstance(head, RequestHeaders)
        return head

    @property
    def response(self) -> ResponseHeaders:
        (head,) = self.heads
        assert isinstance(head, ResponseHeaders)
        return head

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def ended(self) -> bool:
        return self.ends > 0

    def decode_informational(self, headers: HeaderMap) -> None:
        self.informational.append(headers)

    def decode_protocol(self, protocol: bytes) -> None:
        self.protocol = protocol

    def decode_headers(self, headers: HeaderMap, end: bool) -> None:
        self.heads.append(headers)
        self._end(end)

    def decode_data(self, data: bytes, end: bool) -> None:
        assert self.heads and not self.ended and (data or end)
        self.pieces.append(data)
        self._end(end)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        assert not self.ended
        self.trailers = trailers
        self._end(True)

    def on_reset(self, reason: ResetReason, details: bytes) -> None:
        self.resets.append((reason, details))

    def _end(self, end: bool) -> None:
        if end:
            self.ends += 1
            assert self.ends == 1
            if self.on_end is not None:
                self.on_end(self)

    def message(self) -> tuple[Any, ...]:
        """What came, for comparing two runs."""
        heads = [(vars_of(head), tuple(head.fields)) for head in self.heads]
        trailers = None if self.trailers is None else tuple(self.trailers.fields)
        return heads, self.body, trailers, self.ended, [reason.text for reason, _ in self.resets]


def vars_of(head: HeaderMap) -> tuple[Any, ...]:
    if isinstance(head, RequestHeaders):
        return (head.method, head.path, head.authority, head.scheme, head.upgrade, head.known)
    assert isinstance(head, ResponseHeaders)
    return (head.status, head.known)


class Server:
    """A server codec with a sink that answers every request with 200 "ok" as soon as it is whole, if asked to."""

    def __init__(self, settings: Http1Settings | None = None, answers: bool = False) -> None:
        self.codec = Http1ServerCodec(self, settings or Http1Settings())
        self.streams: list[Recorder] = []
        self.answers = answers
        self.errors: list[CodecError] = []
        self.written = b""

    def new_stream(self) -> Recorder:
        stream = Recorder()
        if self.answers:
            stream.on_end = self.answer
        self.streams.append(stream)
        return stream

    def on_preface(self) -> bool:
        """This connection speaks HTTP/1 only."""
        return False

    def answer(self, stream: Recorder) -> None:
        self.codec.headers(stream, OK.copy(), False)
        self.codec.data(stream, b"ok", True)

    def feed(self, *pieces: bytes) -> None:
        """Feed as a connection does: errors are answered, waiting input is taken up between requests."""
        for piece in pieces:
            self._feed(piece)
            for _ in range(10_000):
                self.written += self.codec.take_output()
                if not self.codec.blocked or self.codec.stream is not None or self.codec.closing:
                    break
                self._feed(b"")

    def _feed(self, data: bytes) -> None:
        try:
            self.codec.feed(data)
        except CodecError as error:
            self.errors.append(error)
            stream = self.streams[-1]
            if self.codec.stream is stream:
                head = ResponseHeaders(error.status, [(b"content-length", b"%d" % len(error.body))])
                self.codec.headers(stream, head, False)
                self.codec.data(stream, error.body, True)

    def statuses(self) -> list[int]:
        """The statuses of the final responses written so far."""
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([2-9][0-9][0-9]) ", self.written)]


class Client:
    """A client codec with one request under way."""

    def __init__(
        self,
        method: bytes = b"GET",
        fields: list[tuple[bytes, bytes]] | None = None,
        end: bool = True,
        settings: Http1Settings | None = None,
    ) -> None:
        self.codec = Http1ClientCodec(settings or Http1Settings())
        self.decoder = Recorder()
        self.codec.headers(self.decoder, RequestHeaders(method, b"/x", b"up.test", fields=fields or []), end)
        self.written = self.codec.take_output()
