"""What an operator's filter class is given beside its configuration."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.base.headers import RequestHeaders
from proxy.http.context import HttpClient, Tasks
from proxy.stats.store import Counter, Scope

REQUEST_TIMEOUT_S = 5.0


class Answer:
    """What a host answered. status: 0 when there was no answer; body: at most 64 KiB of it"""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


class FilterContext:
    """Handed to the constructor of a Python filter.

    name: the filter's, as http_filters has it; log: a logger of that name; folder: where the bootstrap stands
    """

    __slots__ = ("_client", "_scope", "_tasks", "folder", "log", "name")

    def __init__(self, name: str, folder: str, scope: Scope, client: HttpClient, tasks: Tasks) -> None:
        self.name = name
        self.folder = folder
        self.log = logging.getLogger(f"python.{name}")
        self._scope = scope
        self._client = client
        self._tasks = tasks

    def counter(self, name: str) -> Counter:
        """A counter of the filter's own, ``http.<stat_prefix>.python.<filter>.<name>``: ``counter.value += 1``. Ask
        once, in the constructor."""
        return self._scope.counter(name)

    async def request(
        self,
        cluster: str,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        authority: str = "",
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Answer:
        """Ask a host of a configured cluster, through the proxy's own pools and breakers, without filters or retries.

        authority: the cluster's name when empty. Never raises for a network failure: the status is 0 then.
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        fields = [(name.lower().encode(), value.encode()) for name, value in pairs]
        if body:
            fields.append((b"content-length", b"%d" % len(body)))
        head = RequestHeaders(
            method.encode(), path.encode(), (authority or cluster).encode(), b"http", fields
        )
        future: Any = self._tasks.future()

        def on_done(status: int, answer: bytes) -> None:
            if not future.done():
                future.set_result(Answer(status, answer))

        self._client.send(cluster, head, body, timeout_s, on_done)
        self._tasks.flush()
        result: Answer = await future
        return result
