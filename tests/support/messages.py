"""Just enough HTTP/1.1 to cut a byte stream into messages without losing a byte of their heads."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass, field
from math import inf

Headers = list[tuple[str, str]]


class Closed(Exception):
    """The peer ended the connection before the message was complete; ``data`` is what had come."""

    def __init__(self, data: bytes = b"", was_reset: bool = False) -> None:
        super().__init__(f"closed after {data[-200:]!r}")
        self.data = data
        self.was_reset = was_reset


@dataclass(slots=True)
class Message:
    """One request or response as it stood on the wire.

    start_line: without the line end; headers: names as written, values stripped; raw_head: every byte of the head
    body: chunk framing removed; chunks: sizes as they came (empty without chunked); trailers: after the last chunk
    """

    raw_head: bytes = b""
    start_line: str = ""
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    chunks: list[int] = field(default_factory=list)
    trailers: Headers = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a header, by lower-case name."""
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name: str) -> str | None:
        """The first value of a header, by lower-case name."""
        return next(iter(self.all(name)), None)


class Wire:
    """A socket read message by message; every wait ends at its timeout (TimeoutError)."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self.sock = sock
        self.timeout_s = timeout_s
        self.buffer = b""

    def receive(self) -> bytes:
        """More bytes. Raises Closed at the end of the stream."""
        self.sock.settimeout(self.timeout_s)
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            raise Closed(self.buffer, was_reset=True) from None
        if not data:
            raise Closed(self.buffer)
        return data

    def more(self) -> None:
        """Wait for more bytes. Raises Closed at the end of the stream."""
        self.buffer += self.receive()

    def fill(self, count: int, deadline: float = inf) -> None:
        """Wait until so many bytes are there (which ``more`` would copy anew with each), or until it is late. Raises Closed."""
        parts, missing = [self.buffer], count - len(self.buffer)
        try:
            while missing > 0 and time.monotonic() < deadline:
                parts.append(self.receive())
                missing -= len(parts[-1])
        except Closed as closed:
            raise Closed(b"".join(parts), closed.was_reset) from None
        finally:
            self.buffer = b"".join(parts)

    def until(self, mark: bytes) -> bytes:
        """Everything up to and including ``mark``."""
        while mark not in self.buffer:
            self.more()
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken + mark

    def exactly(self, count: int) -> bytes:
        """``count`` bytes."""
        self.fill(count)
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self) -> bytes:
        """Everything up to the peer's end of the stream, within the timeout."""
        deadline = time.monotonic() + self.timeout_s
        try:
            self.fill(sys.maxsize, deadline)
        except Closed:
            pass
        else:
            raise TimeoutError("the peer did not close")
        taken, self.buffer = self.buffer, b""
        return taken

    def head(self) -> Message:
        """The next head. Raises Closed (with no data: a clean end between messages)."""
        raw = self.until(b"\r\n\r\n")
        lines = raw[:-4].decode("latin-1").split("\r\n")
        return Message(raw_head=raw, start_line=lines[0], headers=_fields(lines[1:]))

    def chunked(self, message: Message) -> None:
        """Read a chunked body and its trailers into the message."""
        parts = []
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            message.chunks.append(size)
            parts.append(self.exactly(size))
            self.exactly(2)
        message.body = b"".join(parts)
        lines: list[str] = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            lines.append(line[:-2].decode("latin-1"))
        message.trailers = _fields(lines)


def _fields(lines: list[str]) -> Headers:
    pairs = (line.partition(":") for line in lines)
    return [(name, value.strip(" \t")) for name, _, value in pairs]
