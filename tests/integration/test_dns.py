"""Names looked up for real: a name server on loopback, its answers, and how often it is asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.network.dns import AiodnsResolver
from proxy.upstream.dns import Answer, ResolverOptions
from tests.support.dns_server import DnsServer


@pytest.fixture
def server():
    with DnsServer() as made:
        made.answers["back.example"] = [("127.0.0.2", 60), ("127.0.0.1", 30), ("::1", 20)]
        made.answers["four.example"] = [("127.0.0.4", 7)]
        yield made


Result = tuple[list[Answer] | None, str]


async def ask(resolver: AiodnsResolver, name: str, family: str, options: ResolverOptions) -> Result:
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def answered(answers: list[Answer] | None, error: str) -> None:
        done.set_result((answers, error))

    resolver.resolve(name, family, answered, options)
    return await asyncio.wait_for(done, 5)


def run(server: DnsServer, *questions: tuple[str, str], pause_s: float = 0.0, **options) -> list[Result]:
    """The answers; questions one after the other, with a pause between them."""
    how = ResolverOptions((f"127.0.0.1:{server.port}",), **options)

    async def talk() -> list[Result]:
        resolver = AiodnsResolver()
        results = []
        for name, family in questions:
            results.append(await ask(resolver, name, family, how))
            await asyncio.sleep(pause_s)
        await resolver.close()
        return results

    return asyncio.run(talk())


V4 = [("127.0.0.2", 60.0), ("127.0.0.1", 30.0)]
V6 = [("::1", 20.0)]


@pytest.mark.parametrize(
    ("family", "answers", "asked"),
    [
        ("V4_ONLY", V4, ["A"]),
        ("V6_ONLY", V6, ["AAAA"]),
        ("AUTO", V6, ["AAAA"]),
        ("V4_PREFERRED", V4, ["A"]),
    ],
)
def test_families(server: DnsServer, family: str, answers: list[Answer], asked: list[str]) -> None:
    assert run(server, ("back.example", family)) == [(answers, "")]
    assert [kind for _, kind, _ in server.asked] == asked


def test_all_addresses(server: DnsServer) -> None:
    ((answers, error),) = run(server, ("back.example", "ALL"))
    assert (sorted(answers or []), error) == (sorted(V4 + V6), "")


def test_the_other_family_when_the_preferred_one_has_no_address(server: DnsServer) -> None:
    assert run(server, ("four.example", "AUTO")) == [([("127.0.0.4", 7.0)], "")]
    assert [kind for _, kind, _ in server.asked] == ["AAAA", "A"]


def test_no_addresses_and_no_answer_are_two_things(server: DnsServer) -> None:
    server.failing.add("broken.example")
    results = run(
        server, ("nothere.example", "V4_ONLY"), ("broken.example", "V4_ONLY"), tries=1, search=False
    )
    assert results[0] == ([], "")
    assert results[1][0] is None
    assert results[1][1]


def test_each_refresh_asks_the_name_server(server: DnsServer) -> None:
    """c-ares would keep the answer for its 60 s."""
    run(server, *[("back.example", "V4_ONLY")] * 3, pause_s=0.12)
    assert server.asked == [("back.example", "A", "udp")] * 3


def test_over_tcp(server: DnsServer) -> None:
    assert run(server, ("back.example", "V4_ONLY"), tcp=True) == [(V4, "")]
    assert server.asked == [("back.example", "A", "tcp")]


def test_a_silent_server_is_given_up_in_time(server: DnsServer) -> None:
    server.silent.add("silent.example")
    began = time.monotonic()
    ((answers, error),) = run(server, ("silent.example", "V4_ONLY"), timeout_s=0.2, tries=2, search=False)
    assert answers is None and error
    assert 0.2 <= time.monotonic() - began < 4
    assert len(server.asked) == 2
