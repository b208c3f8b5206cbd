"""AiodnsResolver: families in turn, and which failures mean "there are none"."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.network.dns import AiodnsResolver
from proxy.upstream.dns import SYSTEM_RESOLVER, Answer, ResolverOptions


class FakeAres:
    """In place of aiodns.DNSResolver: results by family; an exception is the query's failure."""

    def __init__(self, results: dict[socket.AddressFamily, Any]) -> None:
        self.results = results
        self.asked: list[socket.AddressFamily] = []

    def getaddrinfo(
        self, name: str, family: socket.AddressFamily, type: int, flags: int
    ) -> asyncio.Future[Any]:
        self.asked.append(family)
        result = self.results[family]
        if isinstance(result, ValueError):
            raise result
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            nodes = [SimpleNamespace(addr=(ip.encode(), 0), ttl=ttl) for ip, ttl in result]
            future.set_result(SimpleNamespace(nodes=nodes))
        return future


def resolve(family: str, results: dict[Any, Any]) -> tuple[list[tuple[list[Answer] | None, str]], FakeAres]:
    """Every call of on_done."""
    ares = FakeAres(results)
    calls: list[tuple[list[Answer] | None, str]] = []

    async def run() -> None:
        resolver = AiodnsResolver(lambda options: ares)

        def done(answers: list[Answer] | None, error: str) -> None:
            calls.append((answers, error))

        resolver.resolve("back.example", family, done, SYSTEM_RESOLVER)
        assert calls == []  # never before resolve has returned
        for _ in range(10):
            await asyncio.sleep(0)
        assert not resolver.queries

    asyncio.run(run())
    return calls, ares


V4, V6, ANY = socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC
NONE = OSError(4, "Domain name not found")
BROKEN = OSError(11, "Could not contact DNS servers")


@pytest.mark.parametrize(
    ("family", "results", "expected", "asked"),
    [
        ("AUTO", {V6: [("::1", 9)]}, ([("::1", 9.0)], ""), [V6]),
        ("AUTO", {V6: NONE, V4: [("10.0.0.1", 0)]}, ([("10.0.0.1", 0.0)], ""), [V6, V4]),
        ("AUTO", {V6: BROKEN, V4: [("10.0.0.1", 0)]}, ([("10.0.0.1", 0.0)], ""), [V6, V4]),
        ("V4_PREFERRED", {V4: [], V6: [("::1", 1)]}, ([("::1", 1.0)], ""), [V4, V6]),
        ("V4_ONLY", {V4: NONE}, ([], ""), [V4]),
        ("V6_ONLY", {V6: BROKEN}, (None, "Could not contact DNS servers"), [V6]),
        ("ALL", {ANY: [("::1", 1), ("10.0.0.1", 2)]}, ([("::1", 1.0), ("10.0.0.1", 2.0)], ""), [ANY]),
        ("V4_ONLY", {V4: ValueError("label too long")}, (None, "label too long"), [V4]),
    ],
)
def test_answers(family: str, results: Any, expected: Any, asked: Any) -> None:
    calls, ares = resolve(family, results)
    assert calls == [expected]
    assert ares.asked == asked


def test_nothing_is_made_before_the_first_query() -> None:
    made: list[ResolverOptions] = []
    AiodnsResolver(made.append)
    assert made == []


def test_without_a_channel_the_query_fails_and_the_next_one_tries_again() -> None:
    calls: list[tuple[list[Answer] | None, str]] = []
    results: list[Any] = [OSError(24, "Too many open files"), FakeAres({V4: [("10.0.0.1", 1)]})]

    def make(options: ResolverOptions) -> Any:
        result = results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    async def run() -> None:
        resolver = AiodnsResolver(make)
        for _ in range(2):
            resolver.resolve("back.example", "V4_ONLY", lambda *answer: calls.append(answer), SYSTEM_RESOLVER)
            for _ in range(5):
                await asyncio.sleep(0)

    asyncio.run(run())
    assert calls == [
        (None, "no resolver: [Errno 24] Too many open files"),
        ([("10.0.0.1", 1.0)], ""),
    ]


def test_close_calls_nobody_back() -> None:
    calls: list[object] = []

    async def run() -> None:
        ares = SimpleNamespace(getaddrinfo=FakeAres({V4: []}).getaddrinfo, close=lambda: asyncio.sleep(0))
        resolver = AiodnsResolver(lambda options: ares)
        resolver.resolve("back.example", "V4_ONLY", lambda *answer: calls.append(answer), SYSTEM_RESOLVER)
        await resolver.close()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert calls == []
