"""Http2ServerCodec: requests in, responses out, many at a time (RFC 9113).

The sink makes the streams (an Http2ServerStream each, with its decoder) and is told of floods and violations by
CodecError from ``feed``; whatever ran then is reset by the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mypy_extensions import trait

from proxy.base.errors import (
    DOWNSTREAM_PROTOCOL_ERROR,
    DOWNSTREAM_REMOTE_RESET,
    CodecError,
)
from proxy.base.headers import HeaderMap, ResponseHeaders
from proxy.codec.http2_connection import MESSAGING, Http2Codec
from proxy.codec.http2_engine import DataReceived, NGH2Error, RequestReceived, Role, TrailersReceived
from proxy.codec.http2_head import read_request, read_trailers, too_large, write_response
from proxy.codec.http2_settings import Http2Settings
from proxy.codec.http2_stream import (
    INTERNAL_ERROR_CODE,
    NO_ERROR,
    PROTOCOL_ERROR_CODE,
    REFUSED_STREAM_CODE,
    Http2Stream,
)

if TYPE_CHECKING:
    from proxy.codec.interface import StreamDecoder
    from proxy.stats.http2 import Http2Stats

UNEXPECTED_UNDERSCORE: Final = b"http2.unexpected_underscore"


@trait
class Http2ServerSink:
    """A server connection as its codec sees it."""

    __slots__ = ()

    def new_stream(self) -> Http2ServerStream:
        """A request begins: a stream with its decoder and its watcher."""
        raise NotImplementedError


class Http2ServerStream(Http2Stream):
    """The codec of one request and its response."""

    __slots__ = ()

    def informational(self, stream: StreamDecoder, headers: HeaderMap) -> None:
        """A 1xx head."""
        assert isinstance(headers, ResponseHeaders)
        if self.gone:
            return
        try:
            self.conn.h2.send_informational_response(self.stream_id, write_response(headers))
        except NGH2Error:
            self.gone = True
            return
        self._count_head()

    def headers(self, stream: StreamDecoder, headers: HeaderMap, end: bool) -> None:
        """The response head."""
        assert isinstance(headers, ResponseHeaders)
        if self.gone:
            return
        try:
            self.conn.h2.send_response(self.stream_id, write_response(headers), end_stream=end)
        except NGH2Error:
            self.gone = True
            return
        self._count_head()
        if end:
            self._ended()

    def _count_head(self) -> None:
        """What the head took on the wire, unless it cannot leave yet."""
        conn = self.conn
        conn.outbound += 1
        if conn.paused:
            conn.check_outbound()
        elif not conn.sending:
            size = conn.pull()
            self.wire_bytes_out += size
            self.field_bytes_out += size

    def finish_early(self) -> None:
        """The response is whole, or nobody wants the rest of the request: RST_STREAM with NO_ERROR once what was
        written has left."""
        self.decoder = self.watcher = None
        if not self.read_done and not self.gone:
            self.gone = not self.write_done
            if self.write_done:
                if self.conn.ending is None:
                    self.conn.ending = []
                self.conn.ending.append(self)
            else:
                self.conn.reset_stream(self, INTERNAL_ERROR_CODE)


class Http2ServerCodec(Http2Codec):
    """One client's connection.

    reset_count: streams reset before their end, by the client or for its mistakes
    """

    __slots__ = ("_sink", "reset_count")

    def __init__(self, sink: Http2ServerSink, settings: Http2Settings, stats: Http2Stats) -> None:
        self._sink: Http2ServerSink | None = sink
        self.reset_count = 0
        Http2Codec.__init__(self, Role.SERVER, settings, stats)

    def handle(self, events: list[Any]) -> None:
        taken = 0
        for at, event in enumerate(events):
            kind = type(event)
            if kind is RequestReceived:
                taken += 1
                if taken > self.settings.max_requests_per_turn:
                    self._events = events[at:]
                    self.blocked = True
                    return
                self._request(event)
            elif kind is DataReceived:
                self._data(event)
            elif kind is TrailersReceived:
                self._trailers(event)
            else:
                self.other(event)
            if self.dead:
                return

    def _request(self, event: RequestReceived) -> None:
        sink = self._sink
        if sink is None:
            return
        settings = self.settings
        stream_id = event.stream_id
        received = event.headers
        stream = sink.new_stream()
        stream.stream_id = stream_id
        self.streams[stream_id] = stream
        self.stats.streams_active.value += 1
        watch = self.watch
        wire = watch.heads.pop(stream_id, 0)
        if watch.tails:
            watch.next_head(stream_id)
        if watch.early is not None:
            stream.wire_bytes_in += watch.early.pop(stream_id, 0)
        problem = too_large(received, settings.max_headers_bytes, settings.max_headers_count)
        if problem:
            self._overflow(stream, problem)
            return
        stream.wire_bytes_in += wire
        stream.field_bytes_in = wire
        if self.full:
            self.born_blocked(stream)
        try:
            headers = read_request(received)
        except CodecError:
            decoder = stream.decoder
            stream.reset_with(PROTOCOL_ERROR_CODE)
            self.reset_count += 1
            if decoder is not None:
                decoder.on_reset(DOWNSTREAM_PROTOCOL_ERROR, MESSAGING)
            return
        if settings.underscores is not None and not self._take_underscores(stream, headers):
            return
        stream.upgrade = headers.upgrade
        decoder = stream.decoder
        end = stream.read_done = event.end_stream
        if decoder is not None:
            decoder.decode_headers(headers, end)

    def _overflow(self, stream: Http2ServerStream, problem: bytes) -> None:
        """A head beyond our limits: the stream is reset and logged, the connection lives (as Envoy)."""
        if problem == b"http2.header_list_size_too_large":
            self.stats.header_list_size_too_large.value += 1
        else:
            self.stats.header_overflow.value += 1
        stream.wire_bytes_out += 13
        decoder = stream.decoder
        stream.reset_with(INTERNAL_ERROR_CODE)
        self.reset_count += 1
        if decoder is not None:
            decoder.on_reset(DOWNSTREAM_REMOTE_RESET, problem)

    def _data(self, event: DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        data = event.data
        if stream is None or stream.decoder is None:
            if data:
                self.acknowledge(event.stream_id, len(data))
            if stream is not None and event.end_stream:
                stream.read_done = True
            return
        if event.end_stream:
            stream.read_done = True
        elif not data:
            return
        stream.unread += len(data)
        stream.decoder.decode_data(data, event.end_stream)
        if not stream.held and stream.unread:
            stream.give_back(stream.unread)

    def _trailers(self, event: TrailersReceived) -> None:
        self.stats.trailers.value += 1
        stream = self.streams.get(event.stream_id)
        wire = self.watch.heads.pop(event.stream_id, 0)
        if self.watch.tails:
            self.watch.next_head(event.stream_id)
        if stream is None:
            return
        stream.read_done = True
        stream.wire_bytes_in += wire
        stream.field_bytes_in += wire
        if stream.decoder is not None:
            trailers = read_trailers(event.headers)
            if self.settings.underscores is not None and not self._take_underscores(stream, trailers):
                return
            if trailers.fields:
                stream.decoder.decode_trailers(trailers)
            else:
                stream.decoder.decode_data(b"", True)

    def _take_underscores(self, stream: Http2Stream, headers: HeaderMap) -> bool:
        """A head or trailers with the underscores dealt with; False where they refuse the request, which is reset."""
        assert self.settings.underscores is not None
        try:
            self.settings.underscores.apply(headers)
        except CodecError:
            decoder = stream.decoder
            stream.reset_with(INTERNAL_ERROR_CODE)
            self.reset_count += 1
            if decoder is not None:
                decoder.on_reset(DOWNSTREAM_REMOTE_RESET, UNEXPECTED_UNDERSCORE)
            return False
        return True

    def on_remote_reset(self, stream: Http2Stream, code: int) -> None:
        self.reset_count += 1
        decoder, stream.decoder = stream.decoder, None
        if decoder is None:
            return
        reason = DOWNSTREAM_PROTOCOL_ERROR if code == PROTOCOL_ERROR_CODE else DOWNSTREAM_REMOTE_RESET
        refused = code == REFUSED_STREAM_CODE  # by a client, of its own request; Envoy has a word for it
        decoder.on_reset(reason, b"http2.remote_refuse" if refused else b"http2.remote_reset")

    def on_bad_trailers(self) -> None:
        self.stats.trailers.value += 1

    def on_violation(self, stream_id: int, stream: Http2Stream | None) -> None:
        """Logged like any request, though its head was never taken."""
        self.reset_count += 1
        if stream is None:
            if self._sink is None:
                return
            stream = self._sink.new_stream()
            stream.gone = True
        decoder, stream.decoder = stream.decoder, None
        if decoder is not None:
            decoder.on_reset(DOWNSTREAM_PROTOCOL_ERROR, MESSAGING)

    def take_output(self) -> bytes:
        ending = self.ending
        if ending is not None and not self.dead and not self.paused:
            self._end_early(ending)
        return Http2Codec.take_output(self)

    def _end_early(self, ending: list[Http2Stream]) -> None:
        """Responses that are whole while their requests are not: reset in peace once nothing of them waits. An
        earlier reset would overtake the response in the engine."""
        self.pull()
        still = []
        for stream in ending:
            if stream.gone or stream.read_done:
                continue
            if self.h2.queued_body_size(stream.stream_id):
                still.append(stream)
            else:
                self.reset_stream(stream, NO_ERROR)
        self.ending = still or None

    def detach(self) -> None:
        Http2Codec.detach(self)
        self._sink = None
