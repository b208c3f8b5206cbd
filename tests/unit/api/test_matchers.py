"""Matchers: what each form takes and refuses; the fast lane agrees with RE2."""

from __future__ import annotations

from typing import Any

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.matchers import (
    compile_header_matcher,
    compile_path_matcher,
    compile_regex,
    compile_rewrite,
    compile_string_matcher,
    fast_lane,
    header_values,
    literal_stem,
    without_query,
)
from proxy.api.reader import unread
from proxy.base.headers import RequestHeaders, ResponseHeaders
from tests.unit.router.tables import reader_of

MATCHER = "envoy.type.matcher.v3"
HEADER = "envoy.config.route.v3.HeaderMatcher"


def string(config: dict[str, Any]) -> Any:
    reader = reader_of(f"{MATCHER}.StringMatcher", config)
    matches = compile_string_matcher(reader)
    assert not reader.errors.findings and not unread(reader)
    return matches


def header(config: dict[str, Any]) -> Any:
    reader = reader_of(HEADER, {"name": "X-H", **config})
    matches = compile_header_matcher(reader)
    assert not reader.errors.findings and not unread(reader)
    return matches


def asked(*values: bytes) -> RequestHeaders:
    return RequestHeaders(b"GET", b"/p?q", b"h:1", b"http", [(b"x-h", value) for value in values])


@pytest.mark.parametrize(
    ("config", "yes", "no"),
    [
        ({"exact": "ab"}, [b"ab"], [b"AB", b"abc", b""]),
        ({"exact": "aB", "ignore_case": True}, [b"ab", b"AB"], [b"abc"]),
        ({"prefix": "ab"}, [b"ab", b"abc"], [b"Abc", b"a"]),
        ({"prefix": "Ab", "ignore_case": True}, [b"aBc"], [b"ba"]),
        ({"suffix": "bc"}, [b"bc", b"abc"], [b"abC"]),
        ({"suffix": "bC", "ignore_case": True}, [b"aBc"], [b"bca"]),
        ({"contains": "b"}, [b"abc"], [b"aBc"]),
        ({"contains": "B", "ignore_case": True}, [b"abc"], [b"ac"]),
        ({"safe_regex": {"regex": "a|bc"}}, [b"a", b"bc"], [b"abc", b"b"]),
        ({"safe_regex": {"google_re2": {}, "regex": "abc"}}, [b"abc"], [b"abcd"]),
        # One byte at a time, as Envoy: the two bytes of a UTF-8 character are two dots.
        ({"safe_regex": {"regex": "a.."}}, [b"a\xc3\xa9"], [b"a\xe9"]),
        ({"safe_regex": {"regex": "\u00e9"}}, [b"\xc3\xa9"], [b"\xe9"]),
    ],
)
def test_string_matcher(config: dict[str, Any], yes: list[bytes], no: list[bytes]) -> None:
    matches = string(config)
    assert [value for value in yes if not matches(value)] == []
    assert [value for value in no if matches(value)] == []


@pytest.mark.parametrize(
    ("config", "field", "words"),
    [
        ({"safe_regex": {"regex": "(a"}}, "safe_regex.regex", "missing )"),
        ({"safe_regex": {"regex": "(?=a)"}}, "safe_regex.regex", "perl"),
        (
            {
                "safe_regex": {
                    "regex": "a",
                },
                "ignore_case": True,
            },
            "ignore_case",
            "no effect",
        ),
        (
            {"safe_regex": {"google_re2": {"max_program_size": 1}, "regex": "a.*b"}},
            "safe_regex.google_re2.max_program_size",
            "8",
        ),
        ({}, "", "required"),
    ],
)
def test_refused_string_matchers(config: dict[str, Any], field: str, words: str) -> None:
    reader = reader_of(f"{MATCHER}.StringMatcher", config)
    assert compile_string_matcher(reader)(b"a") is False
    (finding,) = reader.errors.findings
    assert finding.path == field and words in finding.message


@pytest.mark.parametrize(
    "text", [b"", b"/a/b", b"a.*", b".*", b"a.b", b"a\\.b", b"a.*b", b"a?", b"\xc3\xa9.*", b"a$"]
)
@settings(max_examples=60, deadline=None)
@given(value=st.binary(max_size=6) | st.text("ab/.\n\u00e9", max_size=6).map(str.encode))
def test_fast_lane_says_what_re2_says(text: bytes, value: bytes) -> None:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    lane = fast_lane(text)
    if lane is not None:
        assert lane(value) == (re2.fullmatch(text, value, options) is not None)
        assert lane(text.replace(b".*", value)) == (
            re2.fullmatch(text, text.replace(b".*", value), options) is not None
        )


def test_a_literal_never_reaches_re2() -> None:
    assert fast_lane(b"/healthz") is not None and fast_lane(b"/api/.*") is not None
    assert fast_lane(b"/api/.+") is None and fast_lane(b"a.*.*") is None


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        (b"/r/[0-9]+", b"/r/"),
        (b"^/a.b", b"/a"),
        (b"ab?c", b"a"),
        (b"ab*", b"a"),
        (b"ab+c", b"ab"),
        (b"ab{0,2}", b"a"),
        (b"ab|c", b""),
        (b"?", b""),
        (b"ab(?i)c", b"ab"),
        (b"a\\.b", b"a"),
        (b"abc", b"abc"),
    ],
)
def test_literal_stem(text: bytes, stem: bytes) -> None:
    assert literal_stem(text) == stem


