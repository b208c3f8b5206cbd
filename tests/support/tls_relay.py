"""Puts TLS before a server, or behind a client, that speaks plain text: bytes pass as they are.

So every client and host of the tests can speak over TLS, whatever its protocol.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any, Self


class TlsRelay:
    """A context manager: listens on ``port`` and joins each connection to one to ``target`` (both on loopback).

    serves: TLS towards who connects; dials: TLS towards the target, by ``name``; None for plain text; source: the address
    of this machine from which the target is connected to; targets: others, by the protocol that is agreed on (ALPN)
    seen: of each connection, (protocol agreed on by ALPN, subject of the client's certificate) where it serves TLS
    """

    def __init__(
        self,
        target: int,
        serves: ssl.SSLContext | None = None,
        dials: ssl.SSLContext | None = None,
        name: str = "",
        source: str = "127.0.0.1",
        targets: dict[str, int] | None = None,
    ) -> None:
        self.target, self.serves, self.dials, self.name = target, serves, dials, name
        self.source = source
        self.targets = targets or {}
        self.port = 0
        self.seen: list[tuple[str, str]] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0, ssl=self.serves)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            tls = writer.get_extra_info("ssl_object")
            protocol = ""
            if tls is not None:
                protocol = tls.selected_alpn_protocol() or ""
                subject = dict(part[0] for part in (tls.getpeercert() or {}).get("subject", ()))
                self.seen.append((protocol, subject.get("commonName", "")))
            name = self.name if self.dials is not None else None
            there, back = await asyncio.open_connection(
                "127.0.0.1",
                self.targets.get(protocol, self.target),
                ssl=self.dials,
                server_hostname=name,
                local_addr=(self.source, 0),
            )
            try:
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            finally:
                back.close()
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()
