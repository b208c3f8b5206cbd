"""Fakes for HTTP/2 codec tests: our server or client codec facing the ``h2`` library in memory."""

from __future__ import annotations

from typing import Any

from h2 import events as ev
from h2.config import H2Configuration
from h2.connection import H2Connection

from proxy.base.errors import CodecError, ResetReason
from proxy.codec.http2_client import Http2ClientCodec, Http2ClientStream
from proxy.codec.http2_server import Http2ServerCodec, Http2ServerStream
from proxy.codec.http2_settings import Http2Settings
from proxy.codec.http2_stream import StreamWatcher
from proxy.stats.http2 import Http2Stats
from proxy.stats.store import Store
from tests.unit.codec.support import Recorder

Fields = list[tuple[bytes, bytes]]
HEAD: Fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/p")]


def peer(client: bool) -> H2Connection:
    """The other side: strict about what it gets, free in what it sends."""
    made = H2Connection(
        H2Configuration(
            client_side=client,
            header_encoding=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    made.initiate_connection()
    return made


class Watcher(StreamWatcher):
    """Writes down what the codec tells the network's side of a stream."""

    def __init__(self) -> None:
        self.blocked: list[bool] = []
        self.over: list[ResetReason | None] = []

    def on_blocked(self) -> None:
        self.blocked.append(True)

    def on_unblocked(self) -> None:
        self.blocked.append(False)

    def on_over(self, reason: ResetReason | None) -> None:
        self.over.append(reason)


class Server:
    """Our server codec and an h2 client. streams: what came, in order; events: what the client heard."""

    def __init__(self, **settings: Any) -> None:
        self.stats = Http2Stats(Store().scope(""))
        self.streams: list[Http2ServerStream] = []
        self.recorders: list[Recorder] = []
        self.watchers: list[Watcher] = []
        self.codec = Http2ServerCodec(self, Http2Settings(**settings), self.stats)
        self.peer = peer(True)
        self.events: list[ev.Event] = []
        self.error: CodecError | None = None

    def new_stream(self) -> Http2ServerStream:
        stream = Http2ServerStream(self.codec)
        recorder, watcher = Recorder(), Watcher()
        stream.decoder, stream.watcher = recorder, watcher
        self.streams.append(stream)
        self.recorders.append(recorder)
        self.watchers.append(watcher)
        return stream

    def feed(self, data: bytes, cut: int = 0) -> None:
        """Bytes to our codec, whole or in pieces of ``cut`` bytes; a CodecError is kept."""
        try:
            for at in range(0, len(data), cut or len(data) or 1):
                self.codec.feed(data[at : at + (cut or len(data))])
                while self.codec.blocked:
                    self.codec.feed(b"")
        except CodecError as error:
            self.error = error

    def exchange(self, cut: int = 0) -> None:
        """Everything either side has to say, until both are silent."""
        while True:
            there = self.peer.data_to_send()
            if there:
                self.feed(there, cut)
            back = self.codec.take_output()
            if back:
                self.events += self.peer.receive_data(back)
            if not there and not back:
                return

    def request(self, fields: Fields, end: bool = True) -> int:
        number: int = self.peer.get_next_available_stream_id()
        self.peer.send_headers(number, fields, end_stream=end)
        return number

    def heard(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Client:
    """Our client codec and an h2 server."""

    def __init__(self, **settings: Any) -> None:
        self.stats = Http2Stats(Store().scope(""))
        self.codec = Http2ClientCodec(Http2Settings(**settings), self.stats)
        self.peer = peer(False)
        self.events: list[ev.Event] = []
        self.error: CodecError | None = None

    def stream(self) -> tuple[Http2ClientStream, Recorder, Watcher]:
        """A stream for one try."""
        stream = Http2ClientStream(self.codec)
        recorder, watcher = Recorder(), Watcher()
        stream.decoder, stream.watcher = recorder, watcher
        return stream, recorder, watcher

    def exchange(self, cut: int = 0) -> None:
        while True:
            there = self.codec.take_output()
            if there:
                self.events += self.peer.receive_data(there)
            back = self.peer.data_to_send()
            try:
                for at in range(0, len(back), cut or len(back) or 1):
                    self.codec.feed(back[at : at + (cut or len(back))])
            except CodecError as error:
                self.error = error
            if not there and not back:
                return