@settings(max_examples=150, deadline=None)
@given(text=st.text("ab^$.*?+|(){}1,\\", max_size=6), value=st.text("ab^", max_size=5).map(str.encode))
def test_compiled_regex_says_what_re2_says(text: str, value: bytes) -> None:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        wanted = re2.fullmatch(text.encode(), value, options) is not None
    except re2.error:
        return
    assert compile_regex(reader_of(f"{MATCHER}.RegexMatcher", {"regex": text}))(value) is wanted


def test_catastrophic_pattern_is_quick() -> None:
    matches = compile_regex(reader_of(f"{MATCHER}.RegexMatcher", {"regex": "(a+)+$"}))
    assert matches(b"a" * 5000 + b"b") is False


@pytest.mark.parametrize(
    ("pattern", "substitution", "value", "result"),
    [
        ("a", "b", b"banana", b"bbnbnb"),
        ("/x/(\\d+)", "/y-\\1\\0\\\\", b"/x/12/x/3", b"/y-12/x/12\\/y-3/x/3\\"),
        ("a*", "<\\0>", b"/rnaab", b"<>/<>r<>n<aa>b<>"),
        ("(b)|c", "[\\1]", b"bc", b"[b][]"),
        ("(b)", "[\\2]", b"abc", b"abc"),
        ("(b)", "[\\x]", b"abc", b"a[c"),
        ("b", "end\\", b"abc", b"aendc"),
    ],
)
def test_rewrite_replaces_every_match(pattern: str, substitution: str, value: bytes, result: bytes) -> None:
    config = {"pattern": {"regex": pattern}, "substitution": substitution}
    reader = reader_of(f"{MATCHER}.RegexMatchAndSubstitute", config)
    assert compile_rewrite(reader)(value) == result
    assert not reader.errors.findings and not unread(reader)


def test_rewrite_without_pattern_is_refused() -> None:
    reader = reader_of(f"{MATCHER}.RegexMatchAndSubstitute", {"substitution": "a"})
    assert compile_rewrite(reader)(b"x") == b"x"
    assert [finding.path for finding in reader.errors.findings] == ["pattern"]


def test_path_matcher_does_not_see_the_query() -> None:
    reader = reader_of(f"{MATCHER}.PathMatcher", {"path": {"suffix": "b"}})
    matches = compile_path_matcher(reader)
    assert matches(b"/a/b?c") and matches(b"/a/b#b?") and not matches(b"/a?b")


@pytest.mark.parametrize(
    ("path", "stem"), [(b"/a", b"/a"), (b"/a?b#c", b"/a"), (b"/a#b?c", b"/a"), (b"?", b"")]
)
def test_without_query(path: bytes, stem: bytes) -> None:
    assert without_query(path) == stem


@pytest.mark.parametrize(
    ("config", "yes", "no"),
    [
        ({}, [(b"",), (b"a",)], [()]),
        ({"present_match": True}, [(b"a",)], [()]),
        ({"present_match": False}, [()], [(b"a",)]),
        ({"present_match": True, "invert_match": True}, [()], [(b"a",)]),
        ({"present_match": True, "treat_missing_header_as_empty": True}, [(), (b"a",)], []),
        ({"exact_match": "a"}, [(b"a",), (b"b", b"a")], [(), (b"a,b",)]),
        ({"exact_match": "a", "invert_match": True}, [(b"b",)], [(), (b"a",), (b"b", b"a")]),
        (
            {"exact_match": "a", "invert_match": True, "treat_missing_header_as_empty": True},
            [(), (b"b",)],
            [(b"a",)],
        ),
        ({"string_match": {"suffix": "c"}}, [(b"abc",)], [(b"C",)]),
        ({"safe_regex_match": {"regex": "a.c"}}, [(b"abc",)], [(b"a", b"c")]),
        (
            {"range_match": {"start": -5, "end": 5}},
            [(b"-5",), (b" +4 ",), (b"9", b"1")],
            [(b"5",), (b"x",), (b"9" * 80,)],
        ),
        ({"prefix_match": "a"}, [(b"ab",)], [(b"ba",)]),
        ({"suffix_match": "a"}, [(b"ba",)], [(b"ab",)]),
        ({"contains_match": "b"}, [(b"abc",)], [(b"ac",)]),
    ],
)
def test_header_matcher(
    config: dict[str, Any], yes: list[tuple[bytes, ...]], no: list[tuple[bytes, ...]]
) -> None:
    matches = header(config)
    assert [values for values in yes if not matches(asked(*values))] == []
    assert [values for values in no if matches(asked(*values))] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [(":path", b"/p?q"), (":method", b"GET"), (":authority", b"h:1"), ("Host", b"h:1"), (":scheme", b"http")],
)
def test_pseudo_headers(name: str, value: bytes) -> None:
    exact = {"string_match": {"exact": value.decode()}}
    assert header({**exact, "name": name})(asked())
    assert header({"name": name})(asked()) and not header({"name": name, "present_match": False})(asked())


def test_pseudo_headers_of_a_response() -> None:
    assert header_values(ResponseHeaders(404, [(b"host", b"x")]), b":status") == [b"404"]
    assert header_values(ResponseHeaders(404, [(b"host", b"x")]), b"host") == [b"x"]
    assert header_values(RequestHeaders(b"GET", b"/", b""), b"host") == []
