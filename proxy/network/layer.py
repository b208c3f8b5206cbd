"""TransportLayer: something between a socket's transport and a connection: protocol to the one, transport to the other.

What extends it overrides what it changes; the rest passes through.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast


class TransportLayer:
    """Duck-typed asyncio.Protocol and asyncio.Transport. connection: an asyncio.Protocol, the one above"""

    __slots__ = ("connection", "transport")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.transport: asyncio.Transport

    # -- protocol: what the transport below says -----------------------------------------------------------------

    def pause_writing(self) -> None:
        self.connection.pause_writing()

    def resume_writing(self) -> None:
        self.connection.resume_writing()

    # -- transport: what the connection above asks for -----------------------------------------------------------

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def write_last(self, data: bytes) -> None:
        """Write and leave it to ``close``, which follows at once, to send it. Only where there is TLS below."""
        cast(TransportLayer, self.transport).write_last(data)

    def can_write_eof(self) -> bool:
        return self.transport.can_write_eof()

    def write_eof(self) -> None:
        self.transport.write_eof()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self.transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.transport.get_extra_info(name, default)

    def set_protocol(self, protocol: Any) -> None:
        """Another connection object takes the place of ours."""
        self.connection = protocol

    def get_protocol(self) -> Any:
        return self.connection
