"""One value into one scalar field."""

from __future__ import annotations

import math
from typing import Any

import pytest

from proxy.api import scalars
from proxy.api.scalars import Wrong

U32 = (0, (1 << 32) - 1)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        ("5", 5),
        ("+5", 5),
        ("010", 10),
        (5.0, 5),
        ("5.0", 5),
        ("1e3", 1000),
        ("0x10", 16),
        ("4294967295", U32[1]),
    ],
)
def test_whole_numbers(value: Any, number: int) -> None:
    assert scalars.whole_number(value, *U32) == number


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        [],
        {},
        "",
        " 5",
        "5 ",
        "1_0",
        "1.5",
        1.5,
        -1,
        "-1",
        1 << 32,
        "nan",
        "inf",
        "abc",
        "٣",
        "9" * 50,
    ],
)
def test_no_whole_numbers(value: Any) -> None:
    with pytest.raises(Wrong):
        scalars.whole_number(value, *U32)


def test_real_numbers() -> None:
    assert scalars.real_number(" 5.5 ", False) == 5.5
    assert scalars.real_number(7, False) == 7.0
    assert math.isnan(scalars.real_number("NaN", False))
    assert scalars.real_number("-Infinity", False) == -math.inf
    assert scalars.real_number("1e300", False) == 1e300
    for value in (True, "", "1_0", "abc", None, "--1", 10**400):
        with pytest.raises(Wrong):
            scalars.real_number(value, False)
    with pytest.raises(Wrong, match="32-bit"):
        scalars.real_number(1e39, True)


@pytest.mark.parametrize(
    ("value", "truth"),
    [(True, True), ("true", True), ("Yes", True), ("1", True), ("F", False), ("no", False), ("0", False)],
)
def test_booleans(value: Any, truth: bool) -> None:
    assert scalars.boolean(value) is truth


@pytest.mark.parametrize("value", [1, 0, "on", "maybe", "", None, []])
def test_no_booleans(value: Any) -> None:
    with pytest.raises(Wrong):
        scalars.boolean(value)


def test_strings_are_not_made_of_other_things() -> None:
    assert scalars.string("a") == "a"
    for value in (5, True, 1.5):
        with pytest.raises(Wrong, match="put it in quotes"):
            scalars.string(value)


@pytest.mark.parametrize(
    ("text", "data"),
    [("YQ==", b"a"), ("YQ", b"a"), ("", b""), ("-_-_", b"\xfb\xff\xbf"), ("+/+/", b"\xfb\xff\xbf")],
)
def test_base64(text: str, data: bytes) -> None:
    assert scalars.octets(text) == data


@pytest.mark.parametrize("text", ["%%%", "Y", "YQ===", "Y Q=", "YQ\n"])
def test_no_base64(text: str) -> None:
    with pytest.raises(Wrong):
        scalars.octets(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1s", (1, 0)),
        ("1.5s", (1, 500_000_000)),
        ("-0.5s", (0, -500_000_000)),
        ("1.123456789s", (1, 123_456_789)),
    ],
)
def test_durations(text: str, parts: tuple[int, int]) -> None:
    assert scalars.duration(text) == parts


@pytest.mark.parametrize(
    "value",
    ["1.1234567891s", ".5s", "1.s", "+1s", "1", "1ms", "1s ", 5, None, "315576000001s", "9" * 30 + "s"],
)
def test_no_durations(value: Any) -> None:
    with pytest.raises(Wrong):
        scalars.duration(value)


def test_enums() -> None:
    numbers = {"ROUND_ROBIN": 0, "RANDOM": 3}
    assert scalars.enum_number("random", numbers) == 3
    assert scalars.enum_number("3", numbers) == 3
    assert scalars.enum_number(99, numbers) == 99, "the rules of the API judge numbers"
    with pytest.raises(Wrong, match=r'did you mean "RANDOM"\?\); one of ROUND_ROBIN, RANDOM'):
        scalars.enum_number("RANDM", numbers)
    for value in (True, "round-robin", [], 1 << 31):
        with pytest.raises(Wrong):
            scalars.enum_number(value, numbers)


def test_values_in_sentences_are_short() -> None:
    assert scalars.shown("x" * 1000) == '"' + "x" * 56 + "..."
    assert scalars.shown({"a": 1}) == "an object"
    assert scalars.shown(None) == "null"
