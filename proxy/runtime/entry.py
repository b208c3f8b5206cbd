"""One runtime value: the text it was written as, and what it is as a number, a boolean and a fraction.

The rules are those of Envoy 1.40, seen on the real one: a number is also a percentage; a text that reads as a decimal
number is one (quotes and all count as part of a text that came through YAML); "TRUE" as a text is no boolean; a map
of numerator and denominator alone is a fraction, and any other field in it makes it none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}

_MAX_INT32 = 2**31 - 1
_MAX_UINT32 = 2**32 - 1
_MAX_UINT64 = 2**64 - 1
_NUMBER = r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)"
# What protobuf puts before a message that is printed for people, so that nobody takes the text for a format. The word
# and the blanks behind it differ from one start of Envoy to the next, on purpose; this is one of the forms.
_MARK = "goo.gle/debugstr  \n"


class Entry(NamedTuple):
    """A value in every form it has; None where it has not.

    uint: of a number of 0 to 2**64, its whole part; fraction: (numerator, denominator)
    """

    raw: str
    uint: int | None = None
    double: float | None = None
    boolean: bool | None = None
    fraction: tuple[int, int] | None = None


def make_entry(value: Any, raw: str = "") -> Entry:
    """The entry of a plain value (as read from YAML or a Struct). raw: the text it was read from, "" when unknown."""
    if isinstance(value, bool):
        return Entry(raw or ("true" if value else "false"), boolean=value)
    if isinstance(value, int | float):
        return _number_entry(raw or shown_number(float(value)), float(value))
    if isinstance(value, str):
        text = raw or value
        stripped = text.strip(" \t\n\v\f\r")
        return (
            _number_entry(text, float(stripped))
            if re.fullmatch(_NUMBER, stripped, re.IGNORECASE)
            else Entry(text)
        )
    if isinstance(value, Mapping):
        return Entry(raw or shown_struct(value), fraction=_fraction(value))
    return Entry(raw)


def shown_number(number: float) -> str:
    """A number as Envoy prints it: six digits."""
    return f"{number:.6g}"


def shown_struct(value: Mapping[str, Any]) -> str:
    """A map as Envoy prints it: the Struct in protobuf's text form."""
    return _MARK + "".join(line + "\n" for line in _struct_lines(value))


def _struct_lines(value: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(value):
        yield "fields {"
        yield f'  key: "{_escaped(name)}"'
        yield "  value {"
        yield from (f"    {line}" for line in _value_lines(value[name]))
        yield "  }"
        yield "}"


def _value_lines(value: Any) -> Iterator[str]:
    if value is None:
        yield "null_value: NULL_VALUE"
    elif isinstance(value, bool):
        yield f"bool_value: {'true' if value else 'false'}"
    elif isinstance(value, int | float):
        yield f"number_value: {float(value):.15g}"
    elif isinstance(value, str):
        yield f'string_value: "{_escaped(value)}"'
    elif isinstance(value, Mapping):
        yield "struct_value {"
        yield from (f"  {line}" for line in _struct_lines(value))
        yield "}"
    else:
        yield "list_value {"
        for each in value:
            yield "  values {"
            yield from (f"    {line}" for line in _value_lines(each))
            yield "  }"
        yield "}"


def _escaped(text: str) -> str:
    from google.protobuf.text_encoding import CEscape

    return str(CEscape(text.encode(), as_utf8=False))


def _number_entry(raw: str, number: float) -> Entry:
    uint = min(int(number), _MAX_UINT64) if 0 <= number <= 2.0**64 else None
    boolean = number != 0 if -_MAX_INT32 <= number < _MAX_INT32 and number == int(number) else None
    return Entry(raw, uint, number, boolean)


def _fraction(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    numerator, denominator = 0, 100
    for name, value in fields.items():
        if name == "numerator":
            if isinstance(value, int | float) and not isinstance(value, bool):
                numerator = int(value) & _MAX_UINT32
        elif name == "denominator" and isinstance(value, str) and value in DENOMINATORS:
            denominator = DENOMINATORS[value]
        else:
            return None
    return numerator, denominator


def is_leaf(value: Mapping[str, Any]) -> bool:
    """Whether a map stands for one value (a fraction, or nothing) and not for keys below its own."""
    return not value or "numerator" in value or "denominator" in value
