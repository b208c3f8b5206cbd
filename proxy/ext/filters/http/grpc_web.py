"""gRPC-Web to gRPC and back (envoy.extensions.filters.http.grpc_web.v3.GrpcWeb): browsers cannot read trailers, so they
come as a last frame of the body, and the body in base64 where the client asks for text.

A response that is no gRPC becomes one that is only a head: its body is the grpc-message.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from proxy.base.errors import CodecError
from proxy.codec.grpc import WEB_TRAILERS, FrameReader, frame
from proxy.formatter.grpc_status import GRPC, HTTP_TO_GRPC, UNKNOWN, encode_grpc_message, wants_grpc
from proxy.http.filter import STOP, TAKEN, Filter, FilterStatus
from proxy.http.holding import EncodeHold, encode_hold
from proxy.http.local_reply import answer_as_http
from proxy.stats.grpc import GrpcTable, split_method

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.headers import HeaderMap, ResponseHeaders
    from proxy.http.context import FactoryContext
    from proxy.http.stream import ActiveStream
    from proxy.stats.grpc import MethodStats

BINARY: Final = frozenset((b"application/grpc-web", b"application/grpc-web+proto"))
TEXT: Final = frozenset((b"application/grpc-web-text", b"application/grpc-web-text+proto"))
BINARY_REPLY: Final = b"application/grpc-web+proto"
TEXT_REPLY: Final = b"application/grpc-web-text+proto"
BAD_BASE64: Final = b"Bad gRPC-web request, invalid base64 data."
MESSAGE_BYTES: Final = 16384  # of a grpc-message made from a body, before it is encoded


class WebCall:
    """One call.

    asks_text, wants_text: the request comes, the response goes in base64; left: characters of a group that is not whole
    body: of a response that is no gRPC, as far as it is needed; None: the response is gRPC
    """

    __slots__ = ("asks_text", "body", "hold", "left", "method", "reader", "stats", "wants_text")

    def __init__(self, asks_text: bool, wants_text: bool, method: tuple[str, str] | None) -> None:
        self.asks_text = asks_text
        self.wants_text = wants_text
        self.method = method
        self.left = b""
        self.stats: MethodStats | None = None
        self.reader: FrameReader | None = None
        self.body: bytes | None = None
        self.hold: EncodeHold | None = None


class GrpcWeb(Filter):
    """See the module."""

    __slots__ = ("table",)

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.table = GrpcTable("grpc-web")

    # -- the request ----------------------------------------------------------------------------------------------

    def decode_headers(self, stream: ActiveStream) -> None:
        headers = stream.request_headers
        assert headers is not None
        content_type = headers.get(b"content-type")
        if content_type not in BINARY and content_type not in TEXT:
            return
        call = WebCall(content_type in TEXT, headers.get(b"accept") in TEXT, split_method(headers.path))
        if stream.state is None:
            stream.state = {}
        stream.state[self] = call
        answer_as_http(stream)
        headers.remove(b"content-length")
        headers.set(b"content-type", GRPC)
        headers.set(b"te", b"trailers")
        if b"grpc-accept-encoding" not in headers:
            headers.add(b"grpc-accept-encoding", b"identity")

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> bytes | FilterStatus | None:
        call = self._call(stream)
        if call is None or not call.asks_text:
            return None
        text = call.left + data
        whole = len(text) & ~3
        call.left = text[whole:]
        try:
            decoded = b64decode(text[:whole], validate=True)
        except binascii.Error:
            return self._refuse(stream, b"grpc_base_64_decode_failed")
        if end and call.left:
            return self._refuse(stream, b"grpc_base_64_decode_failed_bad_size")
        return decoded

    @staticmethod
    def _refuse(stream: ActiveStream, details: bytes) -> FilterStatus:
        stream.codec.goaway()  # HTTP/1: the connection closes, as the rest of the body is not waited for
        stream.local_reply(400, BAD_BASE64, details)
        return TAKEN

    # -- the response ---------------------------------------------------------------------------------------------

    def encode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        call = self._call(stream)
        headers = stream.response_headers
        if call is None or headers is None:
            return None
        if stream.cluster is not None and call.method is not None:
            call.stats = self.table.find(stream.cluster.scope, *call.method)
        self._charge(call, headers)
        is_grpc = wants_grpc(headers)
        headers.set(b"content-type", TEXT_REPLY if call.wants_text else BINARY_REPLY)
        if stream.encode_ended:
            return None
        call.hold = encode_hold(stream, self)
        if is_grpc:
            headers.remove(b"content-length")
            return None
        call.body = b""
        call.hold.keep()
        call.hold.park()
        return STOP

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> bytes | FilterStatus | None:
        call = self._call(stream)
        if call is None or call.hold is None:
            return None
        if call.body is not None:
            call.body += data[: MESSAGE_BYTES - len(call.body)]
            if end:
                self._answer(stream, call, call.hold)
            return TAKEN
        if not call.wants_text:
            return None
        if call.reader is None:
            call.reader = FrameReader(stream.hcm.buffer_limit_bytes)
        try:
            messages = call.reader.feed(data)
        except CodecError:
            stream.local_reply(500, b"", b"response_payload_too_large")
            return TAKEN
        return b"".join([b64encode(frame(message, flags)) for flags, message in messages])

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        call = self._call(stream)
        if call is None or call.hold is None:
            return None
        self._charge(call, trailers)
        if call.body is not None:
            self._answer(stream, call, call.hold)
            return TAKEN
        lines = b"".join([b"%b:%b\r\n" % field for field in trailers.fields])
        last = frame(lines, WEB_TRAILERS)
        call.hold.inject(b64encode(last) if call.wants_text else last, True, None)
        return TAKEN

    @staticmethod
    def _answer(stream: ActiveStream, call: WebCall, hold: EncodeHold) -> None:
        """A response that was no gRPC is whole."""
        headers: ResponseHeaders | None = stream.response_headers
        assert headers is not None and call.body is not None
        headers.remove(b"content-length")
        headers.set(b"grpc-message", encode_grpc_message(call.body))
        headers.set(b"grpc-status", b"%d" % HTTP_TO_GRPC.get(headers.status, UNKNOWN))
        headers.add(b"content-length", b"0")
        hold.settle()
        hold.release()

    @staticmethod
    def _charge(call: WebCall, holder: HeaderMap) -> None:
        status = holder.get(b"grpc-status")
        if call.stats is not None and status is not None:
            call.stats.charge(status)

    def _call(self, stream: ActiveStream) -> WebCall | None:
        call: WebCall | None = stream.state.get(self) if stream.state is not None else None
        return call
