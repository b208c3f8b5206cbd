"""What one value is, in every form. The cases were seen on Envoy 1.40 (tests/parity/test_runtime.py asks it again)."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.runtime.entry import Entry, make_entry


@pytest.mark.parametrize(
    ("value", "entry"),
    [
        (5, Entry("5", 5, 5.0, True)),
        (0, Entry("0", 0, 0.0, False)),
        (-3, Entry("-3", None, -3.0, True)),
        (2.5, Entry("2.5", 2, 2.5)),
        (1_000_000, Entry("1e+06", 1_000_000, 1e6, True)),
        (123_456_789, Entry("1.23457e+08", 123_456_789, 123456789.0, True)),
        (2**31 - 1, Entry("2.14748e+09", 2**31 - 1, 2147483647.0)),
        ("12345678901234567890", Entry("12345678901234567890", 12345678901234567168, 1.2345678901234567e19)),
        ("1.0e+20", Entry("1.0e+20", None, 1e20)),
        (str(2**64), Entry(str(2**64), 2**64 - 1, 2.0**64)),
        (True, Entry("true", boolean=True)),
        (False, Entry("false", boolean=False)),
        ("TRUE", Entry("TRUE")),
        ("hello", Entry("hello")),
        ("42", Entry("42", 42, 42.0, True)),
        (" +4.5 ", Entry(" +4.5 ", 4, 4.5)),
        ("1_0", Entry("1_0")),
        ("٣", Entry("٣")),
        ("", Entry("")),
        (None, Entry("")),
        ([1], Entry("")),
    ],
)
def test_plain_values(value: Any, entry: Entry) -> None:
    assert make_entry(value) == entry


@pytest.mark.parametrize("text", ["inf", "-inf", "1e400"])
def test_what_has_no_end_is_no_count(text: str) -> None:
    entry = make_entry(text)
    assert (entry.uint, entry.boolean) == (None, None)
    assert entry.double in (float("inf"), float("-inf"))


def test_no_number_is_a_number_of_sorts() -> None:
    entry = make_entry("nan")
    assert (entry.uint, entry.boolean) == (None, None)
    assert entry.double is not None and entry.double != entry.double


@pytest.mark.parametrize(
    ("fields", "fraction"),
    [
        ({}, (0, 100)),
        ({"numerator": 5}, (5, 100)),
        ({"numerator": 5, "denominator": "TEN_THOUSAND"}, (5, 10_000)),
        ({"denominator": "MILLION"}, (0, 1_000_000)),
        ({"numerator": "5"}, (0, 100)),
        ({"numerator": True}, (0, 100)),
        ({"numerator": -5}, (4294967291, 100)),
        ({"numerator": 5, "denominator": "FOO"}, None),
        ({"numerator": 5, "denominator": 1}, None),
        ({"numerator": 5, "foo": 1}, None),
    ],
)
def test_maps_are_fractions(fields: dict[str, Any], fraction: tuple[int, int] | None) -> None:
    entry = make_entry(fields, "as written")
    assert entry == Entry("as written", fraction=fraction)


def test_a_map_prints_as_protobuf_text() -> None:
    assert make_entry({"numerator": 5, "denominator": "MILLION"}).raw == (
        "goo.gle/debugstr  \n"
        'fields {\n  key: "denominator"\n  value {\n    string_value: "MILLION"\n  }\n}\n'
        'fields {\n  key: "numerator"\n  value {\n    number_value: 5\n  }\n}\n'
    )
    assert make_entry({}).raw == "goo.gle/debugstr  \n"
