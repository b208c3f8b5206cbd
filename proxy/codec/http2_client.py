"""Http2ClientCodec: requests out, responses in, many at a time (RFC 9113).

Whatever is wrong with a response ends in ``decoder.on_reset``; what is wrong with the connection raises CodecError from
``feed``, and the connection then resets what runs.

going: the host sent GOAWAY: no further stream may be opened; those it will not serve are reset as refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.base.errors import (
    LOCAL_RESET,
    PROTOCOL_ERROR,
    REMOTE_CONNECT_ERROR,
    REMOTE_REFUSED_STREAM,
    REMOTE_RESET,
    REMOTE_RESET_NO_ERROR,
    ResetReason,
)
from proxy.base.headers import HeaderMap, RequestHeaders
from proxy.codec.http2_connection import MESSAGING, Http2Codec
from proxy.codec.http2_engine import (
    DataReceived,
    GoAwayReceived,
    InformationalResponseReceived,
    NGH2Error,
    ResponseReceived,
    Role,
    SettingsReceived,
    TrailersReceived,
)
from proxy.codec.http2_head import add_upgrade, read_response, read_trailers, too_large, write_request
from proxy.codec.http2_settings import MAX_CONCURRENT_STREAMS, Http2Settings
from proxy.codec.http2_stream import (
    CONNECT_ERROR_CODE,
    INTERNAL_ERROR_CODE,
    NO_ERROR,
    PROTOCOL_ERROR_CODE,
    REFUSED_STREAM_CODE,
    Http2Stream,
)

if TYPE_CHECKING:
    from proxy.codec.interface import StreamDecoder
    from proxy.stats.http2 import Http2Stats


class Http2ClientStream(Http2Stream):
    """The codec of one try: its request out, its response in. halves: the end of the latter is not that of the former"""

    __slots__ = ("halves",)

    def __init__(self, conn: Http2Codec) -> None:
        Http2Stream.__init__(self, conn)
        self.halves = False

    def keep_halves(self) -> bool:
        """See ClientCodec."""
        self.halves = True
        return True

    def headers(self, stream: StreamDecoder, headers: HeaderMap, end: bool) -> None:
        """The request head; the stream gets its id here."""
        assert isinstance(headers, RequestHeaders)
        conn = self.conn
        self.upgrade = headers.upgrade
        try:
            self.stream_id = conn.h2.send_request(write_request(headers), end_stream=end)
        except NGH2Error:
            self.gone = True
            if conn.refused is None:
                conn.refused = []
            conn.refused.append(self)
            return
        conn.streams[self.stream_id] = self
        conn.stats.streams_active.value += 1
        conn.watch.opened += 1
        conn.outbound += 1
        if conn.paused:
            conn.check_outbound()
        elif not conn.sending:
            size = conn.pull()
            self.wire_bytes_out += size
            self.field_bytes_out = size
        if end:
            self.write_done = True

    def informational(self, stream: StreamDecoder, headers: HeaderMap) -> None:
        """Requests have no informational heads."""
        raise AssertionError("a request cannot begin with an informational head")


class Http2ClientCodec(Http2Codec):
    """One connection to a host.

    peer_max_streams: how many streams at a time the host allows
    """

    __slots__ = ("going", "peer_max_streams")

    def __init__(self, settings: Http2Settings, stats: Http2Stats) -> None:
        self.going = False
        self.peer_max_streams = settings.max_concurrent_streams
        Http2Codec.__init__(self, Role.CLIENT, settings, stats)

    def handle(self, events: list[Any]) -> None:
        for event in events:
            kind = type(event)
            if kind is ResponseReceived:
                self._response(event)
            elif kind is DataReceived:
                self._data(event)
            elif kind is TrailersReceived:
                self._trailers(event)
            elif kind is InformationalResponseReceived:
                self._informational(event)
            elif kind is SettingsReceived:
                allowed = event.settings.get(MAX_CONCURRENT_STREAMS)
                if allowed is not None:
                    self.peer_max_streams = min(allowed, self.settings.max_concurrent_streams)
            elif kind is GoAwayReceived:
                self._goaway_received(event)
            else:
                self.other(event)
            if self.dead:
                return

    def _response(self, event: ResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        wire = self.watch.heads.pop(event.stream_id, 0)
        if self.watch.tails:
            self.watch.next_head(event.stream_id)
        if stream is None or stream.decoder is None:
            return
        stream.wire_bytes_in += wire
        stream.field_bytes_in = wire
        if self._is_too_large(stream, event.headers):
            return
        decoder = stream.decoder
        if event.end_stream:
            self._read_done(stream)
        headers = read_response(event.headers)
        if stream.upgrade is not None and headers.status == 200 and stream.upgrade != b"CONNECT":
            headers.status = 101  # what it means
            add_upgrade(headers, stream.upgrade)
        decoder.decode_headers(headers, event.end_stream)

    def _informational(self, event: InformationalResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        wire = self.watch.heads.pop(event.stream_id, 0)
        if self.watch.tails:
            self.watch.next_head(event.stream_id)
        if stream is not None and stream.decoder is not None:
            stream.wire_bytes_in += wire
            if not self._is_too_large(stream, event.headers):
                stream.decoder.decode_informational(read_response(event.headers))

    def _is_too_large(self, stream: Http2Stream, received: Any) -> bool:
        settings = self.settings
        problem = too_large(received, settings.max_headers_bytes, settings.max_headers_count)
        if not problem:
            return False
        if problem == b"http2.header_list_size_too_large":
            self.stats.header_list_size_too_large.value += 1
        else:
            self.stats.header_overflow.value += 1
        decoder = stream.decoder
        stream.reset_with(INTERNAL_ERROR_CODE)
        self.on_response_done(stream, REMOTE_RESET)  # as Envoy calls it
        if decoder is not None:
            decoder.on_reset(REMOTE_RESET, problem)
        return True

    def _data(self, event: DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        data = event.data
        end = event.end_stream
        if stream is None or stream.decoder is None:
            if data:
                self.acknowledge(event.stream_id, len(data))
            return
        if not data and not end:
            return
        stream.unread += len(data)
        decoder = stream.decoder
        if end:
            self._read_done(stream)
        decoder.decode_data(data, end)
        if not stream.held and stream.unread:
            stream.give_back(stream.unread)

    def _trailers(self, event: TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        wire = self.watch.heads.pop(event.stream_id, 0)
        if self.watch.tails:
            self.watch.next_head(event.stream_id)
        if stream is None or stream.decoder is None:
            return
        stream.wire_bytes_in += wire
        stream.field_bytes_in += wire
        decoder = stream.decoder
        self._read_done(stream)
        trailers = read_trailers(event.headers)
        if trailers.fields:
            decoder.decode_trailers(trailers)
        else:
            decoder.decode_data(b"", True)

    def _read_done(self, stream: Http2Stream) -> None:
        """The response is whole: the stream's message hears no more. A request that is not whole is given up."""
        stream.read_done = True
        stream.held = False
        if not stream.write_done and isinstance(stream, Http2ClientStream) and stream.halves:
            return
        stream.decoder = None
        self.on_response_done(stream, None if stream.write_done else LOCAL_RESET)
        if not stream.write_done:
            self.reset_stream(stream, INTERNAL_ERROR_CODE)  # as Envoy

    def left(self, stream: Http2Stream) -> None:
        Http2Codec.left(self, stream)
        if stream.read_done and stream.write_done and stream.decoder is not None:  # a half went on
            stream.decoder = None
            self.on_response_done(stream)

    @staticmethod
    def on_response_done(stream: Http2Stream, reason: ResetReason | None = None) -> None:
        """The connection counts its streams, by how they ended."""
        stream.over(reason)

    def _goaway_received(self, event: GoAwayReceived) -> None:
        """Streams beyond the last one the host took were not processed: they may be tried elsewhere."""
        self.going = True
        self.left_with = event.error_code
        for stream_id in [number for number in self.streams if number > event.last_stream_id]:
            stream = self.streams.pop(stream_id)
            self.left(stream)
            self._tell_reset(stream, REFUSED_STREAM_CODE)

    def on_remote_reset(self, stream: Http2Stream, code: int) -> None:
        self._tell_reset(stream, code)

    @staticmethod
    def _tell_reset(stream: Http2Stream, code: int) -> None:
        decoder, stream.decoder = stream.decoder, None
        if decoder is None:
            return
        reason = REMOTE_RESET
        if code == REFUSED_STREAM_CODE:
            reason = REMOTE_REFUSED_STREAM
        elif code == PROTOCOL_ERROR_CODE:
            reason = PROTOCOL_ERROR
        elif code == CONNECT_ERROR_CODE:
            reason = REMOTE_CONNECT_ERROR
        elif code == NO_ERROR and stream.read_done:
            reason = REMOTE_RESET_NO_ERROR
        stream.over(reason)
        decoder.on_reset(reason, b"")

    def on_violation(self, stream_id: int, stream: Http2Stream | None) -> None:
        if stream is not None and stream.decoder is not None:
            decoder, stream.decoder = stream.decoder, None
            stream.over(PROTOCOL_ERROR)
            decoder.on_reset(PROTOCOL_ERROR, MESSAGING)
