"""Holding one direction of a stream for a filter that is not ready: one that awaits, or gathers a whole body.

STOP and ``continue_decoding()`` are enough for a filter that holds alone. Here several may hold at once, each in its
own place, and parts of a body wait *before* the filter, in order, until it has seen them:

* the head is parked: the stream's cursor stands behind its last filter, so that nobody else's "continue" moves it;
* parts are TAKEN and queued; the peer that sends them is paused, and what comes in spite of it is bounded;
* ``release`` lets the head go on, ``inject`` a part, each from the filter's own place.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from proxy.base.headers import HeaderMap
from proxy.http.stream_body import (
    buffer_decode,
    buffer_encode,
    overflow_encode,
    run_data,
    run_encode_data,
    run_encode_trailers,
    run_trailers,
)

if TYPE_CHECKING:
    from proxy.http.filter import Filter
    from proxy.http.stream import ActiveStream

#: (data, end, trailers): with trailers there is no data
Part = tuple[bytes, bool, HeaderMap | None]
NOT_PARKED: Final = -1


class Hold:
    """One direction of one stream, at one filter. ``parts`` are those the filter has not seen."""

    __slots__ = ("keeps", "parked_at", "parts", "place", "queued_bytes", "stream")

    def __init__(self, stream: ActiveStream, place: int) -> None:
        self.stream = stream
        self.place = place
        self.parts: deque[Part] = deque()
        self.queued_bytes = 0
        self.parked_at = NOT_PARKED
        self.keeps = False

    @property
    def is_parked(self) -> bool:
        """The head waits here."""
        return self.parked_at != NOT_PARKED

    def keep(self) -> None:
        """From now on, until ``settle``, the end of the message is with the filter."""
        if not self.keeps:
            self.keeps = True
            self._count(1)

    def take(self, data: bytes, end: bool, trailers: HeaderMap | None, pause: bool = True) -> None:
        """Queue a part that the filter has been given; it answers TAKEN. pause: let its sender wait, as far as it will;
        False when the filter needs the rest first."""
        self.keep()
        self.parts.append((data, end, trailers))
        self.queued_bytes += len(data)
        if self.queued_bytes > self.stream.hcm.buffer_limit_bytes:
            self.parts.clear()
            self._overflow()
        elif pause and not end:
            self._pause(True)

    def next(self) -> Part:
        """The next part, for the filter to see."""
        part = self.parts.popleft()
        self.queued_bytes -= len(part[0])
        return part

    def settle(self) -> None:
        """Nothing is kept any more."""
        if self.keeps:
            self.keeps = False
            self._count(-1)
            self._pause(False)

    def park(self) -> None:
        """Called from the head's hook, which then answers STOP."""
        raise NotImplementedError

    def unpark(self) -> None:
        """The head stays where it is, as after STOP: whoever continues the stream moves it."""
        raise NotImplementedError

    def release(self) -> None:
        """The head goes on behind the filter."""
        raise NotImplementedError

    def inject(self, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        """A part goes on behind the filter."""
        raise NotImplementedError

    def stop(self, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        """A part stays behind the filter until somebody continues the stream, as after STOP."""
        raise NotImplementedError

    def _count(self, step: int) -> None:
        raise NotImplementedError

    def _pause(self, paused: bool) -> None:
        raise NotImplementedError

    def _overflow(self) -> None:
        raise NotImplementedError


class DecodeHold(Hold):
    """A request's."""

    __slots__ = ()

    def park(self) -> None:
        stream = self.stream
        self.parked_at, stream.decode_at = stream.decode_at, len(stream.chain.decode_headers)

    def unpark(self) -> None:
        stream = self.stream
        stream.decode_at, self.parked_at = self.parked_at, NOT_PARKED
        stream.decode_held = self.place

    def release(self) -> None:
        stream = self.stream
        stream.decode_at, self.parked_at = self.parked_at, NOT_PARKED
        held = stream.decode_held
        if not 0 <= held < self.place:
            stream.continue_decoding()
            return
        # An earlier filter holds the body: only the head goes on.
        stream.decode_kept += 1
        kept, kept_bytes = stream.decode_buffer, stream.decode_buffered
        stream.decode_buffer = None
        stream.continue_decoding()
        stream.decode_kept -= 1
        if not stream.done:
            stream.decode_held, stream.decode_buffer, stream.decode_buffered = held, kept, kept_bytes

    def inject(self, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        if self.stream.done:
            return
        if trailers is None:
            run_data(self.stream, data, end, self.place)
        else:
            run_trailers(self.stream, trailers, self.place)

    def stop(self, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        self.stream.decode_held = self.place
        buffer_decode(self.stream, data, end, trailers)

    def _count(self, step: int) -> None:
        self.stream.decode_kept += step

    def _pause(self, paused: bool) -> None:
        stream = self.stream
        if stream.done:
            return
        if paused:
            stream.connection.hold_reading()
            return
        upstream = stream.upstream
        connection = upstream.connection if upstream is not None else None
        if connection is None or not connection.write_blocked:
            stream.connection.release_reading()

    def _overflow(self) -> None:
        self.stream.local_reply(413, b"Payload Too Large", b"request_payload_too_large")


class EncodeHold(Hold):
    """A response's."""

    __slots__ = ()

    def park(self) -> None:
        stream = self.stream
        self.parked_at, stream.encode_at = stream.encode_at, len(stream.chain.encode_headers) + 1

    def unpark(self) -> None:
        stream = self.stream
        stream.encode_at, self.parked_at = self.parked_at, NOT_PARKED
        stream.encode_held = self.place

    def release(self) -> None:
        stream = self.stream
        if stream.done:
            return
        stream.encode_at, self.parked_at = self.parked_at, NOT_PARKED
        held = stream.encode_held
        if not 0 <= held < self.place:
            stream.continue_encoding()
            return
        stream.encode_kept += 1
        kept, kept_bytes = stream.encode_buffer, stream.encode_buffered
        stream.encode_buffer = None
        stream.continue_encoding()
        stream.encode_kept -= 1
        if not stream.done:
            stream.encode_held, stream.encode_buffer, stream.encode_buffered = held, kept, kept_bytes

    def inject(self, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        if self.stream.done:
            return
        if trailers is None:
            run_encode_data(self.stream, data, end, self.place)
        else:
            run_encode_trailers(self.stream, trailers, self.place)

    def stop(self, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        self.stream.encode_held = self.place
        buffer_encode(self.stream, data, end, trailers)

    def _count(self, step: int) -> None:
        self.stream.encode_kept += step

    def _pause(self, paused: bool) -> None:
        stream = self.stream
        if stream.done or stream.upstream is None:
            return
        if paused:
            stream.upstream.hold_reading()
        elif not stream.connection.write_blocked:
            stream.upstream.release_reading()

    def _overflow(self) -> None:
        overflow_encode(self.stream)


def decode_hold(stream: ActiveStream, filter: Filter) -> DecodeHold:
    """A hold of the request at the filter's place in the stream's chain."""
    return DecodeHold(stream, stream.chain.filters.index(filter))


def encode_hold(stream: ActiveStream, filter: Filter) -> EncodeHold:
    """A hold of the response at the filter's place in the stream's chain."""
    filters = stream.chain.filters
    return EncodeHold(stream, len(filters) - 1 - filters.index(filter))
