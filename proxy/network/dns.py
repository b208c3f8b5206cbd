"""The resolver of ``upstream.dns`` over c-ares (aiodns): hosts file, search domains and TTLs are honoured.

aiodns starts a thread of its own, so it is imported and made at the first query: after workers have forked, and only
when some cluster has names to resolve.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxy.upstream.dns import Answer, OnDone

# What to ask, in turn, until there is an answer (envoy.config.cluster.v3.Cluster.DnsLookupFamily).
FAMILIES: Final[dict[str, tuple[socket.AddressFamily, ...]]] = {
    "AUTO": (socket.AF_INET6, socket.AF_INET),
    "V4_ONLY": (socket.AF_INET,),
    "V6_ONLY": (socket.AF_INET6,),
    "V4_PREFERRED": (socket.AF_INET, socket.AF_INET6),
    "ALL": (socket.AF_UNSPEC,),
}

# c-ares codes that say "there are none" rather than "I could not ask": ARES_ENODATA, ARES_ENOTFOUND.
_NO_RECORDS: Final = (1, 4)


class AiodnsResolver:
    """Implements ``upstream.dns.Resolver`` on the running loop."""

    __slots__ = ("_resolver", "queries")

    def __init__(self) -> None:
        self._resolver: Any = None  # aiodns.DNSResolver
        self.queries: set[DnsQuery] = set()  # under way

    def resolve(self, name: str, family: str, on_done: OnDone) -> None:
        """See ``Resolver.resolve``."""
        if self._resolver is None:
            import aiodns

            self._resolver = aiodns.DNSResolver(loop=asyncio.get_running_loop())
        query = DnsQuery(self, name, FAMILIES[family], on_done)
        self.queries.add(query)
        query.ask()

    def ask(self, name: str, family: socket.AddressFamily) -> asyncio.Future[Any]:
        """One query; its result is an aiodns AddrInfoResult."""
        future: asyncio.Future[Any] = self._resolver.getaddrinfo(name, family=family, type=socket.SOCK_STREAM)
        return future

    async def close(self) -> None:
        """Give up what is under way (nobody is called back) and stop the thread."""
        self.queries.clear()
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            await resolver.close()


class DnsQuery:
    """One name: its families in turn, then the answer."""

    __slots__ = ("families", "name", "on_done", "resolver")

    def __init__(
        self,
        resolver: AiodnsResolver,
        name: str,
        families: tuple[socket.AddressFamily, ...],
        on_done: OnDone,
    ) -> None:
        self.resolver = resolver
        self.name = name
        self.families = families
        self.on_done = on_done

    def ask(self) -> None:
        """Ask for the next family."""
        family, *rest = self.families
        self.families = tuple(rest)
        try:
            self.resolver.ask(self.name, family).add_done_callback(self._on_future)
        except ValueError as error:  # a name that cannot be one (too long, not encodable)
            asyncio.get_running_loop().call_soon(self._finish, None, str(error))

    def _on_future(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._finish(None, "cancelled")
            return
        error = future.exception()
        answers = _answers(future.result()) if error is None else []
        if not answers and self.families and self in self.resolver.queries:
            self.ask()
        elif error is not None and not (error.args and error.args[0] in _NO_RECORDS):
            self._finish(None, str(error.args[-1]) if error.args else repr(error))
        else:
            self._finish(answers, "")

    def _finish(self, answers: list[Answer] | None, error: str) -> None:
        if self in self.resolver.queries:
            self.resolver.queries.discard(self)
            self.on_done(answers, error)


def _answers(result: Any) -> list[Answer]:
    """(ip, ttl) of an AddrInfoResult; link-local zones and ports are dropped."""
    answers: list[Answer] = []
    for node in result.nodes:
        ip = node.addr[0]
        answers.append((ip.decode() if isinstance(ip, bytes) else ip, float(node.ttl)))
    return answers
