"""Two ends of TLS in memory."""

from __future__ import annotations

import ssl
from typing import Any


def shake(server: ssl.SSLObject, client: ssl.SSLObject) -> None:
    """Let them agree: their MemoryBIOs are each other's. Raises ssl.SSLError."""
    for _ in range(3):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def resumed(server: ssl.SSLObject, client: ssl.SSLObject) -> tuple[bool, Any]:
    """``shake``, and a byte, with which tickets come: (was a session resumed, the client's for the next time)."""
    shake(server, client)
    server.write(b"x")
    assert client.read(1) == b"x"
    return bool(server.session_reused), client.session
