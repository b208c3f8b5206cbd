"""JSON by the rules of protobuf's C++ parser, within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.json_text import Repeated, mark_json, read_json
from proxy.api.load import BOOTSTRAP, load_text
from proxy.api.yaml_text import MAX_DEPTH, TextError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, "b", null, true]}', {"a": [1, 2.5, "b", None, True]}),
        ('{"a": 1,}', {"a": 1}),
        ("[1, 2,]", [1, 2]),
        ("{'a': 'it\\'s \"x\"'}", {"a": 'it\'s "x"'}),
        ("{'a': 'b\\\\\"c'}", {"a": 'b\\"c'}),
        ('{a: 1, $b_2: "x"}', {"a": 1, "$b_2": "x"}),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"a\tb"', "a\tb"),
        ("18446744073709551615", 18446744073709551615),
        (" {} ", {}),
    ],
)
def test_reads(text: str, value: Any) -> None:
    assert read_json(text) == value


@pytest.mark.parametrize(
    ("text", "said", "line", "column"),
    [
        ("", "ends too early", 1, 1),
        ('{"a": 1} x', "something after the end", 1, 10),
        ('{\n "a" 1}', 'expects ":"', 2, 6),
        ('{"a": NaN}', "expects a value", 1, 7),
        ('{"a": 1 "b": 2}', 'expects "," or "}"', 1, 9),
        ('{"a": "b', "without an end", 1, 7),
        ('"\\ud83d"', "half a surrogate pair", 1, 1),
        ('"\\x41"', "bad escape", 1, 1),
        ("// no\n{}", "expects a value", 1, 1),
        ("\ufeff{}", "expects a value", 1, 1),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper", 1, MAX_DEPTH + 1),
        ("[" * 100_000, "nested deeper", None, None),
    ],
)
def test_what_is_wrong_has_its_place(text: str, said: str, line: int | None, column: int | None) -> None:
    with pytest.raises(TextError) as caught:
        read_json(text)
    assert said in caught.value.message
    if line is not None:
        assert (caught.value.line, caught.value.column) == (line, column)
    assert mark_json(text) is None


def test_depth_is_allowed_up_to_its_bound() -> None:
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_repeated_keys_are_kept() -> None:
    value = read_json('{"a": {"b": 1, "b": 2}}')
    assert type(value["a"]) is Repeated
    assert value["a"].pairs == [("b", 1), ("b", 2)]
    assert value["a"] == {"b": 2}
    assert type(value) is dict


def test_marks_stand_at_the_key() -> None:
    mark = mark_json('{"a": [\n  {"b": 1,\n   "c": [true, 2]}]}')
    assert mark is not None and mark.keys is not None and mark.keys["a"].items is not None
    inner = mark.keys["a"].items[0]
    assert (inner.line, inner.column) == (2, 3)
    assert inner.keys is not None and inner.keys["c"].items is not None
    assert (inner.keys["c"].line, inner.keys["c"].column) == (3, 4)
    assert [(one.line, one.column) for one in inner.keys["c"].items] == [(3, 10), (3, 16)]


@pytest.mark.parametrize("number", ["9" * 309, "-" + "9" * 5000, "1e999", "-1e999"])
def test_numbers_beyond_a_double_are_refused_with_their_place(number: str) -> None:
    """As protobuf's parser; Python's own bound on digits is an exception of another sort."""
    loaded = load_text(BOOTSTRAP, f'{{"node": {{"metadata": {{"a":\n {number}}}}}}}', is_json=True)
    [finding] = loaded.errors.findings
    assert finding.line in (1, 2)
    assert "too large" in finding.message


def test_large_numbers_that_fit() -> None:
    assert read_json("[1e300, 1e-999, " + "9" * 308 + "]")[:2] == [1e300, 0.0]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a" : 1, "a" : 2}',
        '{"a": 1, "a"\n: 2}',
        '{"a": "\\":", "b": 1, "b": 2}',
        '{"a": [{"b": 1}, {"c": 1, "c": 2}]}',
    ],
)
def test_a_repeated_key_is_found_however_it_is_written(text: str) -> None:
    def is_there(value: Any) -> bool:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return type(value) is Repeated or any(is_there(one) for one in inside)

    assert is_there(read_json(text))


def test_texts_that_look_like_keys_repeat_nothing() -> None:
    assert type(read_json('{"a": "\\":", "b": " : "}')) is dict
