"""Lets HTTP/1 clients make unary gRPC calls: the trailers' status comes in the head
(envoy.extensions.filters.http.grpc_http1_bridge.v3.Config).

The response is held until its trailers have come: only then is its status known. A failed call is an HTTP 503.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.codec.grpc import HEAD_BYTES, frame_head
from proxy.formatter.grpc_status import GRPC, wants_grpc
from proxy.http.filter import STOP, TAKEN, Filter, FilterStatus
from proxy.http.holding import DecodeHold, EncodeHold, decode_hold, encode_hold
from proxy.http.local_reply import answer_as_http

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.headers import HeaderMap, RequestHeaders
    from proxy.http.context import FactoryContext
    from proxy.http.stream import ActiveStream

PROTOBUF: Final = b"application/x-protobuf"


class Bridge:
    """One call. request: its body, where it must become a message; response: what waits for the trailers"""

    __slots__ = ("frames", "request", "response")

    def __init__(self, frames: bool) -> None:
        self.frames = frames
        self.request: DecodeHold | None = None
        self.response: EncodeHold | None = None


class GrpcHttp1Bridge(Filter):
    """upgrades: plain protobuf bodies become gRPC messages, and back"""

    __slots__ = ("drops_query", "upgrades")

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.upgrades = reader.flag("upgrade_protobuf_to_grpc")
        self.drops_query = reader.flag("ignore_query_parameters")

    def decode_headers(self, stream: ActiveStream) -> None:
        headers = stream.request_headers
        assert headers is not None
        frames = self.upgrades and headers.get(b"content-type") == PROTOBUF
        if frames:
            self._upgrade(stream, headers)
        if stream.protocol == b"HTTP/2" or not wants_grpc(headers):
            return
        if self.drops_query:
            headers.path = headers.path.partition(b"?")[0]
        bridge = Bridge(frames)
        if stream.state is None:
            stream.state = {}
        stream.state[self] = bridge
        if frames and not stream.decode_ended:
            bridge.request = decode_hold(stream, self)
            bridge.request.keep()

    @staticmethod
    def _upgrade(stream: ActiveStream, headers: RequestHeaders) -> None:
        answer_as_http(stream)
        headers.set(b"content-type", GRPC)
        headers.remove(b"content-length")

    # -- the request, where it is plain protobuf ------------------------------------------------------------------

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | None:
        bridge = self._bridge(stream)
        if bridge is None or bridge.request is None:
            return None
        bridge.request.take(data, end, None, pause=False)
        if end and not stream.done:
            self._send(bridge, bridge.request, None)
        return TAKEN

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        bridge = self._bridge(stream)
        if bridge is None or bridge.request is None:
            return None
        self._send(bridge, bridge.request, trailers)
        return TAKEN

    @staticmethod
    def _send(bridge: Bridge, hold: DecodeHold, trailers: HeaderMap | None) -> None:
        """The body is whole: one message."""
        bridge.request = None
        body = b"".join([data for data, _, _ in hold.parts])
        hold.parts.clear()
        hold.settle()
        hold.inject(frame_head(len(body)) + body, trailers is None, None)
        if trailers is not None:
            hold.inject(b"", True, trailers)

    # -- the response ---------------------------------------------------------------------------------------------

    def encode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        bridge = self._bridge(stream)
        if bridge is None or stream.encode_ended:
            return None
        bridge.response = encode_hold(stream, self)
        bridge.response.keep()
        bridge.response.park()
        return STOP

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | None:
        bridge = self._bridge(stream)
        hold = bridge.response if bridge is not None else None
        if hold is None:
            return None
        hold.take(data, end, None, pause=False)
        if end and hold.is_parked and not stream.done:
            self._answer(hold)
            hold.settle()
        return TAKEN

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        bridge = self._bridge(stream)
        hold = bridge.response if bridge is not None else None
        headers = stream.response_headers
        if bridge is None or hold is None or headers is None:
            return None
        status = trailers.get(b"grpc-status")
        if status is not None:
            if status != b"0":
                headers.status = 503
            headers.set(b"grpc-status", status)
        message = trailers.get(b"grpc-message")
        if message is not None:
            headers.set(b"grpc-message", message)
        if bridge.frames and hold.queued_bytes >= HEAD_BYTES:
            body = b"".join([data for data, _, _ in hold.parts])
            hold.parts.clear()
            hold.take(body[HEAD_BYTES:], False, None, pause=False)
            hold.queued_bytes = len(body) - HEAD_BYTES
        headers.set(b"content-length", b"%d" % hold.queued_bytes)
        self._answer(hold)
        hold.settle()
        hold.inject(b"", True, trailers)
        return TAKEN

    @staticmethod
    def _answer(hold: EncodeHold) -> None:
        """The head goes on, and what waits behind it."""
        hold.release()
        while hold.parts:
            data, end, trailers = hold.next()
            hold.inject(data, end, trailers)

    def _bridge(self, stream: ActiveStream) -> Bridge | None:
        bridge: Bridge | None = stream.state.get(self) if stream.state is not None else None
        return bridge
