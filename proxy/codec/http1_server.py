"""Http1ServerCodec: requests in, responses out, one after the other.

Reading is a state machine (``_state``):

    HEAD ──head──▶ LENGTH or CHUNKED ──last body byte──▶ WAIT ──response written──▶ HEAD
      └────────────── no body ─────────────────────────▶ WAIT
    HEAD ──a head that asks for another protocol or a tunnel──▶ ASKED ──granted──▶ TUNNEL
    anything ──protocol error, or a response that must be the last──▶ DEAD: whatever still comes is thrown away

1. One request at a time. What comes while its response is not written (WAIT) is kept and ``blocked`` says so.
2. The state is moved before a stream is called: the call may write the whole response.
3. A request whose head is refused still gets a stream, so that the refusal is logged and answered like any reply.
4. After a head that asks for another protocol everything is one body without end: nothing of it is ever read as a
   request, granted or not. Whoever serves the stream keeps it from the host until the host has granted the request.
5. A response that is complete before its request is says ``connection: close`` and is the last (as Envoy does).
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from proxy.base.errors import REMOTE_RESET, CodecError, ResetReason
from proxy.base.headers import CASED, CONTENT_LENGTH, HOP_BY_HOP, TRANSFER_ENCODING, UPGRADE
from proxy.codec.http1_body import ChunkedReader
from proxy.codec.http1_head import HeadBuffer, read_request
from proxy.codec.http1_options import without_length
from proxy.codec.http1_response import ASKED, CHUNKED, DEAD, HEAD, LENGTH, WAIT, ResponseWriter
from proxy.codec.http1_weigh import CHUNKED as CHUNKED_LENGTH
from proxy.codec.http1_weigh import Http1Settings, Steering, bad_request, too_large, weigh_request
from proxy.codec.interface import ServerSink, StreamDecoder

STEERING_BITS: Final = CONTENT_LENGTH | TRANSFER_ENCODING | HOP_BY_HOP | UPGRADE
OUTPUT_BOUND: Final = 65536  # bytes written in one feed() after which pipelined requests wait for the socket

#: What an HTTP/1 parser sees of the HTTP/2 preface.
PREFACE_HEAD: Final = b"PRI * HTTP/2.0\r\n\r\n"

_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*")
_NO_SETTINGS: Final = Http1Settings()


class Http1ServerCodec(ResponseWriter):
    """One client connection's protocol state (``proxy.codec.interface.Codec``).

    stream: the stream being served, or None; keep_alive: what the current request asks for
    head_bytes: size of the last request head; fully_read: nothing of a request is outstanding
    wire_bytes_in: what has come of the current request, framing included
    field_bytes_in: of its fields, as Envoy counts: each one's name, value and three bytes more
    has_input: bytes of a next request are here, whole or not
    """

    __slots__ = (
        "_chunks",
        "_held",
        "_left",
        "_sink",
        "_unread",
        "_waiting",
        "head_bytes",
    )

    def __init__(self, sink: ServerSink, settings: Http1Settings = _NO_SETTINGS) -> None:
        ResponseWriter.__init__(self, settings)
        self._sink: ServerSink | None = sink
        self.blocked = False
        self.head_bytes = self.wire_bytes_in = self.field_bytes_in = 0
        self._held: HeadBuffer | None = None  # a head that is cut
        self._waiting = b""  # pipelined input
        self._left = 0  # body bytes still to come
        self._chunks: ChunkedReader | None = None
        self._unread = False  # the connection died with a request half read

    # -- reading -------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes from the client; b"" goes on with waiting input. Raises CodecError."""
        if self._waiting:
            data = self._waiting + data if data else self._waiting
            self._waiting = b""
            self.blocked = False
        at = 0
        size = len(data)
        while at < size:
            state = self._state
            if state == HEAD:
                if self._out_bytes > OUTPUT_BOUND:
                    self._wait(data, at)
                    return
                at = self._read_head(data, at)
            elif state == LENGTH:
                at = self._read_length(data, at)
            elif state == CHUNKED:
                at = self._read_chunks(data, at)
            elif state >= ASKED:
                self.wire_bytes_in += size - at
                self._deliver(data[at:] if at else data, False)
                return
            else:
                if state == WAIT:
                    self._wait(data, at)
                return

    def _wait(self, data: bytes, at: int) -> None:
        self._waiting = data[at:] if at else data
        self.blocked = True

    def _read_head(self, data: bytes, at: int) -> int:
        held = self._held
        if held is None:
            if data[at] < 65:
                return self._skip_empty_lines(data, at)
            end = data.find(b"\r\n\r\n", at) + 4
            if end > 3:
                self._take_head(data if end - at == len(data) else data[at:end])
                return end
            held = self._held = HeadBuffer(self._settings.max_headers_bytes, b"")
        elif held.data == b"\r":  # an empty line before the request, cut
            self._held = None
            if data[at] != 10:
                self._refuse(bad_request())
            return at + 1
        try:
            end = held.add(data, at)
        except CodecError as error:
            self._forget_head(held)
            self._refuse(error)
        if end < 0:
            return len(data)
        self._held = None
        self._take_head(bytes(held.data))
        return end

    def _forget_head(self, held: HeadBuffer | None) -> None:
        """A head that will not be read: the stream that answers it has got these bytes."""
        self._held = None
        self.wire_bytes_in = len(held.data) if held is not None else 0
        self.field_bytes_in = 0

    def _skip_empty_lines(self, data: bytes, at: int) -> int:
        """Empty lines before a request are ignored (RFC 9112 section 2.2); anything else below "A" starts none."""
        match = _EMPTY_LINES.match(data, at)
        end = match.end() if match is not None else at
        if end == len(data):
            return end
        if data[end] == 13 and end + 1 == len(data):
            self._held = HeadBuffer(self._settings.max_headers_bytes, b"")
            self._held.data += b"\r"
            return end + 1
        if data[end] < 65:
            self._refuse(bad_request())
        return end

    def _take_head(self, head: bytes) -> None:
        """A whole head: parse it, weigh what steers the connection, begin the stream."""
        size = self.head_bytes = self.wire_bytes_in = len(head)
        lines = head.split(b"\r\n")
        count = len(lines) - 3
        settings = self._settings
        self._http10 = self._is_head = False
        self.field_bytes_in = 0
        self.keep_alive = True
        self._state = WAIT
        try:
            if size > settings.max_headers_bytes:
                raise too_large()
            if count > settings.max_headers_count:
                raise too_large(b"http1.too_many_headers")
            try:
                headers, version = read_request(head, lines, settings.allow_absolute_url)
            except CodecError:
                framed = without_length(head) if settings.allow_chunked_length else None
                if framed is None:
                    raise
                headers, version = read_request(framed, framed.split(b"\r\n"), settings.allow_absolute_url)
                self.keep_alive = False  # RFC 9112 section 6.1
            self.field_bytes_in = size - count - len(lines[0]) - 4
            if headers.scheme == b"https" and settings.refuse_https_targets:
                raise CodecError(403, b"Forbidden", b"http1.https_url_on_plaintext_connection")
            if settings.underscores is not None:
                settings.underscores.apply(headers)
            if settings.memory is not None:
                headers.case = settings.memory.of(head)
                headers.known |= CASED
            if headers.known & STEERING_BITS or version != b"HTTP/1.1":
                self._steer(weigh_request(headers, version, settings))
                self._is_connect = headers.method == b"CONNECT"
        except CodecError as error:
            if head == PREFACE_HEAD and self._sink is not None and self._sink.on_preface():
                return  # what follows waits (WAIT) for whoever speaks HTTP/2
            self._refuse(error)
        if headers.method == b"HEAD":
            self._is_head = True
        sink = self._sink
        assert sink is not None  # only once detached
        stream = self.stream = sink.new_stream()
        if self._http10:
            stream.decode_protocol(b"HTTP/1.0")
        stream.decode_headers(headers, self._state == WAIT)

    def _steer(self, steering: Steering) -> None:
        if not steering.keep_alive:
            self.keep_alive = False
        self._http10 = steering.http10
        if steering.switches:
            self._state = ASKED
        elif steering.length == CHUNKED_LENGTH:
            settings = self._settings
            self._chunks = ChunkedReader(
                settings.max_headers_bytes, settings.max_headers_count, settings.enable_trailers
            )
            self._state = CHUNKED
        elif steering.length > 0:
            self._left = steering.length
            self._state = LENGTH

    def _read_length(self, data: bytes, at: int) -> int:
        size = len(data) - at
        left = self._left
        if size < left:
            self._left = left - size
            self.wire_bytes_in += size
            self._deliver(data[at:] if at else data, False)
            return at + size
        self._left = 0
        self._state = WAIT
        self.wire_bytes_in += left
        end = at + left
        self._deliver(data if left == len(data) else data[at:end], True)
        return end

    def _read_chunks(self, data: bytes, at: int) -> int:
        chunks = self._chunks
        assert chunks is not None
        start = at
        try:
            body, at = chunks.read(data, at)
        except CodecError as error:
            self._refuse(error)
        self.wire_bytes_in += at - start
        if not chunks.done:
            if body:
                self._deliver(body, False)
            return at
        self._chunks = None
        self._state = WAIT
        trailers = chunks.trailers
        if trailers is not None and self._settings.underscores is not None:
            self._settings.underscores.apply(trailers)
        stream = self.stream
        if trailers is None:
            self._deliver(body, True)
        else:
            if body:
                self._deliver(body, False)
            if stream is not None and self.stream is stream:
                stream.decode_trailers(trailers)
        return at

    def _deliver(self, data: bytes, end: bool) -> None:
        if self.stream is not None:
            self.stream.decode_data(data, end)

    def _stop(self) -> None:
        """Nothing more will be read from this client."""
        if self._state != DEAD:
            self._unread = self._state != WAIT or bool(self._waiting)
            self._state = DEAD
        self._held = self._chunks = None
        self._waiting = b""
        self.blocked = False

    def _refuse(self, error: CodecError) -> NoReturn:
        """The peer broke the protocol: the stream may still be answered, nothing more is read."""
        self.keep_alive = False
        self._state = LENGTH  # half read
        self._stop()
        if self.stream is None and self._sink is not None:
            self._http10 = self._is_head = False
            self.stream = self._sink.new_stream()
        try:
            raise error from None
        finally:
            del error  # this frame stands in its traceback: a cycle per bad request, and the bytes it holds

    def eof(self) -> None:
        """The client will send no more. Envoy gives such a client no reply, and neither do we."""
        stream, self.stream = self.stream, None
        self._stop()
        self.closing = True
        if stream is not None:
            stream.on_reset(REMOTE_RESET, b"downstream_remote_disconnect")

    def detach(self) -> None:
        """The connection is gone: cut the links."""
        self._stop()
        self._sink = self.stream = None
        self._out.clear()

    def take_waiting(self) -> bytes:
        """Input that was kept; it will not be read here."""
        waiting, self._waiting = self._waiting, b""
        return waiting

    @property
    def fully_read(self) -> bool:
        """No byte of a request is known to be missing or waiting."""
        if self._state == DEAD:
            return not self._unread
        return self._state in (HEAD, WAIT) and self._held is None and not self._waiting

    @property
    def has_input(self) -> bool:
        """Bytes of a request that no stream has yet: a head that is cut, or pipelined input."""
        return self._held is not None or bool(self._waiting)

    # -- what the writing half asks ------------------------------------------------------------------------------

    def _adopt(self, stream: StreamDecoder) -> bool:
        if self.stream is not None or self._sink is None or self.closing:
            return False
        self.stream = stream
        self._forget_head(self._held)
        self._http10 = self._is_head = False
        self._state = LENGTH
        self._stop()
        return True

    def _last_response_done(self) -> None:
        self._stop()
        self.closing = True

    def reset(self, stream: StreamDecoder, reason: ResetReason) -> None:
        """Give the response up: HTTP/1 can only close."""
        if stream is self.stream:
            self.stream = None
            self._responding = False
            self._stop()
            self.closing = True
