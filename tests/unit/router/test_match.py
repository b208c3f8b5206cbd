"""Conditions beside the path, and the path specifiers' compilation."""

from __future__ import annotations

import pytest

from proxy.api.reader import unread
from proxy.router.match import (
    EXACT,
    OTHER,
    PREFIX,
    SEPARATED,
    compile_conditions,
    compile_path_match,
    compile_query_matcher,
    parse_query,
)
from proxy.runtime.runtime import Runtime
from tests.support.runtime import runtime_of
from tests.unit.router.tables import ROUTES, Config, reader_of, request

MATCH = f"{ROUTES}.RouteMatch"


@pytest.mark.parametrize(
    ("config", "kind", "literal"),
    [
        ({"prefix": "/a"}, PREFIX, b"/a"),
        ({"path": "/a"}, EXACT, b"/a"),
        ({"path_separated_prefix": "/a"}, SEPARATED, b"/a"),
        ({"prefix": "/A", "case_sensitive": False}, OTHER, b"/a"),
        ({"safe_regex": {"regex": "/a.*"}}, OTHER, None),
    ],
)
def test_path_specifiers(config: Config, kind: str, literal: bytes | None) -> None:
    reader = reader_of(MATCH, config)
    match = compile_path_match(reader)
    assert (match.kind, match.matched.literal) == (kind, literal)
    assert not reader.errors.findings and not unread(reader)


@pytest.mark.parametrize(
    ("config", "yes", "no"),
    [
        ({"prefix": "/Ab", "case_sensitive": False}, [b"/aB", b"/abc"], [b"/a"]),
        ({"path": "/Ab", "case_sensitive": False}, [b"/aB"], [b"/abc"]),
        ({"path_separated_prefix": "/Ab", "case_sensitive": False}, [b"/aB", b"/ab/c"], [b"/abc", b"/a"]),
    ],
)
def test_case_insensitive(config: Config, yes: list[bytes], no: list[bytes]) -> None:
    matches = compile_path_match(reader_of(MATCH, config)).matches
    assert matches is not None
    assert all(map(matches, yes)) and not any(map(matches, no))


def test_a_path_specifier_is_required_and_known() -> None:
    reader = reader_of(MATCH, {})
    compile_path_match(reader)
    assert [finding.message for finding in reader.errors.findings] == [
        "one of prefix, path, path_separated_prefix, safe_regex is required"
    ]
    reader = reader_of(MATCH, {"path_match_policy": {"name": "a"}})
    assert compile_path_match(reader).matches is None
    assert [finding.path for finding in unread(reader)] == ["path_match_policy"]


def test_runtime_fraction_is_what_the_runtime_says() -> None:
    runtime, change = runtime_of()
    fraction = {"default_value": {"numerator": 25}, "runtime_key": "k"}
    reader = reader_of(MATCH, {"prefix": "/", "runtime_fraction": fraction})
    (condition,) = compile_conditions(reader, runtime)
    assert not reader.errors.warnings

    def highest() -> float:
        """The draws that match end here, in hundredths."""
        draws = [number / 100 for number in range(100)]
        return sum(condition(request(), random) for random in draws) / 100

    assert highest() == 0.25
    change(k="50")
    assert highest() == 0.5
    change(k="{numerator: 1, denominator: TEN_THOUSAND}")
    assert [condition(request(), random) for random in (0.00009, 0.0001)] == [True, False]
    change(k="101")
    assert highest() == 1.0
    change(k="nonsense")
    assert highest() == 0.25


def test_a_fraction_without_key_is_no_condition_when_it_is_whole() -> None:
    fraction = {"default_value": {"numerator": 100}}
    assert (
        compile_conditions(reader_of(MATCH, {"prefix": "/", "runtime_fraction": fraction}), Runtime()) == ()
    )


def test_all_conditions_are_kept() -> None:
    config = {"grpc": {}, "headers": [{"name": "x"}], "query_parameters": [{"name": "q"}]}
    conditions = compile_conditions(reader_of(MATCH, config), Runtime())
    fields = [("content-type", "application/grpc+json"), ("x", "")]
    assert [condition(request("/?q", fields), 0.0) for condition in conditions] == [True] * 3
    assert [condition(request("/q"), 0.0) for condition in conditions] == [False] * 3
    assert not compile_conditions(reader_of(MATCH, {"prefix": "/"}), Runtime())


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/a", {}),
        (b"/a?", {b"": b""}),
        (b"/a?k", {b"k": b""}),
        (b"/a?k=v=w&k=2&x=%41", {b"k": b"v=w", b"x": b"%41"}),
        (b"/a?k=v#f&g=h", {b"k": b"v"}),
    ],
)
def test_parse_query(path: bytes, found: dict[bytes, bytes]) -> None:
    assert parse_query(path) == found


@pytest.mark.parametrize(
    ("config", "answers"),
    [
        ({}, [False, True, True]),
        ({"present_match": True}, [False, True, True]),
        ({"present_match": False}, [True, False, False]),
        ({"string_match": {"exact": "v"}}, [False, False, True]),
    ],
)
def test_query_matcher(config: Config, answers: list[bool]) -> None:
    name, check = compile_query_matcher(reader_of(f"{ROUTES}.QueryParameterMatcher", {"name": "k", **config}))
    assert name == b"k" and [check(value) for value in (None, b"", b"v")] == answers
