"""Plain values into what one scalar field holds, with the leniency and the strictness of protobuf's C++ JSON parser.

Each function raises ``Wrong`` with a sentence that begins with a verb ("expects a whole number, not ...").
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Collection, Container
from typing import Any

# Patterns are compiled when first needed, which most of them never are.
_INTEGER = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_HEX_FLOAT = r"[+-]?0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][+-]?[0-9]+)?"
_DURATION = re.compile(r"(-?[0-9]+)(?:\.([0-9]{1,9}))?s", re.ASCII)
_BLANK = r"[ \t\n\v\f\r]"
_MAX_DURATION_S = 3_652_500 * 86_400
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})
_FLOAT_MAX = 3.4028235677973366e38  # from here on a float32 rounds to infinity


class Wrong(Exception):
    """A value that its field cannot hold."""


def shown(value: Any) -> str:
    """A value as it stands in a sentence, cut at 60 characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


_MOST_NAMES = 100  # that a name nobody knows is compared with, where there may be many such names


def near_cluster(name: str, known: Container[str]) -> str:
    """As ``nearest``, of the clusters that are there; nothing where there are many."""
    if not isinstance(known, Collection) or len(known) > _MOST_NAMES:
        return ""
    return nearest(name, list(known))


def nearest(name: str, names: list[str]) -> str:
    """' (did you mean "x"?)', or nothing when no name is near."""
    if len(name) > 100:  # comparing costs its square
        return ""
    from difflib import get_close_matches  # for those who err

    close = get_close_matches(name.lower(), names, n=1, cutoff=0.6) or get_close_matches(name, names, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def whole_number(value: Any, low: int, high: int) -> int:
    """An integer within its type's bounds; also from text, and from a float without a fraction."""
    if type(value) is int:
        number = value
    elif isinstance(value, str) and re.fullmatch(_INTEGER, value) and len(value) < 40:
        number = int(value)
    else:
        number = _whole_float(value)
    if not low <= number <= high:
        raise Wrong(f"must be a whole number from {low} to {high}, not {shown(value)}")
    return number


def _whole_float(value: Any) -> int:
    try:
        if isinstance(value, str) and not re.search(_BLANK, value):
            value = _float(value)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            return int(value)
    except Wrong:
        pass
    raise Wrong(f"expects a whole number, not {shown(value)}")


def real_number(value: Any, is_32_bit: bool) -> float:
    """A float or double; also from text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Wrong(f"expects a number, not {shown(value)}")
    try:
        number = _float(value.strip(" \t\n\v\f\r")) if isinstance(value, str) else float(value)
    except OverflowError:
        raise Wrong(f"expects a number, not {shown(value)}") from None
    if is_32_bit and math.isfinite(number) and abs(number) >= _FLOAT_MAX:
        raise Wrong(f"is too large for a 32-bit number: {shown(value)}")
    return number


def _float(text: str) -> float:
    unsigned = text.lstrip("+-").lower()
    if len(text) - len(unsigned) <= 1 and unsigned in ("nan", "inf", "infinity"):
        return float(text)
    if re.fullmatch(_FLOAT, text):
        return float(text)
    if re.fullmatch(_HEX_FLOAT, text):
        return float.fromhex(text)
    raise Wrong(f"expects a number, not {shown(text)}")


def boolean(value: Any) -> bool:
    """A bool; also from the words and digits that absl::SimpleAtob takes."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    raise Wrong(f"expects true or false, not {shown(value)}")


def string(value: Any) -> str:
    """A text; numbers and booleans are not turned into one."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        raise Wrong(f"expects a text, not {shown(value)}")
    raise Wrong(f"expects a text, not {shown(value)}: put it in quotes")


def octets(value: Any) -> bytes:
    """Bytes from base64, ordinary or web-safe alphabet, padded or not."""
    text = string(value).translate({ord("-"): "+", ord("_"): "/"})
    bare = text.rstrip("=")
    if len(text) - len(bare) > 2 or len(bare) % 4 == 1:
        raise Wrong("is no valid base64")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Wrong("is no valid base64") from None


def duration(value: Any) -> tuple[int, int]:
    """(seconds, nanos) from "1.5s"."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f'expects a duration in seconds such as "1.5s", not {shown(value)}')
    seconds = int(match[1]) if len(match[1]) < 20 else _MAX_DURATION_S + 1
    if abs(seconds) > _MAX_DURATION_S:
        raise Wrong(f"is out of the range of a duration: {shown(value)}")
    nanos = int((match[2] or "").ljust(9, "0"))
    return seconds, -nanos if match[1].startswith("-") else nanos


def enum_number(value: Any, numbers: dict[str, int]) -> int:
    """The number of an enum value; ``numbers`` holds the upper-case names. Case does not matter; numbers are taken
    as they are."""
    if isinstance(value, str):
        number = numbers.get(value.upper())
        if number is not None:
            return number
        if re.fullmatch(_INTEGER, value) and len(value) < 12:
            return whole_number(value, -(1 << 31), (1 << 31) - 1)
        names = list(numbers)
        allowed = f"; one of {', '.join(names)}" if len(names) <= 12 else ""
        raise Wrong(f"has no value {shown(value)}{nearest(value.upper(), names)}{allowed}")
    if isinstance(value, (bool, dict, list)):
        raise Wrong(f"expects one of {', '.join(list(numbers)[:12])}, not {shown(value)}")
    return whole_number(value, -(1 << 31), (1 << 31) - 1)
