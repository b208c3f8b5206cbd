"""What finding a route costs, in Python calls and in routes looked at: not more with more of them."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from proxy.base.headers import RequestHeaders
from proxy.router import path_index
from proxy.router.route_table import RouteTable
from tests.support.config import Config
from tests.unit.router.tables import hosts, request, routes, stream_of, table_of

SIZES = (10, 300, 1500)


def calls_of(table: RouteTable, headers: RequestHeaders) -> int:
    """Python frames that one look-up makes, when it is not the first of its authority."""
    stream = stream_of(headers)
    assert table.find(headers, stream) is not None
    count = 0

    def count_calls(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(count_calls)
    try:
        table.find(headers, stream)
    finally:
        sys.setprofile(None)
    return count


def to(match: Config) -> Config:
    return {"match": match, "route": {"cluster": "c"}}


def many(kind: str, count: int) -> RouteTable:
    text = "/service-{}" if kind == "path" else "/service-{}/"
    others = [to({kind: text.format(number)}) for number in range(count - 1)]
    return table_of(routes(*others, to({kind: "/last"})))


def many_hosts(count: int) -> RouteTable:
    kinds = ("h{}.example", "*.h{}.example", "h{}.*")
    return table_of(
        hosts(
            *(
                {
                    "name": str(number),
                    "domains": [kinds[number % 3].format(f"{number:05}")],
                    "routes": [to({"prefix": "/"})],
                }
                for number in range(count)
            )
        )
    )


@pytest.mark.parametrize("kind", ["prefix", "path", "path_separated_prefix"])
def test_a_look_up_costs_the_same_with_more_routes(kind):
    if kind == "path_separated_prefix":
        tables = [
            table_of(routes(*(to({kind: f"/s{number}"}) for number in range(count - 1)), to({kind: "/last"})))
            for count in SIZES
        ]
    else:
        tables = [many(kind, count) for count in SIZES]
    counts = [calls_of(table, request("/last")) for table in tables]
    assert counts[0] == counts[1] == counts[2] > 0


@pytest.mark.parametrize("kind", ["prefix", "path"])
def test_only_the_route_that_is_hit_is_looked_at(kind, monkeypatch):
    looked = []
    first = path_index._first

    def counting(entries, *arguments):
        looked.append(len(entries))
        return first(entries, *arguments)

    monkeypatch.setattr(path_index, "_first", counting)
    table = many(kind, 1500)
    headers = request("/last")
    table.find(headers, stream_of(headers))
    assert sum(looked) == 1


def test_a_look_up_costs_the_same_with_more_virtual_hosts():
    for name in ("h00003.example", "a.h00004.example", "h00005.org"):
        counts = [calls_of(many_hosts(count), request(host=name)) for count in SIZES]
        assert counts[0] == counts[1] == counts[2] > 0, name


def test_a_first_look_up_of_an_authority_does_not_grow_with_virtual_hosts():
    counts = []
    for size in SIZES:
        table = many_hosts(size)
        headers = request(host="never.seen.before")
        steps = 0

        def count_lines(frame: FrameType, event: str, argument: object):
            nonlocal steps
            steps += event == "line"
            return count_lines

        sys.settrace(count_lines)
        try:
            table.find(headers, stream_of(headers))
        finally:
            sys.settrace(None)
        counts.append(steps)
    assert counts[0] == counts[1] == counts[2] > 0, counts
