"""The index's own corners; that it agrees with a plain scan is a law in tests/property."""

from __future__ import annotations

from proxy.router.match import EXACT, OTHER, PREFIX, PathMatch
from proxy.router.path_index import Entry, PathIndex
from proxy.router.rewrite import Matched
from proxy.router.route import Route, VirtualHost
from tests.unit.router.tables import request

HOST = VirtualHost(b"v")


def entry(order: int, kind: str, text: bytes, *conditions: object) -> Entry:
    matches = text.__eq__ if kind == OTHER else None
    return Entry(order, PathMatch(kind, text, matches, Matched(text)), conditions, Route(b"%d" % order, HOST))  # type: ignore[arg-type]


def index(*entries: Entry, random: float = 0.5, without_parameters: bool = False) -> PathIndex:
    return PathIndex(list(entries), lambda: random, without_parameters)


def name(found: Route | None) -> bytes | None:
    return None if found is None else found.name


def test_the_first_in_order_wins_whatever_its_kind() -> None:
    table = index(
        entry(0, PREFIX, b"/a/b"), entry(1, OTHER, b"/a/b"), entry(2, EXACT, b"/a"), entry(3, PREFIX, b"/")
    )
    asked = [b"/a/b", b"/a/bc", b"/a", b"/a/", b"/x"]
    assert [name(table.find(request(path.decode()))) for path in asked] == [b"0", b"0", b"2", b"3", b"3"]


def test_an_earlier_short_prefix_beats_a_later_long_one() -> None:
    table = index(entry(0, PREFIX, b"/a"), entry(1, PREFIX, b"/a/b"), entry(2, EXACT, b"/a/b/c"))
    assert name(table.find(request("/a/b/c"))) == b"0"


def test_conditions_pass_a_request_on() -> None:
    def low(headers: object, random: float) -> bool:
        return random < 0.3

    entries = (entry(0, PREFIX, b"/", low), entry(1, PREFIX, b"/"))
    assert name(index(*entries, random=0.2).find(request("/"))) == b"0"
    assert name(index(*entries, random=0.3).find(request("/"))) == b"1"


def test_one_unconditional_prefix_is_answered_without_the_index() -> None:
    table = index(entry(0, PREFIX, b"/a"))
    assert name(table.sole) == b"0" and table.sole_prefix == b"/a"
    assert name(table.find(request("/a?b"))) == b"0" and table.find(request("/b?/a")) is None
    assert index(entry(0, EXACT, b"/a")).sole is None
    assert index(entry(0, PREFIX, b"/a?")).sole is None


def test_a_request_without_a_path_has_no_route() -> None:
    assert index(entry(0, PREFIX, b"")).find(request("")) is None
    assert index(entry(0, PREFIX, b""), entry(1, PREFIX, b"/")).find(request("")) is None


def test_path_parameters_do_not_count_when_so_configured() -> None:
    entries = (entry(0, EXACT, b"/a/b"), entry(1, PREFIX, b"/"))
    assert name(index(*entries, without_parameters=True).find(request("/a;x=1;y/b;z?q"))) == b"0"
    assert name(index(*entries).find(request("/a;x=1/b"))) == b"1"


def test_pick_chooses_the_route() -> None:
    chosen = Route(b"variant", HOST)
    one = Entry(0, PathMatch(PREFIX, b"/", None, Matched(b"/")), (), None, lambda headers, random: chosen)
    assert index(one).sole is None and index(one).find(request("/")) is chosen
