"""The resolver of ``upstream.dns`` over c-ares (aiodns): hosts file, search domains and TTLs are honoured.

aiodns starts a thread of its own, so it is imported and made at the first query: after workers have forked, and only
when some cluster has names to resolve.

c-ares keeps answers for as long as their TTLs say and cannot be told not to through its Python binding; a refresh
would then see nothing new. So a channel serves the queries of one moment only, and the next ones get a new one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxy.upstream.dns import Answer, OnDone, ResolverOptions

# What to ask, in turn, until there is an answer (envoy.config.cluster.v3.Cluster.DnsLookupFamily).
FAMILIES: Final[dict[str, tuple[socket.AddressFamily, ...]]] = {
    "AUTO": (socket.AF_INET6, socket.AF_INET),
    "V4_ONLY": (socket.AF_INET,),
    "V6_ONLY": (socket.AF_INET6,),
    "V4_PREFERRED": (socket.AF_INET, socket.AF_INET6),
    "ALL": (socket.AF_UNSPEC,),
}

# How long a channel takes new queries: those of one start-up share it, those of two refreshes do not.
_MOMENT_S: Final = 0.1
# ares.h's ARES_AI_NOSORT: addresses in the order in which the name server sent them, as in Envoy.
_NOSORT: Final = 1 << 7

# c-ares codes that say "there are none" rather than "I could not ask": ARES_ENODATA, ARES_ENOTFOUND.
_NO_RECORDS: Final = (1, 4)


def make_channel(options: ResolverOptions) -> Any:
    """An aiodns.DNSResolver that asks as the options say."""
    import aiodns
    import pycares

    more: dict[str, Any] = {}
    if options.tcp or not options.search:
        more["flags"] = (
            pycares.ARES_FLAG_EDNS
            | (pycares.ARES_FLAG_USEVC if options.tcp else 0)
            | (0 if options.search else pycares.ARES_FLAG_NOSEARCH)
        )
    if options.timeout_s is not None:
        more["timeout"] = options.timeout_s
    if options.tries is not None:
        more["tries"] = options.tries
    return aiodns.DNSResolver(options.servers, asyncio.get_running_loop(), rotate=options.rotate, **more)


class Channel:
    """A c-ares channel for the queries of one moment. waiting: how many of them have no answer yet."""

    __slots__ = ("ares", "born", "retired", "waiting")

    def __init__(self, ares: Any, born: float) -> None:
        self.ares = ares
        self.born = born
        self.waiting = 0
        self.retired = False


class AiodnsResolver:
    """Implements ``upstream.dns.Resolver`` on the running loop. make: for tests."""

    __slots__ = ("_channels", "_closing", "_make", "queries")

    def __init__(self, make: Callable[[ResolverOptions], Any] = make_channel) -> None:
        self._make = make
        self._channels: dict[ResolverOptions, Channel] = {}  # the one that takes queries, by how it asks
        self._closing: set[asyncio.Task[None]] = set()
        self.queries: set[DnsQuery] = set()  # under way

    def resolve(self, name: str, family: str, on_done: OnDone, options: ResolverOptions) -> None:
        """See ``Resolver.resolve``."""
        try:
            channel = self._channel(options)
        except (
            Exception
        ) as error:  # no descriptors, no threads: this time the name is not known, the next time maybe
            asyncio.get_running_loop().call_soon(on_done, None, f"no resolver: {error}")
            return
        channel.waiting += 1
        query = DnsQuery(self, channel, name, FAMILIES[family], on_done)
        self.queries.add(query)
        query.ask()

    def _channel(self, options: ResolverOptions) -> Channel:
        now = asyncio.get_running_loop().time()
        channel = self._channels.get(options)
        if channel is not None:
            if now - channel.born < _MOMENT_S:
                return channel
            channel.retired = True
            self.release(channel)
        channel = self._channels[options] = Channel(self._make(options), now)
        return channel

    def release(self, channel: Channel) -> None:
        """Close a channel that takes no more queries and waits for no more answers."""
        if channel.retired and channel.waiting == 0:
            task = asyncio.get_running_loop().create_task(channel.ares.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Give up what is under way (nobody is called back) and stop the threads."""
        channels = {query.channel for query in self.queries} | set(self._channels.values())
        self.queries.clear()
        self._channels.clear()
        for channel in channels:
            await channel.ares.close()
        if self._closing:
            await asyncio.wait(self._closing)


class DnsQuery:
    """One name: its families in turn, then the answer."""

    __slots__ = ("channel", "families", "name", "on_done", "resolver")

    def __init__(
        self,
        resolver: AiodnsResolver,
        channel: Channel,
        name: str,
        families: tuple[socket.AddressFamily, ...],
        on_done: OnDone,
    ) -> None:
        self.resolver = resolver
        self.channel = channel
        self.name = name
        self.families = families
        self.on_done = on_done

    def ask(self) -> None:
        """Ask for the next family."""
        family, *rest = self.families
        self.families = tuple(rest)
        try:
            future: asyncio.Future[Any] = self.channel.ares.getaddrinfo(
                self.name, family=family, type=socket.SOCK_STREAM, flags=_NOSORT
            )
            future.add_done_callback(self._on_future)
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
            self.channel.waiting -= 1
            self.resolver.release(self.channel)
            self.on_done(answers, error)


def _answers(result: Any) -> list[Answer]:
    """(ip, ttl) of an AddrInfoResult; link-local zones and ports are dropped."""
    answers: list[Answer] = []
    for node in result.nodes:
        ip = node.addr[0]
        answers.append((ip.decode() if isinstance(ip, bytes) else ip, float(node.ttl)))
    return answers
