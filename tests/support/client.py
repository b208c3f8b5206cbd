"""A client that writes exactly the bytes it is given and keeps exactly the bytes it gets."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Self

from tests.support.closing import Closing
from tests.support.messages import Closed, Message, Wire


@dataclass(slots=True)
class Response(Message):
    """status, reason: from the status line; closed: the body ran to the end of the connection."""

    status: int = 0
    reason: str = ""
    closed: bool = False


def read_response(wire: Wire, head_only: bool = False) -> Response:
    """The next response of a wire; ``head_only`` for the answer to a HEAD."""
    head = wire.head()
    _, _, rest = head.start_line.partition(" ")
    status, _, reason = rest.partition(" ")
    response = Response(head.raw_head, head.start_line, head.headers, status=int(status), reason=reason)
    if head_only or response.status < 200 or response.status in (204, 304):
        return response
    if (response.one("transfer-encoding") or "").lower() == "chunked":
        wire.chunked(response)
    elif (length := response.one("content-length")) is not None:
        response.body = wire.exactly(int(length))
    else:
        response.body = wire.rest()
        response.closed = True
    return response


class Client(Closing):
    """One raw connection to 127.0.0.1:port."""

    def __init__(self, port: int, timeout_s: float = 10.0, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection((host, port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = Wire(self.sock, timeout_s)
        self.port = self.sock.getsockname()[1]

    def send(self, data: bytes) -> Self:
        """Write bytes as they are."""
        self.sock.sendall(data)
        return self

    def read(self, head_only: bool = False) -> Response:
        """The next response; ``head_only`` for the answer to a HEAD. Raises Closed, TimeoutError."""
        return read_response(self.wire, head_only)

    def is_closed(self, within_s: float = 5.0) -> bool:
        """Whether the proxy ends the connection within the time, sending nothing more."""
        self.wire.timeout_s, kept = within_s, self.wire.timeout_s
        try:
            self.wire.more()
        except Closed:
            return True
        except TimeoutError:
            return False
        finally:
            self.wire.timeout_s = kept
        return False

    def half_close(self) -> None:
        """End our sending side."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


def request(
    method: str,
    path: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    host: str = "example.com",
) -> bytes:
    """A request's bytes: Host first, then the headers as given, content-length when there is a body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers or []]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(
    port: int, path: str = "/", headers: list[tuple[str, str]] | None = None, host: str = "example.com"
) -> Response:
    """One GET on a connection of its own."""
    with Client(port) as client:
        return client.send(request("GET", path, headers, host=host)).read()
