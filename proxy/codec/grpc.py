"""gRPC's framing over HTTP bodies: each message is a flag byte, four bytes of length, and itself.

Knows no stream: bytes in, messages out. Statuses are ``proxy.formatter.grpc_status``'s.
"""

from __future__ import annotations

from typing import Final

from proxy.base.errors import CodecError

HEAD_BYTES: Final = 5
COMPRESSED: Final = 1
#: in gRPC-Web the last frame carries the trailers
WEB_TRAILERS: Final = 0x80


def frame(message: bytes, flags: int = 0) -> bytes:
    """One message as it goes on the wire."""
    return b"%c%b%b" % (flags, len(message).to_bytes(4, "big"), message)


def frame_head(length: int) -> bytes:
    """What stands before a message of so many bytes."""
    return b"\x00" + length.to_bytes(4, "big")


class FrameReader:
    """Cuts a body into messages, however it comes. limit_bytes: of one message; what is longer is refused at its head,
    before it is gathered."""

    __slots__ = ("_buffer", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(flags, message) of every message that is whole now. Raises CodecError for one that is too long."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[int, bytes]] = []
        at = 0
        size = len(buffer)
        while size - at >= HEAD_BYTES:
            length = int.from_bytes(buffer[at + 1 : at + HEAD_BYTES], "big")
            if length > self.limit_bytes:
                buffer.clear()
                raise CodecError(500, b"the gRPC message is too long", b"grpc_message_too_long")
            end = at + HEAD_BYTES + length
            if end > size:
                break
            found.append((buffer[at], bytes(buffer[at + HEAD_BYTES : end])))
            at = end
        del buffer[:at]
        return found

    @property
    def is_between(self) -> bool:
        """Nothing of a further message has come."""
        return not self._buffer


class FrameCounter:
    """Counts the messages of a body without keeping them; one counts as soon as it begins."""

    __slots__ = ("_head", "_left", "count")

    def __init__(self) -> None:
        self.count = 0
        self._head = b""  # of a message whose length is not known yet
        self._left = 0  # bytes of the current message that have not come

    def feed(self, data: bytes) -> None:
        """Body bytes."""
        at = 0
        size = len(data)
        while at < size:
            if self._left:
                taken = min(self._left, size - at)
                self._left -= taken
                at += taken
                continue
            if not self._head:
                self.count += 1
            taken = min(HEAD_BYTES - len(self._head), size - at)
            self._head += data[at : at + taken]
            at += taken
            if len(self._head) == HEAD_BYTES:
                self._left = int.from_bytes(self._head[1:], "big")
                self._head = b""
