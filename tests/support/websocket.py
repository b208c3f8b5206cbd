"""A WebSocket client and an echo server by the ``websockets`` library, an implementation that is not ours."""

from __future__ import annotations

import socket
import threading
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.closing import Closing


def websocket(port: int, path: str = "/", **options: Any) -> ClientConnection:
    """A connection to 127.0.0.1:port, its handshake done. Without compression: bytes are what is tested."""
    options = {"compression": None, "max_size": None, "open_timeout": 10, "proxy": None, **options}
    made: ClientConnection = connect(f"ws://127.0.0.1:{port}{path}", **options)
    return made


class EchoServer(Closing):
    """Sends every message back; "close <code> <reason>" closes with that code.

    closed: (code, reason) of each connection that is over
    """

    def __init__(self) -> None:
        self.closed: list[tuple[int | None, str | None]] = []
        self._changed = threading.Condition()
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = listener.getsockname()[1]
        self._server: Server = serve(self._echo, sock=listener, compression=None, max_size=None)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _echo(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                if isinstance(message, str) and message.startswith("close "):
                    _, code, reason = message.split(" ", 2)
                    connection.close(int(code), reason)
                    break
                connection.send(message)
        except ConnectionClosed:
            pass
        with self._changed:
            self.closed.append((connection.close_code, connection.close_reason))
            self._changed.notify_all()

    def wait_closed(self, count: int, timeout_s: float = 5.0) -> list[tuple[int | None, str | None]]:
        """Wait until so many connections are over. Raises AssertionError when they are not."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.closed) >= count, timeout_s):
                raise AssertionError(f"{len(self.closed)} connections are over, not {count}")
            return list(self.closed)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
