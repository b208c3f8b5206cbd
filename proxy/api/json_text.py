"""JSON as protobuf's C++ parser understands it, into plain values; or into marks.

The standard library reads it (measured: as fast as orjson here, and it can see duplicate keys, which that parser
treats in its own way). What only the C++ parser takes (trailing commas, single quotes, bare keys) is read by the
scanner (json_scan), which also knows the place of everything; it is used when there is something to say about a place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isinf
from typing import Any, NoReturn

from proxy.api.marks import Mark
from proxy.api.yaml_text import MAX_DEPTH, TextError


class Repeated(dict[str, Any]):
    """An object with a key given more than once; ``pairs`` has them all, the dict the last ones."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


_COLLECTIONS = frozenset({dict, list, Repeated})


def read_json(text: str) -> Any:
    """The document as plain values. Raises TextError."""
    try:
        if any(f"{blank}:" in text for blank in " \t\r\n"):
            value, is_too_deep = _load(text, json_object), None
        else:
            # No blank before any colon, so there are no more keys than this, and where all are there none was repeated.
            value = _load(text, None)
            keys, is_too_deep = _measure(value)
            if keys != text.count('":'):
                value = _load(text, json_object)
    except RecursionError:
        raise TextError(f"is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        return _scan(text)[0]
    if is_too_deep is None:
        _, is_too_deep = _measure(value)
    if "\\u" in text or is_too_deep:
        _scan(text)  # says so: half a surrogate pair, too, is text to Python but to no one else
    return value


def _load(text: str, make_object: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None) -> Any:
    """Raises ValueError and RecursionError. make_object: None is a dict, with the last of equal keys."""
    return json.loads(
        text,
        object_pairs_hook=make_object,
        parse_float=_real,
        parse_int=_whole,
        parse_constant=_constant,
        strict=False,
    )


def _measure(value: Any) -> tuple[int, bool]:
    """How many keys there are in all, and whether anything is nested deeper than MAX_DEPTH; level by level."""
    keys = 0
    level = [value] if type(value) in _COLLECTIONS else []
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for one in level:
            if type(one) is list:
                inside += one
            else:
                keys += len(one)
                inside += one.values()
        level = [child for child in inside if type(child) in _COLLECTIONS]
        if not level:
            return keys, False
    return keys, True


def _scan(text: str) -> tuple[Any, Mark]:
    from proxy.api.json_scan import Scanner  # for those who err

    return Scanner(text).document()


def mark_json(text: str) -> Mark | None:
    """The marks of the document; None when there is nothing to mark."""
    try:
        return _scan(text)[1]
    except TextError:
        return None


def json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict, or a Repeated."""
    value = dict(pairs)
    return value if len(value) == len(pairs) else Repeated(pairs)


def _real(text: str) -> float:
    """A number that fits a double; the standard library makes infinity of the others."""
    number = float(text)
    if isinf(number):
        raise ValueError(text)
    return number


def _whole(text: str) -> int:
    if len(text) > 300:
        _real(text)
    return int(text)


def _constant(name: str) -> NoReturn:
    raise ValueError(name)
