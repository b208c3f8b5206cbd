"""A small server: ``python -m benchmarks.server PORT``. Bodies go to nowhere, spans are counted.

POST: 202, counts posts, bytes and spans. GET /: 200 and a small body; every 100th request's trace id is kept.
GET /counts: what was counted, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httptools
import uvloop

BODY = b'{"message": "hello from the upstream server"}\n'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
EVERY = 100


class Counts:
    """What came, over all connections."""

    def __init__(self) -> None:
        self.requests = self.posts = self.spans = self.bytes = 0
        self.samples: list[list[str]] = []


class Connection(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.ids = {b"x-b3-traceid": "", b"x-b3-sampled": ""}
        self.body: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name in self.ids:
            self.ids[name] = value.decode()

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        counts = self.counts
        if self.parser.get_method() == b"POST":
            body = b"".join(self.body)
            counts.posts += 1
            counts.bytes += len(body)
            counts.spans += body.count(b'"traceId"')
            self.transport.write(ACCEPTED)
        elif self.url == b"/counts":
            page = json.dumps(vars(counts)).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(page), page))
        else:
            counts.requests += 1
            if counts.requests % EVERY == 0:
                counts.samples.append(list(self.ids.values()))
            self.transport.write(ANSWER)
        self.body.clear()
        self.ids = dict.fromkeys(self.ids, "")


async def serve(port: int) -> None:
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
