"""WebSocket messages: an echo server, and clients that send one message each and wait for it, over and over.

    python -m benchmarks.websocket serve PORT
    python -m benchmarks.websocket load PORT CONNECTIONS SECONDS     prints {"messages", "bad", "p99_ms"} as JSON

Frames are made once and only counted, so that the load costs little beside the proxy.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

SIZE = 100
TEXT = b"m" * SIZE
SERVER_FRAME = b"\x81" + bytes((SIZE,)) + TEXT
MASK = b"\x01\x02\x03\x04"
CLIENT_FRAME = (
    b"\x81" + bytes((0x80 | SIZE,)) + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(TEXT))
)
ASKS = (
    b"GET /chat HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GRANTS = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Peer(asyncio.Protocol):
    """One end of a connection: a head, then frames of one size."""

    def __init__(self, frame_size: int) -> None:
        self.frame_size = frame_size
        self.data = b""
        self.is_open = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.is_open:
            head, mark, rest = self.data.partition(b"\r\n\r\n")
            if not mark:
                return
            self.is_open, self.data = True, rest
            self.on_head(head)
        count, rest_size = divmod(len(self.data), self.frame_size)
        if count:
            self.data = self.data[len(self.data) - rest_size :]
            self.on_frames(count)

    def on_head(self, head: bytes) -> None:
        """The handshake's other half has come."""

    def on_frames(self, count: int) -> None:
        """Whole frames have come."""


class Echo(Peer):
    def __init__(self) -> None:
        super().__init__(len(CLIENT_FRAME))

    def on_head(self, head: bytes) -> None:
        self.transport.write(GRANTS)

    def on_frames(self, count: int) -> None:
        self.transport.write(SERVER_FRAME * count)


class Client(Peer):
    """times_ms: of each message there and back; bad: refused, or lost while it ran"""

    def __init__(self) -> None:
        super().__init__(len(SERVER_FRAME))
        self.times_ms: list[float] = []
        self.bad = 0
        self.stops = False
        self.sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.write(ASKS)

    def on_head(self, head: bytes) -> None:
        if head.startswith(b"HTTP/1.1 101 "):
            self.send()
        else:
            self.bad += 1

    def send(self) -> None:
        self.sent_at = time.monotonic()
        self.transport.write(CLIENT_FRAME)

    def on_frames(self, count: int) -> None:
        self.times_ms.append((time.monotonic() - self.sent_at) * 1000)
        if self.stops:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.bad += not self.stops


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


async def load(port: int, connections: int, seconds: float) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.sleep(seconds)
    for client in clients:
        client.stops = True
    await asyncio.sleep(0.1)
    times = sorted(ms for client in clients for ms in client.times_ms)
    p99 = times[int(len(times) * 0.99)] if times else 0.0
    return {"messages": len(times), "bad": sum(client.bad for client in clients), "p99_ms": p99}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        uvloop.run(serve(int(sys.argv[2])))
    else:
        print(json.dumps(uvloop.run(load(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))))
