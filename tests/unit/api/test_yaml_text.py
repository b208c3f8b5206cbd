"""YAML by yaml-cpp's rules, within bounds."""

from __future__ import annotations

import time
from typing import Any

import pytest

from proxy.api.yaml_text import MAX_DEPTH, MAX_NOTES, TextError, mark_yaml, plain, read_yaml

# What Envoy 1.40.0's /config_dump shows for these as values of a Struct.
PLAIN: list[tuple[str, Any]] = [
    ("5", 5), ("-5", -5), ("+7", 7), ("0x1f", 31), ("017", 15), ("-017", -15), ("00", 0), ("-0", 0),
    ("2147483647", 2147483647), ("2147483648", "2147483648"), ("-2147483649", "-2147483649"),
    ("0x80000000", "2147483648"), ("9223372036854775808", "9223372036854775808"),
    ("1.0", "1.0"), (".5", ".5"), ("1e3", "1e3"), (".inf", ".inf"), ("1_000", "1_000"), ("0x", "0x"), ("1.", "1."),
    ("08", "08"), ("0o17", "0o17"), ("2001-01-01", "2001-01-01"), ("1:30", "1:30"), ("=", "="), ("<<", "<<"),
    ("yes", True), ("Off", False), ("y", True), ("N", False), ("TRUE", True), ("tRUE", "tRUE"), ("yEs", "yEs"),
    ("", None), ("~", None), ("Null", None), ("nULL", "nULL"), ("abc", "abc"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), PLAIN)
def test_plain_scalars(text: str, value: Any) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_quotes_and_tags() -> None:
    text = "{a: '5', b: \"yes\", c: ! 12, d: !!str 5, e: !!str '6', f: '', g: !x y}"
    assert read_yaml(text) == {"a": "5", "b": "yes", "c": "12", "d": 5, "e": 6, "f": "", "g": True}


def test_keys_are_text() -> None:
    assert read_yaml("{1: a, true: b, ~: c, 1.50: d, 'null': e}") == {
        "1": "a",
        "true": "b",
        "null": "e",
        "1.50": "d",
    }


def test_last_of_equal_keys_wins_and_merge_keys_are_keys() -> None:
    assert read_yaml("a: 1\na: 2") == {"a": 2}
    assert read_yaml("x: &x {a: 1}\ny: {<<: *x}")["y"] == {"<<": {"a": 1}}


def test_what_has_no_effect_is_noted_with_its_place() -> None:
    notes: list[TextError] = []
    assert read_yaml("a: 1\nb: {c: 1, c: 2}\n!ignore a: 3\na: 4\n---\nz: [", notes) == {"a": 4, "b": {"c": 2}}
    assert [(note.line, note.column, note.message) for note in notes] == [
        (2, 11, 'has "c" a second time; what stands at line 2 is not used'),
        (4, 1, 'has "a" a second time; what stands at line 1 is not used'),
        (5, 1, "begins another document here; only the first one is used"),
    ]
    notes.clear()
    read_yaml("a: 1\n...\n", notes)
    read_yaml("- a\n", notes)
    assert notes == []
    read_yaml("a: 1\n" * 1000, notes)
    assert len(notes) == MAX_NOTES


def test_ignored_keys_still_anchor() -> None:
    assert read_yaml("!ignore shared: &s {a: 1}\nuse: *s") == {"use": {"a": 1}}


def test_only_the_first_document_counts() -> None:
    assert read_yaml("a: 1\n---\nb: [") == {"a": 1}
    assert read_yaml("") is None
    assert read_yaml("# nothing") is None


@pytest.mark.parametrize(
    ("text", "said", "line", "column"),
    [
        ("a: *x", "alias *x has no anchor", 1, 4),
        ("a: &x [*x]", "alias *x refers to itself", 1, 8),
        ("? [a]\n: b", "has a mapping or a sequence as a key", 1, 3),
        ("a:\n- b\n c: d", "is no valid YAML", 3, 2),
        ("a: [1", "that begins at 1:4", 2, 1),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "is nested deeper than 100 levels", 1, MAX_DEPTH + 1),
        ("a: \x00", "is no valid YAML", None, None),
    ],
)
def test_what_is_wrong_has_its_place(text: str, said: str, line: int | None, column: int | None) -> None:
    with pytest.raises(TextError) as caught:
        read_yaml(text)
    assert said in caught.value.message
    if line is not None:
        assert caught.value.line == line
        assert column is None or abs((caught.value.column or 0) - column) <= 2
    assert mark_yaml(text) is None


def test_a_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    start = time.process_time()  # others' work is not ours
    with pytest.raises(TextError, match="grows too large"):
        read_yaml("\n".join(lines))
    assert time.process_time() - start < 1.0


def test_a_bomb_of_one_long_text_is_refused() -> None:
    text = "a: &a " + "x" * 1_000_000 + "\nb: [" + ", ".join(["*a"] * 1000) + "]"
    with pytest.raises(TextError, match="grows too large"):
        read_yaml(text)


def test_marks_stand_at_the_key() -> None:
    mark = mark_yaml("a:\n  - b: 1\n    c: [x, y]\n")
    assert mark is not None and mark.keys is not None
    items = mark.keys["a"].items
    assert items is not None and items[0].keys is not None
    inner = items[0].keys["c"]
    assert (mark.keys["a"].line, mark.keys["a"].column) == (1, 1)
    assert (inner.line, inner.column) == (3, 5)
    assert inner.items is not None
    assert [(one.line, one.column) for one in inner.items] == [(3, 9), (3, 12)]


def test_a_tab_is_called_one() -> None:
    with pytest.raises(TextError, match="a tab, and YAML is indented by spaces") as caught:
        read_yaml("a:\n\tb: 1\n")
    assert (caught.value.line, caught.value.column) == (2, 1)


@pytest.mark.parametrize(
    "odd",
    ["\x03", "\x07", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ufffe", "\uffff"],
)
def test_odd_characters_are_characters(odd: str) -> None:
    text = f'# a comment{odd}b: 1\nplain: x{odd}y\nquoted: "x{odd}y"\nk{odd}: |\n  x{odd}y\nlast: 1\n'
    assert read_yaml(text) == {
        "plain": f"x{odd}y",
        "quoted": f"x{odd}y",
        f"k{odd}": f"x{odd}y\n",
        "last": 1,
    }
    marks = mark_yaml(text)
    assert marks is not None
    assert (marks.keys["last"].line, marks.keys["last"].column) == (6, 1)


def test_odd_characters_beside_their_stand_ins() -> None:
    assert read_yaml("a: x\x07y\U000f0007z") == {"a": "x\x07y\U000f0007z"}


@pytest.mark.parametrize("mark", ["\0", "\x04"])
def test_nul_and_eot_are_refused(mark: str) -> None:
    with pytest.raises(TextError, match="control characters are not allowed"):
        read_yaml(f"a: x{mark}y")
